"""Inputs come by digest, or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prixfixe.errors import EngineError, Unavailable, VerificationFailed
from prixfixe.protocol.manifest import InputFile
from worker import inputs
from worker.inputs import InputCache

CONTENT = b"a,b\n1,2\n"
NAME = hashlib.sha256(CONTENT).hexdigest()
WANTED = InputFile(name="table.csv", sha256=NAME, size=len(CONTENT))


class Source:
    """Blobs by name, and how often they were asked for. `cut` downloads end after three bytes that many
    times."""

    def __init__(self, blobs: dict[str, bytes], cut: int = 0) -> None:
        self.blobs, self.cut, self.asked = blobs, cut, 0
        self.offsets: list[int] = []

    @contextmanager
    def __call__(self, sha256: str, offset: int) -> Iterator[Iterable[bytes]]:
        self.asked += 1
        self.offsets.append(offset)
        content = self.blobs[sha256]
        yield self._pieces(content[offset:])

    def _pieces(self, content: bytes) -> Iterator[bytes]:
        for at in range(0, len(content), 3):
            yield content[at : at + 3]
            if self.cut:
                self.cut -= 1
                raise Unavailable("cut")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_PAUSES", (0.0, 0.0))


def test_an_input_is_fetched_once_and_is_read_only(tmp_path: Path) -> None:
    source = Source({NAME: CONTENT})
    cache = InputCache(tmp_path / "cache", source, 100)
    for name in ("one", "two"):
        cache.place(WANTED, tmp_path / name)
        assert (tmp_path / name).read_bytes() == CONTENT
    assert source.asked == 1
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o444


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2", CONTENT + b"x", b"A,b\n1,2\n"])
def test_other_bytes_than_the_name_says_are_never_kept(tmp_path: Path, content: bytes) -> None:
    cache = InputCache(tmp_path / "cache", Source({NAME: content}), 100)
    with pytest.raises(VerificationFailed):
        cache.place(WANTED, tmp_path / "table.csv")
    assert list((tmp_path / "cache").iterdir()) == []
    assert not (tmp_path / "table.csv").exists()


def test_a_service_that_never_stops_sending_an_image_does_not_fill_the_disk(tmp_path: Path) -> None:
    source = Source({NAME: b"x" * (5 << 20)})
    cache = InputCache(tmp_path / "cache", source, 100)
    with pytest.raises(EngineError, match="more than the 1 MiB"):
        cache.fetch(NAME, None, 1 << 20)
    assert source.asked == 1
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_download_that_is_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    source = Source({NAME: CONTENT}, cut=2)
    cache = InputCache(tmp_path / "cache", source, 100)
    cache.place(WANTED, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == CONTENT
    assert source.offsets == [0, 3, 6]


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_what_a_kill_left_goes_on_after_a_restart(tmp_path: Path, size: int | None) -> None:
    source = Source({NAME: CONTENT}, cut=100)
    with pytest.raises(Unavailable):
        InputCache(tmp_path / "cache", source, 100).fetch(NAME, size)
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [f"{NAME}.part"]
    source.cut = 0
    again = InputCache(tmp_path / "cache", source, 100)
    assert again.fetch(NAME, size).read_bytes() == CONTENT
    assert source.offsets == ([0, 3, 6] if size else [0, 3, 6, 8])


def test_a_part_with_other_bytes_costs_one_more_download(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f"{NAME}.part").write_bytes(b"half")
    source = Source({NAME: CONTENT})
    assert InputCache(tmp_path / "cache", source, 100).fetch(NAME, len(CONTENT)).read_bytes() == CONTENT
    assert source.offsets == [4, 0]


def test_a_part_that_nobody_goes_on_with_is_forgotten_after_a_day(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    for name, age in (("old", 100_000), ("new", 10)):
        part = tmp_path / "cache" / f"{name}.part"
        part.write_bytes(b"half")
        os.utime(part, (time.time() - age, time.time() - age))
    InputCache(tmp_path / "cache", Source({}), 100)
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["new.part"]


def test_the_oldest_is_forgotten_first_and_never_one_in_use(tmp_path: Path) -> None:
    blobs = {hashlib.sha256(bytes([n]) * 700_000).hexdigest(): bytes([n]) * 700_000 for n in range(3)}
    cache = InputCache(tmp_path / "cache", Source(blobs), most_mib=1)
    for age, name in enumerate(blobs):
        cached = cache.fetch(name, None)
        os.utime(cached, (age, age))
    oldest, middle, newest = blobs
    os.link(tmp_path / "cache" / oldest, tmp_path / "in-use")
    cache.evict()
    assert {entry.name for entry in (tmp_path / "cache").iterdir()} == {oldest, newest}
    assert middle not in os.listdir(tmp_path / "cache")


def test_a_folder_that_is_gone_is_an_error_and_not_for_ever(tmp_path: Path) -> None:
    cache = InputCache(tmp_path / "cache", Source({NAME: CONTENT}), 1)
    with pytest.raises(FileNotFoundError):
        cache.place(WANTED, tmp_path / "gone" / "table.csv")
