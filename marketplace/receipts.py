"""Receipts: what happened to a finished job, with every signature, sealed by the operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, cast

from sqlalchemy import Connection, func, select
from sqlalchemy.engine import RowMapping

from marketplace.jobs import job_row
from marketplace.orders import quote_of
from marketplace.store.database import Store
from marketplace.store.disputes import cases_of
from marketplace.store.settling import NO_SIGNATURE, Standing, standings_of
from marketplace.store.tables import bundles, deals, quotes, tasks
from prixfixe.errors import Conflict
from prixfixe.keys import Signer
from prixfixe.protocol import wire
from prixfixe.protocol.deals import Deal, refusal_root
from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import order_from_json
from prixfixe.protocol.outputs import OutputManifest
from prixfixe.protocol.quotes import receipt_digest
from prixfixe.protocol.receipt import (
    DIRECT,
    Receipt,
    ReceiptDispute,
    ReceiptLeg,
    ReceiptLot,
    ReceiptTask,
    TransactionReference,
)
from prixfixe.protocol.surroundings import cage_fault
from prixfixe.protocol.typed_data import Domain, format_bytes32, parse_bytes32

_UNSIGNED: Final = "0x" + "00" * 65
_EXACT_INTEGER: Final = 2**53
# States of a deal that was paid, whatever became of it since.
_SETTLED: Final = ("settled", "disputed", "guilty")


class Receipts:
    """Receipts, built from the tables whenever they are asked for: the same job gives the same one, until a
    dispute adds to it."""

    def __init__(self, store: Store, domain: Domain, signer: Signer) -> None:
        self._store = store
        self._domain = domain
        self._signer = signer

    def receipt(self, job: str, customer: str) -> Receipt:
        """The receipt of a job that has ended; Conflict before."""
        with self._store.read() as connection:
            row = job_row(connection, job, customer)
            if row["state"] not in ("settled", "refunded"):
                raise Conflict(
                    f"the job is {row['state']}: its receipt is there when it has ended",
                    code="job-not-over",
                    retryable=True,
                )
            unsigned = self._build(connection, row)
        signature = self._signer.sign_digest(receipt_digest(unsigned, self._domain))
        return unsigned.model_copy(update={"signature": "0x" + signature.hex()})

    def _build(self, connection: Connection, job: RowMapping) -> Receipt:
        stored = connection.execute(select(quotes.c.quote).where(quotes.c.id == job["quote"])).scalar_one()
        quote = quote_of(stored)
        return Receipt(
            job=job["id"],
            chain_id=self._domain.chain_id,
            contract=self._domain.verifying_contract,
            operator=self._signer.address,
            quote=quote,
            order=order_from_json(job["order"]),
            order_signature=job["signature"],
            definition=_definition(connection, quote),
            lots=_lots(connection, job["id"], self._domain),
            outcome=job["state"],
            quoted=quote.total,
            charged=Money(job["charged"]),
            reason=None if job["reason"] is None else wire.Reason.model_validate(exact(job["reason"])),
            channel=job["channel"] or DIRECT,
            signature=_UNSIGNED,
        )


def _definition(connection: Connection, quote: wire.Quote | wire.BidQuote) -> dict[str, Any] | None:
    if isinstance(quote, wire.BidQuote):
        return None
    query = select(bundles.c.definition).where(
        bundles.c.id == quote.bundle, bundles.c.version == quote.version
    )
    return cast(dict[str, Any], connection.execute(query).scalar_one())


def exact(value: Any) -> Any:
    """`value` as canonical JSON can hold it: a number that it cannot, such as a float in an application's
    message, becomes its text."""
    if isinstance(value, dict):
        return {str(name): exact(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [exact(each) for each in value]
    if isinstance(value, float) or (type(value) is int and abs(value) >= _EXACT_INTEGER):
        return str(value)
    return value


def _lots(connection: Connection, job: str, domain: Domain) -> tuple[ReceiptLot, ...]:
    """Every deal that was opened for the job, in the order of the chain."""
    rows = connection.execute(select(deals).where(deals.c.job == job)).mappings().all()
    over = [row for row in rows if row["ended"] is not None]
    over.sort(key=lambda row: (row["opened"]["block"], row["opened"]["log_index"]))
    first = select(tasks.c.lot, func.min(tasks.c.position)).where(tasks.c.job == job).group_by(tasks.c.lot)
    firsts = {row[0]: row[1] for row in connection.execute(first)}
    cases = cases_of(connection, job)
    standings = standings_of(connection, job)
    return tuple(
        _lot(row, standings[row["id"], row["opening"]], firsts[row["lot"]], cases, domain) for row in over
    )


def _lot(
    row: RowMapping, standing: Standing, first: int, cases: Sequence[RowMapping], domain: Domain
) -> ReceiptLot:
    """first: index in the job of the lot's first task. cases: of the whole job."""
    deal = standing.deal
    settled = row["state"] in _SETTLED
    counts = settled or row["state"] == "refused"
    root = row["root"] if settled else format_bytes32(refusal_root(row["due"]))
    signed = standing.signatures(root, row["done"] or 0)
    # What was in the outputs is told by one who brought them, or who says why there are none.
    teller = next((each for each in standing.attempts if each["tasks"] and _counts(each, root)), None)
    told = None if teller is None else teller["tasks"]
    return ReceiptLot(
        deal_id=row["id"],
        deal=deal,
        due=row["due"],
        opened=TransactionReference.model_validate(row["opened"]),
        outcome=_outcome(row["state"]),
        ended=TransactionReference.model_validate(row["ended"]),
        root=row["root"] if settled else None,
        done=row["done"] or 0,
        signatures=tuple(row["signatures"] or signed) if counts else (),
        legs=_legs(row, standing) if len(deal.legs) > 1 else (),
        tasks=tuple(
            ReceiptTask(
                index=first + place,
                status=each["status"],
                outputs=OutputManifest.from_json(each["outputs"]),
                reason=None
                if deal.count == 1 or each["reason"] is None
                else wire.Reason.model_validate(exact(each["reason"])),
            )
            for place, each in enumerate(told)
        )
        if told is not None and counts
        else (),
        fact=row["fact"] if settled else None,
        disputes=tuple(_dispute(case) for case in cases if case["deal"] == row["id"]) if settled else (),
        cage=_cage(teller, deal, row["root"], domain) if settled and teller is not None else None,
    )


def _cage(teller: RowMapping, deal: Deal, root: str, domain: Domain) -> dict[str, Any] | None:
    """Only what its worker signed: a receipt shall not fail its check by a worker's nonsense."""
    shown = exact(teller["cage"]) if teller["cage"] else None
    if shown is None or cage_fault(shown, deal, parse_bytes32(root, name="root"), domain) is not None:
        return None
    return cast(dict[str, Any], shown)


def _outcome(state: str) -> Literal["settled", "refused", "expired"]:
    return "settled" if state in _SETTLED else cast(Literal["refused", "expired"], state)


def _dispute(case: RowMapping) -> ReceiptDispute:
    return ReceiptDispute(
        challenger=case["challenger"],
        claim=Claim.from_json(case["claim"]),
        fact=case["fact"],
        until=case["until"],
        bond=Money(case["bond"]),
        fees=tuple(Money(int(fee)) for fee in case["fees"]),
        opened=TransactionReference.model_validate(case["opened"]),
        outcome=case["state"],
        ended=None if case["ended"] is None else TransactionReference.model_validate(case["ended"]),
        fee=None if case["fee"] is None else Money(case["fee"]),
        returned=None if case["returned"] is None else Money(case["returned"]),
    )


def _counts(attempt: RowMapping, root: str) -> bool:
    return attempt["result"] is not None and attempt["result"]["root"] == root


def _legs(row: RowMapping, standing: Standing) -> tuple[ReceiptLeg, ...]:
    """Each of several replicas: whether it was paid, and why not."""
    by_key = {each["worker"]: each for each in standing.attempts}
    signatures = row["signatures"] or [NO_SIGNATURE] * len(standing.deal.legs)
    counts = row["state"] in (*_SETTLED, "refused")
    told = []
    for leg, signature in zip(standing.deal.legs, signatures, strict=True):
        reason = by_key[leg.key]["reason"] if leg.key in by_key else None
        told.append(
            ReceiptLeg(
                provider=leg.provider,
                pay=Money(leg.pay),
                signed=counts and signature != NO_SIGNATURE,
                reason=None if reason is None else wire.Reason.model_validate(exact(reason)),
            )
        )
    return tuple(told)
