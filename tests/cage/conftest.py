"""A real engine, a tiny image, and a bench that runs a script in the worker's cage."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from prixfixe.errors import EngineError
from prixfixe.protocol.outputs import OutputManifest
from worker.cage import GVISOR, TASK_USER, Cage, Mounts
from worker.carrying import Carrier
from worker.containers import Run, container_name
from worker.engine import Engine
from worker.logs import LogTail, Piece
from worker.outputs import OutputLimits, collect
from worker.runner import Job, Runner
from worker.scratch import Disk, ScratchPool
from worker.settings import Limits
from worker.stopping import Stopper

IMAGE = "prixfixe-test-busybox"
LABEL = f"test-cage-{uuid.uuid4().hex}"


def busybox() -> Path:
    """Debian's static busybox: a shell and every small tool, with no library around it."""
    for place in ("/bin/busybox", "/usr/bin/busybox"):
        if Path(place).exists():
            linked = subprocess.run(["ldd", place], capture_output=True, text=True, check=False)
            if linked.returncode != 0:  # "not a dynamic executable"
                return Path(place)
    raise FileNotFoundError("busybox-static is not installed: scripts/setup installs it")


def root_file_system() -> bytes:
    """A tar of /bin/busybox with a link for each of its tools, and the folders that a program expects."""
    program = busybox()
    tools = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("job", 0o755)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = program.stat().st_size, 0o4755  # set-user-id: it must gain nothing
        with program.open("rb") as stream:
            archive.addfile(entry, stream)
        for tool in tools:
            if tool != "busybox":
                entry = tarfile.TarInfo(f"bin/{tool}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(entry)
    return content.getvalue()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    try:
        engine = Engine()
    except EngineError as error:
        pytest.skip(f"no container engine: {error}")
    yield engine
    for container in engine.labelled("prixfixe.worker", LABEL):
        engine.remove(container)
    engine.close()


@pytest.fixture(scope="session")
def image(engine: Engine) -> Iterator[str]:
    """Id of the busybox image, made for the session."""
    tag = uuid.uuid4().hex  # of this session: another may run beside it
    engine._api.import_image_from_data(root_file_system(), repository=IMAGE, tag=tag)
    yield str(engine._api.inspect_image(f"{IMAGE}:{tag}")["Id"])
    engine._api.remove_image(f"{IMAGE}:{tag}", force=True)


@dataclass
class Ended:
    """What came of a script."""

    run: Run
    log: str
    disk: Disk
    tail: LogTail

    @property
    def outputs(self) -> OutputManifest:
        return collect(self.disk.outputs, OutputLimits(100, self.disk.size_mib << 20))


@dataclass
class Bench:
    """Runs shell scripts in the cage."""

    engine: Engine
    image: str
    folder: Path
    pool: ScratchPool
    runtime: str = "runc"
    disks: list[Disk] = field(default_factory=list)

    def job(
        self,
        script: str,
        *,
        seconds: float = 60.0,
        memory_mib: int = 64,
        milli_vcpu: int = 500,
        disk_mib: int = 16,
        processes: int = 64,
        limits: Limits | None = None,
        said: list[str] | None = None,
        hosts: tuple[str, ...] = (),
    ) -> Job:
        attempt = uuid.uuid4().hex
        place = self.folder / attempt / "job"
        (place / "inputs").mkdir(parents=True)
        (place / "outputs").mkdir()
        (place / "inputs" / "table.csv").write_text("a,b\n1,2\n")
        disk = self.pool.take(disk_mib)
        self.disks.append(disk)
        cage = Cage(
            attempt=attempt,
            worker=LABEL,
            image=self.image,
            command=("/bin/sh", "-c", script),
            environment={},
            milli_vcpu=milli_vcpu,
            memory_mib=memory_mib,
            disk_mib=disk_mib,
            seconds=max(1, int(seconds)),
            mounts=Mounts(place, disk.outputs, disk.temporary, carried=disk.carried),
            processes=processes,
            runtime=self.runtime,
            hosts=hosts,
            user=disk.user or TASK_USER,
        )
        heard = said if said is not None else []

        def emit(piece: Piece) -> None:
            heard.append(piece.text)

        return Job(cage, disk, LogTail(limits or Limits()), seconds, emit)

    def run(self, script: str, **options: object) -> Ended:
        said: list[str] = []
        job = self.job(script, said=said, **options)  # type: ignore[arg-type]
        runner = Runner(self.engine)
        container = runner.create(job.cage)
        try:
            run = runner.run(container, job, Stopper())
        finally:
            self.engine.remove(container_name(job.cage.attempt))
        return Ended(run, "".join(said), job.disk, job.tail)


@pytest.fixture(params=["runc", GVISOR], scope="module")
def runtime(engine: Engine, request: pytest.FixtureRequest) -> str:
    """Every runtime that a worker may use."""
    name = str(request.param)
    if name not in engine.info().get("Runtimes", {}):
        pytest.skip(f"the engine has no runtime {name}: scripts/setup starts one that has")
    return name


@pytest.fixture
def bench(engine: Engine, image: str, runtime: str, tmp_path: Path) -> Iterator[Bench]:
    pool = ScratchPool(tmp_path / "disks", "auto", Carrier(engine))
    bench = Bench(engine, image, tmp_path / "runs", pool, runtime)
    yield bench
    for disk in bench.disks:
        pool.release(disk)
    pool.close()
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
