"""Canaries as the operator keeps them: what a bundle has to give for an input whose answer is known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from marketplace.blobs import Blobs
from marketplace.bundles import find
from marketplace.quotes import require_inputs, tier_of
from marketplace.store.canaries import canary_added
from marketplace.store.database import Store
from prixfixe.errors import InvalidInput
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.hashing import sha256_file
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.money import Money
from prixfixe.protocol.outputs import require_output_path

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CHUNK: Final = 2**20


@dataclass(frozen=True, slots=True)
class Wish:
    """A canary that is to be kept. version: None for the newest. inputs: files by the name that the job sees.
    units: as a customer's preflight would count them. expected: SHA-256 by the path of an output file that
    these inputs determine to the byte."""

    bundle: str
    parameters: Mapping[str, Any]
    inputs: Sequence[tuple[str, Path]]
    units: int
    expected: Mapping[str, str]
    version: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """number: None when it was only looked at. price: of one purchase of it."""

    number: int | None
    bundle: str
    version: str
    tier: str
    price: Money
    inputs: tuple[InputFile, ...]


def keep(store: Store, blobs: Blobs, wish: Wish, *, dry_run: bool = False) -> Kept:
    """Check a canary by the bundle's definition and keep it with its files. InvalidInput for what no customer
    could order, for an answer that names no file, and for a bundle whose results are run again anyway."""
    _require_expected(wish.expected)
    inputs = tuple(_described(name, path) for name, path in wish.inputs)
    with store.read() as connection:
        published = find(connection, wish.bundle, wish.version)
    definition = published.definition
    if definition.disputable:
        raise InvalidInput(
            f"results of bundle {definition.id} are disputable, and are run again instead",
            code="canary-not-needed",
            hint="canaries are for bundles whose results cannot be disputed; see docs/verification.md",
        )
    parameters = definition.validate_parameters(wish.parameters)
    tier = tier_of(definition, wish.units)
    definition.require_replicas(1)
    require_inputs(definition, inputs)
    price = Money(published.offers[tier.name, 1]["price"])
    number = None
    if not dry_run:
        for file, (_, path) in zip(inputs, wish.inputs, strict=True):
            _store(blobs, file, path)
        with store.write() as connection:
            number = canary_added(
                connection,
                bundle=definition.id,
                version=definition.version,
                parameters=parameters,
                inputs=inputs,
                units=wish.units,
                expected=wish.expected,
                note=wish.note,
            )
    return Kept(number, definition.id, definition.version, tier.name, price, inputs)


def _require_expected(expected: Mapping[str, str]) -> None:
    if not expected:
        raise InvalidInput(
            "a canary names at least one output file with its SHA-256",
            code="canary-without-answer",
            hint="--expect out.csv=SHA256; sha256sum prints it",
        )
    for path, sha256 in expected.items():
        require_output_path(path)
        if not _SHA256.fullmatch(sha256):
            raise InvalidInput(
                f"{path}: {sha256[:80]!r} is no SHA-256 of 64 lower-case digits",
                code="canary-answer",
                hint="--expect out.csv=SHA256; sha256sum prints it",
            )


def _described(name: str, path: Path) -> InputFile:
    try:
        digest, size = sha256_file(path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", file=str(path)) from error
    return InputFile(name=name, sha256=digest, size=size)


def _store(blobs: Blobs, file: InputFile, path: Path) -> None:
    """Nobody's file: each buyer is granted it with the purchase."""
    with blobs.upload(file.sha256, ZERO_ADDRESS, file.size) as incoming, path.open("rb") as source:
        while chunk := source.read(_CHUNK):
            incoming.write(chunk)
        incoming.finish()
