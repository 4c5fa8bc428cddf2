"""Sign-in: one nonce, one signature, one session, for this service and this chain only."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from marketplace.sessions import Sessions
from marketplace.settings import ServiceSettings
from marketplace.store.tables import sessions
from prixfixe.errors import ConfigurationError
from prixfixe.keys import LocalSigner
from prixfixe.protocol.signatures import message_digest
from prixfixe.protocol.siwe import SignIn
from tests.support.service import CHAIN_ID, CUSTOMER, HOST, STRANGER, World


def _message(world: World, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "domain": HOST,
        "address": CUSTOMER.address,
        "uri": f"http://{HOST}",
        "chain_id": CHAIN_ID,
        "nonce": world.http.get("/v1/sessions/nonce").json()["nonce"],
        "issued_at": "2026-01-02T03:04:05Z",
    }
    return SignIn(**{**fields, **changes}).compose()


def _open(world: World, text: str, signer: LocalSigner = CUSTOMER) -> tuple[int, dict[str, Any]]:
    signature = "0x" + signer.sign_digest(message_digest(text)).hex()
    answer = world.http.post("/v1/sessions", json={"message": text, "signature": signature})
    return answer.status_code, answer.json()


def test_a_signed_nonce_opens_a_session_for_a_day(world: World) -> None:
    status, session = _open(world, _message(world))
    assert (status, session["address"]) == (200, CUSTOMER.address)
    header = {"Authorization": f"Bearer {session['token']}"}
    assert world.http.get("/v1/jobs", headers=header).json() == {"items": [], "next": None}
    world.clock.now = session["expires_at"]
    answer = world.http.get("/v1/jobs", headers=header)
    assert (answer.status_code, answer.json()["code"]) == (401, "session-expired")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_token_is_not_stored(world: World) -> None:
    _, session = _open(world, _message(world))
    with world.store.read() as connection:
        row = connection.execute(select(sessions)).mappings().one()
    assert session["token"] not in str(dict(row))
    assert len(session["token"]) >= 43  # 256 bits


def test_a_nonce_opens_one_session(world: World) -> None:
    text = _message(world)
    assert _open(world, text)[0] == 200
    status, problem = _open(world, text)
    assert (status, problem["code"]) == (401, "bad-nonce")


def test_a_nonce_is_good_for_minutes(world: World) -> None:
    text = _message(world)
    world.clock.now += 301
    assert _open(world, text)[1]["code"] == "bad-nonce"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"domain": "evil.example", "uri": "http://evil.example"}, "wrong-domain"),
        ({"uri": "http://evil.example"}, "wrong-domain"),
        ({"chain_id": 1}, "wrong-chain"),
        ({"nonce": "a" * 32}, "bad-nonce"),
        ({"expiration": "2026-01-02T03:04:06Z"}, "sign-in-expired"),
    ],
)
def test_a_message_for_something_else_opens_nothing(world: World, changes: dict[str, Any], code: str) -> None:
    world.clock.now = 1_790_000_000
    status, problem = _open(world, _message(world, **changes))
    assert (status, problem["code"]) == (401, code)


def test_another_key_cannot_sign_for_me(world: World) -> None:
    status, problem = _open(world, _message(world), STRANGER)
    assert (status, problem["code"]) == (401, "bad-signature")


def test_a_header_that_is_no_bearer_token_is_refused(world: World) -> None:
    for header in ("", "Basic abc", "Bearer", "Bearer  ", "Bearer nothing"):
        assert world.http.get("/v1/jobs", headers={"Authorization": header}).status_code == 401


def test_a_service_with_two_names_takes_both_and_no_third(world: World) -> None:
    settings = ServiceSettings(world.services.settings.data, HOST, other_domains=("service:8600",))
    ours = Sessions(world.store, settings, CHAIN_ID)
    assert ours.nonce("service:8600").domain == "service:8600"
    assert ours.nonce("evil.example").domain == HOST


def test_settings_come_from_the_environment_and_unknown_ones_are_refused() -> None:
    read = ServiceSettings.from_environment(
        {
            "PRIXFIXE_SERVICE_DATA": "data",
            "PRIXFIXE_SERVICE_OTHER_DOMAINS": "a:1, b:2",
            "PRIXFIXE_SERVICE_HEARTBEAT_SECONDS": "0.5",
            "HOME": "/root",
        },
        domain=HOST,
    )
    assert (read.domains, read.silence_seconds) == ((HOST, "a:1", "b:2"), 1.5)
    with pytest.raises(ConfigurationError, match="SPEED"):
        ServiceSettings.from_environment({"PRIXFIXE_SERVICE_SPEED": "1"}, data="d", domain=HOST)
    with pytest.raises(ConfigurationError, match="not a number"):
        ServiceSettings.from_environment({"PRIXFIXE_SERVICE_QUOTE_SECONDS": "x"}, domain=HOST)
    with pytest.raises(ConfigurationError, match="domain is"):
        ServiceSettings.from_environment({}, data="d", domain=f"http://{HOST}")
    with pytest.raises(ConfigurationError, match="data"):
        ServiceSettings.from_environment({}, domain=HOST)


def test_a_session_ends_when_its_wallet_leaves_and_no_other_does(world: World) -> None:
    """What somebody read of a page's memory is worth nothing afterwards."""
    own, others = dict(world.sign_in(CUSTOMER)), world.sign_in(STRANGER)
    assert world.http.delete("/v1/sessions", headers=own).status_code == 204
    assert world.http.get("/v1/jobs", headers=own).json()["code"] == "session-expired"
    assert world.http.delete("/v1/sessions", headers=own).status_code == 401
    assert world.http.delete("/v1/sessions").status_code == 401
    assert world.http.get("/v1/jobs", headers=others).status_code == 200
