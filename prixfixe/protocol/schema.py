"""Schemas of a bundle's parameters: JSON Schema 2020-12, closed, referring to nothing outside of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from prixfixe.protocol.canonical import canonical_json


def check_schema(schema: Mapping[str, Any]) -> None:
    """ValueError unless it is a JSON Schema (2020-12) of an object that refuses unknown names."""
    _check_form(canonical_json(dict(schema)))
    if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
        raise ValueError("parameters are an object with additionalProperties = false")
    if any(not reference.startswith("#") for reference in _references(schema)):
        raise ValueError("a schema refers to nothing outside of itself")


@lru_cache(maxsize=64)
def _check_form(schema: bytes) -> None:
    """ValueError unless the text is a JSON Schema. Remembered: a definition is parsed again and again, and
    this is nearly all of what that takes."""
    from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped]

    try:
        Draft202012Validator.check_schema(json.loads(schema))
    except SchemaError as error:
        raise ValueError(f"no JSON Schema: {error.message}") from error


def _references(schema: Any) -> list[str]:
    if isinstance(schema, Mapping):
        own = [str(value) for key, value in schema.items() if key in ("$ref", "$dynamicRef")]
        return own + [found for value in schema.values() for found in _references(value)]
    if isinstance(schema, list | tuple):
        return [found for value in schema for found in _references(value)]
    return []


def validator(schema: Mapping[str, Any]) -> Any:
    """A validator that reads nothing but the schema at hand."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(schema, registry=Registry())


def place_of(error: Any) -> tuple[str, ...]:
    """Where an error is: the first one by its path is the one to say, so that it does not change between
    runs."""
    return (*(str(part) for part in error.absolute_path), str(error.message))


def defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What the schema gives the parameters that a request leaves out."""
    return {
        name: part["default"]
        for name, part in schema.get("properties", {}).items()
        if isinstance(part, Mapping) and "default" in part
    }
