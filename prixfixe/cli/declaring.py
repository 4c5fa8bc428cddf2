"""What `prixfixe run` guesses of a table, shown and confirmed, and what becomes of it to travel."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.failures import Interrupted
from prixfixe.cli.form import Typed
from prixfixe.cli.output import Progress, say, size, table
from prixfixe.errors import InvalidInput
from prixfixe.protocol.bundle import BundleDefinition

if TYPE_CHECKING:
    from prixfixe.client.conversions import Conversions, Converted
    from prixfixe.protocol.manifest import InputFile
    from prixfixe.tables.guess import Guess
    from prixfixe.tables.progress import Report

GUESSABLE = ("encoding", "delimiter", "decimal", "thousands", "date_format")


@dataclass(frozen=True, slots=True)
class Travel:
    """How files leave this machine. `scratch`: a folder that lives until they are uploaded. `kept`: where
    what was made of them is kept until it is bought. `undeclared`: nobody said which encoding they are in."""

    scratch: Path
    as_is: bool = False
    pseudonymise: tuple[str, ...] = ()
    mapping: Path | None = None
    kept: Conversions | None = None
    undeclared: bool = False

    def bought(self, inputs: Iterable[tuple[InputFile, Path]]) -> None:
        """Forget what was kept of files that the service has and that are paid for."""
        if self.kept is not None:
            for _, path in inputs:
                self.kept.forget(path)


def confirm_guesses(
    definition: BundleDefinition,
    typed: Typed,
    *,
    yes: bool,
    accept: bool,
    quiet: bool = False,
    whole: bool = True,
) -> Typed:
    """The parameters with what the files seem to ask for, once a person has agreed. whole: not even a file
    that will be converted is left for its conversion to find bytes in that are no UTF-8.

    InvalidInput when nobody may be asked (`yes`) and guesses were not accepted (`accept`): it says what to
    type instead.
    """
    found = _guesses(definition, typed, whole)
    if not found:
        return typed
    options = " ".join(guess.option for guess in found)
    if not quiet:
        say("  not declared, and guessed from the file:")
        say(table((f"    {guess.option}", guess.reason) for guess in found))
    if not accept:
        if yes:
            raise InvalidInput(
                f"how the table is written was not declared, and would be guessed: {options}",
                code="undeclared",
                hint=f"add {options}, or accept what is guessed with --accept-guesses",
                file=typed.files[0].name,
                guesses={guess.parameter: guess.value for guess in found},
            )
        _ask("Read the table so?", f"declare it: {options}")
    values = {guess.parameter: guess.value for guess in found}
    return Typed(typed.files, definition.validate_parameters({**values, **typed.declared}), typed.declared)


def _guesses(definition: BundleDefinition, typed: Typed, whole: bool) -> Sequence[Guess]:
    if definition.inputs.preflight == "none":
        return ()
    from prixfixe.tables.guess import guess

    takes = [name for name in GUESSABLE if name in definition.parameters.get("properties", {})]
    found: dict[str, Guess] = {}
    for path in typed.files:
        every = whole or not _converts(definition, path, typed.parameters)
        for one in guess(path, typed.declared, takes, whole=every):
            first = found.setdefault(one.parameter, one)
            if first.value != one.value:
                raise InvalidInput(
                    f"the files differ: {first.option} fits one, {one.option} fits {path.name}",
                    hint="hand in files that are written alike",
                    file=path.name,
                )
    return tuple(found.values())


def _ask(question: str, hint: str) -> None:
    try:
        agreed = click.confirm(question, err=True)
    except (click.Abort, KeyboardInterrupt):
        agreed = False
    if not agreed:
        raise Interrupted("nothing was ordered and nothing was charged", hint)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The file that is uploaded, a sentence on what making it saved, and its units and SHA-256 when they were
    found on the way."""

    path: Path
    sentence: str | None = None
    units: int | None = None
    sha256: str | None = None


def outgoing(
    definition: BundleDefinition,
    path: Path,
    parameters: Mapping[str, Any],
    travel: Travel,
    progress: Progress,
) -> Outgoing:
    """What is uploaded for `path`.

    A table of some size becomes Parquet with the columns that are used; the result of the run is the same.
    """
    wanted = bool(travel.pseudonymise)
    if not _takes_parquet(definition):
        if wanted:
            raise InvalidInput(
                f"bundle {definition.id} takes files as they are, without pseudonyms",
                parameter="pseudonymise",
            )
        return Outgoing(path)
    if not wanted and (travel.as_is or not _converts(definition, path, parameters)):
        return Outgoing(path)
    label = f"checking {path.name} and taking the columns that are used"
    progress.show(label)
    made = _converted(path, parameters, travel, lambda share: progress.show(label, share))
    done = made.conversion
    if not wanted and done.bytes_after >= done.bytes_before:
        return Outgoing(path, None, done.found.units)
    sentence = (
        f"{size(done.bytes_after)} instead of {size(done.bytes_before)}: {len(done.columns)} of "
        f"{done.columns_before} columns, as Parquet"
    )
    if wanted:
        sentence += (
            f"; {', '.join(done.pseudonymised)} as pseudonyms, whose meaning stays in {travel.mapping}"
        )
    return Outgoing(made.path, sentence, done.found.units, made.sha256)


def _takes_parquet(definition: BundleDefinition) -> bool:
    return definition.inputs.preflight == "table" and "parquet" in definition.inputs.formats


def _converts(definition: BundleDefinition, path: Path, parameters: Mapping[str, Any]) -> bool:
    """Whether a file is made smaller before it travels, when nobody asks for anything else."""
    from prixfixe.tables.convert import is_worth_converting

    return _takes_parquet(definition) and is_worth_converting(path, parameters)


def _converted(path: Path, parameters: Mapping[str, Any], travel: Travel, report: Report) -> Converted:
    """What is made of a file; kept for the next run, unless pseudonyms are in it."""
    from prixfixe.client.conversions import Converted
    from prixfixe.protocol.hashing import sha256_file
    from prixfixe.tables.convert import convert, require_room
    from prixfixe.tables.reader import Engine
    from prixfixe.tables.request import PivotRequest

    request, hidden, kept = PivotRequest.from_parameters(parameters), travel.pseudonymise, travel.kept
    if travel.mapping is not None and hidden:
        require_room(travel.mapping)
    if hidden:
        kept = None
    if kept is not None and (found := kept.find(path, parameters)) is not None:
        say(f"  {path.name} was checked before; what was taken of it then is sent")
        return found
    room = None if kept is None else kept.room()
    target = (room or travel.scratch) / f"{path.stem}.parquet"
    try:
        done = convert(
            path,
            request,
            target,
            engine=Engine(),
            pseudonymise=hidden,
            key=pseudonym_key() if hidden else b"",
            mapping=travel.mapping,
            undeclared=travel.undeclared,
            report=report,
        )
    except BaseException:
        if kept is not None:
            kept.forget(target)
        raise
    if kept is None or room is None:
        return Converted(target, sha256_file(target)[0], done)
    return kept.keep(target, path, parameters, done)


def pseudonym_key() -> bytes:
    """The key of this person's pseudonyms, made when it is first needed. It never leaves the machine."""
    from prixfixe.keys import home

    path = home() / "pseudonym.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = bytes.fromhex(path.read_text().strip())
        if len(key) < 32:
            raise InvalidInput(f"{path} is no key for pseudonyms", hint="move it away") from None
        return key
    key = secrets.token_bytes(32)
    with os.fdopen(number, "w") as file:
        file.write(key.hex() + "\n")
    return key
