"""A second engine on this machine, of a test's own: its containers, images and files are nobody else's."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.devnet import wait_for


@dataclass
class OwnEngine:
    """A second dockerd, with a containerd of its own. tls: folder with the certificates of an address of its
    own beside its socket."""

    folder: Path
    bridge: str
    tls: Path | None = None
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def address(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    @property
    def port(self) -> int:
        """Of the address, once it listens."""
        log = self.folder / "log"
        said = wait_for(
            lambda: re.findall(r"API listen on 127\.0\.0\.1:([1-9]\d*)", log.read_text(errors="replace")),
            60,
            "the engine's listening at an address",
        )
        return int(said[-1])

    @property
    def _secured(self) -> tuple[str, ...]:
        if self.tls is None:
            return ()
        files = (("--tlscacert", "ca.pem"), ("--tlscert", "server.pem"), ("--tlskey", "server-key.pem"))
        named = (word for option, name in files for word in (option, str(self.tls / name)))
        return ("--host", "tcp://127.0.0.1:0", "--tlsverify", *named)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("dockerd", "--host", self.address, "--data-root", str(self.folder / "data")),
                    *("--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid")),
                    *(
                        "--bridge",
                        self.bridge,
                        "--iptables=false",
                        "--ip6tables=false",
                        "--storage-driver",
                        "vfs",
                    ),
                    *self._secured,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self.answers, 60, "the engine's start")

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(self.address.removeprefix("unix://"))
            except OSError:
                return False
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b"200 OK" in connection.recv(100)

    def kill(self) -> None:
        """As a power cut would: dockerd, its containerd and all containers at once."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for place in Path("/proc").iterdir():
            try:
                words = (place / "cmdline").read_bytes()
            except OSError:
                continue
            if str(self.folder / "exec").encode() in words:
                os.kill(int(place.name), signal.SIGKILL)
        (self.folder / "pid").unlink(missing_ok=True)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)


def make_certificates(folder: Path) -> None:
    """An authority's, a server's of 127.0.0.1 (`server.pem`) and a client's, as Docker names them."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority = ("-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    openssl("req", "-x509", *curve, *authority)
    for name, usage in (("server", "serverAuth"), ("client", "clientAuth")):
        extensions = folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\n")
        openssl("req", *curve, "-keyout", f"{name}-key.pem", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2")
        files = ("-in", f"{name}.csr", "-extfile", extensions.name, "-out", f"{name}.pem")
        openssl("x509", "-req", *files, *signed)
    (folder / "client.pem").rename(folder / "cert.pem")
    (folder / "client-key.pem").rename(folder / "key.pem")
