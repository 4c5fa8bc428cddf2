"""Blobs in a bucket, over HTTP to a real server: all that a folder promises, and what happens while the
store is away."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from marketplace.blob_stores import open_blob_store
from marketplace.object_store import ObjectStore
from marketplace.services import Services
from prixfixe.errors import NotFound, Unavailable
from prixfixe.protocol.hashing import sha256_hex
from tests.service.test_retention import PROMISED, RESULT, TABLE, _later, _settled, _status
from tests.service.test_uploads import patch, restarted
from tests.support.s3 import Bucket
from tests.support.scheduling import until
from tests.support.service import CUSTOMER, STRANGER, World

CONTENT = b"month,amount\n1,2.50\n" * 100
NAME = sha256_hex(CONTENT)
LARGE = bytes(range(251)) * 40_000  # two parts of an upload, three pieces of a download
LARGE_NAME = sha256_hex(LARGE)
ME = CUSTOMER.address


@pytest.fixture
def world(tmp_path: Path, bucket: Bucket) -> Iterator[World]:
    made = World(tmp_path, blobs=bucket.address, max_blob_bytes=2**24)
    yield made
    made.close()


@pytest.fixture
def away(bucket: Bucket) -> Iterator[None]:
    """The store is there again afterwards, wherever the test ended."""
    yield
    bucket.server.revive()


def stored(world: World) -> set[str]:
    return {each.sha256 for each in world.services.blobs.names()}


def here(world: World) -> list[str]:
    """What lies on this machine."""
    return [file.name for file in world.services.settings.blob_folder.rglob("*") if file.is_file()]


def send(services: Services, offset: int, content: bytes, *, last: bool = False) -> None:
    with services.uploads.append(LARGE_NAME, ME, offset, length=len(LARGE)) as part:
        part.write(content)
        if last:
            part.finish()


def test_a_file_is_kept_in_the_bucket_and_served_whole_and_in_part(world: World, bucket: Bucket) -> None:
    owner = world.sign_in(CUSTOMER)
    first = world.http.put(f"/v1/blobs/{NAME}", content=CONTENT, headers=owner)
    assert (first.status_code, first.json()) == (201, {"sha256": NAME, "size": len(CONTENT)})
    assert world.http.put(f"/v1/blobs/{NAME}", content=CONTENT, headers=owner).status_code == 200
    assert (stored(world), here(world)) == ({NAME}, [])

    def get(*, method: str = "GET", **headers: str) -> httpx.Response:
        given = {**owner, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return world.http.request(method, f"/v1/blobs/{NAME}", headers=given)

    whole = get()
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert (whole.headers["etag"], whole.headers["accept-ranges"]) == (f'"{NAME}"', "bytes")
    head = get(method="HEAD")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(CONTENT)), b"")
    size = len(CONTENT)
    for asked, start, end in (
        ("bytes=6-11", 6, 12),
        ("bytes=1990-", 1990, size),
        ("bytes=-7", size - 7, size),
        ("bytes=0-9999999", 0, size),
        ("bytes=-9999999", 0, size),
    ):
        part = get(Range=asked)
        assert (part.status_code, part.content) == (206, CONTENT[start:end]), asked
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    for asked in (f"bytes={size}-", "bytes=-0"):
        beyond = get(Range=asked)
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}"), asked
    # What is no single range is answered with the whole, and so is a part of what has changed.
    for asked in ("bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=a-b"):
        assert get(Range=asked).content == CONTENT, asked
    assert get(Range="bytes=6-11", If_Range='"other"').content == CONTENT
    assert get(Range="bytes=6-11", If_Range=f'"{NAME}"').content == b"amount"
    # Who may not read it does not learn that it is there.
    assert world.http.get(f"/v1/blobs/{NAME}", headers=world.sign_in(STRANGER)).status_code == 404
    # An object that somebody deleted is nobody's, and may be sent again.
    bucket.store().delete([NAME, "00" * 32])
    assert get().status_code == 404
    assert world.upload(CUSTOMER, CONTENT) == NAME
    assert world.upload(CUSTOMER, b"") == sha256_hex(b"")
    empty = world.http.get(f"/v1/blobs/{sha256_hex(b'')}", headers=owner)
    assert (empty.status_code, empty.content) == (200, b"")


def test_bytes_of_another_digest_leave_nothing_here_or_there(world: World) -> None:
    answer = world.http.put(f"/v1/blobs/{NAME}", content=CONTENT + b"x", headers=world.sign_in(CUSTOMER))
    assert (answer.status_code, answer.json()["code"]) == (422, "digest-mismatch")
    wrong = patch(world, 0, LARGE[:-1] + b"x", last=True, name=LARGE_NAME)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "digest-mismatch")
    assert (stored(world), here(world)) == (set(), [])


def test_a_large_file_goes_on_at_any_of_two_services_and_is_read_in_pieces_at_both(world: World) -> None:
    first, second = world.services, restarted(world)
    send(first, 0, LARGE[:3_000_000])
    send(second, 3_000_000, LARGE[3_000_000:9_000_000])
    assert (stored(world), here(world)) == (set(), [LARGE_NAME])
    send(first, 9_000_000, LARGE[9_000_000:], last=True)
    assert (stored(world), here(world)) == ({LARGE_NAME}, [])
    for services in (first, second):
        pieces = list(services.blobs.open(LARGE_NAME, ME).pieces())
        assert b"".join(pieces) == LARGE
        assert max(map(len, pieces)) <= 2**22
    read = world.http.get(
        f"/v1/blobs/{LARGE_NAME}", headers={**world.sign_in(CUSTOMER), "Range": "bytes=4000000-9000000"}
    )
    assert (read.status_code, read.content) == (206, LARGE[4_000_000:9_000_001])


@pytest.mark.usefixtures("away")
def test_a_store_that_dies_loses_nothing_and_its_absence_is_told(world: World, bucket: Bucket) -> None:
    owner = world.sign_in(CUSTOMER)
    world.upload(CUSTOMER, CONTENT)
    send(world.services, 0, LARGE, last=True)
    other = LARGE + b"more"
    name = sha256_hex(other)

    # In the middle of a download.
    pieces = world.services.blobs.open(LARGE_NAME, ME).pieces()
    read = [next(pieces)]
    # And of an upload: it was taken, does not answer, and is killed.
    os.kill(bucket.server.pid, signal.SIGSTOP)
    answers: list[httpx.Response] = []
    line = threading.Thread(target=lambda: answers.append(patch(world, 0, other, last=True, name=name)))
    line.start()
    _wait_for_bytes(world, len(other))
    bucket.server.kill()
    line.join(120)
    assert (answers[0].status_code, answers[0].json()["code"]) == (503, "blob-store-unavailable")
    assert int(answers[0].headers["retry-after"]) > 0
    with pytest.raises(Unavailable):
        next(pieces)

    for method in ("GET", "PUT"):
        said = world.http.request(method, f"/v1/blobs/{NAME}", headers=owner, content=CONTENT)
        assert (said.status_code, said.json()["code"]) == (503, "blob-store-unavailable"), method
    ready = world.http.get("/v1/ready")
    assert ready.status_code == 503
    assert "blobs: the store of the blobs does not answer" in ready.json()["missing"]
    with pytest.raises(Unavailable):
        world.services.retention.sweep()
    assert here(world) == [name], "what was sent in parts is still there, and nothing else"

    bucket.server.start()
    assert stored(world) == {NAME, LARGE_NAME}
    rest = world.services.blobs.open(LARGE_NAME, ME).pieces(start=len(read[0]))
    assert read[0] + b"".join(rest) == LARGE
    state = world.http.head(f"/v1/uploads/{name}", headers=owner)
    assert (state.headers["upload-offset"], state.headers["upload-complete"]) == (str(len(other)), "?0")
    assert patch(world, len(other), b"", last=True, name=name).status_code == 201
    assert world.services.blobs.open(name, ME).read() == other
    assert here(world) == []


def _wait_for_bytes(world: World, size: int) -> None:
    folder = world.services.settings.blob_folder / ".parts"

    def arrived() -> bool:
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) >= size

    until(arrived, "all of a file to arrive at the service")


def test_an_order_runs_with_its_files_in_the_bucket_and_they_go_when_their_time_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _settled(world)
    output = f"/v1/jobs/{job.id}/outputs/out.csv"
    answer = world.http.get(output, headers=world.sign_in(CUSTOMER))
    assert (answer.status_code, answer.content) == (200, RESULT)
    assert answer.headers["content-disposition"] == 'attachment; filename="out.csv"'
    part = world.http.get(output, headers={**world.sign_in(CUSTOMER), "Range": "bytes=1-2"})
    assert (part.status_code, part.content) == (206, RESULT[1:3])
    files = {sha256_hex(TABLE), sha256_hex(RESULT)}
    image = sha256_hex(b"an image")
    assert stored(world) == {*files, image}
    _later(world, PROMISED + 2)

    def dies(*_: object) -> None:
        raise Unavailable("gone in this very moment")

    # It was written down that they are gone, and the process ended before they were.
    with monkeypatch.context() as context:
        context.setattr(ObjectStore, "delete", dies)
        with pytest.raises(Unavailable):
            world.services.retention.sweep()
    assert (_status(world, TABLE), _status(world, RESULT)) == (404, 404)
    assert stored(world) == {*files, image}
    assert restarted(world).retention.sweep()[0] == 0
    assert stored(world) == {image}
    # Sent again, it stays: what was forgotten once is not looked for by name alone.
    world.upload(CUSTOMER, TABLE)
    assert restarted(world).retention.sweep() == (0, 0)
    assert stored(world) == {image, sha256_hex(TABLE)}


def test_a_file_that_is_sent_again_while_it_is_deleted_is_there(world: World) -> None:
    """Whoever deletes is alone with the name, from the look at the tables to the end."""
    blobs = world.services.blobs
    stop = threading.Event()

    def delete() -> None:
        while not stop.is_set():
            blobs.remove([NAME])

    deleting = threading.Thread(target=delete)
    deleting.start()
    try:
        for _ in range(5):
            world.upload(CUSTOMER, CONTENT)
            assert blobs.open(NAME, ME).read() == CONTENT
            with world.store.write() as connection:
                connection.exec_driver_sql("DELETE FROM blob_owners")
                connection.exec_driver_sql("DELETE FROM blobs")
    finally:
        stop.set()
        deleting.join(60)


def test_a_bucket_that_is_not_there_or_not_ours_is_said_without_its_key(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.store().check()
    with pytest.raises(Unavailable):
        open_blob_store("s3://another", Path()).check()
    assert "NoSuchBucket" in caplog.text
    caplog.clear()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SOMEBODYELSE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    with pytest.raises(Unavailable) as refused:
        bucket.store().check()
    assert "403" in caplog.text
    assert "hunter2" not in caplog.text + str(refused.value) + repr(bucket.store())


def test_a_file_that_is_gone_is_not_found(bucket: Bucket) -> None:
    with pytest.raises(NotFound):
        next(bucket.store().read(NAME, 0, 10))
    assert bucket.store().size(NAME) is None
