"""What a hostile file from a page gets, in the real cage."""

from __future__ import annotations

import io
import zipfile

import httpx
import pytest

from tests.support.devnet import Devnet
from tests.support.looking import Visitor

pytestmark = pytest.mark.timeout(900)


def test_hostile_files_are_refused_in_words(devnet: Devnet) -> None:
    with httpx.Client(base_url=devnet.state.service, timeout=90) as http:
        visitor = Visitor(http)
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
