"""`prixfixe worker check`: tries the cage on this machine's engine and says, a verdict a line, what holds.

The probe is a container in exactly the cage of a job, made of whatever image is at hand that has a shell;
each line is something that a hostile job would try. A weaker machine is told what it lacks and what to do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prixfixe.errors import EngineError, PrixfixeError
from prixfixe.protocol.hashing import sha256_hex
from worker.cage import GVISOR, TASK_USER, Cage, Mounts
from worker.carrying import Carrier
from worker.containers import container_name
from worker.engine import Engine
from worker.isolation import AUTO
from worker.logs import LogTail
from worker.outputs import OutputLimits, collect
from worker.runner import Job, Runner
from worker.scratch import Disk, ScratchPool
from worker.settings import Limits, ScratchKind
from worker.stopping import Stopper
from worker.whereabouts import address, require_keeper, require_limits, require_shared

_BASE_IMAGE: Final = "prixfixe-base:bookworm"  # what bundles are built on, wherever scripts/setup ran
_PROBE_SECONDS: Final = 20.0
_DISK_MIB: Final = 16
_MEMORY_MIB: Final = 64

# Prints one line a question: name, then what it saw. Every tool is a shell builtin or in any base image.
_SCRIPT: Final = r"""
echo "user $(id -u 2>/dev/null)"
while read key value; do case "$key" in
  CapEff:|CapPrm:|CapBnd:) echo "capabilities $key$value";;
  NoNewPrivs:) echo "no_new_privileges $value";;
  Seccomp:) echo "seccomp $value";;
esac; done < /proc/self/status
( : > /probe ) 2>/dev/null && echo "root writable" || echo "root read-only"
( : > /job/probe ) 2>/dev/null && echo "job writable" || echo "job read-only"
( : > /job/outputs/probe ) 2>/dev/null && echo "outputs writable" || echo "outputs read-only"
( : > /tmp/probe ) 2>/dev/null && echo "tmp writable" || echo "tmp read-only"
echo "interfaces $(cd /sys/class/net && echo *)"
[ -e /var/run/docker.sock ] || [ -e /run/docker.sock ] && echo "socket there" || echo "socket absent"
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line. level: "ok", "weak" (works, with less protection), "bad" (do not run strangers' jobs)."""

    level: str
    name: str
    message: str
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"verdict": self.level, "check": self.name, "message": self.message, "hint": self.hint}


def check(data: Path, scratch: ScratchKind, runtime: str, image: str | None) -> Iterator[Verdict]:
    """Verdicts, as they come. image: id of an image with a shell for the probe; None takes the bundles'
    base image when the engine has it, else none is run."""
    try:
        engine = Engine()
        info = engine.info()
    except EngineError as error:
        yield Verdict("bad", "engine", error.message, "start the engine, or set DOCKER_HOST")
        return
    yield Verdict("ok", "engine", f"Docker engine {info.get('ServerVersion')} answers")
    yield from _engine_verdicts(info, runtime)
    folder = data / "check"
    name = _name(folder)
    try:
        require_shared(scratch, address())
        pool = ScratchPool(folder / "disks", scratch, Carrier(engine))
        yield _scratch_verdict(pool)
        if pool.kind == "carried":
            require_keeper(info)
        image = image or engine.image_id(_BASE_IMAGE)
        if image is None:
            hint = "give --image sha256:ID of any image with a shell: docker images --no-trunc"
            yield Verdict("weak", "probe", "no image given, so no container was tried", hint)
            return
        for each in _probed(runtime, info):
            yield from _probe(engine, pool, folder / each, each, image, name)
    except (PrixfixeError, OSError) as error:
        yield Verdict("bad", "probe", f"a container in the cage could not be run: {error}")
    finally:
        with suppress(EngineError):
            engine.remove(container_name(name))
        with suppress(NameError, UnboundLocalError):
            pool.close()
        shutil.rmtree(folder, ignore_errors=True)
        engine.close()


def _probed(runtime: str, info: dict[str, Any]) -> tuple[str, ...]:
    if runtime != AUTO:
        return (runtime,)
    return ("runc", GVISOR) if GVISOR in (info.get("Runtimes") or {}) else ("runc",)


def require_seccomp(info: dict[str, Any]) -> None:
    """EngineError unless the engine filters system calls by its default profile: the cage relies on it."""
    for option in info.get("SecurityOptions") or []:
        fields = dict(part.partition("=")[::2] for part in str(option).split(","))
        if fields.get("name") == "seccomp" and fields.get("profile", "default") in ("default", "builtin"):
            return
    raise EngineError(
        "the engine does not filter system calls with its default seccomp profile",
        code="no-seccomp",
        hint="start the engine with its default seccomp profile, on a kernel with CONFIG_SECCOMP",
    )


def _engine_verdicts(info: dict[str, Any], runtime: str) -> Iterator[Verdict]:
    try:
        require_seccomp(info)
        yield Verdict("ok", "seccomp", "the engine's default profile")
    except EngineError as error:
        yield Verdict("bad", "seccomp", error.message, error.hint or "")
    hint = ""
    try:
        require_limits(info)
    except EngineError as error:
        hint = error.hint or ""
    for field, what in (("MemoryLimit", "memory"), ("SwapLimit", "swap"), ("PidsLimit", "processes"),
                        ("CpuCfsQuota", "processor time")):  # fmt: skip
        held = bool(info.get(field))
        yield Verdict("ok" if held else "bad", f"limit-{field.lower()}",
                      f"the engine {'can' if held else 'cannot'} limit {what}",
                      "" if held else hint or "enable its control group")  # fmt: skip
    runtimes = info.get("Runtimes") or {}
    if runtime not in (AUTO, *runtimes):
        yield Verdict(
            "bad", "runtime", f"the engine has no runtime {runtime!r}", f"it has {', '.join(runtimes)}"
        )
    elif runtime != AUTO:
        yield Verdict("ok", "runtime", f"every job runs on {runtime}")
    elif GVISOR in runtimes:
        yield Verdict("ok", "runtime", "bids run in gVisor, bundles on runc")
    else:
        yield Verdict(
            "weak",
            "runtime",
            "every job runs on runc, which shares the host's kernel with it",
            "install gVisor (runsc) and name it in the engine's configuration: docs/worker.md",
        )


def _scratch_verdict(pool: ScratchPool) -> Verdict:
    if pool.kind == "loop":
        return Verdict("ok", "disk", "every task gets a disk of its own with a hard end")
    if pool.kind == "carried":
        return Verdict(
            "ok",
            "disk",
            "every task's disk is memory of the engine's machine, with a hard end: offer no more memory and"
            " disk together than it has",
        )
    return Verdict(
        "weak",
        "disk",
        "a task's disk is measured twice a second, not bounded",
        "run the worker as root on the engine's own host",
    )


def _fetched(engine: Engine, disk: Disk) -> Verdict:
    """Whether what the probe wrote comes back from an engine elsewhere."""
    limits = OutputLimits(10, disk.size_mib << 20)
    Carrier(engine).fetch(disk.carried or "", disk.outputs, limits)
    came = [file.path for file in collect(disk.outputs, limits).files] == ["probe"]
    return Verdict(
        "ok" if came else "bad",
        "carried",
        "inputs are sent to the engine and outputs fetched, by its archives"
        if came
        else "what a task wrote did not come back from the engine",
    )


def _name(folder: Path) -> str:
    """Of a folder's probe, in the engine: another folder's at the same time is another's, and what a killed
    one left goes with the next."""
    return "check-" + sha256_hex(str(folder.absolute()).encode())[:16]


def _probe(
    engine: Engine, pool: ScratchPool, folder: Path, runtime: str, image: str, name: str
) -> Iterator[Verdict]:
    if engine.image_config(image) is None:
        yield Verdict("bad", "probe", f"the engine has no image {image}", "give an image's id: sha256:...")
        return
    job = folder / "job"
    (job / "inputs").mkdir(parents=True)
    (job / "outputs").mkdir()
    disk = pool.take(_DISK_MIB)
    cage = Cage(
        attempt=name,
        worker="check",
        image=image,
        command=("/bin/sh", "-c", _SCRIPT),
        environment={},
        milli_vcpu=500,
        memory_mib=_MEMORY_MIB,
        disk_mib=_DISK_MIB,
        seconds=int(_PROBE_SECONDS),
        mounts=Mounts(job, disk.outputs, disk.temporary, carried=disk.carried),
        runtime=runtime,
        user=disk.user or TASK_USER,
    )
    said: list[str] = []
    runner = Runner(engine)
    try:
        task = Job(cage, disk, LogTail(Limits()), _PROBE_SECONDS, lambda piece: said.append(piece.text))
        run = runner.run(runner.create(task.cage), task, Stopper())
        if disk.carried is not None and run.exit_code == 0:
            yield _fetched(engine, disk)
    finally:
        engine.remove(container_name(name))
        pool.release(disk)
    if run.exit_code != 0:
        yield Verdict("bad", "probe", f"the probe ended with {run.exit_code}: {run.last_line}")
        return
    yield from _read_probe("".join(said), cage)


def _read_probe(text: str, cage: Cage) -> Iterator[Verdict]:
    seen: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        seen.setdefault(name, []).append(value.strip())
    capabilities = seen.get("capabilities", [])
    mine = cage.user.split(":")[0]
    powerless = bool(capabilities) and not any(
        value.partition(":")[2].strip("0\t ") for value in capabilities
    )
    runs_as = ", ".join(seen.get("user", ["?"]))
    # gVisor's own kernel answers, and says nothing of these two.
    gvisor = cage.runtime == GVISOR
    for name, holds, message in (
        ("user", seen.get("user") == [mine], f"a task runs as user {runs_as}"),
        ("capabilities", powerless, "a task has no capability"),
        (
            "no-new-privileges",
            gvisor or seen.get("no_new_privileges") == ["1"],
            "set-user-id programs gain nothing",
        ),
        (
            "seccomp-filter",
            gvisor or seen.get("seccomp") == ["2"],
            "gVisor's kernel answers system calls" if gvisor else "system calls are filtered",
        ),
        ("root", seen.get("root") == ["read-only"], "the image is read-only"),
        ("job", seen.get("job") == ["read-only"], "inputs are read-only"),
        ("outputs", seen.get("outputs") == ["writable"], "outputs can be written"),
        ("tmp", seen.get("tmp") == ["writable"], "/tmp can be written"),
        ("network", seen.get("interfaces") in (["lo"], ["*"]), "a task sees no network"),
        ("socket", seen.get("socket") == ["absent"], "the engine's socket is out of reach"),
    ):
        found = json.dumps({name: seen.get(name)})
        name = f"gvisor-{name}" if gvisor else name
        yield Verdict("ok" if holds else "bad", name, message if holds else f"not so: {message} ({found})")
