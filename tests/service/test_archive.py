"""Documents of the archive: whole or not at all, whatever they say and whatever fails."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketplace import packs
from marketplace.archive import Archive
from marketplace.packs import Packs
from prixfixe.errors import StorageFull

SAID: list[Any] = ["plain", "\U0001f600 é\nand\u2028lines", "half a pair \ud800", 2**70, None]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_many_documents_are_written_together_and_read_as_they_are(tmp_path: Path) -> None:
    kept = Packs(tmp_path / "orders")
    documents = {f"0x{at:064x}": {"said": each} for at, each in enumerate(SAID)}
    kept.put(documents.items())
    kept.put([("0xlater", {"said": "later"})])
    for reader in (kept, Packs(tmp_path / "orders")):
        assert {key: reader.get(key) for key in documents} == documents
        assert reader.get("0xlater") == {"said": "later"}
        assert reader.get("0xnobody") is None
    assert names(tmp_path / "orders") == ["000000000001.jsonl", "000000000002.jsonl"]


def test_nothing_to_write_is_no_file_and_nothing_to_read_no_error(tmp_path: Path) -> None:
    kept = Packs(tmp_path / "orders")
    kept.put([])
    assert kept.get("0x1") is None
    assert not (tmp_path / "orders").exists()


def test_what_is_written_again_counts_as_it_was_written_last(tmp_path: Path) -> None:
    kept, reader = Packs(tmp_path), Packs(tmp_path)
    kept.put([("one", {"at": 1}), ("two", {"at": 1}), ("one", {"at": 2})])
    assert (kept.get("one"), reader.get("two")) == ({"at": 2}, {"at": 1})
    kept.put([("two", {"at": 3})])
    assert [kept.get(key) for key in ("one", "two")] == [{"at": 2}, {"at": 3}]
    assert [Packs(tmp_path).get(key) for key in ("one", "two")] == [{"at": 2}, {"at": 3}]


def test_what_fails_on_the_way_leaves_every_document_as_it_was(tmp_path: Path) -> None:
    kept = Packs(tmp_path)
    kept.put([("known", {"said": "before"})])

    def documents() -> Iterator[tuple[str, dict[str, Any]]]:
        yield "known", {"said": "after"}
        yield "new", {"said": "new"}
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        kept.put(documents())
    assert (kept.get("known"), kept.get("new")) == ({"said": "before"}, None)
    assert names(tmp_path) == ["000000000001.jsonl"]


def test_a_full_disk_is_said_and_nothing_is_half_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    kept = Packs(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(packs, "flush", full)
        with pytest.raises(StorageFull):
            kept.put([("one", {"at": 1})])
    assert names(tmp_path) == []
    kept.put([("one", {"at": 1})])
    assert kept.get("one") == {"at": 1}


def test_two_who_write_at_once_take_nothing_from_each_other(tmp_path: Path) -> None:
    """While the duty changes hands."""
    one, other = Packs(tmp_path), Packs(tmp_path)
    for at in range(3):
        one.put([(f"one-{at}", {"at": at})])
        other.put([(f"other-{at}", {"at": at})])
    reader = Packs(tmp_path)
    for at in range(3):
        assert reader.get(f"one-{at}") == reader.get(f"other-{at}") == {"at": at}
    assert len(names(tmp_path)) == 6


def test_what_is_the_same_as_lately_is_not_written_again(tmp_path: Path) -> None:
    """A deal that waits for a report is looked at every two seconds."""
    kept = Packs(tmp_path)
    for _ in range(3):
        kept.put([("held", {"reports": 1}), ("held", {"reports": 1})])
    kept.put([("held", {"reports": 2})])
    kept.put([("held", {"reports": 1})])
    assert len(names(tmp_path)) == 3
    assert kept.get("held") == {"reports": 1}


def test_an_archive_of_before_is_read_too(tmp_path: Path) -> None:
    order, result = "0x" + "ab" * 32, "0x" + "cd" * 32
    for folder, key in (("orders", order), ("results", f"{result}-1")):
        path = tmp_path / folder / key[2:4] / f"{key[2:]}.json"
        path.parent.mkdir(parents=True)
        path.write_text('{"said": "before"}')
    archive = Archive(tmp_path)
    assert archive.order(order) == archive.result(result, 1) == {"said": "before"}
    Packs(tmp_path / "orders").put([(order, {"said": "now"})])
    assert (archive.order(order), archive.order("0x" + "ef" * 32)) == ({"said": "now"}, None)


def test_a_number_that_is_only_taken_yet_is_read_later(tmp_path: Path) -> None:
    (tmp_path / "000000000001.jsonl").touch()
    reader = Packs(tmp_path)
    assert reader.get("one") is None
    (tmp_path / ".draft").write_text('one {"at":1}\n')
    os.utime(tmp_path, ns=(0, 0))
    os.replace(tmp_path / ".draft", tmp_path / "000000000001.jsonl")
    assert reader.get("one") == {"at": 1}


def test_a_line_that_is_damaged_is_no_document_and_the_others_are(tmp_path: Path) -> None:
    Packs(tmp_path).put([("one", {"at": 1}), ("two", {"at": 2}), ("three", {"at": 3})])
    file = tmp_path / "000000000001.jsonl"
    file.write_bytes(file.read_bytes().replace(b'two {"at":2}', b"two \xff\x00[[[[[["))
    (tmp_path / "notes.txt").write_text("one {}\n")
    (tmp_path / "9").mkdir()
    assert [Packs(tmp_path).get(key) for key in ("one", "two", "three")] == [{"at": 1}, None, {"at": 3}]


def test_what_a_killed_process_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    (tmp_path / ".snapshot").mkdir()
    for name, age in ((f".{7:016x}", 7200), (f".{8:016x}", 10), (".theirs", 7200)):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    Packs(tmp_path).put([("one", {})])
    assert names(tmp_path) == [f".{8:016x}", ".snapshot", ".theirs", "000000000001.jsonl"]


def test_who_writes_first_keeps_its_own_draft_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are dated by another machine, whose clock is hours behind."""
    ahead = time.time() + 10_000
    monkeypatch.setattr(packs.time, "time", lambda: ahead)
    kept = Packs(tmp_path)
    kept.put([("one", {"at": 1})])
    assert kept.get("one") == {"at": 1}
    assert names(tmp_path) == ["000000000001.jsonl"]
