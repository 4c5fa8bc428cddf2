"""docs/protocol.md leaves out no signed struct, event, error or function of the contract."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prixfixe.chain import artefacts
from prixfixe.protocol.orders import SIGNED_STRUCTS

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
MARKET = artefacts.load("Market")
# OpenZeppelin's, of texts and libraries that nothing here can reach, and a function everybody knows.
NOT_OURS = {"StringTooLong", "InvalidShortString", "supportsInterface", "eip712Domain", "EIP712DomainChanged"}


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert found, title
    return found[1]


def absent(names: list[str], text: str) -> list[str]:
    return [name for name in sorted(set(names) - NOT_OURS) if not re.search(rf"\b{name}\b", text)]


def test_every_signed_struct_is_there_as_it_is_hashed() -> None:
    signed = section("What is signed")
    assert [cls.encode_type() for cls in SIGNED_STRUCTS if cls.encode_type() not in signed] == []


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Events", [event.name for event in MARKET.events.values()]),
        ("Errors", [error.name for error in MARKET.errors.values()]),
    ],
)
def test_every_event_and_error_is_there(title: str, names: list[str]) -> None:
    assert absent(names, section(title)) == []


def test_every_call_that_changes_something_is_there() -> None:
    changing = [
        entry["name"]
        for entry in MARKET.abi
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    ]
    assert absent(changing, PAGE) == []
