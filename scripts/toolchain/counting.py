"""How many tests ended how, read from what their runners leave behind."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# forge's and scripts/check's closing lines: "12 tests passed, 0 failed, 1 skipped (13 total tests)".
CLOSING = re.compile(r"(\d+) (?:tests )?passed, (\d+) failed, (\d+) skipped")
NO_TESTS = 5  # pytest's status when it collected none
LAST_LINES = 30  # of what a failed test said


@dataclass(frozen=True)
class Counts:
    """How many tests ended how. An error in set-up or collection counts as failed. failures: what is known
    of those that failed, each the test's name and the last lines of what it said."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.failures + other.failures,
        )

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    @property
    def total(self) -> int:
        return self.passed + self.failed + self.skipped


def believed(counts: Counts, status: int) -> Counts:
    """A runner that ended badly has at least one failure, even if it died before it could count it."""
    return counts + Counts(failed=1) if status != 0 and counts.failed == 0 else counts


def read_junit(report: Path) -> Counts:
    """Counts from a JUnit report; none at all when it was not written."""
    if not report.exists():
        return Counts()
    root = ElementTree.parse(report).getroot()
    total = Counts(failures=tuple(_failures(root)))
    for suite in root.iter("testsuite"):
        tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        # A test that passed and then failed in its teardown is one test with one error more.
        total += Counts(max(tests - failed - skipped, 0), failed, skipped)
    return total


def _failures(report: ElementTree.Element) -> Iterator[tuple[str, str]]:
    for case in report.iter("testcase"):
        for found in (*case.iter("failure"), *case.iter("error")):
            lines = (found.text or found.get("message") or "").rstrip().splitlines()
            yield f"{case.get('classname')}::{case.get('name')}", "\n".join(lines[-LAST_LINES:])


def read_closing(text: str) -> Counts:
    """Counts from the last closing line in a runner's output."""
    found = CLOSING.findall(text)
    if not found:
        return Counts()
    passed, failed, skipped = map(int, found[-1])
    return Counts(passed, failed, skipped)
