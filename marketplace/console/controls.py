"""Controls of a form for a bundle's parameters, drawn from the JSON Schema in its definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Shape = Literal["choice", "choices", "lines", "number", "line"]


@dataclass(frozen=True, slots=True)
class Control:
    """One parameter. choices: what can be picked, of a choice or of several. least, most: of a number."""

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
    return "line" if property_.get("type") == "string" else None
