"""Documents of the archive: whole or not at all, whatever they say and whatever fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marketplace import blob_stores
from marketplace.archive import Archive


@pytest.mark.parametrize("with_syncfs", [True, False])
def test_many_documents_are_written_and_read_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_syncfs: bool
) -> None:
    if not with_syncfs:
        monkeypatch.setattr(blob_stores, "ctypes", SimpleNamespace(CDLL=lambda *_, **__: SimpleNamespace()))
    archive = Archive(tmp_path)
    said: list[Any] = ["plain", "\U0001f600 é", "half a pair \ud800", 2**70, None]
    jobs = {f"0x{at:064x}": {"said": each} for at, each in enumerate(said)}
    archive._put((archive._order(job), each) for job, each in jobs.items())
    assert {job: archive.order(job) for job in jobs} == jobs
    assert [file for file in tmp_path.rglob("*") if file.name.startswith(".")] == []


def test_what_fails_on_the_way_leaves_every_document_as_it_was(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    known, new = f"0x{1:064x}", f"0x{2:064x}"
    archive._put([(archive._order(known), {"said": "before"})])

    def documents() -> Iterator[tuple[str, dict[str, Any]]]:
        yield archive._order(known), {"said": "after"}
        yield archive._order(new), {"said": "new"}
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        archive._put(documents())
    assert (archive.order(known), archive.order(new)) == ({"said": "before"}, None)
    assert [file for file in tmp_path.rglob("*") if file.name.startswith(".")] == []
