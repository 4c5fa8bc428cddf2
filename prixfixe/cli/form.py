"""A bundle's own options on the command line: `--rows region` becomes the parameter `rows`.

The options come from the bundle's definition, which the service gives; so `run` takes what it does not know
itself as it was typed, and it is sorted out here once the bundle is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prixfixe.errors import InvalidInput
from prixfixe.tables.form import FormOption, options, parse_form


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed: the files, and the bundle's parameters; `declared` are those without defaults."""

    files: tuple[Path, ...]
    parameters: Mapping[str, Any]
    declared: Mapping[str, Any] = field(default_factory=dict)


def read_arguments(schema: Mapping[str, Any], arguments: Sequence[str], bundle: str = "BUNDLE") -> Typed:
    """Sort files from options. InvalidInput for an option that the bundle does not have or that lacks its
    value. bundle: its name, for the hint."""
    known = {option.flag: option for option in options(schema)}
    given: dict[str, list[str]] = {}
    files: list[Path] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            files += map(Path, rest)
            break
        if not argument.startswith("-") or argument == "-":
            files.append(Path(argument))
            continue
        flag, equals, value = argument.partition("=")
        option = known.get(flag)
        if option is None:
            raise _unknown(flag, known)
        if not equals:
            value = next(rest, "")
            if not value or value in known:
                raise InvalidInput(
                    f"{flag} needs a value: {option.metavar}",
                    code="invalid-parameters",
                    parameter=option.name,
                )
        given.setdefault(option.name, []).append(value)
    missing = [option.flag for option in known.values() if option.required and option.name not in given]
    if missing:
        raise InvalidInput(
            f"missing: {', '.join(missing)}",
            code="invalid-parameters",
            hint=f"`prixfixe run {bundle} --options` shows what they are",
        )
    return Typed(tuple(files), parse_form(schema, given))


def option_rows(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The bundle's options for its help: flag with what it takes, and what it means."""
    return [
        (f"{option.flag} {option.metavar}", f"{option.help}{' (required)' if option.required else ''}")
        for option in options(schema)
    ]


def _unknown(flag: str, known: Mapping[str, FormOption]) -> InvalidInput:
    import difflib

    near = difflib.get_close_matches(flag, known, n=1)
    return InvalidInput(
        f"this bundle has no option {flag}",
        code="invalid-parameters",
        hint=f"did you mean {near[0]}?" if near else f"its options: {', '.join(known)}",
        parameter=flag.removeprefix("--"),
    )
