"""Control totals: what went in against what came out, each measured on its own side.

The table's side comes from the survey, a scan that knows nothing of groups. The result's side is added up
from the cells as they are written into the files. A difference is our bug: nothing is delivered then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pivot import numbers
from pivot.engine import Group, PivotRow
from prixfixe.tables.columns import ColumnType
from prixfixe.tables.container import ControlMismatch
from prixfixe.tables.request import PivotRequest
from prixfixe.tables.survey import Measure, Survey, Total

__all__ = ["ControlMismatch", "Controls"]


@dataclass
class Controls:
    """Adds up what is written, and compares it with the survey."""

    request: PivotRequest
    survey: Survey
    width: int
    """Column keys of the result, its total column not counted."""
    listed: int = 0
    """Rejected rows that were written into their file."""
    rows_used: int = 0
    cells: int = 0
    counts: list[int] = field(default_factory=list)
    sums: list[int] = field(default_factory=list)
    total_rows: int = 0
    total_sums: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = [0] * len(self.request.values)
        self.sums = [0] * len(self.request.values)
        self.total_sums = [0] * len(self.request.values)

    def add(self, row: PivotRow) -> None:
        """One line has been written. Its cells count; of the lines of totals only the last is compared."""
        for position, group in row.groups.items():
            if position >= self.width or row.line == "subtotal":
                continue
            if row.line == "total":
                self.total_rows += group.rows
                for i, value in enumerate(group.values):
                    self.total_sums[i] += value.sum or 0
            else:
                self.add_group(group)

    def add_group(self, group: Group) -> None:
        """One group of cells has been written."""
        self.rows_used += group.rows
        self.cells += len(self.request.measures)
        for i, value in enumerate(group.values):
            self.counts[i] += value.count
            self.sums[i] += value.sum or 0

    def check(self) -> tuple[str, ...]:
        """The sentences a person reads. ControlMismatch when one of them would be untrue."""
        found = self.survey
        if not self.request.selective:
            sentences = [self._equal("Rows of the table", found.rows, "rows used", self.rows_used, 0)]
        else:
            sentences = [self._rows_sentence()]
        for i, total in enumerate(found.totals):
            name, whole = total.column, "in the rows used" if self.request.selective else "in the table"
            left = f"Values of {name} {whole}"
            sentences.append(self._equal(left, total.count, "values counted in the cells", self.counts[i], 0))
            if total.sum is not None:
                sentences += self._sum_sentences(i, total)
            if total.blank:
                rows, them = (
                    ("1 row has", "it") if total.blank == 1 else (f"{total.blank:,} rows have", "them")
                )
                sentences.append(f"{rows} no value in {name}: no sum, average or count of it has {them}.")
        if "rows" in self.request.totals:
            left = "Rows in the line of totals"
            sentences.append(self._equal(left, self.total_rows, "rows used", self.rows_used, 0))
        return tuple(sentences)

    def _rows_sentence(self) -> str:
        found = self.survey
        self._equal("Rows rejected", found.rejected, "rows listed as rejected", self.listed, 0)
        left = found.rows - found.filtered - found.rejected
        self._equal("Rows of the table less filtered and rejected", left, "rows used", self.rows_used, 0)
        return (
            f"Rows of the table: {found.rows:,} = rows used: {self.rows_used:,} + rows filtered: "
            f"{found.filtered:,} + rows rejected: {found.rejected:,}."
        )

    def _sum_sentences(self, i: int, total: Total) -> list[str]:
        assert total.sum is not None
        used = numbers.scaled(total.sum, total.decimals)
        over = "the rows used" if self.request.selective else "the table"
        name, places = total.column, total.decimals
        sentences = [
            self._equal(f"Sum of {name} over {over}", used, "sum over the cells", self.sums[i], places)
        ]
        if self.request.selective:
            parts = [_units(part, total) for part in (total.whole, total.filtered, total.rejected)]
            self._equal(f"Sum of {name}", parts[0], "its parts", used + parts[1] + parts[2], total.decimals)
            texts = [_grouped(units, total.decimals) for units in (parts[0], used, parts[1], parts[2])]
            sentences.append(
                f"Sum of {total.column} over the whole table: {texts[0]} = used: {texts[1]} + filtered: "
                f"{texts[2]} + rejected, as far as it can be read: {texts[3]}."
            )
        if "rows" in self.request.totals:
            left = f"Sum of {name} in the line of totals"
            sentences.append(
                self._equal(left, self.total_sums[i], "sum over the cells", self.sums[i], places)
            )
        return sentences

    @staticmethod
    def _equal(left: str, expected: int, right: str, found: int, decimals: int) -> str:
        a, b = _grouped(expected, decimals), _grouped(found, decimals)
        if expected != found:
            raise ControlMismatch(f"{left}: {a}, but {right}: {b}")
        return f"{left}: {a} = {right}: {b}."

    def to_json(self) -> Mapping[str, Any]:
        """The figures, numbers that may be large or have decimals as text."""
        found = self.survey
        rows = {"in": found.rows, "used": self.rows_used}
        if self.request.selective:
            rows |= {"filtered": found.filtered, "rejected": found.rejected}
        return {
            "rows": rows,
            "values": [
                self._value(i, value.type, total)
                for i, (value, total) in enumerate(zip(self.request.values, found.totals, strict=True))
            ],
        }

    def _value(self, i: int, kind: ColumnType, total: Total) -> dict[str, Any]:
        count = {"in": total.whole.count, "out": self.counts[i]}
        amount = None
        if total.sum is not None:
            amount = {
                "in": numbers.text(_units(total.whole, total), total.decimals),
                "out": numbers.text(self.sums[i], total.decimals),
            }
        if self.request.selective:
            for name, part in (("filtered", total.filtered), ("rejected", total.rejected)):
                count[name] = part.count
                if amount is not None:
                    amount[name] = numbers.text(_units(part, total), total.decimals)
        return {
            "column": total.column,
            "type": str(kind),
            "count": count,
            "blank": total.blank,
            "sum": amount,
        }


def _units(part: Measure, total: Total) -> int:
    return numbers.scaled(part.sum or Decimal(0), total.decimals)


def _grouped(units: int, decimals: int) -> str:
    whole, point, fraction = numbers.text(units, decimals).partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}{point}{fraction}"
