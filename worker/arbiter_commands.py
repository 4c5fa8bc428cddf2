"""`prixfixe arbiter`: judge challenged results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.options import log_format_option
from prixfixe.late import uncollected
from prixfixe.logs import LogFormat
from worker.options import (
    contract_option,
    emitter,
    json_option,
    log_to_stderr,
    rpc_option,
    service_option,
    where,
)

if TYPE_CHECKING:
    from prixfixe.keys import Signer

_WORDS = {
    "ready": "arbiter {arbiter} ready for the market {market}",
    "judged": "deal {deal}: guilty is {guilty}: {why} (transaction {transaction})",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def arbiter() -> None:
    """Judge challenged results.

    The market's contract names its arbiter at deployment. This is one with a single key: whoever has it
    decides every case, bounded by what the case holds. `prixfixe dev` starts one.

    \b
    Example:
      prixfixe arbiter start --key arbiter --service https://market.example --rpc https://node.example
    """


@arbiter.command()
@service_option
@rpc_option
@contract_option
@click.option(
    "--key",
    metavar="KEY",
    help="The arbiter's key: keystore name or file, command:PROGRAM, or dev:N. A local chain's own when not"
    " given; elsewhere it must be.",
)
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("prixfixe-arbiter"),
    show_default=True,
    help="Input cache and task disks. One arbiter a folder.",
)
@click.option("--runtime", default="runc", show_default=True, help="Container runtime; runsc is gVisor.")
@click.option(
    "--scratch",
    type=click.Choice(["auto", "loop", "watched"]),
    default="auto",
    show_default=True,
    help="How a task's disk is bounded, as for a worker.",
)
@click.option(
    "--from-block",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The block of the market's deployment: nothing before it is read.",
)
@click.option(
    "--missing-after",
    type=click.IntRange(0),
    default=86_400,
    show_default=True,
    metavar="SECONDS",
    help="How long, by the chain's clock, a missing output may still be handed in; at most half a window.",
)
@log_format_option
@json_option
def start(
    service: str | None,
    rpc: str | None,
    contract: str | None,
    key: str | None,
    data: Path,
    runtime: str,
    scratch: Any,
    from_block: int,
    missing_after: int,
    log_format: LogFormat,
    as_json: bool,
) -> None:
    """Watch for challenges and judge them, until SIGTERM or Ctrl-C.

    A result that is said to be wrong is run again here, in the cage that workers use: one run that agrees
    acquits; two that agree with each other and not with the result find guilty; anything else acquits. An
    output that is said to be missing is asked for until --missing-after is over. A count is taken from the
    leaves. What cannot be looked at (an engine, a service or an input out of reach) is tried again, and is
    left to silence when the case's time ends: then the result stands and the bond goes back.

    It keeps nothing that matters: after a restart open cases are read from the chain again.
    """
    with uncollected():
        from worker.arbiter import ArbiterSettings, serve
        from worker.hiding import hide_memory
        from worker.rerun import BenchSettings
        from worker.stopping import on_signals

    log_to_stderr(as_json, log_format)
    settings = ArbiterSettings(
        bench=BenchSettings(data=data.absolute(), runtime=runtime, scratch=scratch),
        from_block=from_block,
        missing_after=missing_after,
    )
    market = where(service, rpc, contract)
    hide_memory()  # before the key is read
    serve(settings, market, lambda chain: _signer(key, chain), emitter(as_json, _WORDS), on_signals)


def _signer(key: str | None, chain_id: int) -> Signer:
    """The key that was named; a local chain's own arbiter when none was."""
    from prixfixe.development_keys import is_local_chain
    from prixfixe.devnet.settings import arbiter_key
    from prixfixe.errors import ConfigurationError
    from prixfixe.keys import load_signer

    if key is None and not is_local_chain(chain_id):
        raise ConfigurationError(
            f"chain {chain_id} is not a local one: name the arbiter's key",
            code="no-key",
            hint="--key KEY; `prixfixe chain show` names the arbiter",
        )
    return load_signer(key or arbiter_key(), chain_id=chain_id)
