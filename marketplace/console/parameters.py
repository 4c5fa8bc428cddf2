"""What can be set of a bundle, drawn from the JSON Schema in its definition."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Parameter:
    """choices: values that are taken, in words; empty when they are not listed."""

    name: str
    title: str
    description: str
    required: bool
    default: str
    choices: str


def parameters(schema: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The top-level properties, those that must be given first."""
    required = schema.get("required", ())
    found = [
        Parameter(
            name=name,
            title=str(each.get("title", name)),
            description=str(each.get("description", "")),
            required=name in required,
            default=json.dumps(each["default"], ensure_ascii=False) if _says(each.get("default")) else "–",
            choices=_choices(each),
        )
        for name, each in schema.get("properties", {}).items()
    ]
    return tuple(sorted(found, key=lambda each: not each.required))


def _says(default: Any) -> bool:
    """Whether what is taken where nothing is given is something."""
    return default is not None and default not in ("", [], {})


def _choices(property_: Mapping[str, Any]) -> str:
    items = property_.get("items")
    listed = property_.get("enum") or (items.get("enum") if isinstance(items, dict) else None) or ()
    return ", ".join(json.dumps(each, ensure_ascii=False) for each in listed)
