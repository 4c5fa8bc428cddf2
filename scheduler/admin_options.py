"""Options that commands of `prixfixe admin` share."""

from __future__ import annotations

from pathlib import Path

import click

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("prixfixe-data"),
    show_default=True,
    help="The service's data folder.",
)
database_option = click.option(
    "--database",
    envvar="PRIXFIXE_SERVICE_DATABASE",
    help="Address of the database, when it is not in --data.",
)
blobs_option = click.option(
    "--blobs",
    envvar="PRIXFIXE_SERVICE_BLOBS",
    help="Where the service keeps files, when not in --data: s3://BUCKET/PREFIX.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
