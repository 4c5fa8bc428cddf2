"""`prixfixe jobs forget`: have a job's files and logs deleted before their time."""

from __future__ import annotations

import click

from prixfixe.cli.options import (
    JOB,
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_client,
    whole_id,
    yes_option,
)
from prixfixe.cli.output import emit, say


@click.command()
@JOB
@yes_option
@context_option
@key_option
@json_option
def forget(job: str, yes: bool, context_name: str | None, key: str | None, as_json: bool) -> None:
    """Have the market delete the inputs, outputs and logs of a job now, for good.

    The job must be over and its results beyond dispute; until then the answer says until when. What another
    order names stays, and is listed. The receipt stays whole: it names every file by its digest. Backups of
    the market and caches of workers are not reached. Doing it again is no error.

    \b
    Examples:
      prixfixe jobs forget 0x3fa9
      prixfixe jobs forget 0x3fa9 --yes --json
    """
    job = whole_id(job)
    if not yes:
        click.confirm(
            f"Delete inputs, outputs and logs of {job[:12]}...? They cannot be had back", abort=True, err=True
        )
    with open_client(chosen_context(context_name, key)) as client:
        found = client.forget(job)
    if as_json:
        emit(found.model_dump(mode="json"))
        return
    files = sum(each.kind == "file" for each in found.deletions.items)
    logs = len(found.deletions.items) - files
    say(f"deleted: {files} file(s) and {logs} log(s); see `prixfixe jobs deletions {job[:12]}`")
    for digest in found.kept:
        say(f"kept, because something else names it: {digest}")
