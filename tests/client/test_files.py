"""Transfers of files: what is sent is what was priced, what arrives is whole or absent."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from prixfixe.client import files
from prixfixe.client.calls import Download, Upload
from prixfixe.client.files import FileChanged, IncomingFile, describe_input, input_name, outgoing
from prixfixe.errors import ConfigurationError, Conflict, InvalidInput, PrixfixeError, VerificationFailed
from prixfixe.protocol.hashing import sha256_hex

BODY = b"x" * 10


def upload_of(path: Path) -> Upload:
    file = describe_input(path)
    return Upload("/", path, file.sha256, file.size)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 4)


def test_a_file_is_sent_in_pieces_that_make_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(BODY)
    assert b"".join(outgoing(upload_of(path))) == BODY
    path.write_bytes(b"")
    assert b"".join(outgoing(upload_of(path))) == b""


@pytest.mark.parametrize("changed", [b"y" * 10, b"x" * 9, b"x" * 11, b""])
def test_a_changed_file_never_arrives_whole(tmp_path: Path, changed: bytes) -> None:
    path = tmp_path / "f"
    path.write_bytes(BODY)
    call = upload_of(path)
    path.write_bytes(changed)
    sent: list[bytes] = []
    with pytest.raises(FileChanged):
        sent.extend(outgoing(call))
    assert sum(map(len, sent)) < len(BODY)


def download_to(target: Path, body: bytes = BODY) -> Download:
    return Download("/", target, sha256_hex(body), len(body))


def receive(call: Download, *pieces: bytes) -> None:
    with IncomingFile(call) as file:
        for piece in pieces:
            file.write(piece)
        file.finish()


def test_a_download_appears_whole(tmp_path: Path) -> None:
    receive(download_to(tmp_path / "out"), BODY[:3], BODY[3:])
    assert (tmp_path / "out").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_name_as_long_as_a_file_system_takes_arrives(tmp_path: Path) -> None:
    receive(download_to(tmp_path / ("n" * 255)), BODY)
    assert (tmp_path / ("n" * 255)).read_bytes() == BODY


@pytest.mark.parametrize("body", [b"y" * 10, b"x" * 9, b"x" * 11, b""])
def test_wrong_bytes_are_not_kept(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(VerificationFailed):
        receive(download_to(tmp_path / "out"), body)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with IncomingFile(download_to(tmp_path / "out")) as file:
            file.write(BODY[:5])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_says_that_the_result_waits_at_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("prixfixe.client.files.os.fsync", full)
    with pytest.raises(ConfigurationError, match="no space left") as caught:
        receive(download_to(tmp_path / "out"), BODY)
    assert caught.value.code == "disk-full"
    assert "prixfixe jobs download" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_places_that_take_no_file_are_named_before_anything_is_paid(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written") as caught:
        files.require_writable(tmp_path / "missing" / "out.csv")
    assert "nothing was charged" in str(caught.value.hint)
    files.require_writable(tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Conflict, match="is a folder"):
        files.require_free_target(tmp_path, overwrite=True)


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("sales.csv", "sales.csv"),
        ("Umsätze März.csv", "Ums_tze_M_rz.csv"),
        (".hidden", "input.hidden"),
        ("-rf", "input-rf"),
        ("a" * 300 + ".csv", "a" * 124 + ".csv"),
    ],
)
def test_any_file_name_becomes_one_that_a_job_can_have(tmp_path: Path, name: str, inside: str) -> None:
    from prixfixe.protocol.manifest import InputFile

    assert input_name(Path(name)) == inside
    assert InputFile(name=inside, sha256="0" * 64, size=0).name == inside


def test_a_file_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"absent\.csv cannot be read"):
        describe_input(tmp_path / "absent.csv")
    error: PrixfixeError = FileChanged("changed")
    assert error.exit_code == 3
