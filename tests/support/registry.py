"""A read-only image registry on a loopback port, from which an engine takes plain HTTP (OCI distribution)."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prixfixe.protocol.canonical import canonical_json, sha256_hex

_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"

_UNKNOWN: Final = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'


@dataclass
class Registry:
    """image: `127.0.0.1:PORT/base@sha256:...`. asked: paths of all requests, in order."""

    image: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving_image(archive: bytes) -> Iterator[Registry]:
    """A registry with the image of an archive that `docker save` made."""
    blobs, manifest = _content(archive)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            found = b"{}" if self.path == "/v2/" else blobs.get(self.path.rpartition("/")[2])
            kind = _MANIFEST if "/manifests/" in self.path else "application/octet-stream"
            body = _UNKNOWN if found is None else found
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json" if found is None else kind)
            self.send_header("Content-Length", str(len(body)))
            if found is not None and self.path != "/v2/":
                self.send_header("Docker-Content-Digest", "sha256:" + sha256_hex(found))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="registry")
    thread.start()
    try:
        yield Registry(f"127.0.0.1:{server.server_address[1]}/base@{manifest}", asked)
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


def _content(archive: bytes) -> tuple[dict[str, bytes], str]:
    """All blobs by digest, and the manifest's digest."""
    blobs: dict[str, bytes] = {}

    def put(data: bytes, kind: str) -> dict[str, Any]:
        digest = "sha256:" + sha256_hex(data)
        blobs[digest] = data
        return {"mediaType": kind, "size": len(data), "digest": digest}

    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:

        def member(name: str) -> bytes:
            found = tar.extractfile(name)
            assert found is not None, name
            return found.read()

        (entry,) = json.loads(member("manifest.json"))
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": put(member(entry["Config"]), _CONFIG),
            "layers": [
                put(gzip.compress(member(layer), compresslevel=1, mtime=0), _LAYER)
                for layer in entry["Layers"]
            ],
        }
    return blobs, put(canonical_json(manifest), _MANIFEST)["digest"]
