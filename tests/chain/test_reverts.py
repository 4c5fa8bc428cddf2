"""Every refusal of the contract is a sentence with its own values, whose fault it is and what to do."""

from __future__ import annotations

import re
from string import Formatter
from typing import Any

import pytest

from prixfixe.chain import artefacts
from prixfixe.chain.abi import ErrorType
from prixfixe.chain.reverts import explain
from prixfixe.chain.sentences import SENTENCES

MARKET = sorted(
    {
        error.name: error for name in ("Market", "Desk") for error in artefacts.load(name).errors.values()
    }.items()
)


def some(kind: str) -> Any:
    if kind == "address":
        return "0x" + "11" * 20
    if kind == "string":
        return "window"
    if kind.startswith("bytes"):
        return b"\x22" * int(kind.removeprefix("bytes"))
    return 3


@pytest.mark.parametrize(("name", "error"), MARKET, ids=[name for name, _ in MARKET])
def test_an_error_of_the_market_is_told_with_its_values_and_a_way_out(name: str, error: ErrorType) -> None:
    kinds = [item.name for item in error.inputs.items]
    data = error.selector + error.inputs.encode(tuple(some(kind) for kind in kinds), name)
    told = explain(data, context="settle")
    assert told.revert == name
    assert set(told.arguments) == set(error.inputs.names)
    assert told.message.startswith(f"settle: {name}: ")
    assert not re.search(r"[{}]", told.message)
    assert told.hint, "what to do next"


def test_no_sentence_is_about_an_error_that_nothing_answers() -> None:
    known = {
        error.name
        for name in ("Market", "Desk", "DevDollar")
        for error in artefacts.load(name).errors.values()
    }
    assert set(SENTENCES) <= known


def test_a_sentence_names_no_value_that_its_error_lacks() -> None:
    for name, error in MARKET:
        wanted = {field for _, field, _, _ in Formatter().parse(SENTENCES[name].text) if field}
        assert wanted <= set(error.inputs.names), name


def test_a_refusal_of_a_token_that_is_not_ours_shows_its_bare_values() -> None:
    error = next(e for e in artefacts.load("DevDollar").errors.values() if e.name == "ERC20InvalidReceiver")
    told = explain(error.selector + bytes(32), context="withdraw")
    assert told.message == f"withdraw: ERC20InvalidReceiver(receiver=0x{'0' * 40})"
