"""What a hostile file from a page gets, in the real cage."""

from __future__ import annotations

import io
import zipfile

import httpx
import pytest

from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.inspections import Inspection
from tests.support.accounts import PASSWORD
from tests.support.devnet import Devnet

pytestmark = pytest.mark.timeout(900)


class _Visitor:
    """Signed up at the devnet's service."""

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


def test_hostile_files_are_refused_in_words(devnet: Devnet) -> None:
    with httpx.Client(base_url=devnet.state.service, timeout=90) as http:
        visitor = _Visitor(http)
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("[Content_Types].xml", "<Types/>")
            archive.writestr("xl/workbook.xml", b"0" * 50_000_000)
        for name, hostile in (("bomb.xlsx", bomb.getvalue()), ("photo.csv", b"\xff\xd8\xff\xe0" * 100)):
            refused = visitor.inspected(name, hostile)
            assert refused.state == "failed"
            assert refused.reason is not None
            assert refused.reason.fault == "customer"
            assert name in refused.reason.message
