"""What is typed on a command line becomes a bundle's parameters, by the bundle's own schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prixfixe.errors import InvalidInput
from prixfixe.protocol.bundle import load
from prixfixe.tables.form import options, parse_form, pivot_parameters
from prixfixe.tables.request import PivotRequest

PIVOT = load(Path(__file__).parents[2] / "bundles" / "pivot")
SCHEMA = PIVOT.parameters


def test_the_options_of_pivot_are_its_parameters() -> None:
    flags = {option.flag: option for option in options(SCHEMA)}
    assert list(flags) == [
        "--rows",
        "--columns",
        "--values",
        "--types",
        "--null-values",
        "--delimiter",
        "--quote",
        "--average-decimals",
        "--share-decimals",
        "--filters",
        "--totals",
        "--sort",
        "--top",
        "--tolerate",
        "--encoding",
        "--decimal",
        "--thousands",
        "--date-format",
        "--sheet",
        "--header-row",
        "--header-rows",
    ]
    assert flags["--filters"].shape == "lines"
    assert flags["--rows"].required
    assert flags["--values"].metavar == "COLUMN:AGGREGATE[,AGGREGATE...]"
    assert flags["--delimiter"].choices == (",", ";", "\t", "|")
    assert all(option.help for option in flags.values())


def test_a_form_as_people_type_it_is_read() -> None:
    parameters = parse_form(
        SCHEMA,
        {
            "rows": ["carrier,origin", '"a,b"'],
            "columns": ["month"],
            "values": ["delay:average,count", "10:30 a.m.:sum"],
            "types": ["month:integer", "delay:decimal(18,2)"],
            "null_values": ["NA"],
            "delimiter": [r"\t"],
            "quote": [],
            "average_decimals": ["2"],
        },
    )
    assert parameters == {
        "rows": ["carrier", "origin", "a,b"],
        "columns": ["month"],
        "values": [
            {"column": "delay", "aggregates": ["average", "count"]},
            {"column": "10:30 a.m.", "aggregates": ["sum"]},
        ],
        "types": {"month": "integer", "delay": "decimal(18,2)"},
        "null_values": ["NA"],
        "delimiter": "\t",
        "average_decimals": 2,
    }
    complete = PIVOT.validate_parameters(parameters)
    assert complete["quote"] == '"'
    assert PivotRequest.from_parameters(complete).source.delimiter == "\t"


def test_python_callers_write_values_the_same_way() -> None:
    parameters = pivot_parameters(
        ["carrier"], values=["delay:average,count"], null_values=["NA"], average_decimals=1
    )
    assert PIVOT.validate_parameters(parameters)["values"] == [
        {"column": "delay", "aggregates": ["average", "count"]}
    ]


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({"values": ["amount"]}, "--values"),
        ({"values": [":sum"]}, "--values"),
        ({"types": ["month"]}, "--types"),
        ({"types": ["a:integer", "a:text"]}, "--types"),
        ({"average_decimals": ["two"]}, "--average-decimals"),
        ({"rows": ['"a']}, "--rows"),
    ],
)
def test_what_cannot_be_read_names_the_option(given: dict[str, Any], flag: str) -> None:
    with pytest.raises(InvalidInput, match=flag):
        parse_form(SCHEMA, given)


def test_an_option_that_the_bundle_has_not_is_refused_with_those_it_has() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_form(SCHEMA, {"where": ["x"]})
    assert "rows, columns, values" in str(refused.value.hint)


@pytest.mark.parametrize("aggregates", ["median", "sum,sum", ""])
def test_the_schema_and_the_reader_refuse_the_same_aggregates(aggregates: str) -> None:
    parameters = pivot_parameters(["a"], values=[f"x:{aggregates}"])
    with pytest.raises(InvalidInput):
        PIVOT.validate_parameters(parameters)
    with pytest.raises(InvalidInput):
        PivotRequest.from_parameters(parameters)
