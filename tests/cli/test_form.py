"""A bundle's own options, sorted from files once the bundle is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prixfixe.cli.form import option_rows, read_arguments
from prixfixe.errors import InvalidInput
from prixfixe.protocol.bundle import load

SCHEMA: dict[str, Any] = load(Path(__file__).parents[2] / "bundles" / "pivot").parameters


def test_what_is_typed_becomes_the_bundles_parameters() -> None:
    more = ["--delimiter", ";", "--average-decimals", "2"]
    typed = read_arguments(
        SCHEMA,
        [
            "sales.csv",
            "--rows",
            "region,city",
            "--values=amount:sum,average",
            "--types",
            "year:integer",
            *more,
        ],
    )
    assert typed.files == (Path("sales.csv"),)
    assert typed.parameters == {
        "rows": ["region", "city"],
        "values": [{"column": "amount", "aggregates": ["sum", "average"]}],
        "types": {"year": "integer"},
        "delimiter": ";",
        "average_decimals": 2,
    }


def test_options_may_be_repeated_and_files_may_come_anywhere() -> None:
    typed = read_arguments(
        SCHEMA, ["--rows", "a", "--rows", "b", "x.csv", "--values", "c:count", "--", "--y.csv"]
    )
    assert typed.parameters["rows"] == ["a", "b"]
    assert typed.files == (Path("x.csv"), Path("--y.csv"))


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--row", "a"], "no option --row", "did you mean --rows?"),
        (["--zebra", "a"], "no option --zebra", "its options: --rows"),
        (["--rows"], "--rows needs a value", None),
        (["--rows", "--values", "a:sum"], "--rows needs a value", None),
        (["--rows", "a"], "missing: --values", "--options"),
        (["--rows", "a", "--values", "amount"], "is not COLUMN:AGGREGATE", None),
    ],
)
def test_a_mistyped_option_is_named_with_a_way_out(
    arguments: list[str], message: str, hint: str | None
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_arguments(SCHEMA, ["t.csv", *arguments])
    assert message in caught.value.message
    assert hint is None or hint in str(caught.value.hint)


def test_the_help_of_a_bundle_comes_from_its_definition() -> None:
    rows = dict(option_rows(SCHEMA))
    assert "(required)" in rows["--rows NAME[,NAME...]"]
    assert len(rows) == len(SCHEMA["properties"])


def test_a_missing_option_sends_to_the_options_of_this_very_bundle() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_arguments(SCHEMA, ["--rows", "a"], "pivot")
    assert refused.value.hint == "`prixfixe run pivot --options` shows what they are"
