"""The pages of an account's people, keys, limits and withdrawals: what they do is what the API does, asked
again where money or access goes, and nobody else's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import insert, select

from marketplace.accounts.managed import Managed
from marketplace.accounts.people import csrf_of
from marketplace.chain import AccountView
from marketplace.store.account_tables import accounts, withdrawals
from prixfixe.protocol.money import Money
from tests.service.test_account_pages import EVIL, Browser
from tests.support.accounts import PASSWORD
from tests.support.service import CHAIN_TIME, CUSTOMER, DOLLAR, SEED, STRANGER, World

ADDRESS = SEED.signer(1).address
PAGES = (
    "",
    "/jobs",
    "/statement",
    "/limits",
    "/withdrawals",
    "/members",
    "/keys",
    "/sessions",
    "/password",
    "/invite",
)
NOBODY = "0" * 32
Introduce = Callable[[str], Browser]


@pytest.fixture
def introduce(world: World) -> Iterator[Introduce]:
    """Signs somebody up, at a browser of their own."""
    made: list[Browser] = []

    def one(email: str) -> Browser:
        made.append(Browser(world))
        assert made[-1].sign_up(email).status_code == 303
        return made[-1]

    yield one
    for each in made:
        each.http.close()


@pytest.fixture
def ada(introduce: Introduce) -> Browser:
    return introduce("ada@example.com")


def managed(world: World) -> Managed:
    assert world.services.managed is not None
    return world.services.managed


def csrf(browser: Browser) -> str:
    """As every page of the session has it."""
    return csrf_of(str(browser.http.cookies["prixfixe_session"]))


def send(browser: Browser, path: str, status: int = 303, **fields: str) -> str:
    """A form with the session's token; the page that it is answered with."""
    answer = browser.send(f"/account{path}", {"csrf": csrf(browser), **fields})
    assert answer.status_code == status, answer.text
    return answer.text


def shown_once(text: str) -> str:
    found = re.search(r"<pre[^>]*><code>([^<]+)</code>", text)
    assert found is not None, text
    return found[1]


def joined(owner: Browser, guest: Browser, email: str, role: str) -> None:
    """Invited, and at the owner's account now."""
    token = shown_once(send(owner, "/members", 200, email=email, role=role))
    send(guest, "/invite", token=f" {token}\n")


def ids(browser: Browser, page: str, kind: str) -> list[str]:
    """Of members, keys or invites that a page has buttons for."""
    text = browser.open(f"/account{page}")
    actions = [str(values.get("action")) for tag, values in text.tags if tag == "form"]
    return [found[1] for each in actions if (found := re.fullmatch(rf"/account/{kind}/(\w+)/\w+", each))]


# -------------------------------------------------------------------------------------------- everybody's


def test_each_page_of_an_account_asks_to_sign_in_and_says_when_little_is_left(
    world: World, ada: Browser
) -> None:
    stranger = Browser(world)
    for path in PAGES:
        answer = stranger.http.get(f"/account{path}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next=/account{path}")
        assert "This is little" in ada.open(f"/account{path}").text, path
    stranger.http.close()
    world.chain.accounts[ADDRESS] = AccountView(100 * DOLLAR, 0, 1)
    for path in PAGES:
        assert "This is little" not in ada.open(f"/account{path}").text, path


def test_what_needs_no_chain_opens_without_it(world: World, ada: Browser) -> None:
    world.chain.silent = True
    for path in ("/jobs", "/members", "/keys", "/sessions", "/password", "/invite"):
        ada.open(f"/account{path}")
    assert "the chain does not answer" in ada.open("/account/limits", 503).text


FORMS = (
    ("/members", {"email": "eve@example.com", "role": "owner"}),
    (f"/members/{NOBODY}/role", {"role": "owner", "sure": "yes"}),
    (f"/members/{NOBODY}/remove", {"sure": "yes"}),
    (f"/invites/{NOBODY}/end", {}),
    ("/keys", {"name": "mine", "days": "9", "scope_manage": "yes"}),
    (f"/keys/{NOBODY}/end", {"sure": "yes"}),
    ("/limits", {"warn_below": "1"}),
    ("/withdrawals", {"amount": "1", "sure": "yes", "key": NOBODY}),
    ("/withdrawal-address", {"address": STRANGER.address, "sure": "yes"}),
)


def test_no_form_of_another_site_or_session_is_taken(ada: Browser, introduce: Introduce) -> None:
    others = csrf(introduce("eve@example.com"))
    forms = (*FORMS, ("/invite", {"token": "x"}), ("/password", {"old": PASSWORD, "new": "x" * 12}))
    for path, fields in (*forms, ("/switch", {"account": ADDRESS})):
        own = csrf(ada)
        for given, site in (({}, "same-origin"), ({"csrf": others}, "none"), ({"csrf": own}, "cross-site")):
            answer = ada.send(f"/account{path}", {**fields, **given}, **{"Sec-Fetch-Site": site})
            assert answer.status_code == 403, (path, given)


@pytest.mark.parametrize("role", ["viewer", "member"])
def test_who_may_not_manage_sees_no_button_and_is_refused(
    world: World, ada: Browser, introduce: Introduce, role: str
) -> None:
    guest = introduce("grace@example.com")
    joined(ada, guest, "grace@example.com", role)
    assert not any("/account/keys" in str(dict(values)) for _, values in guest.open("/account").tags)
    for path in ("/limits", "/withdrawals", "/members"):
        actions = [
            values.get("action") for tag, values in guest.open(f"/account{path}").tags if tag == "form"
        ]
        assert all(str(each).endswith("/remove") for each in actions), (path, actions)  # anybody may leave
    assert len(ids(guest, "/members", "members")) == 1
    for path, fields in FORMS:
        for given in (fields, {name: value for name, value in fields.items() if name != "sure"}):
            send(guest, path, 403, **given)
    guest.open("/account/keys", 403)
    assert "Grace" not in ada.open("/account/keys").text


def test_what_is_anothers_is_as_if_it_did_not_exist(ada: Browser, introduce: Introduce) -> None:
    eve = introduce("eve@example.com")
    send(ada, "/members", 200, email="grace@example.com", role="viewer")
    send(ada, "/keys", 200, name="mine", days="9")
    (member, _), (invite,), (key,) = (
        ids(ada, page, kind)
        for page, kind in (("/members", "members"), ("/members", "invites"), ("/keys", "keys"))
    )
    for path, fields in (
        ("/members/{}/role", {"role": "viewer"}),
        ("/members/{}/remove", {}),
        ("/invites/{}/end", {}),
        ("/keys/{}/end", {}),
    ):
        for sure in ({}, {"sure": "yes"}):
            texts = {
                re.sub(r"[0-9a-f]{32,}", "", send(eve, path.format(each), 404, **fields, **sure))
                for each in (NOBODY, {"m": member, "i": invite, "k": key}[path[1]])
            }
            assert len(texts) == 1, path
    assert (len(ids(ada, "/members", "invites")), len(ids(ada, "/keys", "keys"))) == (1, 1)


# ------------------------------------------------------------------------------------------ people and keys


def test_an_invite_is_shown_once_and_brings_its_person_in(ada: Browser, introduce: Introduce) -> None:
    grace = introduce("grace@example.com")
    token = shown_once(send(ada, "/members", 200, email="grace@example.com", role="viewer"))
    listed = ada.open("/account/members").text
    assert "grace@example.com" in listed
    assert token not in listed
    assert "there is no such invite for you" in send(ada, "/invite", 404, token=token)
    send(grace, "/invite", token=token)
    assert "a viewer" in grace.open("/account").text
    own = SEED.signer(2).address
    send(grace, "/switch", account=own)
    assert "an owner" in grace.open("/account").text
    send(grace, "/switch", 404, account=STRANGER.address)


def test_a_role_and_a_member_go_only_when_it_is_said_twice(ada: Browser, introduce: Introduce) -> None:
    grace = introduce("grace@example.com")
    joined(ada, grace, "grace@example.com", "owner")
    other = ids(grace, "/members", "members")[-1]
    assert "Make grace@example.com a viewer?" in send(ada, f"/members/{other}/role", 200, role="viewer")
    assert "an owner" in grace.open("/account").text
    send(ada, f"/members/{other}/role", role="viewer", sure="yes")
    assert "a viewer" in grace.open("/account").text
    assert "Remove grace@example.com?" in send(ada, f"/members/{other}/remove", 200)
    send(grace, f"/members/{other}/remove", sure="yes")  # leaves by herself
    assert grace.http.get("/account").status_code == 303
    assert "grace@example.com" not in ada.open("/account/members").text


def test_the_only_owner_stays(ada: Browser) -> None:
    own = ids(ada, "/members", "members")[0]
    for path, fields in ((f"/members/{own}/role", {"role": "viewer"}), (f"/members/{own}/remove", {})):
        assert "an account needs an owner" in send(ada, path, 409, sure="yes", **fields)
    assert "an owner" in ada.open("/account").text


def test_an_invite_is_taken_back(ada: Browser, introduce: Introduce) -> None:
    grace = introduce("grace@example.com")
    token = shown_once(send(ada, "/members", 200, email="grace@example.com", role="member"))
    send(ada, f"/invites/{ids(ada, '/members', 'invites')[0]}/end")
    assert send(grace, "/invite", 404, token=token)


def test_a_key_is_shown_once_used_and_ended(world: World, ada: Browser) -> None:
    assert "<img" not in send(ada, "/keys", 200, name=EVIL, days="30", scope_order="yes")
    token = shown_once(send(ada, "/keys", 200, name="nightly", days="30", scope_manage="yes"))
    key = {"Authorization": f"Bearer {token}"}
    assert world.http.get("/v1/account", headers=key).json()["scopes"] == ["manage", "read"]
    listed = ada.open("/account/keys")
    assert token not in listed.text
    assert "nightly" in listed.text
    newest = ids(ada, "/keys", "keys")
    assert "End the key" in send(ada, f"/keys/{newest[0]}/end", 200)
    assert world.http.get("/v1/account", headers=key).status_code == 200
    for each in newest:
        send(ada, f"/keys/{each}/end", sure="yes")
    assert world.http.get("/v1/account", headers=key).status_code == 401
    assert ids(ada, "/keys", "keys") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "", "days": "9"},
        {"name": "x" * 101, "days": "9"},
        {"name": "a\nb", "days": "9"},
        *({"name": "mine", "days": days} for days in ("", "0", "-1", "9.5", "3651", "9" * 6000, "٩")),
    ],
)
def test_what_is_no_key_comes_back_with_what_is_wrong(ada: Browser, fields: dict[str, str]) -> None:
    text = send(ada, "/keys", 422, **fields)
    assert 'role="alert"' in text
    assert "pfx_" not in text


# ---------------------------------------------------------------------------------------------------- money


def test_limits_are_dollars_as_people_write_them_to_the_last_unit(world: World, ada: Browser) -> None:
    send(ada, "/limits", per_job="1,234.5", per_day="$99.000001", warn_below=" 0.07 ")
    with world.store.read() as connection:
        identity = managed(world).people.identity(str(ada.http.cookies["prixfixe_session"]))
        limits = managed(world).spending.of(connection, identity)
    assert limits.per_job == Money(1_234_500_000)
    assert limits.per_day == Money(99_000_001)
    assert limits.warn_below == Money(70_000)
    seen = ada.open("/account/limits?saved=yes")
    given = {values["name"]: values["value"] for tag, values in seen.tags if tag == "input"}
    assert (given["per_job"], given["per_day"], given["warn_below"]) == ("1234.50", "99.000001", "0.07")
    send(ada, "/limits")  # empty: none
    assert ada.open("/account/limits").text.count("none") == 2


@pytest.mark.parametrize(
    "amount", ["12.3456789", "12,50", "-1", "1e3", "0x10", "NaN", "1 000", "9" * 5000, "99999999999999", EVIL]
)
def test_what_is_no_amount_changes_no_limit_and_withdraws_nothing(
    world: World, ada: Browser, amount: str
) -> None:
    text = send(ada, "/limits", 422, per_job=amount, warn_below="5")
    assert 'role="alert"' in text
    assert "<img" not in text
    assert "$10.00" in ada.open("/account/limits").text
    send(ada, "/withdrawal-address", address=CUSTOMER.address, sure="yes")
    answer = ada.send("/account/withdrawals", {"csrf": csrf(ada), "amount": amount})
    assert answer.status_code in (402, 422), answer.text
    assert "Nothing was withdrawn yet." in ada.open("/account/withdrawals").text


def test_money_leaves_once_after_it_was_said_twice(world: World, ada: Browser) -> None:
    assert "Let money leave to this address?" in send(
        ada, "/withdrawal-address", 200, address=CUSTOMER.address
    )
    assert CUSTOMER.address not in ada.open("/account/withdrawals").text
    send(ada, "/withdrawal-address", address=CUSTOMER.address, sure="yes")
    world.chain.accounts[ADDRESS] = AccountView(100 * DOLLAR, 0, 1)
    assert "more than" in send(ada, "/withdrawals", 402, amount="100.000001")
    sure = send(ada, "/withdrawals", 200, amount="25.5")
    assert "Withdraw $25.50?" in sure
    assert CUSTOMER.address in sure
    assert "Nothing was withdrawn yet." in ada.open("/account/withdrawals").text
    key = re.search(r'name="key" value="([0-9a-f]{32})"', sure)
    assert key is not None
    for _ in range(2):  # sent twice, it is one
        send(ada, "/withdrawals", amount="25.50", sure="yes", key=key[1])
    seen = ada.open("/account/withdrawals").text
    assert seen.count("$25.50") == 2  # in the list, and promised
    assert "$74.50" in seen
    assert "on its way" in send(ada, "/withdrawals", 409, amount="1")
    for bad in ("", "k", EVIL):
        send(ada, "/withdrawals", 422, amount="1", sure="yes", key=bad)


def test_another_address_waits_says_how_long_and_can_be_taken_back(world: World, ada: Browser) -> None:
    send(ada, "/withdrawal-address", address=CUSTOMER.address, sure="yes")
    send(ada, "/withdrawal-address", address=STRANGER.address, sure="yes")
    world.chain.time += 3600
    assert "in 2 d 23 h" in ada.open("/account/withdrawals").text
    assert STRANGER.address in ada.open("/account").text
    send(ada, "/withdrawal-address", address=CUSTOMER.address, sure="yes")
    assert STRANGER.address not in ada.open("/account/withdrawals").text
    send(ada, "/withdrawal-address", address=STRANGER.address, sure="yes")
    world.chain.time = CHAIN_TIME + 4 * 86_400
    seen = ada.open("/account/withdrawals").text
    assert STRANGER.address in seen
    assert CUSTOMER.address not in seen


@pytest.mark.parametrize("address", ["", "0x12", EVIL, ADDRESS, "0x" + "0" * 40])
def test_what_is_no_address_of_ones_own_is_not_fixed(ada: Browser, address: str) -> None:
    text = send(ada, "/withdrawal-address", 422, address=address, sure="yes")
    assert 'role="alert"' in text
    assert "no address yet" in ada.open("/account/withdrawals").text


def test_another_password_ends_every_other_session(world: World, ada: Browser) -> None:
    elsewhere = Browser(world)
    known = {"email": "ada@example.com", "password": PASSWORD}
    assert elsewhere.send("/sign-in", known).status_code == 303
    assert "the old password is wrong" in send(ada, "/password", 403, old="wrong horse", new="x" * 12)
    assert PASSWORD not in send(ada, "/password", 422, old=PASSWORD, new="short")
    assert elsewhere.open("/account")
    send(ada, "/password", old=PASSWORD, new="another horse battery")
    assert "Every other session has ended." in ada.open("/account/password?changed=yes").text
    assert elsewhere.http.get("/account").status_code == 303
    elsewhere.http.close()


# ------------------------------------------------------------------------------------- jobs and statement


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("first=2026-11-01&last=2026-11-30", 200),
        ("first=2026-11-01&last=2026-10-01", 422),
        ("first=yesterday", 422),
        ("first=1969-12-31", 422),
        ("last=9999-12-31", 422),
        ("first=%3Cimg%3E", 422),
    ],
)
def test_a_period_of_the_statement_is_two_days(ada: Browser, query: str, status: int) -> None:
    seen = ada.open(f"/account/statement?{query}", status)
    assert ("Opening balance" in seen.text) == (status == 200)
    assert not any(tag == "img" for tag, _ in seen.tags)


def test_jobs_are_listed_by_their_state(ada: Browser) -> None:
    for state in ("", "queued", "running", "settled", "refunded"):
        ada.open(f"/account/jobs?state={state}")
    for wrong in ("state=lost", "cursor=x"):
        assert ada.http.get(f"/account/jobs?{wrong}").status_code == 422


def test_older_withdrawals_are_on_further_pages(
    ada: Browser, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketplace.api.purse_pages._PAGE", 1)
    with world.store.write() as connection:
        number = connection.execute(select(accounts.c.number)).scalar_one()
        for at in (1, 2):
            gone = {"id": f"{at:032x}", "account": number, "key": str(at), "to": STRANGER.address}
            values = {**gone, "amount": at * 10**6, "asked_by": "ada", "created_at": at}
            connection.execute(insert(withdrawals).values(**values))
    newest = ada.open("/account/withdrawals")
    assert ("$2.00" in newest.text, "$1.00" in newest.text) == (True, False)
    further = next(values["href"] for tag, values in newest.tags if "cursor=" in values.get("href", ""))
    older = ada.open(further)
    assert ("$2.00" in older.text, "$1.00" in older.text) == (False, True)
    assert all("cursor=" not in values.get("href", "") for _, values in older.tags)
