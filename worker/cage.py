"""The cage: everything that a container may and may not do, as one frozen value.

It renders into the engine's own create request and nothing else decides a flag, so what is printed by
`prixfixe worker check`, what the tests hold and what the engine is told are the same thing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from prixfixe.errors import ConfigurationError
from prixfixe.protocol.manifest import IMAGE_PATTERN
from prixfixe.protocol.surroundings import cage_digest

USER: Final = 65532  # the "nonroot" of minimal images: owns nothing, and no account of a Debian host
TASK_USER: Final = f"{USER}:{USER}"
HOST_NAME: Final = "task"
LABEL_ATTEMPT: Final = "prixfixe.attempt"
LABEL_WORKER: Final = "prixfixe.worker"
LABEL_GPUS: Final = "prixfixe.gpus"
GVISOR: Final = "runsc"
PROXY_PORT: Final = 3128  # on the loopback of a job that may call hosts
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Overhead:
    """What a runtime itself takes out of a container's control groups, so that the task has what was bought.

    memory_mib: beside the task's. threads: of the runtime when the task has no process. threads_each: of the
    host for each process of the task, itself included.
    """

    memory_mib: int = 0
    threads: int = 0
    threads_each: int = 1


# gVisor's kernel is a process of the host in the same groups as its task. Measured on release 20221219 with
# the ptrace platform: 13 MiB and 57 threads when idle, 1 MiB and 9 threads for each process.
_OVERHEADS: Final[Mapping[str, Overhead]] = {GVISOR: Overhead(memory_mib=32, threads=64, threads_each=10)}


@dataclass(frozen=True, slots=True)
class Mounts:
    """Folders of the host: `job` is seen read-only at /job, `outputs` writable at /job/outputs, `temporary`
    writable at /tmp, `secrets`, a folder in memory, read-only at /run/secrets. Outputs and temporary files
    lie on the task's own disk: a tmpfs would count as its memory, so that a program which spills because
    memory is short would run out of it by spilling.

    carried: an engine that cannot mount them has volumes of this name in their place (`worker.carrying`),
    which are memory; the task's limit is raised by as much."""

    job: Path
    outputs: Path
    temporary: Path
    secrets: Path | None = None
    carried: str | None = None


@dataclass(frozen=True, slots=True)
class Cage:
    """One task's container. Sizes in MiB; `milli_vcpu` in thousandths of a processor. `attempt` and `worker`
    label it.

    image: the image's own digest, never a name. command: the whole argument list; the image's entry point
    is not used. environment: the job's; what the market fixes cannot be overridden by it. task, tasks: index
    in the job, and how many it has. seconds: wall clock until it is killed from outside; a deal that ends
    earlier ends it earlier. processes: that it may have at once. log_bytes, line_bytes: text that reaches the
    customer, and of one line. log_flood_bytes: what it may print before it is stopped. output_files: that it
    may leave. gpus: device ids of graphics processors that are its alone. hosts: that it may call, through a
    proxy on its loopback.
    """

    attempt: str
    worker: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    milli_vcpu: int
    memory_mib: int
    disk_mib: int
    mounts: Mounts
    seconds: int
    processes: int = 256
    open_files: int = 4096
    log_bytes: int = 1 << 20
    log_flood_bytes: int = 64 << 20
    line_bytes: int = 8192
    output_files: int = 4096
    hosts: tuple[str, ...] = ()
    runtime: str = "runc"
    user: str = TASK_USER
    network: str = "none"
    task: int = 0
    tasks: int = 1
    shared_memory_mib: int = field(default=64)
    gpus: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if re.fullmatch(IMAGE_PATTERN, self.image) is None:
            raise ConfigurationError(f"the cage takes an image by digest, not {self.image!r}")
        if self.network != "none":
            raise ConfigurationError(f"network {self.network!r} is not one that the cage allows")
        if self.hosts and self.runtime == GVISOR:
            raise ConfigurationError("gVisor has no network, so that a job in it cannot call hosts")
        if self.mounts.carried is not None and (self.hosts or self.mounts.secrets is not None):
            raise ConfigurationError("neither secrets nor a way out reach an engine elsewhere")
        if self.user.split(":")[0] in ("", "0", "root"):
            raise ConfigurationError("a task never runs as root")
        limits = (self.milli_vcpu, self.memory_mib, self.seconds, self.processes, self.open_files)
        if min(*limits, self.log_bytes, self.log_flood_bytes, self.line_bytes, self.output_files) < 1:
            raise ConfigurationError("every limit of a cage is at least 1")

    @property
    def cpus(self) -> int:
        """Whole processors for thread pools: the share rounded up, so that a part of one still runs."""
        return max(1, -(-self.milli_vcpu // 1000))

    @property
    def overhead(self) -> Overhead:
        """What the runtime takes beside the task."""
        return _OVERHEADS.get(self.runtime, Overhead())

    @property
    def fixed_environment(self) -> dict[str, str]:
        """What is the same for every run of a job on every worker, and wins over image and job."""
        threads = str(self.cpus)
        proxy = f"http://127.0.0.1:{PROXY_PORT}"
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        way_out = {**dict.fromkeys(names, proxy), "NO_PROXY": "localhost,127.0.0.1"} if self.hosts else {}
        return {
            **way_out,
            "TZ": "UTC",
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            "HOME": "/tmp",
            "TMPDIR": "/tmp",
            "PRIXFIXE_CPUS": threads,
            "PRIXFIXE_MEMORY_MIB": str(self.memory_mib),
            "PRIXFIXE_TASK": str(self.task),
            "PRIXFIXE_TASKS": str(self.tasks),
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
        }

    def create_request(self, beside: str | None = None) -> dict[str, Any]:
        """The body of the engine's `POST /containers/create`. beside: the container that holds the network
        namespace of a job with hosts (`worker.holder`).

        Seccomp and the masked paths are the engine's defaults: they hold when no option changes them, and
        `worker.selftest` refuses an engine whose default is no profile.
        """
        environment = {**self.environment, **self.fixed_environment}
        if (beside is None) != (not self.hosts):
            raise ConfigurationError("a namespace is joined by a job that calls hosts, and by no other")
        # In another's namespace the engine takes host name and network from there.
        alone = {"Hostname": HOST_NAME, "NetworkDisabled": True} if beside is None else {}
        overhead = self.overhead
        carried = self.mounts.carried
        beside_task = overhead.memory_mib + (0 if carried is None else self.disk_mib)
        memory = (self.memory_mib + beside_task) * _MIB
        return {
            "Image": self.image,
            "Entrypoint": [self.command[0]] if self.command else None,
            "Cmd": list(self.command[1:]) if self.command else None,
            "Env": [f"{name}={value}" for name, value in sorted(environment.items())],
            "User": self.user,
            **alone,
            "AttachStdin": False,
            "AttachStdout": True,
            "AttachStderr": True,
            "OpenStdin": False,
            "Tty": False,
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": {
                LABEL_ATTEMPT: self.attempt,
                LABEL_WORKER: self.worker,
                **({LABEL_GPUS: ",".join(self.gpus)} if self.gpus else {}),
            },
            "HostConfig": {
                "Runtime": self.runtime,
                "NetworkMode": self.network if beside is None else f"container:{beside}",
                "ReadonlyRootfs": True,
                "Privileged": False,
                "CapDrop": ["ALL"],
                "CapAdd": [],
                "SecurityOpt": ["no-new-privileges"],
                "Devices": [],
                **({"DeviceRequests": [self._gpu_request()]} if self.gpus else {}),
                "GroupAdd": [],
                "IpcMode": "private",
                "UTSMode": "",
                "PidMode": "",
                "UsernsMode": "",
                "Init": True,
                "PidsLimit": overhead.threads + overhead.threads_each * self.processes,
                "Memory": memory,
                "MemorySwap": memory,  # equal: no swap at all
                "NanoCpus": self.milli_vcpu * 1_000_000,
                "OomScoreAdj": 500,  # when the host runs short, tasks die before the worker
                "ShmSize": self.shared_memory_mib * _MIB,
                "Ulimits": [
                    {"Name": "core", "Soft": 0, "Hard": 0},
                    {"Name": "fsize", "Soft": self.disk_mib * _MIB, "Hard": self.disk_mib * _MIB},
                    {"Name": "nofile", "Soft": self.open_files, "Hard": self.open_files},
                ],
                "Mounts": self._binds() if carried is None else _volumes(carried),
                **({} if carried is None else {"Tmpfs": {"/tmp": self._temporary}}),
                # Bounded, and there so that a restarted worker can read what it missed.
                "LogConfig": {
                    "Type": "json-file",
                    "Config": {"max-size": "2m", "max-file": "2"},
                },
                "RestartPolicy": {"Name": "no"},
                "AutoRemove": False,
                "PublishAllPorts": False,
            },
        }

    def _gpu_request(self) -> dict[str, Any]:
        return {
            "Driver": "nvidia",
            "DeviceIDs": list(self.gpus),
            "Capabilities": [["gpu", "compute", "utility"]],
        }

    @property
    def _temporary(self) -> str:
        """Options of a carried task's /tmp."""
        return f"size={self.disk_mib * _MIB},nr_inodes=16384,mode=1777,nosuid,nodev,noexec"

    def _binds(self) -> list[dict[str, Any]]:
        return [
            _bind(self.mounts.job, "/job", read_only=True),
            _bind(self.mounts.outputs, "/job/outputs", read_only=False),
            _bind(self.mounts.temporary, "/tmp", read_only=False),
            *(
                [_bind(self.mounts.secrets, "/run/secrets", read_only=True)]
                if self.mounts.secrets is not None
                else []
            ),
        ]

    def describe(self) -> dict[str, Any]:
        """The cage for people and reports: without the host's paths, which are nobody else's business."""
        shown = asdict(self)
        shown.pop("mounts")
        # How many, not which: another worker has others, and shows the same.
        if gpus := shown.pop("gpus"):
            shown["gpus"] = len(gpus)
        shown["command"] = list(self.command)
        shown["hosts"] = list(self.hosts)
        shown["environment"] = dict(self.environment)
        return {
            **shown,
            "overhead": asdict(self.overhead),
            "fixed_environment": {
                name: value
                for name, value in self.fixed_environment.items()
                if name not in ("PRIXFIXE_TASK", "PRIXFIXE_TASKS")
            },
            "host_name": HOST_NAME,
            "read_only_root": True,
            "capabilities": "none",
            "no_new_privileges": True,
            "seccomp": "engine default",
            "swap": "none",
            "core_dumps": "none",
            "disk": "outputs and /tmp together; nodev, nosuid, noexec where it has an end of its own"
            if self.mounts.carried is None
            else "outputs and /tmp, each, in memory beside the task's; nodev, nosuid, noexec",
        }

    @property
    def digest(self) -> str:
        """`protocol.surroundings.cage_digest` of `describe()`."""
        return cage_digest(self.describe())


def _volumes(name: str) -> list[dict[str, Any]]:
    return [
        {
            "Type": "volume",
            "Source": f"{name}-{what}",
            "Target": target,
            "ReadOnly": what == "job",
            "VolumeOptions": {"NoCopy": True},
        }
        for what, target in (("job", "/job"), ("out", "/job/outputs"))
    ]


def _bind(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": str(source),
        "Target": target,
        "ReadOnly": read_only,
        # Nothing that is mounted below on the host comes along.
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": True},
    }
