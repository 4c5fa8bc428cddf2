"""`prixfixe bundle`: begin a bundle, build its image, show it, run its tests, publish its prices."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prixfixe.cli.failures import set_json
from prixfixe.cli.pricing import publish

if TYPE_CHECKING:
    from prixfixe.protocol.bundle import BundleDefinition

_FOLDER = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def bundle() -> None:
    """Make, build and test bundles."""


@bundle.command()
@_FOLDER
@click.option("--base", default="prixfixe-base:bookworm", show_default=True, help="Image to build on.")
@_JSON
def build(folder: Path, base: str, as_json: bool) -> None:
    """Build the image of the bundle in FOLDER and print its id."""
    from prixfixe.cli.bundle_image import build_image
    from prixfixe.protocol.bundle import load

    set_json(as_json)
    definition = load(folder)
    image = build_image(folder, base=base, say=lambda line: click.echo(line, err=True))
    _show(definition.with_image(image), as_json)


@bundle.command()
@_FOLDER
@_JSON
def show(folder: Path, as_json: bool) -> None:
    """Show what the bundle in FOLDER takes, promises and costs."""
    from prixfixe.protocol.bundle import load

    set_json(as_json)
    _show(load(folder), as_json)


@bundle.command()
@click.argument("folder", type=click.Path(path_type=Path))
def new(folder: Path) -> None:
    """Make FOLDER, a small bundle that works: change it into yours.

    It counts the rows of one table. It has a definition, an application, a Dockerfile and tests, among them
    that the same table gives the same bytes on one thread and on many and with masked CPU features.

    \b
    Example:
      prixfixe bundle new ./row-count && prixfixe bundle test ./row-count
    """
    from prixfixe.cli.bundle_new import make_bundle

    made = make_bundle(folder)
    click.echo(f"{folder} is a bundle: {', '.join(made)}")
    click.echo(f"next: prixfixe bundle test {folder}; prixfixe bundle build {folder}", err=True)


# The same command under both names: who makes a bundle looks for it here, who sets prices there.
bundle.add_command(publish)


@bundle.command(context_settings={"ignore_unknown_options": True})
@_FOLDER
@click.argument("pytest_options", nargs=-1, type=click.UNPROCESSED)
def test(folder: Path, pytest_options: tuple[str, ...]) -> None:
    """Run the tests in FOLDER/tests with pytest; further options go to it."""
    from prixfixe.protocol.bundle import load

    load(folder)
    sys.exit(subprocess.call([sys.executable, "-m", "pytest", str(folder / "tests"), *pytest_options]))


def _show(definition: BundleDefinition, as_json: bool) -> None:
    if as_json:
        document = {
            "id": definition.id,
            "version": definition.version,
            "image": definition.image,
            "definition_digest": definition.digest().hex(),
            "definition": definition.to_json(),
        }
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    limits = definition.limits
    click.echo(f"{definition.id} {definition.version}: {definition.title}")
    click.echo(f"  image     {definition.image or 'not built yet'}")
    click.echo(f"  digest    {definition.digest().hex()}")
    click.echo(
        f"  product   {limits.product.name}, replicas {definition.replica_choices}, {definition.determinism}"
    )
    click.echo(f"  promise   result within {definition.service_level} s, else the full price back")
    for tier in definition.tiers:
        for count in definition.replicas:
            label = tier.name if count == 1 else f"{tier.name} x{count}"
            click.echo(f"  {label:<11} up to {tier.up_to:>13,} {tier.unit:<8} {tier.price * count}")
