"""Receipts as files."""

from __future__ import annotations

from pathlib import Path

from prixfixe.client.keeping import write_file
from prixfixe.client.verification import receipt_bytes
from prixfixe.protocol.receipt import Receipt


def write_receipt(receipt: Receipt, path: Path) -> None:
    """Write it in its one spelling, whole or not at all."""
    write_file(path, receipt_bytes(receipt))
