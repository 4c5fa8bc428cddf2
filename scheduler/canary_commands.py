"""The commands `prixfixe admin canary`."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.failures import set_json
from scheduler.admin_options import blobs_option, data_option, database_option, json_option

if TYPE_CHECKING:
    from marketplace.store.canaries import Canary


@click.group()
def canary() -> None:
    """Keep tasks whose answer you know, for bundles whose results cannot be disputed.

    A service that checks results buys them now and then from providers of the same bundle version, as any
    customer would; a wrong answer costs its provider its record. Nobody else is told of them.
    """


@canary.command()
@click.argument("bundle")
@click.option(
    "--input",
    "inputs",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    required=True,
    help="File that the task reads; kept in the service's blobs. Repeatable.",
)
@click.option("--params", default="{}", show_default=True, help="The task's parameters, a JSON object.")
@click.option(
    "--expect",
    "expected",
    multiple=True,
    required=True,
    metavar="PATH=SHA256",
    help="An output file and its digest. Name only files that this input determines to the byte. Repeatable.",
)
@click.option(
    "--units",
    type=click.IntRange(0),
    required=True,
    help="The size of the input in the bundle's unit, as `prixfixe run` counts it; decides the tier.",
)
@click.option("--version", help="Of the bundle; the newest by default.")
@click.option("--note", default="", help="Where the answer is known from.")
@click.option("--dry-run", is_flag=True, help="Show what each purchase would cost, and keep nothing.")
@data_option
@database_option
@blobs_option
@json_option
def add(
    bundle: str,
    inputs: tuple[Path, ...],
    params: str,
    expected: tuple[str, ...],
    units: int,
    version: str | None,
    note: str,
    dry_run: bool,
    data: Path,
    database: str | None,
    blobs: str | None,
    as_json: bool,
) -> None:
    """Keep a task of BUNDLE whose answer is known.

    Writes the store, while the service runs or not.

    \b
    Example:
      prixfixe admin canary add simulate --input seed-7.csv --units 40 \\
          --params '{"seed": 7}' --expect totals.json=9f86d081...
    """
    set_json(as_json)
    from marketplace.canaries import Wish, keep
    from prixfixe.cli.submit import pairs
    from prixfixe.client.files import input_name
    from scheduler.status import open_blobs, open_store

    with closing(open_store(data, database)) as store:
        wish = Wish(
            bundle=bundle,
            version=version,
            parameters=_object(params),
            inputs=[(input_name(path), path) for path in inputs],
            units=units,
            expected=pairs("--expect", expected),
            note=note,
        )
        kept = keep(store, open_blobs(data, store, blobs), wish, dry_run=dry_run)
    told = {
        "number": kept.number,
        "bundle": kept.bundle,
        "version": kept.version,
        "tier": kept.tier,
        "price": str(kept.price.units),
        "inputs": [each.model_dump(mode="json") for each in kept.inputs],
    }
    what = "would be kept" if kept.number is None else f"canary {kept.number}"
    line = f"{what}: {kept.bundle} {kept.version}, tier {kept.tier}, {kept.price} each time it is bought"
    click.echo(json.dumps(told) if as_json else line)


@canary.command("list")
@data_option
@database_option
@json_option
def list_(data: Path, database: str | None, as_json: bool) -> None:
    """Show all canaries, those that were removed too, and what came of them."""
    set_json(as_json)
    from scheduler.checked import canary_counts
    from scheduler.status import opened

    with opened(data, database) as connection:
        found = canary_counts(connection)
    if as_json:
        click.echo(json.dumps({"canaries": [_told(each, counts) for each, counts in found]}))
    else:
        click.echo("\n".join(_line(each, counts) for each, counts in found) or "there are no canaries")


@canary.command()
@click.argument("number", type=click.IntRange(1))
@data_option
@database_option
@json_option
def remove(number: int, data: Path, database: str | None, as_json: bool) -> None:
    """Use canary NUMBER no more; what it found stays. One that is bought already is still judged."""
    set_json(as_json)
    from marketplace.store.canaries import canary_removed
    from scheduler.status import open_store

    with closing(open_store(data, database)) as store, store.write() as connection:
        canary_removed(connection, number)
    click.echo(json.dumps({"removed": number}) if as_json else f"canary {number} is used no more")


def _object(text: str) -> dict[str, Any]:
    from prixfixe.errors import InvalidInput

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidInput(
            f"--params {text[:80]!r} is no JSON object", code="bad-option", hint="--params '{\"seed\": 7}'"
        )
    return found


def _told(each: Canary, counts: dict[str, int]) -> dict[str, Any]:
    return {
        "number": each.number,
        "bundle": each.bundle,
        "version": each.version,
        "parameters": dict(each.parameters),
        "inputs": [file.model_dump(mode="json") for file in each.inputs],
        "units": each.units,
        "expected": dict(each.expected),
        "note": each.note,
        "added_at": each.added_at,
        "removed_at": each.removed_at,
        "checks": counts,
    }


def _line(each: Canary, counts: dict[str, int]) -> str:
    came = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "not drawn yet"
    files = ", ".join(file.name for file in each.inputs)
    gone = " (removed)" if each.removed_at is not None else ""
    note = f"  {each.note}" if each.note else ""
    answer = ", ".join(each.expected)
    return f"{each.number:>4}  {each.bundle} {each.version}{gone}  {files} -> {answer}: {came}{note}"
