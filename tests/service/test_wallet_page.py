"""The page for wallets, and what other sites cannot do with its session."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

from marketplace.console.languages import ENGLISH, LANGUAGES
from prixfixe.chain.artefacts import load
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.signatures import message_digest
from prixfixe.protocol.siwe import SignIn
from tests.support.finished import deliver
from tests.support.service import CHAIN_ID, CONTRACT, CUSTOMER, HOST, SEED, STRANGER, World

PERSON = {"Accept": "text/html"}
HOSTILE = "'><script>alert(1)</script>"


def shown(page: str) -> dict[str, object]:
    """The numbers that the page gives its script."""
    found = json.loads(unescape(page.partition("data-market='")[2].partition("'")[0]))
    assert isinstance(found, dict)
    return found


def test_the_page_says_what_market_it_signs_for(world: World) -> None:
    world.publish()
    found = shown(world.http.get("/wallet", headers=PERSON).text)
    assert (found["chain"], found["contract"]) == (CHAIN_ID, CONTRACT)
    assert found["calls"] == {
        name: "0x" + load(contract).function(name).selector.hex()
        for contract, names in (
            ("Market", ("account", "withdraw", "deposit")),
            ("DevDollar", ("approve", "balanceOf")),
        )
        for name in names
    }


def test_what_is_asked_for_is_a_bundle_or_an_error_and_never_a_place(world: World) -> None:
    for bundle in (
        HOSTILE,
        "//elsewhere.example",
        "https://elsewhere.example",
        "javascript:alert(1)",
        "nothing",
    ):
        answer = world.http.get("/wallet", params={"bundle": bundle}, headers=PERSON)
        assert answer.status_code == 404, bundle
        assert "<script>alert" not in answer.text
        assert 'href="//' not in answer.text
        assert 'href="javascript:' not in answer.text
    assert world.http.get("/wallet", params={"bundle": "x" * 65}, headers=PERSON).status_code == 422
    # A place to go on to, or a token, is nothing that the page would take.
    plain = world.http.get("/wallet", headers=PERSON)
    more = {"next": "https://elsewhere.example", "token": "0" * 40, "session": "0" * 40}
    told = world.http.get("/wallet", params=more, headers=PERSON)
    assert (told.status_code, told.text) == (plain.status_code, plain.text)
    assert "set-cookie" not in told.headers


def test_a_session_begins_with_a_signature_and_is_in_no_cookie(world: World) -> None:
    fixed = {"Cookie": "prixfixe_session=chosen-by-another; token=chosen-by-another"}
    nonce = world.http.get("/v1/sessions/nonce", params={"address": CUSTOMER.address.lower()}, headers=fixed)
    assert nonce.json()["address"] == CUSTOMER.address
    text = SignIn.now(HOST, CUSTOMER.address, f"http://{HOST}", CHAIN_ID, nonce.json()["nonce"]).compose()
    body = {"message": text, "signature": "0x" + CUSTOMER.sign_digest(message_digest(text)).hex()}
    opened = world.http.post("/v1/sessions", json=body, headers=fixed)
    assert opened.status_code == 200, opened.text
    assert "chosen-by-another" not in opened.text
    assert not any("set-cookie" in answer.headers for answer in (nonce, opened))
    # The same signature opens nothing again, and nobody is signed in by what a browser sends by itself.
    assert world.http.post("/v1/sessions", json=body).json()["code"] == "bad-nonce"
    assert world.http.get("/v1/jobs", headers=fixed).status_code == 401


def test_another_site_can_neither_use_the_page_nor_its_signature(world: World) -> None:
    answer = world.http.get("/wallet", headers={**PERSON, "Origin": "https://elsewhere.example"})
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "access-control-allow-origin" not in answer.headers
    nonce = world.http.get("/v1/sessions/nonce").json()["nonce"]
    theirs = SignIn.now("elsewhere.example", STRANGER.address, "https://elsewhere.example", CHAIN_ID, nonce)
    signature = "0x" + STRANGER.sign_digest(message_digest(theirs.compose())).hex()
    refused = world.http.post("/v1/sessions", json={"message": theirs.compose(), "signature": signature})
    assert (refused.status_code, refused.json()["code"]) == (401, "wrong-domain")
    # What a form of another site could send is no request of the API's.
    form = world.http.post("/v1/sessions", data={"message": "x", "signature": "0x"})
    assert form.status_code == 422


def test_a_job_is_drawn_for_the_session_of_its_wallet_and_for_nobody_else(world: World) -> None:
    world.publish()
    job = world.placed()
    path, own = f"/wallet/jobs/{job.id}", world.sign_in(CUSTOMER)
    waiting = world.http.get(path, headers=own)
    assert (waiting.status_code, waiting.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f'data-cancel="{job.id}"' in waiting.text
    assert "default-src 'none'" in waiting.headers["content-security-policy"]
    in_chinese = {**own, "Accept-Language": "zh-Hans"}
    assert "</strong> 等待机器</p>" in world.http.get(path, headers=in_chinese).text
    deliver(world, job, out_csv=b"done")
    shown = world.http.get(path, headers=own).text
    assert f'href="/v1/jobs/{job.id}/outputs/out.csv"' in shown
    assert f'data-sha256="{sha256_hex(b"done")}"' in shown
    assert f'href="/v1/jobs/{job.id}/certificate.pdf?language=en"' in shown
    assert f'href="/v1/jobs/{job.id}/certificate.json"' in shown
    assert "data-cancel" not in shown
    chinese = world.http.get(path, headers=in_chinese)
    assert "已完成并付款" in chinese.text
    assert ENGLISH.text("state.settled") in shown
    assert LANGUAGES["zh"].text("state.settled") in chinese.text
    assert world.http.get(path, headers=world.sign_in(STRANGER)).json()["code"] == "job-unknown"
    assert world.http.get(path, headers={"Cookie": "prixfixe_session=x"}).json()["status"] == 401


def test_a_wallet_shares_its_job_by_a_link_and_takes_it_back(tmp_path: Path) -> None:
    made = World(tmp_path, seed=None)  # a service that keeps no accounts
    made.publish()
    job = made.placed()
    deliver(made, job, out_csv=b"done")
    path, own, theirs = f"/wallet/jobs/{job.id}", made.sign_in(CUSTOMER), made.sign_in(STRANGER)
    form = {"days": "7"}
    for answer, status in (
        (made.http.post(f"{path}/share", data=form), 401),
        (made.http.post(f"{path}/share", data=form, headers=theirs), 404),
        (made.http.post(f"{path}/unshare", headers=theirs), 404),
        (made.http.post(f"{path}/share", data={"days": "8"}, headers=own), 422),
        (made.http.post(f"{path}/share", data=form, headers={**own, "Sec-Fetch-Site": "cross-site"}), 403),
    ):
        assert answer.json()["status"] == status
    shared = made.http.post(f"{path}/share", data=form, headers=own)
    found = re.search(rf'value="http://{HOST}(/shared/[A-Za-z0-9_-]+)"', shared.text)
    assert found is not None, shared.text
    assert made.http.get(f"{found[1]}/outputs/out.csv").content == b"done"
    assert CUSTOMER.address not in made.http.get(found[1]).text
    again = made.http.get(path, headers=own).text
    assert "1 links are good now." in again
    assert found[1] not in again
    back = made.http.post(f"{path}/unshare", headers=own)
    assert (back.status_code, "are good now" in back.text) == (200, False)
    assert made.http.get(found[1]).status_code == 404
    made.close()


def test_what_a_job_was_asked_to_do_is_told_to_its_wallet_only(world: World) -> None:
    world.publish()
    job = world.placed()
    path = f"/wallet/jobs/{job.id}/parameters"
    told = world.http.get(path, headers=world.sign_in(CUSTOMER))
    assert told.json() == {"word": "hello", "times": 1}
    assert told.headers["cache-control"] == "no-store"
    assert world.http.get(path, headers=world.sign_in(STRANGER)).json()["code"] == "job-unknown"
    assert world.http.get(path).json()["status"] == 401
    run = world.http.get(f"/bundles/echo/run?wallet=yes&again={job.id}", headers=PERSON).text
    assert f'data-of="{job.id}"' in run
    assert unescape(run.partition('data-again="')[2].partition('"')[0]) == "{}"
    hostile = world.http.get("/bundles/echo/run", params={"wallet": "yes", "again": HOSTILE}, headers=PERSON)
    assert hostile.status_code == 422


def test_a_wallet_has_the_page_on_which_a_file_is_run_with_no_account_and_no_cookie(tmp_path: Path) -> None:
    for seed in (SEED, None):  # with managed accounts, and without
        folder = tmp_path / ("with" if seed else "without")
        folder.mkdir()
        made = World(folder, seed=seed, inspectors=(STRANGER.address,))
        made.publish(inputs={"formats": ["csv"], "max_bytes": 1000, "max_files": 1, "preflight": "table"})
        run = "/bundles/echo/run"
        shown_to = made.http.get(run if seed is None else f"{run}?wallet=yes", headers=PERSON)
        assert shown_to.status_code == 200, shown_to.text
        assert 'id="wallets"' in shown_to.text
        assert "data-csrf" not in shown_to.text
        assert "data-address" not in shown_to.text
        assert "set-cookie" not in shown_to.headers
        led = made.http.get("/wallet", params={"bundle": "echo"}, headers=PERSON)
        assert (led.status_code, led.headers["location"]) == (303, f"{run}?wallet=yes")
        bundle = made.http.get("/bundles/echo", headers=PERSON).text
        assert (f'href="{run}?wallet=yes"' in bundle) == (seed is not None)
        if seed is not None:
            away = made.http.get(run, headers=PERSON)
            assert (away.status_code, away.headers["location"][:9]) == (303, "/sign-in?")
            assert f'href="{run}?wallet=yes"' in made.http.get(away.headers["location"], headers=PERSON).text
        made.close()
