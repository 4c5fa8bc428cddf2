"""Control totals: what went in against what came out, each measured on its own side.

The table's side comes from the survey, a scan that knows nothing of groups. The result's side is added up
from the cells as they are written into the files. A difference is our bug: nothing is delivered then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pivot import numbers
from pivot.engine import Group
from prixfixe.tables.request import PivotRequest
from prixfixe.tables.survey import Survey


class ControlMismatch(Exception):
    """Sums out are not sums in. Carries the sentence that failed."""


@dataclass
class Controls:
    """Adds up what is written, and compares it with the survey."""

    request: PivotRequest
    survey: Survey
    rows_used: int = 0
    cells: int = 0
    counts: list[int] = field(default_factory=list)
    sums: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = [0] * len(self.request.values)
        self.sums = [0] * len(self.request.values)

    def add(self, group: Group) -> None:
        """One group has been written."""
        self.rows_used += group.rows
        self.cells += len(self.request.measures)
        for i, value in enumerate(group.values):
            self.counts[i] += value.count
            self.sums[i] += value.sum or 0

    def check(self) -> tuple[str, ...]:
        """The sentences a person reads. ControlMismatch when one of them would be untrue."""
        sentences = [self._equal("Rows of the table", self.survey.rows, "rows used", self.rows_used, 0)]
        for i, total in enumerate(self.survey.totals):
            name = total.column
            sentences.append(
                self._equal(
                    f"Values of {name} in the table",
                    total.count,
                    "values counted in the cells",
                    self.counts[i],
                    0,
                )
            )
            if total.sum is not None:
                whole = numbers.scaled(total.sum, total.decimals)
                sentences.append(
                    self._equal(
                        f"Sum of {name} over the table",
                        whole,
                        "sum over the cells",
                        self.sums[i],
                        total.decimals,
                    )
                )
            if total.blank:
                rows, them = (
                    ("1 row has", "it") if total.blank == 1 else (f"{total.blank:,} rows have", "them")
                )
                sentences.append(f"{rows} no value in {name}: no sum, average or count of it has {them}.")
        return tuple(sentences)

    @staticmethod
    def _equal(left: str, expected: int, right: str, found: int, decimals: int) -> str:
        a, b = _grouped(expected, decimals), _grouped(found, decimals)
        if expected != found:
            raise ControlMismatch(f"{left}: {a}, but {right}: {b}")
        return f"{left}: {a} = {right}: {b}."

    def to_json(self) -> Mapping[str, Any]:
        """The figures, numbers that may be large or have decimals as text."""
        return {
            "rows": {"in": self.survey.rows, "used": self.rows_used},
            "values": [
                {
                    "column": total.column,
                    "type": str(value.type),
                    "count": {"in": total.count, "out": self.counts[i]},
                    "blank": total.blank,
                    "sum": None
                    if total.sum is None
                    else {
                        "in": numbers.text(numbers.scaled(total.sum, total.decimals), total.decimals),
                        "out": numbers.text(self.sums[i], total.decimals),
                    },
                }
                for i, (value, total) in enumerate(zip(self.request.values, self.survey.totals, strict=True))
            ],
        }


def _grouped(units: int, decimals: int) -> str:
    whole, point, fraction = numbers.text(units, decimals).partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}{point}{fraction}"
