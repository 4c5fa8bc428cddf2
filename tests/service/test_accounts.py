"""Managed accounts: signing up and in, sessions that nobody else can use, keys, teams; nothing leaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from marketplace.accounts.passwords import Passwords
from marketplace.chain import AccountView
from marketplace.services import Services
from marketplace.store.account_tables import accounts, api_keys, invites, people, person_sessions
from marketplace.store.tables import chain_events, jobs
from prixfixe.errors import ConfigurationError, PrixfixeError, StorageFull, Unavailable
from prixfixe.protocol.accounts import SignIn
from prixfixe.seeds import LocalSeed
from tests.support.accounts import PASSWORD, Person
from tests.support.service import CHAIN_ID, CUSTOMER, DOLLAR, MARKET, OPERATOR, SEED, World, where

GUESSED = "0" * 32
Introduce = Callable[[str], Person]


@pytest.fixture
def introduce(world: World) -> Iterator[Introduce]:
    """A person with a browser, by name."""
    made: list[Person] = []

    def introduced(name: str) -> Person:
        made.append(Person(world, f"{name}@example.com"))
        return made[-1]

    yield introduced
    for each in made:
        each.close()


@pytest.fixture
def ada(introduce: Introduce) -> Person:
    person = introduce("ada")
    person.sign_up(name="Ada's books", channel="fair-2026")
    return person


def _rows(world: World, table: Any) -> list[Any]:
    with world.store.read() as connection:
        return list(connection.execute(select(table)).mappings())


# --------------------------------------------------------------------------------------------- signing up


def test_a_new_account_has_the_address_of_its_number(world: World, introduce: Introduce) -> None:
    first, second = (introduce(name).sign_up().signed_in for name in ("ada", "bob"))
    assert (first.account, second.account) == (SEED.signer(1).address, SEED.signer(2).address)
    assert first.role == "owner"


def deposited(world: World, address: str) -> None:
    """As the indexer mirrors it; none of it is left."""
    event = {
        **where(3),
        "block_hash": "0x" + "ab" * 32,
        "name": "Deposited",
        "data": {"account": address, "from_": OPERATOR.address, "amount": "1"},
    }
    with world.store.write() as connection:
        connection.execute(insert(chain_events).values(event))


def ordered(world: World, address: str) -> None:
    world.publish()
    world.placed()
    with world.store.write() as connection:
        connection.execute(update(jobs).values(customer=address))


def funded(world: World, address: str) -> None:
    world.chain.accounts[address] = AccountView(DOLLAR, 0, 0)


@pytest.mark.parametrize("trace", [deposited, ordered, funded])
def test_a_key_that_had_money_or_orders_is_given_to_nobody_when_the_table_of_accounts_is_lost(
    world: World, introduce: Introduce, trace: Callable[[World, str], None]
) -> None:
    trace(world, SEED.signer(1).address)
    assert introduce("eve").sign_up().signed_in.account == SEED.signer(2).address


def test_nobody_signs_up_while_the_chain_does_not_tell_whose_a_key_is(
    world: World, introduce: Introduce
) -> None:
    world.chain.silent = True
    ada = introduce("ada")
    assert ada.call("POST", "", {"email": ada.email, "password": PASSWORD}).status_code == 503
    assert _rows(world, people) == []


def test_an_account_is_open_though_the_chain_goes_away_before_its_standing_withdrawal(
    world: World, introduce: Introduce, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.services.managed is not None

    def away(*_: object) -> None:
        raise Unavailable("the chain does not answer", code="chain-unavailable")

    monkeypatch.setattr(type(world.services.managed.withdrawals), "standing", away)
    opened = introduce("ada").sign_up(withdraw_to=CUSTOMER.address)
    assert (opened.signed_in.account, opened.standing) == (SEED.signer(1).address, None)


def test_the_channel_is_kept_with_the_account(world: World, ada: Person) -> None:
    (row,) = _rows(world, accounts)
    assert (row["name"], row["channel"]) == ("Ada's books", "fair-2026")


def test_neither_password_nor_token_is_stored(world: World, ada: Person) -> None:
    key = ada.key("read")["Authorization"].removeprefix("Bearer ")
    invite = ada.call("POST", "/invites", {"email": "bob@example.com", "role": "viewer"}).json()["token"]
    stored = "".join(str(_rows(world, table)) for table in (people, person_sessions, api_keys, invites))
    assert _rows(world, people)[0]["password"].startswith("$argon2id$")
    for secret in (PASSWORD, ada.cookie, key, invite):
        assert secret not in stored


@pytest.mark.parametrize(
    "change",
    [
        {"email": "nobody"},
        {"email": "a b@example.com"},
        {"email": "a@b@example.com"},
        {"email": "a\r\nb@example.com"},
        {"password": "short"},
        {"password": "x" * 201},
        {"channel": "<script>"},
        {"name": "two\nlines"},
        {"withdraw_to": "0x1"},
        {"role": "owner"},
    ],
)
def test_what_is_no_sign_up_is_refused_and_not_repeated(
    world: World, introduce: Introduce, change: dict[str, str]
) -> None:
    body = {"email": "ada@example.com", "password": PASSWORD, **change}
    answer = introduce("ada").call("POST", "", body)
    assert answer.status_code == 422
    assert body["password"] not in answer.text
    assert _rows(world, people) == []


def test_an_address_signs_up_once_however_it_is_spelled(ada: Person, introduce: Introduce) -> None:
    answer = introduce("x").call("POST", "", {"email": "ADA@example.com", "password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (409, "email-taken")


def test_a_service_without_a_seed_keeps_no_accounts(tmp_path: Path) -> None:
    world = World(tmp_path, seed=None)
    answer = world.http.post("/v1/account", json={"email": "a@b.c", "password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (404, "no-managed-accounts")
    world.close()


def test_accounts_of_another_seed_stop_the_start(world: World, ada: Person) -> None:
    other = LocalSeed(b"\x05" * 32, chain_id=CHAIN_ID)
    with pytest.raises(ConfigurationError) as refused:
        Services.build(world.services.settings, MARKET, world.store, world.chain, OPERATOR, seed=other)
    assert refused.value.code == "another-seed"


# --------------------------------------------------------------------------------------------- sessions


def test_the_cookie_is_for_this_site_and_no_script(ada: Person) -> None:
    answer = ada.call("POST", "/session", {"email": ada.email, "password": PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie
    assert answer.headers["cache-control"] == "no-store"


def test_signing_in_gives_a_new_session_and_ends_the_one_that_the_browser_brought(
    world: World, ada: Person
) -> None:
    before = ada.cookie
    ada.sign_in()
    assert ada.cookie != before
    answer = world.http.get("/v1/account/session", headers={"Cookie": f"prixfixe_session={before}"})
    assert answer.status_code == 401


def test_a_session_that_was_planted_is_not_taken_over(world: World, ada: Person) -> None:
    planted = {"Cookie": "prixfixe_session=planted"}
    body = {"email": ada.email, "password": PASSWORD}
    answer = world.http.post("/v1/account/session", json=body, headers=planted)
    assert answer.status_code == 200
    assert "planted" not in answer.headers["set-cookie"]
    assert world.http.get("/v1/account/session", headers=planted).status_code == 401


def test_who_is_unknown_is_answered_as_who_is_wrong(ada: Person, introduce: Introduce) -> None:
    bob = introduce("bob")
    wrong = bob.call("POST", "/session", {"email": ada.email, "password": "wrong password"})
    unknown = bob.call("POST", "/session", {"email": "nobody@example.com", "password": "wrong password"})
    assert wrong.status_code == 401
    assert wrong.json() == unknown.json()


def test_an_unknown_address_costs_a_hash_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str | None] = []
    real = Passwords.is_right

    def counted(self: Passwords, stored: str | None, password: str) -> bool:
        compared.append(stored)
        return real(self, stored, password)

    monkeypatch.setattr(Passwords, "is_right", counted)
    assert world.services.managed is not None
    for email in ("ada@example.com", "nobody@example.com"):
        with pytest.raises(Exception, match="password is wrong"):
            world.services.managed.people.sign_in(SignIn(email=email, password="x"))
    assert compared == [None, None]


def test_a_session_ends_by_its_time_and_by_signing_out(world: World, ada: Person) -> None:
    assert ada.call("GET", "/session").status_code == 200
    assert ada.call("DELETE", "/session").status_code == 204
    assert ada.call("GET", "/session").status_code == 401
    session = ada.sign_in()
    world.clock.now = session.expires_at
    assert ada.call("GET", "/session").json()["code"] == "session-expired"


@pytest.mark.parametrize("token", [None, "", "0" * 64, "ä"])
def test_what_changes_something_needs_the_sessions_token(ada: Person, token: str | None) -> None:
    headers = {} if token is None else {"X-CSRF-Token": token.encode()}
    body = {"name": "k", "scopes": ["read"]}
    answer = ada.browser.post("/v1/account/keys", json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "bad-csrf-token")
    assert ada.browser.delete("/v1/account/session", headers=headers).status_code == 403
    assert ada.browser.put(f"/v1/blobs/{'0' * 64}", content=b"", headers=headers).status_code == 403


def test_anothers_csrf_token_is_not_taken(ada: Person, introduce: Introduce) -> None:
    bob = introduce("bob")
    bob.sign_up()
    answer = ada.call("POST", "/keys", {"name": "k", "scopes": ["read"]}, **{"X-CSRF-Token": bob.csrf})
    assert answer.json()["code"] == "bad-csrf-token"


def test_another_password_ends_every_session(ada: Person, world: World) -> None:
    elsewhere = Person(world, ada.email)
    elsewhere.sign_in()
    answer = ada.call("POST", "/password", {"old": "wrong", "new": "another password"})
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong-password")
    answer = ada.call("POST", "/password", {"old": PASSWORD, "new": "another password"})
    assert answer.status_code == 200
    assert ada.call("GET", "/session").status_code == 200
    assert elsewhere.call("GET", "/session").status_code == 401
    assert elsewhere.call("POST", "/session", {"email": ada.email, "password": PASSWORD}).status_code == 401
    elsewhere.close()


def test_a_password_that_is_replaced_while_it_is_compared_opens_nothing_and_comes_not_back(
    world: World, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaced(self: Passwords, stored: str | None, password: str) -> bool:
        with world.store.write() as connection:
            connection.execute(update(people).values(password="the new one"))
        return True

    monkeypatch.setattr(Passwords, "is_outdated", lambda self, stored: True)
    for path, body in (
        ("/session", {"email": ada.email, "password": PASSWORD}),
        ("/password", {"old": PASSWORD, "new": "another password"}),
    ):
        before = {"password": "the old one"}
        with world.store.write() as connection:
            connection.execute(update(people).values(before))
        with monkeypatch.context() as patched:
            patched.setattr(Passwords, "is_right", replaced)
            answer = ada.call("POST", path, body)
        assert (answer.status_code, answer.json()["code"]) == (401, "wrong-password")
        assert _rows(world, people)[0]["password"] == "the new one"


def test_passwords_are_counted_by_person_and_by_network_address(tmp_path: Path) -> None:
    world = World(tmp_path, passwords_per_minute=3, trusted_proxies=("127.0.0.1/32",))
    bob = Person(world, "bob@example.com")

    def tried(email: str, address: str) -> int:
        headers = {"X-Forwarded-For": address}
        return bob.call("POST", "/session", {"email": email, "password": "x"}, **headers).status_code

    assert [tried("ada@example.com", f"10.0.0.{at}") for at in range(4)] == [401, 401, 401, 429]
    assert [tried(f"p{at}@example.com", "10.1.0.1") for at in range(4)] == [401, 401, 401, 429]
    bob.close()
    world.close()


# ------------------------------------------------------------------------------------------------- keys


def test_a_key_reads_what_its_account_has(world: World, ada: Person) -> None:
    headers = ada.key("read")
    assert world.http.get("/v1/jobs", headers=headers).json() == {"items": [], "next": None}
    assert ada.browser.get("/v1/jobs").json() == {"items": [], "next": None}


def test_a_key_uploads_only_with_the_scope_to_order(world: World, ada: Person) -> None:
    name = world.upload(CUSTOMER, b"theirs")
    refused = world.http.put(f"/v1/blobs/{name}", content=b"theirs", headers=ada.key("read"))
    assert (refused.status_code, refused.json()["code"]) == (403, "scope-missing")
    allowed = world.http.put(f"/v1/blobs/{name}", content=b"theirs", headers=ada.key("order"))
    assert allowed.status_code in (200, 201)


def test_a_key_is_shown_once_and_listed_with_its_last_use(world: World, ada: Person) -> None:
    headers = ada.key("read", days=30)
    (listed,) = ada.call("GET", "/keys").json()["items"]
    assert listed["used_at"] is None
    assert headers["Authorization"].removeprefix("Bearer ") not in str(listed)
    world.http.get("/v1/jobs", headers=headers)
    (listed,) = ada.call("GET", "/keys").json()["items"]
    assert listed["used_at"] == int(world.clock.now)
    assert listed["made_by"] == ada.email


@pytest.mark.parametrize("why", [StorageFull("full"), Unavailable("away")])
def test_who_only_reads_can_when_a_last_use_cannot_be_written_down(
    world: World, ada: Person, why: PrixfixeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = ada.key("read", days=30)
    world.clock.now += 3600

    def fail(*_: object, **__: object) -> None:
        raise why

    monkeypatch.setattr(world.store, "together", fail)
    assert world.http.get("/v1/jobs", headers=headers).status_code == 200
    assert ada.browser.get("/v1/jobs").status_code == 200


def test_keys_that_are_unknown_revoked_or_over_are_refused_in_the_same_words(
    world: World, ada: Person
) -> None:
    def refused(headers: dict[str, str]) -> Any:
        answer = world.http.get("/v1/jobs", headers=headers)
        assert answer.status_code == 401
        return answer.json()

    unknown = refused({"Authorization": "Bearer pfx_" + "a" * 43})
    revoked = ada.key("read")
    (listed,) = ada.call("GET", "/keys").json()["items"]
    assert ada.call("DELETE", f"/keys/{listed['id']}").json()["revoked_at"] is not None
    assert refused(revoked) == unknown
    over = ada.key("read", days=1)
    world.clock.now += 86_400
    assert refused(over) == unknown


def test_a_key_makes_no_keys_and_invites_nobody(world: World, ada: Person) -> None:
    headers = ada.key("manage")
    for path, body in (
        ("keys", {"name": "k", "scopes": ["manage"]}),
        ("invites", {"email": "eve@example.com", "role": "owner"}),
    ):
        answer = world.http.post(f"/v1/account/{path}", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "person-needed")


# ------------------------------------------------------------------------------------------------- teams


def test_a_viewer_reads_and_orders_nothing(world: World, ada: Person, introduce: Introduce) -> None:
    bob = introduce("bob")
    bob.sign_up()
    bob.joins(ada, "viewer")
    assert [each["email"] for each in bob.call("GET", "/members").json()["items"]] == [ada.email, bob.email]
    assert bob.browser.get("/v1/jobs").status_code == 200
    csrf = {"X-CSRF-Token": bob.csrf}
    upload = bob.browser.put(f"/v1/blobs/{'0' * 64}", content=b"", headers=csrf)
    cancel = bob.browser.post(f"/v1/jobs/0x{'0' * 64}/cancel", headers=csrf)
    assert [each.json()["code"] for each in (upload, cancel)] == ["scope-missing", "scope-missing"]
    assert bob.call("GET", "/keys").json()["code"] == "scope-missing"


def test_an_invite_is_for_one_person_once_and_for_a_week(
    world: World, ada: Person, introduce: Introduce
) -> None:
    bob, eve = introduce("bob"), introduce("eve")
    for each in (bob, eve):
        each.sign_up()
    token = ada.call("POST", "/invites", {"email": bob.email, "role": "member"}).json()["token"]
    stolen = eve.call("POST", "/invites/accept", {"token": token})
    unknown = eve.call("POST", "/invites/accept", {"token": "x" * 43})
    assert (stolen.status_code, stolen.json()) == (404, unknown.json())
    answer = bob.call("POST", "/invites/accept", {"token": token})
    bob.csrf = answer.json()["csrf"]
    assert (answer.json()["account"], answer.json()["role"]) == (SEED.signer(1).address, "member")
    assert bob.call("POST", "/invites/accept", {"token": token}).status_code == 404
    late = ada.call("POST", "/invites", {"email": eve.email, "role": "member"}).json()["token"]
    world.clock.now += 7 * 86_400
    eve.sign_in()
    assert eve.call("POST", "/invites/accept", {"token": late}).status_code == 404


def test_who_is_removed_is_out_at_once_with_the_keys_it_made(
    world: World, ada: Person, introduce: Introduce
) -> None:
    bob = introduce("bob")
    bob.sign_up()
    bob.joins(ada, "owner")
    headers = bob.key("manage")
    person = next(
        each["id"] for each in ada.call("GET", "/members").json()["items"] if each["email"] == bob.email
    )
    assert ada.call("DELETE", f"/members/{person}").status_code == 204
    assert bob.call("GET", "/session").status_code == 401
    assert world.http.get("/v1/jobs", headers=headers).status_code == 401
    assert bob.sign_in().account == SEED.signer(2).address  # its own is still there


@pytest.mark.parametrize("how", ["removed", "demoted"])
def test_no_key_and_no_invite_outlasts_the_owner_who_made_it(
    world: World, ada: Person, introduce: Introduce, how: str
) -> None:
    bob, eve = introduce("bob"), introduce("eve")
    bob.sign_up()
    eve.sign_up()
    bob.joins(ada, "owner")
    managing, reading = bob.key("manage"), bob.key("read")
    invite = bob.call("POST", "/invites", {"email": eve.email, "role": "owner"}).json()["token"]
    person = next(
        each["id"] for each in ada.call("GET", "/members").json()["items"] if each["email"] == bob.email
    )
    if how == "removed":
        assert ada.call("DELETE", f"/members/{person}").status_code == 204
    else:
        assert ada.call("PUT", f"/members/{person}", {"role": "member"}).status_code == 200
    assert world.http.get("/v1/jobs", headers=managing).status_code == 401
    assert world.http.get("/v1/jobs", headers=reading).status_code == (401 if how == "removed" else 200)
    assert eve.call("POST", "/invites/accept", {"token": invite}).status_code == 404


def test_an_account_keeps_an_owner(ada: Person) -> None:
    (me,) = ada.call("GET", "/members").json()["items"]
    for answer in (
        ada.call("PUT", f"/members/{me['id']}", {"role": "viewer"}),
        ada.call("DELETE", f"/members/{me['id']}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "last-owner")
    assert ada.call("GET", "/members").json()["items"] == [me]


def test_one_moves_between_ones_own_accounts_only(ada: Person, introduce: Introduce) -> None:
    bob = introduce("bob")
    bob.sign_up()
    bob.joins(ada, "viewer")
    own, shared, foreign = SEED.signer(2).address, SEED.signer(1).address, SEED.signer(9).address
    assert {each["account"] for each in bob.call("GET", "/session").json()["accounts"]} == {own, shared}
    answer = bob.call("PUT", "/session", {"account": own})
    assert answer.json()["role"] == "owner"
    bob.csrf = answer.json()["csrf"]
    assert ada.call("PUT", "/session", {"account": own}).status_code == 404
    assert ada.call("PUT", "/session", {"account": foreign}).status_code == 404


# ---------------------------------------------------------------------------------------------- nothing leaks

ROUTES = [
    ("GET", "/keys", None, "manage"),
    ("POST", "/keys", {"name": "k", "scopes": ["read"]}, "manage"),
    ("DELETE", "/keys/{id}", None, "manage"),
    ("GET", "/members", None, "read"),
    ("PUT", "/members/{id}", {"role": "owner"}, "manage"),
    ("DELETE", "/members/{id}", None, "manage"),
    ("GET", "/invites", None, "manage"),
    ("POST", "/invites", {"email": "eve@example.com", "role": "owner"}, "manage"),
    ("DELETE", "/invites/{id}", None, "manage"),
]


@pytest.mark.parametrize(("method", "path", "body", "scope"), ROUTES)
def test_each_route_tells_strangers_nothing(
    world: World, ada: Person, introduce: Introduce, method: str, path: str, body: Any, scope: str
) -> None:
    """No key, an expired key, another's key, a viewer's key, a guessed id."""
    bob = introduce("bob")
    bob.sign_up()
    expired, viewing, others = ada.key("manage", days=1), ada.key("read", days=9), bob.key("manage", days=9)
    bob.call("POST", "/invites", {"email": "eve@example.com", "role": "viewer"})
    theirs = {
        "keys": bob.call("GET", "/keys").json()["items"][0]["id"],
        "members": bob.call("GET", "/members").json()["items"][0]["id"],
        "invites": bob.call("GET", "/invites").json()["items"][0]["id"],
    }
    managing = ada.key("manage", days=9)
    world.clock.now += 86_401

    def asked(headers: dict[str, str], id: str = GUESSED) -> tuple[int, Any]:
        url = f"/v1/account{path.replace('{id}', id)}"
        answer = world.http.request(method, url, json=body, headers=headers)
        return answer.status_code, answer.json() if answer.content else None

    assert asked({})[0] == 401
    assert asked(expired)[0] == 401
    if scope == "manage":
        assert asked(viewing)[0] == 403
    if "{id}" in path:
        real = theirs[path.split("/")[1]]
        assert asked(managing, real) == asked(managing, GUESSED)
        assert asked(managing, GUESSED)[0] == 404
        assert asked(viewing, real) == asked(viewing, GUESSED)
        assert asked({}, real) == asked({}, GUESSED)
    assert ada.email not in str(asked(others))
