"""What a stranger learns from any route: nothing, not even that something is there.

Every route of the app has a line in `DOORS`, and one without fails the first test. A stranger asks for what
is there and for what is not, and gets the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from marketplace.accounts.top_ups import credit
from marketplace.api.app import _PAGES, _ROUTERS
from marketplace.chain import AccountView
from prixfixe.protocol import wire
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.money import Money
from tests.support.accounts import Person
from tests.support.service import CUSTOMER, DOLLAR, PROVIDER, SEED, STRANGER, WORKER, World

ADDRESS = SEED.signer(1).address
SECRET = b"a,b\nsecret-row,1\n"
MARKERS = ("ada@example.com", "secret-", "secret@", "secret.", ADDRESS, CUSTOMER.address)
WORD, ID, HEX = "0x" + "5" * 64, "5" * 32, "5" * 64
SIGNATURE = "0x" + "11" * 65

ANYONE = "anyone"  # what it shows is public, or it takes a signature or a password of its own
CALLER = "caller"  # a wallet's session, or a key with `read`, with `order` for what changes something
CALLER_MANAGE = "caller with manage"  # a wallet's session, or a key with `manage`
CALLER_ORDER = "caller with order"  # a wallet's session, or a key with `order`
WALLET = "wallet"  # a wallet's session, and no key
READ, ORDER, MANAGE = "read", "order", "manage"  # a managed account's people and keys with this scope
PERSON = "person"  # a browser's cookie, and no key
PAGE = "page"  # a page of who is signed in: others are led to the sign-in


@dataclass(frozen=True)
class Door:
    """Who may enter. body: what it takes. real: of each id of the path, what is there."""

    who: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


_LOG = {"offset": 0, "text": "x"}
_OFFSET = {"Upload-Offset": "0", "Upload-Complete": "?0"}
_KEYED = {"Idempotency-Key": "k"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_RESOURCES = {"milli_vcpu": 1000, "memory_mib": 1024, "disk_mib": 1024, "slots": 1}
_REGISTRATION = {"provider": PROVIDER.address, "name": "w", "resources": _RESOURCES, "version": "1"}
_TERMS = {"terms": {"least_seconds": 1, "most_seconds": 2, "low": "0", "high": None}, "note": "why"}
_LOOK = {"bundle": "echo", "step": "look", "name": "a.csv", "sha256": HEX}
_MADE = {"file": {"name": "a.csv", "sha256": HEX, "size": 1}, "units": 1}

DOORS: dict[tuple[str, str], Door] = {
    ("GET", "/v1/health"): Door(ANYONE),
    ("GET", "/v1/ready"): Door(ANYONE),
    ("GET", "/v1/market"): Door(ANYONE),
    ("GET", "/v1/protocol"): Door(ANYONE),
    ("GET", "/v1/sessions/nonce"): Door(ANYONE),
    ("POST", "/v1/sessions"): Door(ANYONE),
    ("POST", "/v1/account"): Door(ANYONE),
    ("POST", "/v1/account/session"): Door(ANYONE),
    ("GET", "/v1/account/session"): Door(PERSON),
    ("PUT", "/v1/account/session"): Door(PERSON, {"account": ADDRESS}),
    ("DELETE", "/v1/account/session"): Door(PERSON),
    ("GET", "/v1/account/sessions"): Door(PERSON),
    ("DELETE", "/v1/account/sessions"): Door(PERSON),
    ("DELETE", "/v1/account/sessions/{session}"): Door(PERSON),
    ("POST", "/v1/account/password"): Door(PERSON, {"old": "x", "new": "correct horse"}),
    ("GET", "/v1/account/keys"): Door(MANAGE),
    ("POST", "/v1/account/keys"): Door(MANAGE, {"name": "x", "scopes": ["read"]}),
    ("DELETE", "/v1/account/keys/{key}"): Door(MANAGE),
    ("GET", "/v1/account/members"): Door(READ),
    ("PUT", "/v1/account/members/{person}"): Door(MANAGE, {"role": "viewer"}),
    ("DELETE", "/v1/account/members/{person}"): Door(MANAGE),
    ("GET", "/v1/account/invites"): Door(MANAGE),
    ("POST", "/v1/account/invites"): Door(MANAGE, {"email": "x@example.com", "role": "viewer"}),
    ("DELETE", "/v1/account/invites/{invite}"): Door(MANAGE),
    ("POST", "/v1/account/invites/accept"): Door(PERSON, {"token": "x"}),
    ("GET", "/v1/account"): Door(READ),
    ("PUT", "/v1/account/limits"): Door(MANAGE, {"warn_below": "0"}),
    ("POST", "/v1/account/orders"): Door(ORDER, {"quote": ID}),
    ("GET", "/v1/account/top-ups"): Door(READ),
    ("GET", "/v1/account/statement"): Door(READ),
    ("GET", "/v1/account/statement.csv"): Door(READ),
    ("GET", "/v1/account/statement.pdf"): Door(READ),
    ("GET", "/v1/account/withdrawal-address"): Door(READ),
    ("PUT", "/v1/account/withdrawal-address"): Door(MANAGE, {"address": STRANGER.address}),
    ("GET", "/v1/account/standing-withdrawal"): Door(MANAGE),
    ("GET", "/v1/account/withdrawals"): Door(READ),
    ("POST", "/v1/account/withdrawals"): Door(MANAGE, {"amount": "1"}, _KEYED),
    ("GET", "/v1/webhooks"): Door(CALLER_MANAGE),
    ("POST", "/v1/webhooks"): Door(CALLER_MANAGE, {"url": "https://example.com/"}),
    ("GET", "/v1/webhooks/{endpoint}"): Door(CALLER_MANAGE),
    ("PATCH", "/v1/webhooks/{endpoint}"): Door(CALLER_MANAGE, {"enabled": False}),
    ("DELETE", "/v1/webhooks/{endpoint}"): Door(CALLER_MANAGE),
    ("POST", "/v1/webhooks/{endpoint}/rotate"): Door(CALLER_MANAGE),
    ("POST", "/v1/webhooks/{endpoint}/test"): Door(CALLER_MANAGE),
    ("GET", "/v1/webhooks/{endpoint}/deliveries"): Door(CALLER_MANAGE),
    ("POST", "/v1/webhooks/{endpoint}/replay"): Door(CALLER_MANAGE, {"since": 0}),
    ("GET", "/v1/bundles"): Door(ANYONE),
    ("GET", "/v1/bundles/{bundle}"): Door(ANYONE),
    ("POST", "/v1/bundles"): Door(CALLER),
    ("POST", "/v1/bundles/{bundle}/retire"): Door(CALLER),
    ("PUT", "/v1/blobs/{sha256}"): Door(CALLER, b"other bytes"),
    ("GET", "/v1/blobs/{sha256}"): Door(CALLER),
    ("HEAD", "/v1/blobs/{sha256}"): Door(CALLER),
    ("HEAD", "/v1/uploads/{sha256}"): Door(CALLER),
    ("PATCH", "/v1/uploads/{sha256}"): Door(CALLER, b"other bytes", _OFFSET),
    ("DELETE", "/v1/uploads/{sha256}"): Door(CALLER),
    ("POST", "/v1/quotes"): Door(ANYONE),
    ("POST", "/v1/jobs"): Door(ANYONE),
    ("POST", "/v1/jobs/batch"): Door(ANYONE),
    ("POST", "/v1/account/inspections"): Door(CALLER_ORDER, _LOOK),
    ("GET", "/v1/account/inspections/{inspection}"): Door(CALLER_ORDER),
    ("GET", "/v1/inspections/next"): Door(CALLER),
    ("POST", "/v1/inspections/{inspection}/answer"): Door(CALLER, {"number": 1, "made": _MADE}),
    ("GET", "/v1/jobs"): Door(CALLER),
    ("GET", "/v1/jobs/{job}"): Door(CALLER),
    ("POST", "/v1/jobs/{job}/cancel"): Door(CALLER),
    ("GET", "/v1/jobs/{job}/seals"): Door(CALLER),
    ("PUT", "/v1/jobs/{job}/seals/{attempt}"): Door(CALLER, {"sealed": "AAAA"}),
    ("GET", "/v1/jobs/{job}/events"): Door(CALLER),
    ("GET", "/v1/jobs/{job}/log"): Door(CALLER),
    ("GET", "/v1/jobs/{job}/outputs"): Door(CALLER),
    ("GET", "/v1/jobs/{job}/outputs/{path:path}"): Door(CALLER),
    ("GET", "/v1/jobs/{job}/deletions"): Door(CALLER),
    ("POST", "/v1/jobs/{job}/forget"): Door(CALLER),
    ("GET", "/v1/jobs/{job}/receipt"): Door(CALLER),
    ("GET", "/v1/jobs/{job}/certificate"): Door(CALLER),
    ("GET", "/v1/jobs/{job}/certificate.json"): Door(CALLER),
    ("GET", "/v1/jobs/{job}/certificate.pdf"): Door(CALLER),
    ("GET", "/v1/cases/{deal}"): Door(CALLER),
    ("GET", "/v1/trades"): Door(ANYONE),
    ("GET", "/v1/index"): Door(ANYONE),
    ("GET", "/v1/index/{product:path}"): Door(ANYONE),
    ("GET", "/v1/reputation"): Door(ANYONE),
    ("GET", "/v1/pricing/inputs"): Door(CALLER),
    ("GET", "/v1/pricing/history"): Door(CALLER),
    ("GET", "/v1/pricing/exposure"): Door(CALLER),
    ("GET", "/v1/batches"): Door(ANYONE),
    ("GET", "/v1/batches/{digest}"): Door(ANYONE),
    ("GET", "/v1/products"): Door(ANYONE),
    ("PUT", "/v1/products/{product:path}/terms"): Door(CALLER, _TERMS),
    ("GET", "/v1/book/{product:path}/events"): Door(ANYONE),
    ("GET", "/v1/book/{product:path}"): Door(ANYONE),
    ("GET", "/v1/orders"): Door(CALLER),
    ("DELETE", "/v1/orders/{order}"): Door(CALLER),
    ("POST", "/v1/asks"): Door(ANYONE),
    ("GET", "/v1/verification"): Door(ANYONE),
    ("GET", "/v1/verification/{day}"): Door(ANYONE),
    ("POST", "/v1/workers"): Door(CALLER, _REGISTRATION),
    ("POST", "/v1/workers/heartbeat"): Door(CALLER, {"asks": [], "running": []}),
    ("POST", "/v1/workers/benchmark"): Door(CALLER),
    ("GET", "/v1/workers/{key}"): Door(CALLER),
    ("GET", "/v1/workers/{key}/earnings"): Door(CALLER),
    ("GET", "/v1/workers/{key}/why"): Door(CALLER),
    ("GET", "/v1/assignments"): Door(CALLER),
    ("GET", "/v1/assignments/batch"): Door(CALLER),
    ("POST", "/v1/attempts/start"): Door(CALLER, {"attempts": [ID]}),
    ("POST", "/v1/attempts/results"): Door(CALLER, {"reports": [{"attempt": ID, "report": {}}]}),
    ("POST", "/v1/attempts/{attempt}/start"): Door(CALLER),
    ("POST", "/v1/attempts/{attempt}/log"): Door(CALLER, _LOG),
    ("GET", "/v1/attempts/{attempt}/secrets"): Door(CALLER),
    ("POST", "/v1/attempts/{attempt}/commit"): Door(CALLER, {"hash": WORD, "signature": SIGNATURE}),
    ("POST", "/v1/attempts/{attempt}/open"): Door(CALLER),
    ("GET", "/v1/attempts/{attempt}/round"): Door(CALLER),
    ("POST", "/v1/attempts/{attempt}/result"): Door(CALLER, {}),
    ("GET", "/assets/{name}"): Door(ANYONE),
    ("GET", "/language/{code}"): Door(ANYONE),
    ("GET", "/"): Door(ANYONE),
    ("GET", "/prices"): Door(ANYONE),
    ("GET", "/bundles/{bundle}"): Door(ANYONE),
    ("GET", "/bundles/{bundle}/sample"): Door(ANYONE),
    ("GET", "/bundles/{bundle}/run"): Door(ANYONE),
    ("GET", "/pricing"): Door(ANYONE),
    ("GET", "/market"): Door(ANYONE),
    ("GET", "/market/{product:path}"): Door(ANYONE),
    ("GET", "/providers"): Door(ANYONE),
    ("GET", "/providers/{provider}"): Door(ANYONE),
    ("GET", "/receipts"): Door(ANYONE),
    ("POST", "/receipts"): Door(ANYONE),
    ("GET", "/docs"): Door(ANYONE),
    ("GET", "/wallet"): Door(ANYONE),
    ("GET", "/wallet/jobs/{job}"): Door(WALLET),
    ("GET", "/wallet/jobs/{job}/parameters"): Door(WALLET),
    ("POST", "/wallet/jobs/{job}/share"): Door(WALLET, b"days=7", _FORM),
    ("POST", "/wallet/jobs/{job}/unshare"): Door(WALLET),
    ("GET", "/docs/{name:path}"): Door(ANYONE),
    ("GET", "/sign-up"): Door(ANYONE),
    ("POST", "/sign-up"): Door(ANYONE),
    ("GET", "/sign-in"): Door(ANYONE),
    ("POST", "/sign-in"): Door(ANYONE),
    ("POST", "/sign-out"): Door(ANYONE),
    ("GET", "/account"): Door(PAGE),
    ("POST", "/account/switch"): Door(PAGE),
    ("GET", "/account/password"): Door(PAGE),
    ("POST", "/account/password"): Door(PAGE),
    ("GET", "/account/members"): Door(PAGE),
    ("POST", "/account/members"): Door(PAGE),
    ("POST", "/account/members/{person}/role"): Door(PAGE),
    ("POST", "/account/members/{person}/remove"): Door(PAGE),
    ("POST", "/account/invites/{invite}/end"): Door(PAGE),
    ("GET", "/account/invite"): Door(PAGE),
    ("POST", "/account/invite"): Door(PAGE),
    ("GET", "/account/keys"): Door(PAGE),
    ("GET", "/account/sessions"): Door(PAGE),
    ("POST", "/account/sessions/end-others"): Door(PAGE),
    ("POST", "/account/sessions/{session}/end"): Door(PAGE),
    ("POST", "/account/keys"): Door(PAGE),
    ("POST", "/account/keys/{key}/end"): Door(PAGE),
    ("GET", "/account/limits"): Door(PAGE),
    ("POST", "/account/limits"): Door(PAGE),
    ("GET", "/account/withdrawals"): Door(PAGE),
    ("POST", "/account/withdrawals"): Door(PAGE),
    ("POST", "/account/withdrawal-address"): Door(PAGE),
    ("GET", "/account/statement"): Door(PAGE),
    ("GET", "/account/jobs"): Door(PAGE),
    ("GET", "/account/jobs/{job}"): Door(PAGE),
    ("POST", "/account/jobs/{job}/cancel"): Door(PAGE),
    ("POST", "/account/jobs/{job}/share"): Door(PAGE),
    ("POST", "/account/jobs/{job}/unshare"): Door(PAGE),
    ("GET", "/shared/{token}"): Door(ANYONE),
    ("GET", "/shared/{token}/outputs/{path:path}"): Door(ANYONE),
    # Last: it ends the stranger's session.
    ("DELETE", "/v1/sessions"): Door(WALLET),
}


def test_every_route_says_who_may_enter() -> None:
    of_api = {(m, "/v1" + r.path) for each in _ROUTERS for r in each.router.routes for m in r.methods}
    of_pages = {(m, r.path) for each in _PAGES for r in each.router.routes for m in r.methods}
    assert of_api | of_pages == set(DOORS)


GUESSED = {
    "key": ID,
    "person": ID,
    "invite": ID,
    "session": ID,
    "sha256": HEX,
    "job": WORD,
    "deal": WORD,
    "order": WORD,
    "attempt": ID,
    "endpoint": ID,
    "path": "nothing.csv",
    "bundle": "nothing",
    "product": "cpu-1x1/1m",
}
_TOLD = ("etag", "upload-offset", "upload-complete", "location", "accept-ranges")  # what could tell of a file


@dataclass
class Scene:
    """An account with all that can be somebody's. real: the ids of what it has."""

    world: World
    real: dict[str, str]
    strangers: dict[str, dict[str, str]]

    def ask(
        self, method: str, path: str, door: Door, ids: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, str]:
        """Status and text of the answer, in which ids are only named."""
        url = path.replace(":path", "")
        for name, value in ids.items():
            url = url.replace(f"{{{name}}}", value)
        body: Any = {} if door.body is None else {"json": door.body}
        if isinstance(door.body, bytes):
            body = {"content": door.body}
        if door.who == PAGE and method == "POST":
            body = {"data": {"csrf": headers.get("X-CSRF-Token", "none")}}
        answer = self.world.http.request(method, url, headers={**door.headers, **headers}, **body)
        text = f"{answer.text} {[answer.headers.get(name) for name in _TOLD]}"
        for name in (name for name in ids if f"{{{name}" in path):
            text = text.replace(ids[name], f"<{name}>")
        return answer.status_code, text


@pytest.fixture
def scene(world: World) -> Iterator[Scene]:
    ada, bob = Person(world, "ada@example.com"), Person(world, "bob@example.com")
    ada.sign_up()
    bob.sign_up()
    world.chain.accounts[ADDRESS] = AccountView(100 * DOLLAR, 0, 2)
    world.publish()
    everything = ("read", "order", "manage")
    whole = ada.key(*everything, days=9)
    strangers = {
        "nobody": {},
        "guessed": {"Authorization": "Bearer pfx_guessed"},
        "guessed cookie": {"Cookie": "prixfixe_session=guessed", "X-CSRF-Token": "guessed"},
        "expired": ada.key(*everything, days=1),
        "revoked": ada.key(*everything, days=9, name="revoked"),
        "viewer": ada.key("read", days=9),
        "another": bob.key(*everything, days=9),
    }
    keys = {each["name"]: each["id"] for each in ada.call("GET", "/keys").json()["items"]}
    assert ada.call("DELETE", f"/keys/{keys['revoked']}").status_code == 200
    blob = sha256_hex(SECRET)
    assert world.http.put(f"/v1/blobs/{blob}", content=SECRET, headers=whole).status_code == 201
    asked = {name: it for name, it in world.quote_request(SECRET).items() if name != "customer"}
    ordered = world.http.post(
        "/v1/account/orders", json={"request": asked}, headers={**whole, "Idempotency-Key": "secret-key"}
    )
    assert ordered.status_code == 201, ordered.text
    job = wire.Job.model_validate(ordered.json()["job"])
    assignment = world.running(job)
    chunk = wire.LogChunk(offset=0, text="secret-log")
    world.worker_post(f"{assignment.attempt}/log", chunk.model_dump(mode="json"))
    credit(world.store, ADDRESS, Money(DOLLAR), "secret-invoice")
    invited = ada.call("POST", "/invites", {"email": "secret@example.com", "role": "viewer"}).json()
    hook = world.http.post("/v1/webhooks", json={"url": "https://secret.example/"}, headers=whole)
    real = {
        "key": keys["test"],
        "person": ada.call("GET", "/members").json()["items"][0]["id"],
        "invite": invited["invite"]["id"],
        "sha256": blob,
        "job": job.id,
        "deal": "0x" + assignment.deal.id.hex(),
        "order": job.id,
        "attempt": assignment.attempt,
        "endpoint": hook.json()["endpoint"]["id"],
        "path": "out.csv",
        "bundle": "echo",
        "product": GUESSED["product"],
    }
    world.clock.now += 86_401  # every session, and the key of a day
    bob.sign_in()
    ada.sign_in()
    real["session"] = ada.call("GET", "/sessions").json()["items"][0]["id"]
    strangers["a person"] = {"Cookie": f"prixfixe_session={bob.cookie}", "X-CSRF-Token": bob.csrf}
    strangers["a wallet"] = world.sign_in(STRANGER)
    yield Scene(world, real, strangers)
    ada.close()
    bob.close()


UNKNOWN = ("nobody", "guessed", "guessed cookie", "expired", "revoked")
# One's own part of a file, which everybody may send whatever others have sent.
OWN_PART = "/v1/uploads/{sha256}"


def test_a_stranger_learns_nothing_from_any_route(scene: Scene) -> None:
    leaks = [
        f"{stranger}: {method} {path}: {leak}"
        for (method, path), door in DOORS.items()
        for stranger in scene.strangers
        if door.who != ANYONE
        for leak in _leaks(scene, stranger, method, path, door)
    ]
    assert not leaks, "\n".join(leaks)


def _leaks(scene: Scene, stranger: str, method: str, path: str, door: Door) -> Iterator[str]:
    reads = method in ("GET", "HEAD")
    if stranger == "viewer" and (door.who == READ or (door.who == CALLER and reads)):
        return  # it is of the account
    if stranger == "a person" and door.who == PERSON and "{" not in path:
        return  # it is this person's own session
    real, guessed = scene.real, GUESSED
    if "workers" in path:  # whose key is an address
        real, guessed = {**real, "key": WORKER.address}, {**guessed, "key": "0x" + "55" * 20}
    found = status, text = scene.ask(method, path, door, real, scene.strangers[stranger])
    # Who is not known is refused before anything is looked for: whatever the reason, as for who says nothing.
    if "{" in path and stranger not in UNKNOWN[1:]:
        other = scene.ask(method, path, door, guessed, scene.strangers[stranger])
        if found != other:
            yield f"{found} for what is there, {other} for what is not"
    yield from (f"tells {marker}: {text}" for marker in MARKERS if marker in text)
    if stranger in UNKNOWN:
        expected = {303, 401} if door.who == PAGE else {401}
    elif stranger == "viewer":
        expected = {401} if door.who in (PERSON, WALLET) else {303, 401} if door.who == PAGE else {403}
    elif "{" in path and path != OWN_PART:
        expected = {303, 401, 403, 404, 422}
    else:
        return
    if status not in expected:
        yield f"answers {status}: {text}"


def test_a_file_that_somebody_else_has_is_taken_as_a_new_one(scene: Scene) -> None:
    """Else who guesses a file could ask whether it is here."""
    theirs, name = scene.strangers["another"], sha256_hex(SECRET)
    answers = [
        scene.world.http.put(f"/v1/blobs/{name}", content=SECRET, headers=theirs).status_code
        for _ in range(2)
    ]
    assert answers == [201, 200]
    last = {**scene.strangers["a wallet"], "Upload-Offset": "0", "Upload-Complete": "?1"}
    answers = [
        scene.world.http.patch(f"/v1/uploads/{name}", content=SECRET, headers=last).status_code
        for _ in range(2)
    ]
    assert answers == [201, 200]
