"""An inspector whose cage is a folder of this process: everything of it is real but the container. And
somebody who has files looked at by any inspector."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from prixfixe.errors import InvalidInput
from prixfixe.keys import LocalSigner
from prixfixe.protocol.hashing import sha256_file, sha256_hex
from prixfixe.protocol.inspections import Inspection
from prixfixe.protocol.manifest import JobManifest
from prixfixe.protocol.outputs import OutputFile, OutputManifest, TaskStatus
from prixfixe.protocol.product import Product
from prixfixe.protocol.wire import Reason
from prixfixe.tables import looking
from prixfixe.tables.container import refusal
from prixfixe.tables.reader import Engine
from tests.support.accounts import PASSWORD
from worker.client import ServiceClient
from worker.inspector import Inspector, InspectorSettings
from worker.rerun import BenchSettings


class _Ended:
    def __init__(self, outputs: Path, reason: Reason | None) -> None:
        self._outputs = outputs
        self.reason = reason
        self.status = TaskStatus.SUCCEEDED if reason is None else TaskStatus.INPUT_REFUSED

    def collect(self, files: int) -> OutputManifest:
        found = sorted(self._outputs.iterdir())
        assert len(found) <= files
        return OutputManifest(tuple(OutputFile(each.name, *sha256_file(each)) for each in found))

    def read(self, path: str, offset: int, length: int) -> Iterator[bytes]:
        yield (self._outputs / path).read_bytes()[offset : offset + length]


class FolderCages:
    """Runs what a cage would run, here."""

    def __init__(self, folder: Path, client: ServiceClient) -> None:
        self._folder = folder
        self._client = client

    @contextmanager
    def caged(
        self, manifest: JobManifest, archive: str | None, product: Product, name: str
    ) -> Iterator[_Ended]:
        place = self._folder / name
        outputs = place / "outputs"
        outputs.mkdir(parents=True)
        (wanted,) = manifest.inputs
        path = place / wanted.name
        with self._client.download(wanted.sha256) as pieces:
            path.write_bytes(b"".join(pieces))
        reason = None
        try:
            engine = Engine(threads=1, memory_mib=512, spill=place)
            looking.work([path], json.loads(json.dumps(manifest.parameters)), outputs, engine, None)
        except InvalidInput as error:
            told = json.loads(refusal(error))
            reason = Reason(
                code=told["code"], message=told["message"], hint=told["hint"] or "", fault="customer"
            )
        yield _Ended(outputs, reason)

    def stop(self) -> None:
        """Nothing runs for long."""


@contextmanager
def inspecting(url: str, signer: LocalSigner, folder: Path) -> Iterator[None]:
    """An inspector at work for the service at `url`."""
    stopping = threading.Event()
    with closing(ServiceClient(url, stopping=stopping)) as client:

        @contextmanager
        def bench() -> Iterator[FolderCages]:
            yield FolderCages(folder / "cages", client)

        inspector = Inspector(
            InspectorSettings(BenchSettings(folder)), client, signer, open_bench=bench, poll_seconds=0.5
        )
        thread = threading.Thread(target=inspector.run)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            inspector.stop()
            thread.join(30)
            assert not thread.is_alive()


class Visitor:
    """Signed up at the service of this client."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        answer = http.post("/v1/account", json={"email": "look@example.com", "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        http.headers["X-CSRF-Token"] = answer.json()["signed_in"]["csrf"]

    def inspected(self, name: str, content: bytes) -> Inspection:
        """What the inspector says of a file, at the end."""
        digest = sha256_hex(content)
        assert self.http.put(f"/v1/blobs/{digest}", content=content).is_success
        body = {"bundle": "pivot", "step": "look", "name": name, "sha256": digest}
        answer = self.http.post("/v1/account/inspections", json=body)
        assert answer.status_code == 201, answer.text
        found = Inspection.model_validate(answer.json())
        for _ in range(10):
            if found.state in ("done", "failed"):
                break
            answer = self.http.get(f"/v1/account/inspections/{found.id}", params={"wait": 30})
            found = Inspection.model_validate(answer.json())
        return found
