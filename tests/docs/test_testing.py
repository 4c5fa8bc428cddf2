"""What `docs/testing.md` tells people to write runs."""

from __future__ import annotations

import re
import unittest
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[2]


def test_the_histories_of_the_page_are_played(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    (code,) = (each for each in re.findall(r"```python\n(.*?)```", page, re.S) if "Histories" in each)
    monkeypatch.chdir(ROOT)
    given: dict[str, Any] = {"__name__": "page"}
    exec(code, given)
    ended = []
    own = given["Pivots"].at_rest

    def at_rest(history: Any, jobs: Any) -> None:
        own(history, jobs)
        ended.append({each.state for each in jobs})

    monkeypatch.setattr(given["Pivots"], "at_rest", at_rest)
    case = given["TestPivots"]
    case.settings = settings(case.settings, max_examples=3, stateful_step_count=30, derandomize=True)
    result = unittest.TestResult()
    case("runTest").run(result)
    assert not result.failures + result.errors, result.failures + result.errors
    assert {"settled"} in ended
