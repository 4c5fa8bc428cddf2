"""Over a real socket: events as they happen, long polls that wake at once, uploads that stay on the disk."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import update

from marketplace.api import events
from marketplace.api.managed import COOKIE
from marketplace.store.events import Kind, add_event, add_events
from marketplace.store.tables import jobs
from prixfixe.errors import NotFound
from tests.support.accounts import Person
from tests.support.finished import hand_in
from tests.support.memory import resident_kib
from tests.support.service import CUSTOMER, HOST, PROVIDER, WORKER, World

pytestmark = pytest.mark.network_ports


@contextmanager
def serving(world: World) -> Iterator[httpx.Client]:
    """The app on a loopback port."""
    server = uvicorn.Server(
        uvicorn.Config(world.app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Host": HOST}, timeout=90, trust_env=False
        ) as client:
            yield client
    finally:
        world.services.close_streams()
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


def _events(lines: Iterator[str]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(id, kind, data) of each event; comments and the retry hint are skipped."""
    fields: dict[str, str] = {}
    for line in lines:
        if line == "" and "data" in fields:
            yield int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields = {}
        elif ": " in line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def test_events_arrive_while_the_job_runs_and_the_stream_ends_with_it(world: World) -> None:
    world.publish()
    job = world.placed()
    owner = world.sign_in(CUSTOMER)
    with serving(world) as http, http.stream("GET", f"/v1/jobs/{job.id}/events", headers=owner) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        seen = _events(stream.iter_lines())
        assert next(seen)[1:] == ("state", {"state": "queued", "stage": "waiting for a worker"})
        assignment = world.running(job)
        world.worker_post(
            f"{assignment.attempt}/log", {"offset": 0, "text": "hello\r\n\x00", "progress": 0.5}
        )
        hand_in(world, assignment, out_csv=b"done")
        rest = list(seen)
    assert [number for number, _, _ in rest] == list(range(2, len(rest) + 2))
    kinds = [kind for _, kind, _ in rest]
    assert kinds[-1] == "end"
    assert {"log", "progress", "state"} <= set(kinds)
    assert next(data for _, kind, data in rest if kind == "log")["text"] == "hello\r\n\x00"
    assert rest[-1][2] == {"state": "settled", "charged": "4000000", "reason": None}


def _over(world: World) -> tuple[str, dict[str, str], list[tuple[int, str, dict[str, Any]]]]:
    """The stream of a job that was cancelled, who may follow it, and all of its events."""
    world.publish()
    job = world.placed()
    owner = world.sign_in(CUSTOMER)
    world.http.post(f"/v1/jobs/{job.id}/cancel", headers=owner)
    path = f"/v1/jobs/{job.id}/events"
    return path, owner, list(_events(iter(world.http.get(path, headers=owner).text.split("\n"))))


def test_a_follower_that_was_cut_off_resumes_where_it_was(world: World) -> None:
    path, owner, whole = _over(world)
    resumed = world.http.get(path, headers={**owner, "Last-Event-ID": "1"}).text.split("\n")
    assert list(_events(iter(resumed))) == whole[1:]
    over = world.http.get(path, headers={**owner, "Last-Event-ID": str(whole[-1][0])})
    assert over.status_code == 204
    assert world.http.get(path, headers={**owner, "Last-Event-ID": "x"}).status_code == 422


def test_a_follower_begins_behind_the_event_that_it_names(world: World) -> None:
    path, owner, whole = _over(world)
    begun = world.http.get(f"{path}?after=1", headers=owner).text.split("\n")
    assert list(_events(iter(begun))) == whole[1:]
    # A browser that comes back asks for the same address, and says in the header how far it is.
    newer = {**owner, "Last-Event-ID": str(whole[-1][0])}
    assert world.http.get(f"{path}?after=1", headers=newer).status_code == 204
    assert world.http.get(f"{path}?after=-1", headers=owner).status_code == 422


@pytest.mark.both_databases
def test_what_a_page_shows_of_a_log_is_bounded_however_long_it_is(tmp_path: Path) -> None:
    world = World(tmp_path, max_log_bytes=2_000_000)
    world.publish()
    job = world.placed()
    assignment = world.running(job)
    after, logged = world.services.jobs.newest_log(job.id, CUSTOMER.address)
    assert (after, logged) == (len(world.services.jobs.events(job.id, CUSTOMER.address, 0)[0]), False)
    for at in range(12):
        body = {"offset": at * 60_000, "text": chr(97 + at) * 59_999 + "\n"}
        assert world.worker_post(f"{assignment.attempt}/log", body).status_code == 204
    after, logged = world.services.jobs.newest_log(job.id, CUSTOMER.address)
    shown, _ = world.services.jobs.events(job.id, CUSTOMER.address, after)
    assert logged
    assert [event.data["text"][0] for event in shown] == ["i", "j", "k", "l"]
    with pytest.raises(NotFound):
        world.services.jobs.newest_log(job.id, PROVIDER.address)
    world.close()


def test_a_log_is_looked_for_among_the_newest_events_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketplace.jobs._NEWEST_EVENTS", 20)
    world.publish()
    job = world.placed()

    def told(number: int, kind: Kind, data: dict[str, Any]) -> int:
        with world.store.write() as connection:
            add_events(connection, [(job.id, kind, data)] * number)
        return world.services.jobs.events(job.id, CUSTOMER.address, 0)[0][-1].id

    line = {"attempt": "a", "offset": 0, "text": "x"}
    step = {"attempt": "a", "fraction": 0.5, "text": ""}
    first = told(1, "log", line)
    newest = told(19, "progress", step)
    assert world.services.jobs.newest_log(job.id, CUSTOMER.address) == (first - 1, True)
    newest = told(1, "progress", step)
    assert world.services.jobs.newest_log(job.id, CUSTOMER.address) == (newest, False)
    newest = told(30, "log", line)
    assert world.services.jobs.newest_log(job.id, CUSTOMER.address) == (newest - 20, True)


def test_a_quiet_stream_shows_that_it_lives(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    world.publish()
    job = world.placed()
    owner = world.sign_in(CUSTOMER)
    with serving(world) as http, http.stream("GET", f"/v1/jobs/{job.id}/events", headers=owner) as stream:
        assert any(line == ": still here" for line in stream.iter_lines())


def _session_ended(ada: Person, bob: Person) -> tuple[dict[str, str], Callable[[], object]]:
    return {"Cookie": f"{COOKIE}={ada.cookie}"}, ada.sign_in  # ends the session that it brings


def _key_revoked(ada: Person, bob: Person) -> tuple[dict[str, str], Callable[[], object]]:
    headers = ada.key("read")
    (key,) = ada.call("GET", "/keys").json()["items"]
    return headers, lambda: ada.call("DELETE", f"/keys/{key['id']}")


def _member_removed(ada: Person, bob: Person) -> tuple[dict[str, str], Callable[[], object]]:
    bob.joins(ada, "viewer")
    (member,) = [each for each in ada.call("GET", "/members").json()["items"] if each["role"] == "viewer"]
    headers = {"Cookie": f"{COOKIE}={bob.cookie}"}
    return headers, lambda: ada.call("DELETE", f"/members/{member['id']}")


@pytest.mark.parametrize("ended", [_session_ended, _key_revoked, _member_removed])
def test_who_may_no_longer_read_a_job_hears_no_more_of_it(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    ended: Callable[[Person, Person], tuple[dict[str, str], Callable[[], object]]],
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    world.publish()
    job = world.placed()
    ada, bob = Person(world, "ada@example.com"), Person(world, "bob@example.com")
    account = ada.sign_up().signed_in.account
    bob.sign_up()
    with world.store.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(customer=account))
    headers, end = ended(ada, bob)
    with serving(world) as http, http.stream("GET", f"/v1/jobs/{job.id}/events", headers=headers) as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event:")) == "event: state"
        assert next(line for line in lines if line.startswith(":"))  # who may goes on
        end()
        assert len(list(itertools.islice(lines, 400))) < 400
    ada.close()
    bob.close()


def test_a_wallets_stream_ends_with_its_session_also_while_events_come(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    world.publish()
    job = world.placed()
    owner = world.sign_in(CUSTOMER)
    with serving(world) as http, http.stream("GET", f"/v1/jobs/{job.id}/events", headers=owner) as stream:
        seen = _events(stream.iter_lines())
        next(seen)
        world.clock.now += world.services.settings.session_seconds
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with world.store.write() as connection:
                add_event(connection, job.id, "progress", {"attempt": "a", "fraction": 0.5, "text": ""})
            if next(seen, None) is None:
                return
        pytest.fail("the stream went on")


def test_a_waiting_worker_hears_of_its_deal_at_once(world: World) -> None:
    world.publish()
    job = world.placed()
    world.register()
    headers = world.sign_in(WORKER)
    answers: list[tuple[float, httpx.Response]] = []
    with serving(world) as http:

        def poll() -> None:
            answer = http.get("/v1/assignments?wait=60", headers=headers)
            answers.append((time.monotonic(), answer))

        waiting = threading.Thread(target=poll)
        waiting.start()
        # Whether the poll has begun or not, it must not miss the deal.
        world.open_deal(job.id)
        opened = time.monotonic()
        waiting.join(90)
    ((heard, answer),) = answers
    assert answer.status_code == 200
    assert heard - opened < 30, "not when its wait was over"


def test_stopping_the_service_ends_long_polls(world: World) -> None:
    world.register()
    headers = world.sign_in(WORKER)
    statuses: list[int] = []
    with serving(world) as http:
        waiting = threading.Thread(
            target=lambda: statuses.append(http.get("/v1/assignments?wait=60", headers=headers).status_code)
        )
        waiting.start()
        world.services.close_streams()
        waiting.join(50)
    assert statuses == [204]


def test_a_large_file_is_held_in_memory_neither_in_nor_out(tmp_path: Path) -> None:
    world = World(tmp_path, max_blob_bytes=2**30)
    piece, pieces = bytes(range(256)) * 4096, 192
    digest = hashlib.sha256()
    for _ in range(pieces):
        digest.update(piece)
    path, headers = f"/v1/blobs/{digest.hexdigest()}", world.sign_in(CUSTOMER)
    with serving(world) as http:
        before = most = resident_kib()

        def given() -> Iterator[bytes]:
            nonlocal most
            for _ in range(pieces):
                yield piece
                most = max(most, resident_kib())

        answer = http.put(path, content=given(), headers=headers)
        assert (answer.status_code, answer.json()["size"]) == (201, pieces * len(piece))
        found = hashlib.sha256()
        with http.stream("GET", path, headers=headers) as stream:
            for chunk in stream.iter_bytes():
                found.update(chunk)
                most = max(most, resident_kib())
    world.close()
    assert found.hexdigest() == digest.hexdigest()
    assert most - before < 48 * 1024


def test_an_upload_that_breaks_off_leaves_nothing(world: World) -> None:
    headers = world.sign_in(CUSTOMER)

    def half() -> Iterator[bytes]:
        yield b"half of it"
        raise ConnectionError

    folder = world.services.settings.blob_folder
    with serving(world) as http:
        with pytest.raises(ConnectionError):
            http.put(
                f"/v1/blobs/{'0' * 64}", content=half(), headers={**headers, "Content-Length": "1000000"}
            )
        until = time.monotonic() + 60
        while any(file.is_file() for file in folder.rglob("*")) and time.monotonic() < until:
            time.sleep(0.02)
    assert not any(file.is_file() for file in folder.rglob("*"))
