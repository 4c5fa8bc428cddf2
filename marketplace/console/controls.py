"""Controls of a form for a bundle's parameters, drawn from the JSON Schema in its definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Shape = Literal["choice", "choices", "lines", "number", "line", "column"]

_OFFERED: Final = ("sum", "average", "min", "max", "count", "distinct", "share")


@dataclass(frozen=True, slots=True)
class Control:
    """One parameter. choices: what can be picked, of a choice or of several. least, most: of a number. A
    column is one of the file's own."""

    name: str
    title: str
    description: str
    shape: Shape
    default: str
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None


def controls(schema: Mapping[str, Any]) -> list[Control]:
    """Of every property that is a text, a number, a choice, some choices or a list of texts."""
    return [
        Control(
            name=name,
            title=str(each.get("title", name)),
            description=str(each.get("description", "")),
            shape=shape,
            default="" if isinstance(each.get("default"), list) else str(each.get("default", "")),
            choices=_choices(each),
            least=each.get("minimum"),
            most=each.get("maximum"),
        )
        for name, each in schema.get("properties", {}).items()
        if (shape := _shape(each)) is not None
    ]


@dataclass(frozen=True, slots=True)
class Aggregates:
    """What can be made of a column of values; most: of one column."""

    names: tuple[str, ...]
    most: int


def aggregates(schema: Mapping[str, Any]) -> Aggregates:
    """What a table's parameter `values` takes, in the order in which a page offers it; everything where it
    does not say."""
    values = schema.get("properties", {}).get("values", {})
    of_each = values.get("items", {}).get("properties", {}).get("aggregates", {})
    listed = of_each.get("items", {}).get("enum", _OFFERED)
    names = tuple(each for each in _OFFERED if each in listed)
    return Aggregates(names, min(of_each.get("maxItems", len(names)), len(names)))


def _choices(property_: Mapping[str, Any]) -> tuple[str, ...]:
    items = property_.get("items")
    listed = property_.get("enum") or (items.get("enum") if isinstance(items, dict) else None) or ()
    return tuple(str(each) for each in listed)


def _shape(property_: Mapping[str, Any]) -> Shape | None:
    if property_.get("type") == "array":
        items = property_.get("items", {})
        if "enum" in items:
            return "choices"
        return "lines" if items.get("type") == "string" else None
    if "enum" in property_:
        return "choice"
    if property_.get("type") == "integer":
        return "number"
    if property_.get("type") == "string":
        return "column" if property_.get("format") == "column" else "line"
    return None
