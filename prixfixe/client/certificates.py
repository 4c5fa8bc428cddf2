"""Certificates: a receipt and what was checked of it, as people read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, cast, get_args

from prixfixe.client.checks import Check, Verification
from prixfixe.client.verification import receipt_bytes
from prixfixe.protocol.canonical import canonical_digest_hex, canonical_json, sha256_hex
from prixfixe.protocol.certificate import (
    Application,
    Certificate,
    CertifiedDeal,
    CertifiedFile,
    Checked,
    CheckKind,
    UncheckedKind,
)
from prixfixe.protocol.outputs import TaskStatus
from prixfixe.protocol.receipt import Receipt, ReceiptLot

_NUMBER: Final = re.compile(r" ?\d+")


def certificate_of(
    receipt: Receipt, verification: Verification, control_totals: dict[str, Any] | None = None
) -> Certificate:
    """verification: of this receipt. control_totals: of the result, of values that canonical JSON has."""
    manifest = receipt.quote.manifest
    named = manifest.bundle
    settled = [lot for lot in receipt.lots if lot.outcome == "settled"]
    return Certificate(
        job=receipt.job,
        chain_id=receipt.chain_id,
        contract=receipt.contract,
        operator=receipt.operator,
        customer=receipt.order.customer,
        outcome=receipt.outcome,
        application=Application(
            image=manifest.image,
            bundle=None if named is None else named.id,
            version=None if named is None else named.version,
            title=None if receipt.definition is None else str(receipt.definition.get("title", "")),
            definition=None if named is None else named.definition,
        ),
        parameters=canonical_digest_hex(manifest.parameters),
        tasks=receipt.order.tasks,
        done=sum(lot.done for lot in settled),
        quoted=receipt.quoted,
        charged=receipt.charged,
        inputs=tuple(
            CertifiedFile(name=file.name, sha256=file.sha256, size=file.size) for file in manifest.files
        ),
        outputs=tuple(_outputs(settled)),
        control_totals=control_totals,
        deals=tuple(_deal(lot) for lot in receipt.lots),
        valid=verification.valid,
        checked=tuple(grouped(verification)),
        not_checked=tuple(left_out(receipt, verification)),
        receipt=sha256_hex(receipt_bytes(receipt)),
    )


def certificate_bytes(certificate: Certificate) -> bytes:
    """The file: canonical JSON (RFC 8785)."""
    return canonical_json(certificate.model_dump(mode="json"))


def kind_of(check: Check) -> str:
    """`deal 3: result` as `deal-result`, `task 7` as `task`."""
    return _NUMBER.sub("", check.name).replace(": ", "-").replace(" ", "-")


def grouped(verification: Verification) -> Iterator[Checked]:
    """Checks that were made, those of one kind together, in the order of their first."""
    kinds: dict[str, list[Check]] = {}
    for check in verification.checks:
        if check.ok is not None:
            kind = kind_of(check)
            kinds.setdefault(kind if kind in get_args(CheckKind) else "other", []).append(check)
    for kind, checks in kinds.items():
        told = next((check for check in checks if not check.ok), checks[0])
        yield Checked(what=cast(CheckKind, kind), count=len(checks), held=bool(told.ok), detail=told.detail)


def left_out(receipt: Receipt, verification: Verification) -> Iterator[UncheckedKind]:
    """Kinds of what was not checked, and of what no receipt can tell."""
    kinds = dict.fromkeys(kind_of(check) for check in verification.checks if check.ok is None)
    for kind in kinds:
        yield cast(UncheckedKind, kind if kind in get_args(UncheckedKind) else "other")
    if any(lot.outcome == "settled" and len(lot.deal.legs) == 1 for lot in receipt.lots):
        yield "single"
    yield "files"
    yield "truth"


def _outputs(settled: list[ReceiptLot]) -> Iterator[CertifiedFile]:
    """Of tasks that succeeded and were not given back."""
    for lot in settled:
        if lot.overturned:
            continue
        for task in lot.tasks:
            if task.status == TaskStatus.SUCCEEDED:
                for file in task.outputs.files:
                    yield CertifiedFile(name=file.path, sha256=file.sha256, size=file.size, task=task.index)


def _deal(lot: ReceiptLot) -> CertifiedDeal:
    providers = tuple(leg.provider for leg in lot.deal.legs)
    signed = lot.signed if lot.outcome == "settled" else 0
    return CertifiedDeal(
        deal=lot.deal_id,
        providers=providers,
        signed=tuple(each for at, each in enumerate(providers) if signed >> at & 1),
        outcome=lot.outcome,
        tasks=lot.deal.count,
        done=lot.done,
        returned=lot.overturned,
        opened=lot.opened,
        ended=lot.ended,
    )
