"""Reading a stranger's folder."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from worker.outputs import OutputLimits, OutputRefused, collect, open_output

LIMITS = OutputLimits(files=5, total_bytes=1000)


def test_files_are_listed_by_path_as_bytes_with_digest_and_size(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/x", "a", "b.txt", "é"):
        (tmp_path / name).write_text(name)
    found = collect(tmp_path, LIMITS)
    assert [file.path for file in found.files] == ["a", "b.txt", "b/x", "é"]
    for file in found.files:
        with open_output(tmp_path, file.path) as stream:
            assert stream.read() == file.path.encode()


def test_an_empty_folder_is_an_empty_manifest(tmp_path: Path) -> None:
    (tmp_path / "nothing" / "in").mkdir(parents=True)
    assert collect(tmp_path, LIMITS).files == ()


def make_file(place: Path) -> None:
    place.parent.mkdir()
    place.touch()


def make_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        here = os.getcwd()
        os.chdir(place)  # a socket's path is at most 108 bytes
        try:
            door.bind("door")
        finally:
            os.chdir(here)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda at: (at / "link").symlink_to("/etc/shadow"), "output-not-plain"),
        (lambda at: (at / "link").symlink_to("file"), "output-not-plain"),
        (lambda at: (at / "up").symlink_to(".."), "output-not-plain"),
        (lambda at: os.mkfifo(at / "pipe"), "output-not-plain"),
        (make_socket, "output-not-plain"),
        (lambda at: os.link(at / "file", at / "again"), "output-hard-link"),
        (lambda at: (at / "new\nline").write_text(""), "output-odd-name"),
        (lambda at: (at / "back\\slash").write_text(""), "output-odd-name"),
        (lambda at: open(os.fsencode(at) + b"/\xff", "w").close(), "output-odd-name"),
        (lambda at: os.truncate(os.open(at / "sparse", os.O_CREAT | os.O_RDWR), 1 << 30), "output-too-large"),
        (lambda at: [(at / str(n)).touch() for n in range(5)], "output-too-many"),
        (lambda at: [make_file(at / f"d{n}" / "f") for n in range(5)], "output-too-many"),
        (lambda at: (at / "/".join("d" * 18)).mkdir(parents=True), "output-too-deep"),
    ],
)  # fmt: skip
def test_what_is_not_a_plain_file_within_limits_is_refused(tmp_path: Path, make: object, code: str) -> None:
    (tmp_path / "file").write_text("x")
    make(tmp_path)  # type: ignore[operator]
    with pytest.raises(OutputRefused) as caught:
        collect(tmp_path, LIMITS)
    assert caught.value.code == code


def test_a_device_is_refused_without_being_opened(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("making a device needs root")
    os.mknod(tmp_path / "null", 0o666 | 0o020000, os.makedev(1, 3))
    with pytest.raises(OutputRefused, match="a device"):
        collect(tmp_path, LIMITS)


def test_a_folder_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out" / "d").mkdir(parents=True)
    (tmp_path / "out" / "d" / "f").write_text("mine")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "f").write_text("theirs")
    (tmp_path / "out" / "d").rename(tmp_path / "moved")
    (tmp_path / "out" / "d").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError), open_output(tmp_path / "out", "d/f"):
        pass
