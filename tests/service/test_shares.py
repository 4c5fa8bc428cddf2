"""Shares: who asks too often is told when to come back, and nobody else notices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from marketplace.settings import ServiceSettings
from marketplace.shares import Buckets, OverShare, Shares
from prixfixe.client import Client, Context
from prixfixe.errors import ConfigurationError, PrixfixeError, TooManyRequests
from tests.support.accounts import Person
from tests.support.finished import deliver
from tests.support.service import CHAIN_ID, CONTRACT, CUSTOMER, HOST, STRANGER, Clock, InProcess, World

PROXY = "127.0.0.1"


@pytest.fixture
def tight(tmp_path: Path) -> Iterator[World]:
    """A service with small shares, behind a proxy of its own."""
    made = World(
        tmp_path,
        quotes_per_minute=3,
        sign_ins_per_minute=8,
        uploads_per_minute=3,
        jobs_per_minute=2,
        trusted_proxies=(f"{PROXY}/32",),
    )
    yield made
    made.close()


def nonce(world: World, address: str) -> httpx.Response:
    return world.http.get("/v1/sessions/nonce", headers={"X-Forwarded-For": address})


def put(world: World, content: bytes, headers: dict[str, str]) -> httpx.Response:
    from prixfixe.protocol.hashing import sha256_hex

    return world.http.put(f"/v1/blobs/{sha256_hex(content)}", content=content, headers=headers)


def test_a_bucket_fills_evenly_and_holds_a_minutes_worth() -> None:
    clock = Clock(now=0.0)
    buckets = Buckets("quotes", 6, clock)
    assert [left.remaining for _ in range(6) if (left := buckets.take("a"))] == [5, 4, 3, 2, 1, 0]
    with pytest.raises(OverShare) as refused:
        buckets.take("a")
    assert refused.value.retry_after == 10
    clock.now += 9.9
    with pytest.raises(OverShare):
        buckets.take("a")
    clock.now += 0.1
    left = buckets.take("a")
    assert left is not None
    assert (left.remaining, left.reset) == (0, 60)
    clock.now += 600
    assert buckets.take("a") is not None
    assert buckets.take("b") == buckets.take("c")


def test_memory_is_bounded_and_callers_of_the_past_take_none() -> None:
    clock = Clock(now=0.0)
    buckets = Buckets("quotes", 1, clock, most=100)
    for number in range(1000):
        buckets.take(f"caller {number}")
    assert len(buckets) == 100
    clock.now += 60
    buckets.take("another")
    assert len(buckets) == 1


def test_any_number_is_any_number() -> None:
    buckets = Buckets("quotes", 0)
    assert [buckets.take("a") for _ in range(1000)] == [None] * 1000
    assert len(buckets) == 0


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # no proxy of ours: anybody can write that
        ("10.0.0.2", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.2", "6.6.6.6, 198.51.100.1", "198.51.100.1"),  # the client wrote the first itself
        ("10.0.0.2", "198.51.100.1:4711, 10.0.0.3", "198.51.100.1"),
        ("10.0.0.2", "nonsense", "10.0.0.2"),
        ("10.0.0.2", "", "10.0.0.2"),
        ("10.0.0.2", "[2001:db8::1]:443", "2001:db8::/64"),
        ("2001:db8::ffff", None, "2001:db8::/64"),
        ("::ffff:203.0.113.9", None, "203.0.113.9"),
        (None, "198.51.100.1", "unknown"),
    ],
)
def test_who_is_asking_is_believed_of_our_own_proxies_only(
    peer: str | None, forwarded: str | None, caller: str
) -> None:
    assert Shares({}, ("10.0.0.0/24",)).client(peer, forwarded) == caller


def test_too_many_sign_ins_are_refused_with_the_time_to_come_back(tight: World) -> None:
    for left in range(7, -1, -1):
        answer = nonce(tight, "198.51.100.1")
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == '"sign-ins";q=8;w=60'
        assert answer.headers["ratelimit"].startswith(f'"sign-ins";r={left};t=')
    refused = nonce(tight, "198.51.100.1")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "8")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["ratelimit"] == '"sign-ins";r=0;t=60'
    problem = refused.json()
    assert (problem["code"], problem["violated-policies"]) == ("over-share", ["sign-ins"])
    assert isinstance(PrixfixeError.from_problem(problem), TooManyRequests)
    assert nonce(tight, "198.51.100.2").status_code == 200
    tight.clock.now += 8
    assert nonce(tight, "198.51.100.1").status_code == 200


def test_quotes_and_jobs_count_by_address_before_anything_is_looked_at(tight: World) -> None:
    for _ in range(3):
        assert tight.http.post("/v1/quotes", json={}).status_code == 422
    for _ in range(2):
        assert tight.http.post("/v1/jobs", json={}).status_code == 422
    assert tight.http.post("/v1/quotes", json={}).status_code == 429
    assert tight.http.post("/v1/jobs", json={}).status_code == 429
    elsewhere = {"X-Forwarded-For": "198.51.100.7"}
    assert tight.http.post("/v1/quotes", json={}, headers=elsewhere).status_code == 422


def test_uploads_count_by_account_wherever_it_comes_from(tight: World) -> None:
    owner = tight.sign_in(CUSTOMER)
    for number in range(3):
        answer = put(tight, b"%d" % number, {**owner, "X-Forwarded-For": f"198.51.100.{number}"})
        assert answer.status_code == 201
        assert answer.headers["ratelimit"].startswith('"uploads";r=')
    assert put(tight, b"more", owner).status_code == 429
    part = {"Upload-Offset": "0", "Upload-Complete": "?0", **owner}
    assert tight.http.patch(f"/v1/uploads/{'0' * 64}", content=b"x", headers=part).status_code == 429
    assert put(tight, b"more", tight.sign_in(STRANGER)).status_code == 201


def test_the_client_waits_as_long_as_it_is_told(tight: World, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        tight.clock.now += seconds

    monkeypatch.setattr("prixfixe.client.synchronous.time.sleep", sleep)
    context = Context("test", f"http://{HOST}", CHAIN_ID, CONTRACT, key="dev:3")
    while nonce(tight, PROXY).status_code == 200:
        pass
    with Client(context, transport=InProcess(tight.app)) as client:
        assert client.jobs() == ()
    assert waited == [8.0, 7.0]  # one for the nonce, one for the session; 7.5 s each


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for wrong in ({"trusted_proxies": ("nginx",)}, {"quotes_per_minute": -1}):
        with pytest.raises(ConfigurationError):
            ServiceSettings(data=tmp_path, domain=HOST, **wrong)  # type: ignore[arg-type]
    given = {"PRIXFIXE_SERVICE_TRUSTED_PROXIES": "10.0.0.2, 10.1.0.0/16"}
    found = ServiceSettings.from_environment(given, data=tmp_path, domain=HOST)
    assert found.trusted_proxies == ("10.0.0.2", "10.1.0.0/16")


def test_papers_count_by_account_and_the_same_as_json_does_not(tmp_path: Path) -> None:
    world = World(tmp_path, papers_per_minute=2)
    world.publish()
    job = world.placed()
    deliver(world, job)
    ada = Person(world, "ada@example.com")
    ada.sign_up()
    drawn = ada.call("GET", "/statement.pdf")
    assert (drawn.status_code, drawn.headers["ratelimit-policy"]) == (200, '"papers";q=2;w=60')
    assert drawn.headers["content-type"] == "application/pdf"
    assert drawn.headers["content-disposition"].endswith('.pdf"')
    assert drawn.headers["ratelimit"].startswith('"papers";r=1;')
    assert ada.call("GET", "/statement", Accept="application/pdf").status_code == 200
    refused = ada.call("GET", "/statement.pdf")
    assert (refused.status_code, refused.json()["code"]) == (429, "over-share")
    for kind in ("application/json", "text/csv"):
        assert ada.call("GET", "/statement", Accept=kind).status_code == 200
    # Another account has its own share, of both kinds of papers together.
    owner, path = world.sign_in(CUSTOMER), f"/v1/jobs/{job.id}/certificate"
    asked = [(f"{path}.pdf", {}), (path, {"Accept": "application/pdf"}), (f"{path}.pdf", {}), (path, {})]
    told = [world.http.get(at, headers={**owner, **accept}).status_code for at, accept in asked]
    assert told == [200, 200, 429, 200]
    ada.close()
    world.close()
