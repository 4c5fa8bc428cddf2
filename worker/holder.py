"""The network namespace of a job that may call hosts: made before the job, so that its proxy listens before
the job's first instruction.

A container of an image of ours holds it: one program of a few bytes that waits for ever, with no network, no
capability, no file system to write and the job's own user. The job's container joins its namespace, which has
a loopback and nothing else; into that we put the proxy's listening socket from outside.
"""

from __future__ import annotations

import ctypes
import io
import os
import platform
import socket
import struct
import tarfile
import threading
from typing import Any, Final

from prixfixe.errors import EngineError
from worker.cage import HOST_NAME, LABEL_ATTEMPT, LABEL_WORKER, PROXY_PORT, Cage

IMAGE: Final = "prixfixe-holder:1"
_CLONE_NEWNET: Final = 0x40000000
_BACKLOG: Final = 64
# mov eax, 34 (pause); syscall; and again.
_PROGRAM: Final = bytes.fromhex("b8220000000f05ebf7")
_BASE: Final = 0x400000
_HEADERS: Final = 120  # of the file and of its one segment


def possible() -> bool:
    """Whether this process may put a socket into a container's namespace, and has the program for it."""
    return os.geteuid() == 0 and platform.machine() == "x86_64"


def archive() -> bytes:
    """A tar of the image's root: the program alone."""
    size = _HEADERS + len(_PROGRAM)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        entry = tarfile.TarInfo("hold")
        entry.size, entry.mode = size, 0o555
        tar.addfile(entry, io.BytesIO(identity + header + segment + _PROGRAM))
    return content.getvalue()


def create_request(cage: Cage, runtime: str | None = None) -> dict[str, Any]:
    """The body of the engine's create request for the container that holds the cage's namespace. runtime:
    the cage's when None."""
    return {
        "Image": IMAGE,
        "Entrypoint": ["/hold"],
        "User": cage.user,
        "Hostname": HOST_NAME,
        "NetworkDisabled": True,
        "Labels": {LABEL_ATTEMPT: cage.attempt, LABEL_WORKER: cage.worker},
        "HostConfig": {
            "Runtime": runtime or cage.runtime,
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            # Not for the program, which waits and has no other thread, but for what starts it: it has several
            # threads, and with fewer it dies now and then; with a hundredth of a processor it takes seconds.
            "PidsLimit": 32,
            "Memory": 8 << 20,
            "MemorySwap": 8 << 20,
            "NanoCpus": 100_000_000,
            "LogConfig": {"Type": "none"},
            "RestartPolicy": {"Name": "no"},
        },
    }


def listen_inside(pid: int) -> socket.socket:
    """A socket that listens on the loopback of the namespace of process `pid`. EngineError when this process
    may not go there: it is not root, or not beside the engine."""
    made: list[socket.socket | OSError] = []

    def enter() -> None:
        # A namespace belongs to the thread that enters it, and this one ends here.
        try:
            namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(namespace)
            # Beside the one of a runner whose daemon was killed: it listens there until the job ends. The
            # job itself, another user, cannot.
            made.append(socket.create_server(("127.0.0.1", PROXY_PORT), backlog=_BACKLOG, reuse_port=True))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=enter, name="namespace")
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise EngineError(
            f"the job's way out could not be made: {made[0].strerror}", code="no-egress"
        ) from made[0]
    return made[0]
