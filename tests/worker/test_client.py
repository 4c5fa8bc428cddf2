"""The worker's way to a real service: outputs arrive through a line that breaks."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from prixfixe.errors import Unavailable
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.uploads import PartRange
from tests.support.service import WORKER, World
from tests.support.serving import BreakingLine, served
from worker.client import ServiceClient, Stopped, _after

CONTENT = bytes(range(251)) * 2000
SIZE = len(CONTENT)
NAME = sha256_hex(CONTENT)

pytestmark = pytest.mark.network_ports


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.client.SMALL_BYTES", 1000)
    monkeypatch.setattr("worker.client._LONGEST_PAUSE", 0.02)
    monkeypatch.setattr("prixfixe.protocol.uploads.PART_BYTES", 100_000)


@dataclass
class Sent:
    """Opens an output's bytes, and counts them."""

    count: int = 0

    def __call__(self, part: PartRange) -> Iterable[bytes]:
        for at in range(part.offset, part.end, 10_000):
            piece = CONTENT[at : min(at + 10_000, part.end)]
            self.count += len(piece)
            yield piece


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[World, str]]:
    with served(tmp_path / "service") as (world, url):
        yield world, url


def arrived(world: World) -> bytes:
    return world.services.blobs.open(NAME, WORKER.address).read()


def test_a_large_output_arrives_once(world: tuple[World, str]) -> None:
    client, sent = ServiceClient(world[1]), Sent()
    client.sign_in(WORKER)
    client.upload(NAME, SIZE, sent, 5.0)
    client.upload(NAME, SIZE, sent, 5.0)
    client.close()
    assert (arrived(world[0]), sent.count) == (CONTENT, SIZE)


def test_it_goes_on_where_the_line_broke(world: tuple[World, str], monkeypatch: pytest.MonkeyPatch) -> None:
    line = BreakingLine(*world, 250_000, times=2)
    host = urlsplit(line.url).netloc
    monkeypatch.setattr(type(world[0].services.settings), "domains", property(lambda _: (host,)))
    client, sent = ServiceClient(line.url), Sent()
    client.sign_in(WORKER)
    client.upload(NAME, SIZE, sent, 10.0)
    client.close()
    line.close()
    assert line.left < 2
    assert arrived(world[0]) == CONTENT
    assert sent.count < SIZE + 250_000


def test_a_worker_that_is_killed_in_every_part_goes_on_where_it_was(world: tuple[World, str]) -> None:
    sent = Sent()
    for last in range(0, SIZE, 100_000):

        def until_killed(part: PartRange, last: int = last) -> Iterable[bytes]:
            # Where it goes on depends on how much of the part before reached the disk.
            yield from sent(part) if part.end <= last else islice(sent(part), 3)
            if part.end > last:
                raise Stopped("killed here")

        client = ServiceClient(world[1])
        client.sign_in(WORKER)
        with pytest.raises(Stopped):
            client.upload(NAME, SIZE, until_killed, 5.0)
        client.close()
    client = ServiceClient(world[1])
    client.sign_in(WORKER)
    client.upload(NAME, SIZE, sent, 5.0)
    client.close()
    assert arrived(world[0]) == CONTENT
    assert sent.count <= SIZE + 6 * 100_000, "what had arrived is not sent again"


def test_it_waits_no_longer_than_it_is_told(
    world: tuple[World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_self: object, _chunk: bytes) -> None:
        raise Unavailable("the store is away", code="store-unavailable")

    monkeypatch.setattr("marketplace.uploads.Append.write", away)
    stopping = threading.Event()
    client = ServiceClient(world[1], stopping=stopping)
    client.sign_in(WORKER)
    with pytest.raises(Unavailable, match="the store is away"):
        client.upload(NAME, SIZE, Sent(), 0.1)
    stopping.set()
    with pytest.raises(Stopped):
        client.upload(NAME, SIZE, Sent(), 60.0)
    client.close()


def test_a_download_goes_on_from_any_offset_and_lists_are_read_to_their_end(
    world: tuple[World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    market, url = world
    content = bytes(range(256)) * 20
    name = market.upload(WORKER, content)
    client = ServiceClient(url)
    client.sign_in(WORKER)
    try:
        for offset in (0, 1, 5000, len(content)):
            with client.download(name, offset) as chunks:
                assert b"".join(chunks) == content[offset:]
        assert client.blob_size(name) == len(content)
        assert client.bundles() == []
        for version in ("1.0.0", "2.0.0", "3.0.0"):
            market.publish(version=version)
        page = market.services.bundles.page
        monkeypatch.setattr(market.services.bundles, "page", lambda cursor, limit: page(cursor, 1))
        assert sorted(each.version for each in client.bundles()) == ["1.0.0", "2.0.0", "3.0.0"]
    finally:
        client.close()


def test_a_server_without_ranges_sends_everything_and_the_beginning_is_left_out() -> None:
    assert b"".join(_after([b"abc", b"", b"defg", b"h"], 4)) == b"efgh"
