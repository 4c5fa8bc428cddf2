"""`prixfixe worker inspect`: look at files that people send from a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prixfixe.cli.options import log_format_option
from prixfixe.late import uncollected
from prixfixe.logs import LogFormat
from worker.options import emitter, json_option, log_to_stderr, runtime_option, scratch_option, service_option

_WORDS = {
    "ready": "inspector {inspector} ready, {slots} at once",
    "looked": "inspection {inspection} ({step}): {how}",
}


@click.command()
@service_option
@click.option(
    "--key",
    metavar="KEY",
    required=True,
    help="The inspector's key: keystore name or file, command:PROGRAM, or dev:N. It signs in and holds no "
    "money; its address is one that the service was started with (`serve --inspector`).",
)
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("prixfixe-inspector"),
    show_default=True,
    help="Input cache and task disks. One inspector a folder.",
)
@click.option("--slots", type=click.IntRange(1, 64), default=1, show_default=True, help="Files at once.")
@runtime_option
@scratch_option
@log_format_option
@json_option
def inspect(
    service: str | None,
    key: str,
    data: Path,
    slots: int,
    runtime: str,
    scratch: Any,
    log_format: LogFormat,
    as_json: bool,
) -> None:
    """Look at files that people send from a page, until SIGTERM or Ctrl-C: for operators.

    Each file is read in the cage that tasks run in, without a network and within its bundle's limits, by the
    table kit in the bundle's image. What is found there (columns, first rows, and later the typed table that
    is ordered with) goes back to the service. It needs a container engine, and nothing of a chain.

    \b
    Example:
      prixfixe serve --inspector 0x1234... ...
      prixfixe worker inspect --key inspector --service https://market.example
    """
    with uncollected():
        from prixfixe.client.contexts import resolve_context
        from prixfixe.keys import load_signer
        from worker.hiding import hide_memory
        from worker.inspector import InspectorSettings, serve
        from worker.rerun import BenchSettings
        from worker.stopping import on_signals

    log_to_stderr(as_json, log_format)
    bench = BenchSettings(data=data.absolute(), runtime=runtime, scratch=scratch)
    hide_memory()  # before the key is read
    serve(
        InspectorSettings(bench, slots),
        service or resolve_context().service,
        lambda chain: load_signer(key, chain_id=chain),
        emitter(as_json, _WORDS),
        on_signals,
    )
