"""What a mined transaction did for each row that it carried.

The contract's events say it: a call of many leaves out what fails, and a row may be found in a transaction
that was signed before others of its company had become moot.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import RowMapping

from prixfixe.chain import events
from prixfixe.chain.events import MarketEvent
from prixfixe.chain.reverts import left_out
from prixfixe.errors import ChainError


def done_and_left_out(
    rows: Sequence[RowMapping], found: Sequence[MarketEvent]
) -> tuple[list[RowMapping], list[tuple[RowMapping, ChainError]]]:
    """The rows that the events of their transaction fulfil, and the others with the reason as far as the
    events give it: the name of the contract's error. rows: in the order of their ids."""
    opened = {(each.order, each.data.lot) for each in found if isinstance(each, events.DealOpened)}
    paid = {each.deal for each in found if isinstance(each, events.Settled | events.Refused)}
    back = {each.deal for each in found if isinstance(each, events.Expired)}
    done: list[RowMapping] = []
    others: list[RowMapping] = []
    for row in rows:
        given = row["arguments"]
        if row["call"] == "match":
            happened = (bytes.fromhex(given["job"][2:]), given["lot"]) in opened
        elif row["call"] in ("settle", "expire"):
            happened = bytes.fromhex(given["deal"][2:]) in (paid if row["call"] == "settle" else back)
        else:
            happened = True  # not a call of many: it was mined, so it was done
        (done if happened else others).append(row)
    codes = [each.code for each in found if isinstance(each, events.Skipped)]
    # Both are in the order of the items.
    known = codes if len(codes) == len(others) else [b""] * len(others)
    return done, [(row, left_out(code, row["call"])) for row, code in zip(others, known, strict=True)]
