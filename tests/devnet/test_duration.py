"""Lengths of time as people type them."""

from __future__ import annotations

import pytest

from prixfixe.devnet.duration import parse_duration
from prixfixe.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("2h", 7200), ("1d12h", 129_600), ("42", 42), (" 2H ", 7200)],
)
def test_what_people_type_is_understood(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "2x", "-5s", "1.5h", "２h", "2h later"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_duration(text)
    assert refused.value.hint is not None
    assert "2h" in refused.value.hint
