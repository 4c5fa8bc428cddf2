"""Large files go in parts: through a line that breaks, past a busy service, and never a changed file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from prixfixe.client import AsyncClient, Client, Context
from prixfixe.client.files import FileChanged, describe_input
from prixfixe.errors import Unavailable
from prixfixe.protocol.hashing import sha256_hex
from tests.support.service import CHAIN_ID, CONTRACT, CUSTOMER, World
from tests.support.serving import BreakingLine, served

CONTENT = bytes(range(251)) * 2000
SIZE = len(CONTENT)
NAME = sha256_hex(CONTENT)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prixfixe.client.uploading.SMALL_BYTES", 1000)
    monkeypatch.setattr("prixfixe.protocol.uploads.PART_BYTES", 100_000)
    monkeypatch.setattr("prixfixe.client.uploading.BACKOFF", (0.01,) * 6)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(CONTENT)
    return path


@dataclass
class Place:
    """A service on a port."""

    world: World
    url: str

    def context(self, url: str | None = None) -> Context:
        return Context("test", url or self.url, CHAIN_ID, CONTRACT, key="dev:3")

    @property
    def arrived(self) -> bytes:
        return self.world.services.blobs.open(NAME, CUSTOMER.address).read()

    def begun(self, content: bytes) -> None:
        """An earlier process sent so much."""
        with self.world.services.uploads.append(NAME, CUSTOMER.address, 0, length=None) as part:
            part.write(content)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    # The line to the service has a port of its own, and the sign-in names the port that the client sees.
    with served(tmp_path / "service") as (world, url):
        yield Place(world, url)


def through(place: Place, after: int, times: int, monkeypatch: pytest.MonkeyPatch) -> BreakingLine:
    line = BreakingLine(place.world, place.url, after, times)
    settings = place.world.services.settings
    monkeypatch.setattr(
        type(settings), "domains", property(lambda _: (urlsplit(line.url).netloc, settings.domain))
    )
    return line


def test_a_large_file_goes_in_parts_and_only_once(place: Place, source: Path) -> None:
    steps: list[int] = []
    with Client(place.context()) as client:
        assert client.upload(source, progress=lambda done, _: steps.append(done)) == NAME
        assert place.arrived == CONTENT
        assert steps == [0, 100_000, 200_000, 300_000, 400_000, 500_000, SIZE]
        steps.clear()
        client.upload(source, progress=lambda done, _: steps.append(done))
    assert steps == [SIZE]


def test_another_process_goes_on_where_the_last_one_stopped(place: Place, source: Path) -> None:
    place.begun(CONTENT[:250_000])
    steps: list[int] = []
    with Client(place.context()) as client:
        client.upload(source, progress=lambda done, _: steps.append(done))
    assert steps == [250_000, 350_000, 450_000, SIZE]
    assert place.arrived == CONTENT


@pytest.mark.parametrize("part", [100_000, 1_000_000])
def test_a_line_that_breaks_again_and_again_costs_only_what_was_on_it(
    place: Place, source: Path, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between parts that were acknowledged, and in the middle of a part that never is."""
    monkeypatch.setattr("prixfixe.protocol.uploads.PART_BYTES", part)
    line = through(place, 250_000, times=3, monkeypatch=monkeypatch)
    steps: list[int] = []
    try:
        with Client(place.context(line.url)) as client:
            client.upload(source, progress=lambda done, _: steps.append(done))
    finally:
        line.close()
    assert line.left < 3
    assert place.arrived == CONTENT
    assert steps.count(0) == 1, "it began once, and went on after that"


def test_the_asynchronous_client_goes_on_too(
    place: Place, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = through(place, 120_000, times=3, monkeypatch=monkeypatch)

    async def main() -> None:
        async with AsyncClient(place.context(line.url)) as client:
            await client.upload(source)

    try:
        asyncio.run(main())
    finally:
        line.close()
    assert line.left == 0
    assert place.arrived == CONTENT


def test_a_service_that_takes_nothing_is_given_up_and_what_arrived_stays(
    place: Place, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.begun(CONTENT[:100_000])
    tries = 0

    def write(_self: object, _chunk: bytes) -> None:
        nonlocal tries
        tries += 1
        raise Unavailable("the store is away", code="store-unavailable")

    monkeypatch.setattr("marketplace.uploads.Append.write", write)
    with Client(place.context()) as client, pytest.raises(Unavailable):
        client.upload(source)
    assert tries == 7
    assert place.world.services.uploads.state(NAME, CUSTOMER.address).offset == 100_000


def test_a_file_that_changed_after_the_price_never_arrives(place: Place, source: Path) -> None:
    described = describe_input(source)
    with Client(place.context()) as client:
        source.write_bytes(b"x" + CONTENT[1:])
        with pytest.raises(FileChanged):
            client.upload(source, described)
        source.write_bytes(CONTENT[:-1])
        with pytest.raises(FileChanged):
            client.upload(source, described)
        source.write_bytes(CONTENT)
        client.upload(source, described)
    assert place.arrived == CONTENT


def test_wrong_bytes_that_an_earlier_try_left_are_replaced(place: Place, source: Path) -> None:
    place.begun(b"wrong" * 100)
    with Client(place.context()) as client:
        client.upload(source)
    assert place.arrived == CONTENT


def test_too_many_bytes_of_an_earlier_try_are_given_up(place: Place, source: Path) -> None:
    place.begun(CONTENT + b"more")
    with Client(place.context()) as client:
        client.upload(source)
    assert place.arrived == CONTENT


def test_bytes_that_all_arrived_are_only_checked(place: Place, source: Path) -> None:
    """The last answer was lost before the check, or the service was killed in it."""
    place.begun(CONTENT)
    with Client(place.context()) as client:
        client.upload(source)
    assert place.arrived == CONTENT


def test_a_service_that_says_no_offset_is_not_guessed_at(place: Place, source: Path) -> None:
    with httpx.Client() as real:

        def answer(request: httpx.Request) -> httpx.Response:
            part = request.url.path.startswith("/v1/uploads/")
            return httpx.Response(204) if part else real.send(request)

        with (
            Client(place.context(), transport=httpx.MockTransport(answer)) as client,
            pytest.raises(Unavailable, match="does not say how much"),
        ):
            client.upload(source)
