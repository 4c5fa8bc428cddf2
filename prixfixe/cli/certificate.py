"""`prixfixe jobs certificate`: what was checked of a job, for people."""

from __future__ import annotations

from pathlib import Path

import click

from prixfixe.cli.options import chosen_context, context_option, key_option, open_client, whole_id
from prixfixe.cli.output import say


@click.command()
@click.argument("job")
@click.option("--format", "file_format", type=click.Choice(["pdf", "json"]), default="pdf", show_default=True)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; certificate.pdf or certificate.json here when not given.",
)
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", help="Of a PDF.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@context_option
@key_option
def certificate(
    job: str,
    file_format: str,
    out: Path | None,
    language: str,
    force: bool,
    context_name: str | None,
    key: str | None,
) -> None:
    """Write a certificate of a job that has ended: what was run, on which files, for how much, what the
    service checked and what it did not.

    It is for people. What anybody can check is the receipt, whose digest it names.

    \b
    Examples:
      prixfixe jobs certificate 0x5f1c --language zh
      prixfixe jobs certificate 0x5f1c --format json --out evidence.json
    """
    from prixfixe.client.certificates import certificate_bytes
    from prixfixe.client.files import require_free_target
    from prixfixe.client.keeping import write_file

    target = out or Path(f"certificate.{file_format}")
    require_free_target(target, overwrite=force)
    with open_client(chosen_context(context_name, key)) as client:
        found = whole_id(job)
        if file_format == "pdf":
            content = client.certificate_pdf(found, language)
        else:
            content = certificate_bytes(client.certificate(found))
    write_file(target, content)
    say(f"{target}: written. Check the receipt itself: prixfixe jobs receipt {found}; prixfixe verify")
