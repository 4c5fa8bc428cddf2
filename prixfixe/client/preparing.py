"""What can be wrong with an input on this side, found before a price is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from prixfixe.errors import ConfigurationError, InvalidInput
from prixfixe.protocol.bundle import BundleDefinition


def needed(package: str, what_for: str) -> Any:
    """A package that not everybody has. ConfigurationError says what to install."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise _missing(what_for, package.partition(".")[0], error) from error


def require_files(definition: BundleDefinition, files: Sequence[Path]) -> None:
    takes = definition.inputs
    if not 1 <= len(files) <= takes.max_files:
        most = "one file" if takes.max_files == 1 else f"1 to {takes.max_files} files"
        raise InvalidInput(
            f"bundle {definition.id} takes {most}, and {len(files)} were given",
            code="input-count",
            hint=f"`prixfixe run {definition.id} --options` shows what it takes",
        )
    for path in files:
        if not path.is_file():
            problem = "is a folder" if path.is_dir() else "does not exist"
            raise InvalidInput(f"{path} {problem}", code="no-input", file=str(path), hint="name a file")
    total = sum(path.stat().st_size for path in files)
    if total > takes.max_bytes:
        raise InvalidInput(
            f"the input has {total:,} bytes, and bundle {definition.id} takes {takes.max_bytes:,}",
            code="input-too-large",
            hint="leave out columns that are not used, or split the table",
        )


def count_units(
    definition: BundleDefinition, path: Path, parameters: Mapping[str, Any], report: Callable[[float], None]
) -> int:
    """Units of one file, by the preflight that the definition names; without one a file is a unit."""
    if definition.inputs.preflight == "none":
        return 1
    from prixfixe.tables.form import run_preflight

    with needing_tables():
        return run_preflight(definition.inputs.preflight, path, parameters, report).units


@contextmanager
def needing_tables() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise _missing("checking tables", "'prixfixe[tables]'", error) from error


def _missing(what_for: str, install: str, error: ModuleNotFoundError) -> ConfigurationError:
    return ConfigurationError(
        f"{what_for} needs the package {error.name!r}, which is not installed",
        code="extra-missing",
        hint=f"install it: pip install {install}",
    )
