"""Blobs: whole under their own name or not there at all, and only for those who may read them."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketplace.blobs import Blobs
from prixfixe.errors import StorageFull
from prixfixe.protocol.hashing import sha256_hex
from tests.support.service import CUSTOMER, STRANGER, WORKER, World

CONTENT = b"month,amount\n1,2.50\n" * 100
NAME = sha256_hex(CONTENT)


def _files(world: World) -> list[Path]:
    return [file for file in world.services.settings.blob_folder.rglob("*") if file.is_file()]


def test_what_was_put_can_be_read_by_who_put_it(world: World) -> None:
    owner = world.sign_in(CUSTOMER)
    first = world.http.put(f"/v1/blobs/{NAME}", content=CONTENT, headers=owner)
    assert (first.status_code, first.json()) == (201, {"sha256": NAME, "size": len(CONTENT)})
    assert world.http.put(f"/v1/blobs/{NAME}", content=CONTENT, headers=owner).status_code == 200
    read = world.http.get(f"/v1/blobs/{NAME}", headers=owner)
    assert (read.status_code, read.content) == (200, CONTENT)
    head = world.http.head(f"/v1/blobs/{NAME}", headers=owner)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))
    part = world.http.get(f"/v1/blobs/{NAME}", headers={**owner, "Range": "bytes=6-11"})
    assert (part.status_code, part.content) == (206, b"amount")


def test_an_empty_file_is_a_file(world: World) -> None:
    assert world.upload(CUSTOMER, b"") == sha256_hex(b"")


def test_a_stranger_does_not_learn_that_a_blob_is_there(world: World) -> None:
    world.upload(CUSTOMER, CONTENT)
    there = world.http.get(f"/v1/blobs/{NAME}", headers=world.sign_in(STRANGER))
    nowhere = world.http.get(f"/v1/blobs/{'0' * 64}", headers=world.sign_in(STRANGER))
    assert (there.status_code, nowhere.status_code) == (404, 404)
    assert there.json()["code"] == nowhere.json()["code"]
    assert world.http.head(f"/v1/blobs/{NAME}", headers=world.sign_in(STRANGER)).status_code == 404


def test_without_a_session_nothing_is_read_or_written(world: World) -> None:
    assert world.http.get(f"/v1/blobs/{NAME}").status_code == 401
    assert world.http.put(f"/v1/blobs/{NAME}", content=CONTENT).status_code == 401
    assert _files(world) == []


def test_bytes_of_another_digest_are_refused_and_leave_nothing(world: World) -> None:
    answer = world.http.put(f"/v1/blobs/{NAME}", content=CONTENT + b"x", headers=world.sign_in(CUSTOMER))
    assert (answer.status_code, answer.json()["code"]) == (422, "digest-mismatch")
    assert _files(world) == []
    assert world.http.head(f"/v1/blobs/{NAME}", headers=world.sign_in(CUSTOMER)).status_code == 404


def test_a_name_that_is_no_digest_is_refused(world: World) -> None:
    for name in ("../../etc/passwd", "A" * 64, "0" * 63):
        answer = world.http.put(f"/v1/blobs/{name}", content=b"", headers=world.sign_in(CUSTOMER))
        assert answer.status_code in (404, 422)
    assert _files(world) == []


def test_more_than_the_limit_is_refused_whether_declared_or_not(world: World) -> None:
    limit = world.services.settings.max_blob_bytes
    content = bytes(limit + 1)
    path, owner = f"/v1/blobs/{sha256_hex(content)}", world.sign_in(CUSTOMER)
    assert world.http.put(path, content=content, headers=owner).status_code == 413
    with (
        pytest.raises(Exception) as refused,
        world.services.blobs.upload(sha256_hex(content), CUSTOMER.address) as upload,
    ):
        upload.write(content)
    assert getattr(refused.value, "status", None) == 413
    assert _files(world) == []


def test_a_full_disk_is_said_and_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = world.http.put(f"/v1/blobs/{NAME}", content=CONTENT, headers=world.sign_in(CUSTOMER))
    assert (answer.status_code, answer.json()["code"]) == (507, "storage-full")
    assert _files(world) == []


def test_a_file_that_cannot_fit_is_refused_before_it_is_read(world: World) -> None:
    blobs = Blobs(world.store, world.services.settings.blob_folder, 2**62)
    with pytest.raises(StorageFull):
        blobs.upload(NAME, CUSTOMER.address, 2**61)


def test_an_upload_that_is_cut_leaves_nothing(world: World) -> None:
    with world.services.blobs.upload(NAME, CUSTOMER.address) as upload:
        upload.write(CONTENT[:100])
        assert len(_files(world)) == 1
    assert _files(world) == []


def test_what_a_killed_process_left_is_swept_when_it_is_old(world: World) -> None:
    folder = world.services.settings.blob_folder / ".incoming"
    (folder / "dead").write_bytes(b"half")
    assert world.services.blobs.sweep() == 0
    world.clock.now += 7200
    assert world.services.blobs.sweep() == 1
    assert _files(world) == []


def test_the_same_file_from_many_at_once_is_one_blob_of_all(world: World) -> None:
    owners = [f"0x{number:040x}" for number in range(8)]
    barrier = threading.Barrier(len(owners))

    def put(owner: str) -> None:
        with world.services.blobs.upload(NAME, owner) as upload:
            upload.write(CONTENT[:10])
            barrier.wait(10)
            upload.write(CONTENT[10:])
            upload.finish()

    threads = [threading.Thread(target=put, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_files(world)) == 1
    assert all(world.services.blobs.open(NAME, owner).read() == CONTENT for owner in owners)


def test_chunks_without_a_length_are_taken(world: World) -> None:
    def pieces() -> Iterator[bytes]:
        yield CONTENT[:7]
        yield CONTENT[7:]

    answer = world.http.put(f"/v1/blobs/{NAME}", content=pieces(), headers=world.sign_in(CUSTOMER))
    assert answer.status_code == 201


def test_a_worker_reads_images_and_the_inputs_of_its_attempt_only(world: World) -> None:
    listing = world.publish()
    job = world.placed(CONTENT)
    worker = world.sign_in(WORKER)
    assert world.http.get(f"/v1/blobs/{listing.image_archive}", headers=worker).status_code == 404
    assert world.register().status_code == 200
    assert world.http.get(f"/v1/blobs/{listing.image_archive}", headers=worker).content == b"an image"
    assert world.http.get(f"/v1/blobs/{NAME}", headers=worker).status_code == 404
    world.open_deal(job.id)
    assert world.http.get(f"/v1/blobs/{NAME}", headers=worker).content == CONTENT
