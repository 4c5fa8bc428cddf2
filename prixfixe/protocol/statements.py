"""Statements of managed accounts as spreadsheets read them."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prixfixe.protocol.accounts import Statement

COLUMNS: Final = ("time", "block", "transaction", "kind", "reference", "amount", "balance")


def as_csv(statement: Statement) -> str:
    """Times in UTC, money in dollars with all its digits. No cell begins with a sign that a spreadsheet takes
    for a formula but the minus of an amount: a reference is an invoice's number, a job or an address."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for line in statement.lines:
        told = (dollars(line.amount), dollars(line.balance))
        writer.writerow((utc(line.time), line.block, line.transaction, line.kind, line.reference, *told))
    return text.getvalue()


def utc(seconds: int) -> str:
    """A second as people write it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def dollars(units: int) -> str:
    """Units of a statement, which may be below zero, with all their digits."""
    return ("-" if units < 0 else "") + f"{abs(units) // 10**6}.{abs(units) % 10**6:06}"
