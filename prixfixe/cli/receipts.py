"""Receipts as files."""

from __future__ import annotations

from pathlib import Path

from prixfixe.client.checks import Verification
from prixfixe.client.keeping import write_file
from prixfixe.client.verification import receipt_bytes
from prixfixe.errors import VerificationFailed
from prixfixe.protocol.receipt import Receipt


def receipt_fault(verification: Verification, receipt: Path) -> VerificationFailed:
    """What to tell when a result came with a receipt that does not prove it."""
    fault = verification.faults[0]
    return VerificationFailed(
        f"the result came, and its receipt does not hold: {fault.name}: {fault.detail}",
        hint=f"do not rely on the result; keep {receipt} as evidence",
        **verification.to_json(),
    )


def write_receipt(receipt: Receipt, path: Path) -> None:
    """Write it in its one spelling, whole or not at all."""
    write_file(path, receipt_bytes(receipt))
