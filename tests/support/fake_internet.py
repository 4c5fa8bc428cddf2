"""An internet in two network namespaces, for a proxy to be tested in: `unshare --net --mount python3
fake_internet.py` prints what came of every attempt as JSON. No packet leaves the machine.

One namespace is the worker's machine: proxy, job and loopback. The other is everything else: public, private,
metadata and IPv6 addresses on one link, with a web server on all of them and a name server that lies.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer

from prixfixe.protocol.egress import parse_host
from worker.egress import Proxy

PUBLIC, OTHER, NAMESERVER, OWN = "93.184.216.34", "93.184.216.35", "93.184.216.53", "93.184.216.99"
PUBLIC6 = "2606:2800:220:1::34"
PRIVATE, METADATA, SHARED = "10.0.0.5", "169.254.169.254", "100.64.0.1"
ELSEWHERE = (PUBLIC, OTHER, NAMESERVER, PRIVATE, METADATA, SHARED)
ELSEWHERE6 = (PUBLIC6, "fd00::5", "64:ff9b::a00:5")
# Addresses of each name; the last word of a name that changes its mind is the one that it keeps.
NAMES: dict[str, tuple[str, ...]] = {
    "good.example": (PUBLIC,),
    "port.example": (PUBLIC,),
    "six.example": (PUBLIC6,),
    "xn--bcher-kva.example": (PUBLIC,),
    "evil.example": (OTHER,),
    "private.example": (PRIVATE,),
    "metadata.example": (METADATA,),
    "shared.example": (SHARED,),
    "loopback.example": ("127.0.0.1",),
    "zero.example": ("0.0.0.0",),
    "multicast.example": ("224.0.0.1",),
    "mapped.example": ("::ffff:10.0.0.5",),
    "ula.example": ("fd00::5",),
    "nat64.example": ("64:ff9b::a00:5",),
    "loopback6.example": ("::1",),
    "mixed.example": (PUBLIC, PRIVATE),
    "own.example": (OWN,),
}
ALIASES = {"alias.example": "private.example"}
ALLOWED = (*(name for name in NAMES if name not in ("evil.example", "port.example")), "alias.example",
           "rebind.example", "nowhere.example", "port.example:8080")  # fmt: skip
TUNNELS = ("good.example:443", "good.example:25", "evil.example:443", f"{PRIVATE}:443",
           "metadata.example:443", "six.example:443")  # fmt: skip
ODD = ("GET / HTTP/1.1\r\nHost: good.example", "nonsense", "GET https://good.example/ HTTP/1.1",
       "CONNECT good.example HTTP/1.1")  # fmt: skip
MOST_BYTES = 500_000


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


# ----------------------------------------------------------------------------------------------- elsewhere


class Web(BaseHTTPRequestHandler):
    """Says at which address it was called, and with which Host."""

    def do_GET(self) -> None:
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", f"http://{METADATA}/latest/meta-data")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = json.dumps([self.connection.getsockname()[0], self.headers["Host"]]).encode()
        if self.path == "/big":
            body = b"x" * (4 * MOST_BYTES)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Web4(ThreadingHTTPServer):
    """Does not ask a name server for its own name, as the library's does."""

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "web", 80


class Web6(Web4):
    address_family = socket.AF_INET6


def answer(query: bytes, asked: Counter[str]) -> bytes:
    """A name server's answer, as short as one may be."""
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind = struct.unpack(">H", query[at + 1 : at + 3])[0]
    name = ".".join(labels).lower()
    records = []
    found = NAMES.get(ALIASES.get(name, name), ())
    if name == "rebind.example" and kind == 1:
        asked[name] += 1
        found = (PUBLIC,) if asked[name] == 1 else (PRIVATE,)
    if name in ALIASES:
        target = b"".join(bytes([len(part)]) + part.encode() for part in ALIASES[name].split(".")) + b"\0"
        records.append(b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, 0, len(target)) + target)
    for address in found:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if kind == (28 if ":" in address else 1):
            data = socket.inet_pton(family, address)
            records.append(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data)
    if name in ALIASES and len(records) > 1:  # the address belongs to the name that is meant
        start = 12 + len(query[12 : at + 5]) + 12
        records[1:] = [struct.pack(">H", 0xC000 | start) + record[2:] for record in records[1:]]
    status = 0x8180 if found else 0x8183
    return (
        query[:2]
        + struct.pack(">HHHHH", status, 1, len(records), 0, 0)
        + query[12 : at + 5]
        + b"".join(records)
    )


def elsewhere() -> None:
    """The other namespace: told on standard input when its link is there."""
    sys.stdin.readline()
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "set", "there", "up")
    for address in ELSEWHERE:
        run("ip", "address", "add", f"{address}/32", "dev", "there")
    for address in ELSEWHERE6:
        run("ip", "address", "add", f"{address}/128", "dev", "there", "nodad")
    run("ip", "route", "add", "default", "dev", "there")
    run("ip", "-6", "route", "add", "default", "dev", "there")
    for port in (80, 443, 8080):
        threading.Thread(target=Web4(("0.0.0.0", port), Web).serve_forever, daemon=True).start()
        threading.Thread(target=Web6((PUBLIC6, port), Web).serve_forever, daemon=True).start()
        threading.Thread(target=Web6(("fd00::5", port), Web).serve_forever, daemon=True).start()
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind((NAMESERVER, 53))
    asked: Counter[str] = Counter()
    print("up", flush=True)
    while True:
        query, whence = names.recvfrom(4096)
        names.sendto(answer(query, asked), whence)


# -------------------------------------------------------------------------------------------------- the job


def ask(request: str) -> tuple[str, str]:
    """Status and body of what the proxy answers."""
    with socket.create_connection(("127.0.0.1", 3128), 5) as job:
        job.sendall(request.encode())
        data = b""
        with suppress(OSError):
            while piece := job.recv(65536):
                data += piece
    head, _, body = data.decode("latin-1").partition("\r\n\r\n")
    return head.split(" ")[1] if " " in head else "", body


def get(host: str, path: str = "/") -> tuple[str, str]:
    return ask(f"GET http://{host}{path} HTTP/1.1\r\nHost: {PRIVATE}\r\nConnection: keep-alive\r\n\r\n")


def tunnel(where: str) -> tuple[str, str]:
    """CONNECT, then a request through it, sent along at once as a hasty client does."""
    return ask(f"CONNECT {where} HTTP/1.1\r\n\r\nGET / HTTP/1.0\r\nHost: inside\r\n\r\n")


def directly(address: str) -> bool:
    with suppress(OSError), socket.create_connection((address, 80), 2):
        return True
    return False


def machine() -> dict[str, object]:
    """The worker's namespace, from its link to what came of everything."""
    other = subprocess.Popen(
        ["unshare", "--net", sys.executable, __file__, "elsewhere"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert other.stdin is not None
    assert other.stdout is not None
    ours, deadline = os.readlink("/proc/self/ns/net"), time.monotonic() + 60
    while os.readlink(f"/proc/{other.pid}/ns/net") == ours and time.monotonic() < deadline:
        time.sleep(0.01)
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(other.pid))
    run("ip", "link", "set", "here", "up")
    run("ip", "address", "add", f"{OWN}/32", "dev", "here")
    run("ip", "address", "add", "fd00:1::1/128", "dev", "here", "nodad")
    run("ip", "route", "add", "default", "dev", "here")
    run("ip", "-6", "route", "add", "default", "dev", "here")
    other.stdin.write("link\n")
    other.stdin.flush()
    assert other.stdout.readline() == "up\n"
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as resolver:
        resolver.write(f"nameserver {NAMESERVER}\noptions timeout:1 attempts:1\n")
        resolver.flush()
        run("mount", "--bind", resolver.name, str(Path("/etc/resolv.conf").resolve()))
        try:
            return attempts()
        finally:
            run("umount", str(Path("/etc/resolv.conf").resolve()))
            other.kill()
            other.wait()


def attempts() -> dict[str, object]:
    for host in ("127.0.0.1", OWN):
        threading.Thread(target=Web4((host, 80), Web).serve_forever, daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 3128))
    proxy = Proxy(listener, [parse_host(each) for each in ALLOWED], most_bytes=MOST_BYTES)
    proxy.start()
    named = {name: get(name) for name in (*NAMES, *ALIASES, "nowhere.example")}
    written = {
        each: get(each)
        for each in (
            *("good.example.", "GOOD.Example", "good.example:80", "good.example:8080", "good.example:22"),
            *("port.example:8080", "port.example", PUBLIC, PRIVATE, METADATA, "[::1]", "2130706433"),
            *(
                "0x7f.1",
                "0x7f000001",
                "127.1",
                "localhost",
                "user@good.example",
                "good.example%2eevil.example",
            ),
        )
    }
    told: dict[str, object] = {
        "reachable": [
            each for each in (PUBLIC, PRIVATE, METADATA, SHARED, "127.0.0.1", OWN) if directly(each)
        ],
        "named": named,
        "written": written,
        "tunnels": {each: tunnel(each) for each in TUNNELS},
        "rebound": [get("rebind.example") for _ in range(3)],
        "redirect": get("good.example", "/redirect"),
        "odd": [ask(f"{line}\r\n\r\n") for line in ODD],
        "account": proxy.account(),
        "big": len(get("good.example", "/big")[1]),
        "after": get("good.example")[0],
    }
    proxy.close()
    with suppress(OSError):
        told["closed"] = get("good.example")[0]
    return told


if __name__ == "__main__":
    if sys.argv[1:] == ["elsewhere"]:
        elsewhere()
    print(json.dumps(machine()))
