"""A task on an engine that sees none of our folders: what is sent, what comes back, and what does not."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from prixfixe.errors import EngineError
from tests.cage.conftest import LABEL, Bench
from worker.carrying import Carrier, pack, unpack
from worker.containers import Run, container_name
from worker.engine import Engine
from worker.outputs import OutputLimits, OutputRefused, collect
from worker.runner import Runner
from worker.scratch import ScratchPool
from worker.stopping import Stopper

LIMITS = OutputLimits(files=3, total_bytes=1000)


def tar(*entries: tuple[str, bytes, bytes], link: str = "", size: int | None = None) -> bytes:
    """name, type and content of each; size: that is told of the last one, whatever it has."""
    content = io.BytesIO()
    for number, (name, kind, data) in enumerate(entries, 1):
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, link, len(data)
        if size is not None and number == len(entries):
            entry.size = size
        content.write(entry.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape"))
        content.write(data + bytes(-len(data) % 512))
    return content.getvalue() + bytes(1024)


FILE, FOLDER = tarfile.REGTYPE, tarfile.DIRTYPE


class TestAnArchive:
    """Of outputs, against an engine that lies too."""

    def test_its_plain_files_come_back(self, tmp_path: Path) -> None:
        told = tar((".", FOLDER, b""), ("./a", FILE, b"1"), ("./d", FOLDER, b""), ("./d/b c", FILE, b"22"))
        unpack(iter([told[:700], told[700:]]), tmp_path, LIMITS)
        found = collect(tmp_path, LIMITS).files
        assert [(file.path, file.size) for file in found] == [("a", 1), ("d/b c", 2)]

    @pytest.mark.parametrize(
        ("told", "says"),
        [
            (tar(("./../up", FILE, b"x")), "'..'"),
            (tar(("/etc/cron.d/x", FILE, b"x")), "output path"),
            (tar(("./a\nb", FILE, b"x")), "control character"),
            (tar(("./\udcff", FILE, b"x")), "UTF-8"),
            (tar(("./l", tarfile.SYMTYPE, b""), link="/etc/passwd"), "a symbolic link"),
            (tar(("./a", FILE, b"x"), ("./h", tarfile.LNKTYPE, b""), link="./a"), "several names"),
            (tar(("./p", tarfile.FIFOTYPE, b"")), "a named pipe"),
            (tar(("./n", tarfile.CHRTYPE, b"")), "a device"),
            (tar(("./n", tarfile.BLKTYPE, b"")), "a device"),
            (tar(("./c", tarfile.CONTTYPE, b"x")), "not a plain file"),
            (tar(("./giant", FILE, b""), size=1 << 40), "more than 1000 bytes"),
            (tar(*[(f"./{n}", FILE, b"") for n in range(4)]), "more than 3 output files"),
            (tar(*[(f"./{n}", FOLDER, b"") for n in range(7)]), "more than 3 output files"),
            (tar(("./" + "/".join("d" * 18), FILE, b"")), "deeper than 16"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_anything_else_is_refused_and_nothing_lies_outside(
        self, told: bytes, says: str, tmp_path: Path
    ) -> None:
        (tmp_path / "into").mkdir()
        with pytest.raises(OutputRefused, match=says):
            unpack([told], tmp_path / "into", LIMITS)
        assert [entry.name for entry in tmp_path.iterdir()] == ["into"]
        assert not any(place.is_symlink() for place in tmp_path.rglob("*"))

    @pytest.mark.parametrize(
        "told",
        [
            b"no tar at all" * 100,
            tar(("./a", FILE, b"x"), ("./a", FILE, b"y")),
            tar(("./gone/a", FILE, b"x")),
            tar(("./a", FILE, b"x"), ("./a/b", FILE, b"x")),
            tar(("./cut", FILE, b"x" * 900))[:800],
            tar(("./a", FILE, b"x"), ("./b", FILE, b"y"))[:1024],
            tar(("./a", FILE, b"x"), ("./b", FILE, b"y"))[:1124],
            tar(("./a", FILE, b"x"))[:1024] + b'{"message": "the archive broke off"}',
        ],
        ids=["no tar", "twice", "no folder", "a file as a folder", "cut", "cut between", "cut after", "told"],
    )
    def test_one_that_makes_no_sense_is_the_engines_fault(self, told: bytes, tmp_path: Path) -> None:
        with pytest.raises(EngineError) as caught:
            unpack([told], tmp_path, LIMITS)
        assert caught.value.code == "bad-archive"

    def test_one_that_never_ends_is_not_read_for_ever(self, tmp_path: Path) -> None:
        def endless() -> Iterator[bytes]:
            while True:
                header = tarfile.TarInfo("./x")
                header.type, header.size = tarfile.XHDTYPE, 1 << 33
                yield header.tobuf(tarfile.GNU_FORMAT)
                yield from iter(lambda: bytes(1 << 20), None)

        with pytest.raises(OutputRefused, match="longer than they may be"):
            unpack(endless(), tmp_path, LIMITS)

    def test_what_is_sent_is_what_lies_there(self, tmp_path: Path) -> None:
        (tmp_path / "inputs").mkdir()
        (tmp_path / "inputs" / "table é.csv").write_bytes(b"a" * 1000)
        with tarfile.open(fileobj=io.BytesIO(b"".join(pack(tmp_path)))) as sent:
            entry = sent.getmember("inputs/table é.csv")
            assert (entry.size, entry.mode, sent.getmember("inputs").mode) == (1000, 0o444, 0o755)
            source = sent.extractfile(entry)
            assert source is not None
            assert source.read() == b"a" * 1000


@pytest.fixture
def carried(bench: Bench) -> Iterator[Bench]:
    """On an engine that could mount our folders, and is not asked to."""
    bench.pool.close()
    bench.pool = ScratchPool(bench.folder / "disks", "carried", Carrier(bench.engine))
    yield bench
    names = [disk.carried for disk in bench.disks]
    for disk in bench.disks:
        bench.pool.release(disk)
    bench.disks.clear()
    assert bench.engine.labelled("prixfixe.worker", LABEL) == {}
    assert not [each for each in _volumes(bench.engine) if each[:-4] in names]


def _volumes(engine: Engine) -> list[str]:
    return [each["Name"] for each in engine._api.volumes()["Volumes"] or []]


def run(bench: Bench, script: str) -> tuple[Run, Path]:
    """How it ended, and the folder that takes what it left."""
    job = bench.job(script, seconds=120)
    job = replace(job, cage=replace(job.cage, user="65532:65532"))
    runner = Runner(bench.engine)
    container = runner.create(job.cage)
    asked = bench.engine._api.inspect_container(container)["HostConfig"]
    assert {each["Type"] for each in asked["Mounts"]} == {"volume"}
    assert not asked.get("Binds")
    try:
        return runner.run(container, job, Stopper()), job.disk.outputs
    finally:
        bench.engine.remove(container_name(job.cage.attempt))


def fetch(bench: Bench, into: Path) -> list[tuple[str, int]]:
    disk, limits = bench.disks[-1], OutputLimits(100, 16 << 20)
    Carrier(bench.engine).fetch(disk.carried or "", into, limits)
    return [(file.path, file.size) for file in collect(into, limits).files]


@pytest.mark.engine
class TestOnAnEngine:
    def test_inputs_are_there_outputs_come_back_and_every_place_has_an_end(self, carried: Bench) -> None:
        ended, into = run(
            carried,
            "cp /job/inputs/table.csv /job/outputs/copy; mkdir /job/outputs/d;"
            " (: > /job/inputs/x) 2>/dev/null && exit 3; (: > /x) 2>/dev/null && exit 4;"
            " dd if=/dev/zero of=/job/outputs/d/fill bs=1M count=30 2>/dev/null && exit 5;"
            " dd if=/dev/zero of=/tmp/fill bs=1M count=30 2>/dev/null && exit 6;"
            # A full disk takes nothing of the 64 MiB of memory that were bought.
            " rm /tmp/fill; dd if=/dev/zero of=/dev/null bs=50M count=1 2>/dev/null || exit 7;"
            " [ $(id -u) = 65532 ] || exit 8",
        )
        assert ended.exit_code == 0, ended
        found = dict(fetch(carried, into))
        assert found["copy"] == len("a,b\n1,2\n")
        assert 15 << 20 <= found["d/fill"] <= 16 << 20

    def test_what_is_no_plain_file_is_refused_and_a_giant_before_its_first_byte(self, carried: Bench) -> None:
        ended, into = run(carried, "ln -s /etc/passwd /job/outputs/l")
        assert ended.exit_code == 0
        with pytest.raises(OutputRefused, match="symbolic link"):
            fetch(carried, into)
        script = "truncate -s 16M /job/outputs/sparse; truncate -s 9M /job/outputs/more"
        ended, into = run(carried, script)
        assert ended.exit_code == 0
        with pytest.raises(OutputRefused, match="more than 16777216 bytes"):
            fetch(carried, into)

    def test_what_the_engine_lost_is_said(self, carried: Bench) -> None:
        ended, into = run(carried, "true")
        assert ended.exit_code == 0
        Carrier(carried.engine).drop(carried.disks[-1].carried or "")
        with pytest.raises(EngineError) as caught:
            fetch(carried, into)
        assert (caught.value.code, caught.value.fault) == ("outputs-gone", "provider")

    def test_a_disk_that_is_full_here_is_not_the_engines_fault(
        self, carried: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended, into = run(carried, "echo done > /job/outputs/x")
        assert ended.exit_code == 0

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("worker.carrying._write", full)
        with pytest.raises(OSError, match="No space left"):
            fetch(carried, into)
