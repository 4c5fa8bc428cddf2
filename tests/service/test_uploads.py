"""Uploads in parts: what arrived stays until it is whole, for its sender alone, and within bounds."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import httpx
import pytest

from marketplace.services import Services
from marketplace.uploads import OffsetMismatch
from prixfixe.errors import InvalidInput, StorageFull, TooManyRequests
from prixfixe.keys import LocalSigner
from prixfixe.protocol.hashing import sha256_hex
from tests.support.service import CUSTOMER, OPERATOR, STRANGER, World

CONTENT = bytes(range(256)) * 400
SIZE = len(CONTENT)
NAME = sha256_hex(CONTENT)
ME = CUSTOMER.address


def files(world: World) -> list[Path]:
    return [file for file in world.services.settings.blob_folder.rglob("*") if file.is_file()]


def state(world: World, name: str = NAME, signer: LocalSigner = CUSTOMER) -> tuple[int, bool]:
    answer = world.http.head(f"/v1/uploads/{name}", headers=world.sign_in(signer))
    assert answer.status_code == 204
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"]), answer.headers["upload-complete"] == "?1"


def patch(
    world: World,
    offset: int,
    content: bytes,
    *,
    last: bool = False,
    name: str = NAME,
    signer: LocalSigner = CUSTOMER,
    **headers: str,
) -> httpx.Response:
    given = {
        "Upload-Offset": str(offset),
        "Upload-Complete": "?1" if last else "?0",
        "Content-Type": "application/partial-upload",
        **world.sign_in(signer),
        **{key.replace("_", "-"): value for key, value in headers.items()},
    }
    return world.http.patch(f"/v1/uploads/{name}", content=content, headers=given)


def restarted(world: World) -> Services:
    """The same service in a new process: the same folder and tables, and nothing remembered."""
    old = world.services
    return Services.build(old.settings, old.market, world.store, world.chain, OPERATOR, world.clock)


def send(services: Services, offset: int, content: bytes, *, last: bool = False) -> None:
    with services.uploads.append(NAME, ME, offset, length=SIZE) as part:
        part.write(content)
        if last:
            part.finish()


def test_a_file_comes_in_parts_and_is_a_blob_when_it_is_whole(world: World) -> None:
    assert state(world) == (0, False)
    first = patch(world, 0, CONTENT[:70_000], Upload_Length=str(SIZE))
    assert (first.status_code, first.headers["upload-offset"]) == (204, "70000")
    assert state(world) == (70_000, False)
    assert world.http.head(f"/v1/blobs/{NAME}", headers=world.sign_in(CUSTOMER)).status_code == 404
    last = patch(world, 70_000, CONTENT[70_000:], last=True, Upload_Length=str(SIZE))
    assert (last.status_code, last.json()) == (201, {"sha256": NAME, "size": SIZE})
    assert state(world) == (SIZE, True)
    assert world.services.blobs.open(NAME, ME).read() == CONTENT
    assert len(files(world)) == 1


@pytest.mark.parametrize("cut", [1, 65_536, SIZE - 1, SIZE])
def test_whatever_was_cut_off_goes_on_where_it_stopped_also_in_a_new_process(world: World, cut: int) -> None:
    with world.services.uploads.append(NAME, ME, 0, length=SIZE) as part:
        part.write(CONTENT[:cut])  # and then the connection, or the process, is gone
    services = restarted(world)
    assert services.uploads.state(NAME, ME).offset == cut
    with services.uploads.append(NAME, ME, cut, length=SIZE) as part:
        part.write(CONTENT[cut:])
        assert part.finish()
    assert services.blobs.open(NAME, ME).read() == CONTENT


def test_parts_may_come_to_any_of_the_processes_that_share_the_folder(world: World) -> None:
    first, second = world.services, restarted(world)
    send(first, 0, CONTENT[:1000])
    send(second, 1000, CONTENT[1000:70_000])
    assert first.uploads.state(NAME, ME).offset == 70_000
    send(first, 70_000, CONTENT[70_000:80_000])
    send(second, 80_000, CONTENT[80_000:], last=True)
    assert first.blobs.open(NAME, ME).read() == CONTENT


def test_a_body_that_is_cut_leaves_all_that_came(world: World) -> None:
    """The way through HTTP: the client goes away in the middle of a part."""

    async def exchange() -> None:
        pieces: list[dict[str, Any]] = [
            {"type": "http.request", "body": CONTENT[:1000], "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> dict[str, Any]:
            return pieces.pop(0)

        async def ignore(_: Any) -> None:
            """Nobody hears the answer."""

        headers = {**world.sign_in(CUSTOMER), "upload-offset": "0", "upload-complete": "?1"}
        scope: dict[str, Any] = {
            "type": "http",
            "method": "PATCH",
            "path": f"/v1/uploads/{NAME}",
            "raw_path": b"",
            "query_string": b"",
            "headers": [(key.lower().encode(), value.encode()) for key, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "scheme": "http",
            "http_version": "1.1",
        }
        await world.app(scope, receive, ignore)

    world.sign_in(CUSTOMER)
    asyncio.run(exchange())
    assert state(world) == (1000, False)


def test_a_wrong_offset_is_told_the_right_one_and_changes_nothing(world: World) -> None:
    patch(world, 0, CONTENT[:1000])
    for offset in (0, 999, 1001):
        answer = patch(world, offset, CONTENT[offset:])
        assert (answer.status_code, answer.headers["upload-offset"]) == (409, "1000")
        problem = answer.json()
        assert problem["code"] == "mismatching-upload-offset"
        assert (problem["expected_offset"], problem["provided_offset"]) == (1000, offset)
    assert patch(world, 5, b"x", name="0" * 64).headers["upload-offset"] == "0"
    assert state(world) == (1000, False)


def test_another_file_than_its_name_says_leaves_nothing(world: World) -> None:
    wrong = b"x" + CONTENT[1:]
    patch(world, 0, wrong[:1000])
    answer = patch(world, 1000, wrong[1000:], last=True)
    assert (answer.status_code, answer.json()["code"]) == (422, "digest-mismatch")
    assert files(world) == []
    assert state(world) == (0, False)
    assert patch(world, 0, CONTENT, last=True).status_code == 201


def test_more_than_was_declared_or_than_the_market_takes_is_refused(world: World) -> None:
    too_long = patch(world, 0, CONTENT, Upload_Length=str(SIZE - 1))
    assert (too_long.status_code, too_long.json()["code"]) == (422, "inconsistent-upload-length")
    with world.services.uploads.append(NAME, ME, 0, length=10) as part, pytest.raises(InvalidInput):
        part.write(bytes(11))
    short = patch(world, 0, CONTENT[:-1], last=True, Upload_Length=str(SIZE))
    assert (short.status_code, short.json()["code"]) == (422, "inconsistent-upload-length")
    assert state(world) == (SIZE - 1, False)
    limit = world.services.blobs.max_bytes
    assert patch(world, 0, b"", Upload_Length=str(limit + 1), name="1" * 64).status_code == 413
    with world.services.uploads.append("1" * 64, ME, 0, length=None) as part:
        with pytest.raises(InvalidInput) as refused:
            part.write(bytes(limit + 1))
        assert refused.value.code == "too-large"


def test_headers_that_say_nothing_are_refused(world: World) -> None:
    for headers in ({"Upload-Offset": "-1"}, {"Upload-Offset": "x"}, {"Upload-Complete": "1"}):
        given = {"Upload-Offset": "0", "Upload-Complete": "?0", **headers, **world.sign_in(CUSTOMER)}
        answer = world.http.patch(f"/v1/uploads/{NAME}", content=b"x", headers=given)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert files(world) == []


def test_nobody_sees_or_touches_the_upload_of_another(world: World) -> None:
    patch(world, 0, CONTENT[:1000])
    assert state(world, signer=STRANGER) == (0, False)
    gone = world.http.delete(f"/v1/uploads/{NAME}", headers=world.sign_in(STRANGER))
    assert gone.status_code == 204
    assert patch(world, 0, b"x" * 50, signer=STRANGER).status_code == 204
    assert patch(world, 1000, CONTENT[1000:], last=True).status_code == 201
    assert state(world, signer=STRANGER) == (50, False)
    assert world.http.head(f"/v1/uploads/{NAME}").status_code == 401


def test_an_upload_that_is_given_up_leaves_nothing_and_a_blob_stays(world: World) -> None:
    patch(world, 0, CONTENT[:1000])
    owner = world.sign_in(CUSTOMER)
    assert world.http.delete(f"/v1/uploads/{NAME}", headers=owner).status_code == 204
    assert files(world) == []
    patch(world, 0, CONTENT, last=True)
    assert world.http.delete(f"/v1/uploads/{NAME}", headers=owner).status_code == 204
    assert state(world) == (SIZE, True)


def test_a_blob_that_came_whole_meanwhile_ends_the_upload(world: World) -> None:
    patch(world, 0, CONTENT[:1000])
    world.upload(CUSTOMER, CONTENT)
    assert state(world) == (SIZE, True)
    assert len(files(world)) == 1


def test_two_senders_of_one_file_take_turns_and_it_is_whole(world: World) -> None:
    uploads = world.services.uploads
    barrier = threading.Barrier(2)
    done: list[str] = []

    def sender() -> None:
        barrier.wait(10)
        while not (known := uploads.state(NAME, ME)).complete:
            try:
                with uploads.append(NAME, ME, known.offset, length=SIZE) as part:
                    while part.offset < SIZE:
                        part.write(CONTENT[part.offset : part.offset + 3000])
                    part.finish()
            except OffsetMismatch:
                continue
        done.append("done")

    threads = [threading.Thread(target=sender) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert done == ["done", "done"]
    assert world.services.blobs.open(NAME, ME).read() == CONTENT
    assert len(files(world)) == 1


def test_a_connection_that_hangs_cannot_write_over_its_successor_nor_into_the_blob(world: World) -> None:
    with world.services.uploads.append(NAME, ME, 0, length=None) as hanging:
        hanging.write(CONTENT[:100])
        send(world.services, 100, CONTENT[100:200])
        with pytest.raises(OffsetMismatch):
            hanging.write(b"late")
        send(world.services, 200, CONTENT[200:], last=True)
        hanging.offset = SIZE  # as if it had kept up
        with pytest.raises(OffsetMismatch):
            hanging.write(b"late")
    assert world.services.blobs.open(NAME, ME).read() == CONTENT


Usage = namedtuple("Usage", "total used free")


def test_a_disk_that_fills_up_keeps_what_it_took_and_goes_on_when_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch(world, 0, CONTENT[:1000])
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 2**26))
        full = patch(world, 1000, CONTENT[1000:], last=True)
        assert (full.status_code, full.json()["code"]) == (507, "storage-full")
    with world.services.uploads.append(NAME, ME, 1000, length=SIZE) as part:
        part.write(CONTENT[1000:2000])
        write = os.write

        def tears(descriptor: int, data: Any) -> int:
            """Half a piece fits."""
            if len(data) > 100:
                return write(descriptor, data[:100])
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", tears)
            with pytest.raises(StorageFull):
                part.write(CONTENT[2000:2150])
    assert state(world) == (2000, False)
    assert patch(world, 2000, CONTENT[2000:], last=True).status_code == 201


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk needs root")
def test_a_real_disk_that_is_full_is_said_in_time_and_the_upload_goes_on_later(tmp_path: Path) -> None:
    mib = 2**20
    content = os.urandom(mib) * 8
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "none", str(tmp_path)], check=True)
    try:
        world = World(tmp_path, max_blob_bytes=16 * mib)
        filler = tmp_path / "filler"
        filler.write_bytes(bytes(10 * mib))
        sent = {"Upload-Offset": "0", "Upload-Complete": "?1", **world.sign_in(CUSTOMER)}
        path = f"/v1/uploads/{sha256_hex(content)}"
        told = world.http.patch(path, content=iter([content]), headers=sent)  # says no length
        assert (told.status_code, told.json()["code"]) == (507, "storage-full")
        known = world.http.patch(path, content=content, headers=sent)
        assert known.status_code == 507
        with world.services.uploads.append(sha256_hex(content), ME, 0, length=None) as part:
            with pytest.raises(StorageFull):
                all(part.write(content[at : at + mib]) is None for at in range(0, len(content), mib))
            assert 0 < part.offset < len(content)
            filler.unlink()
            part.write(content[part.offset :])
            assert part.finish()
        assert world.services.blobs.open(sha256_hex(content), ME).read() == content
        world.close()
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_what_an_account_leaves_half_sent_is_bounded(tmp_path: Path) -> None:
    world = World(tmp_path, max_unfinished_bytes=10_000, max_unfinished_uploads=3)
    names = [f"{number:064x}" for number in range(5)]
    for name in names[:3]:
        assert patch(world, 0, bytes(2000), name=name).status_code == 204
    many = patch(world, 0, b"x", name=names[3])
    assert (many.status_code, many.json()["code"]) == (429, "upload-quota")
    assert int(many.headers["retry-after"]) == 60
    big = patch(world, 2000, bytes(2001), name=names[0], Upload_Length="6001")
    assert (big.status_code, big.json()["code"]) == (429, "upload-quota")
    with world.services.uploads.append(names[0], ME, 2000, length=None) as part:
        with pytest.raises(TooManyRequests):
            part.write(bytes(4001))
        part.write(bytes(4000))
    # Another account has its own share; and what lies idle makes room for what is new.
    assert patch(world, 0, b"x", name=names[3], signer=STRANGER).status_code == 204
    os.utime(world.services.settings.blob_folder / ".parts" / ME.lower() / names[1], (0, 0))
    assert patch(world, 0, b"x", name=names[3]).status_code == 204
    assert [state(world, name)[0] for name in names] == [6000, 0, 2000, 1, 0]
    world.close()


def test_what_nobody_goes_on_with_is_forgotten(world: World) -> None:
    patch(world, 0, CONTENT[:1000])
    assert world.services.uploads.sweep() == 0
    world.clock.now += world.services.settings.upload_seconds + 60
    assert world.services.uploads.sweep() == 1
    assert list((world.services.settings.blob_folder / ".parts").iterdir()) == []
    send(world.services, 0, CONTENT, last=True)
    assert world.services.uploads.state(NAME, ME).complete


def test_an_empty_file_can_come_this_way_too(world: World) -> None:
    assert patch(world, 0, b"", name=sha256_hex(b""), last=True).status_code == 201
