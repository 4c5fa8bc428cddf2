"""The commands `prixfixe serve` and `prixfixe admin`."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.failures import set_json
from prixfixe.cli.options import MoneyType, log_format_option
from prixfixe.late import uncollected
from prixfixe.logs import LogFormat
from scheduler.account_commands import accounts, credit, reset_password
from scheduler.admin_options import blobs_option, data_option, database_option, json_option
from scheduler.canary_commands import canary

if TYPE_CHECKING:
    from prixfixe.protocol.money import Money
    from scheduler.backup import Backup

_RPC = click.option(
    "--rpc",
    "nodes",
    envvar="PRIXFIXE_RPC",
    required=True,
    multiple=True,
    help="Address of a chain node, http:// or https://. Repeatable (in the variable: with spaces): others "
    "stand in for one that is out of reach, behind, or another chain.",
)


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("prixfixe-data"),
    show_default=True,
    help="Folder of the database, the blobs and the logs.",
)
@_RPC
@click.option("--contract", help="Address of the market's contract.")
@click.option(
    "--deployment",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The market's manifest, instead of --contract.",
)
@click.option(
    "--key",
    envvar="PRIXFIXE_KEY",
    required=True,
    help="The operator's key, which is the contract's scheduler: a keystore's name or path, command:PROGRAM, "
    "or dev:N on a local chain. Never a private key itself.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8600, show_default=True, help="0: a free one.")
@click.option(
    "--domain",
    "domains",
    multiple=True,
    help="HOST:PORT by which users reach the service; sign-ins must name one. Repeatable, main one first.",
)
@click.option(
    "--database",
    help="Address of the database: sqlite:////FILE or postgresql+psycopg://USER@HOST/NAME; by default a file "
    "in --data. Also PRIXFIXE_SERVICE_DATABASE, which keeps a password off the command line.",
)
@click.option(
    "--accounts",
    metavar="SEED",
    help="Keep accounts for people without a wallet, with keys from this seed: a keystore's name or path, "
    "command:PROGRAM, or dev on a local chain. Also PRIXFIXE_SERVICE_ACCOUNTS. Never a seed itself.",
)
@click.option(
    "--play-money",
    type=MoneyType(),
    help="What every new managed account is given, of the operator's tokens: on a local chain only.",
)
@click.option(
    "--blobs",
    help="Where files are kept: s3://BUCKET/PREFIX; by default in --data. Keys, region and endpoint come "
    "from AWS_... variables or ~/.aws. Also PRIXFIXE_SERVICE_BLOBS.",
)
@click.option(
    "--inspector",
    "inspectors",
    metavar="ADDRESS",
    multiple=True,
    help="A machine of yours that looks at files which people send from a page (`prixfixe worker inspect`). "
    "Repeatable; without any, pages take no files. Also PRIXFIXE_SERVICE_INSPECTORS, with commas.",
)
@click.option("--heartbeat", type=float, help="Seconds between the heartbeats of a worker.")
@click.option(
    "--cool-down",
    type=float,
    help="Seconds without a new deal for a worker that failed one by its own fault (10), three times as long "
    "with each further failure in a row.",
)
@click.option(
    "--confirmations",
    type=click.IntRange(0, 1000),
    help="Blocks on top of one before its events count: 0 on a local chain, else 2.",
)
@click.option(
    "--chain-wait",
    type=float,
    default=30.0,
    show_default=True,
    help="Seconds to wait for the chain at the start.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@click.option(
    "--duties/--no-duties",
    default=True,
    help="Whether this process takes part in the duties; several on one database share them.",
)
@click.option("--api/--no-api", default=True, help="Whether this process serves the API.")
@log_format_option
@click.option(
    "--metrics",
    metavar="HOST:PORT",
    default=None,
    help="Serve figures for Prometheus there, at /metrics, and with --no-api also /v1/health and /v1/ready: "
    "to whoever can reach it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the start line as one JSON object.")
def serve(
    data: Path,
    nodes: tuple[str, ...],
    contract: str | None,
    deployment: Path | None,
    key: str,
    host: str,
    port: int,
    domains: tuple[str, ...],
    database: str | None,
    accounts: str | None,
    play_money: Money | None,
    blobs: str | None,
    inspectors: tuple[str, ...],
    heartbeat: float | None,
    cool_down: float | None,
    confirmations: int | None,
    chain_wait: float,
    log_level: str,
    duties: bool,
    api: bool,
    log_format: LogFormat,
    metrics: str | None,
    as_json: bool,
) -> None:
    """Run the service: the API and the scheduler in one process, or each in its own, which do more on several
    cores; on PostgreSQL in as many as you like.

    It stops in order on SIGTERM or Ctrl-C, and goes on where it was when it is started again, however it
    ended.

    \b
    Example:
      prixfixe serve --rpc http://127.0.0.1:8545 --deployment deployments/31337.json --key dev:2
    """
    set_json(as_json)
    with uncollected():
        from scheduler.serve import ServeOptions, configure_logging
        from scheduler.serve import serve as run

    configure_logging(log_level, log_format)
    run(
        ServeOptions(
            data=data,
            rpc=" ".join(nodes),
            key=key,
            host=host,
            port=port,
            contract=contract,
            deployment=deployment,
            database=database,
            blobs=blobs,
            domains=domains,
            accounts=accounts,
            play_money=play_money,
            inspectors=inspectors,
            heartbeat_seconds=heartbeat,
            cool_down_seconds=cool_down,
            chain_wait_seconds=chain_wait,
            confirmations=confirmations,
            duties=duties,
            api=api,
            metrics=metrics,
            json=as_json,
        )
    )


@click.group()
def admin() -> None:
    """Look after a service and its store."""


admin.add_command(canary)
admin.add_command(credit)
admin.add_command(accounts)
admin.add_command(reset_password)


@admin.command()
@data_option
@database_option
@json_option
def status(data: Path, database: str | None, as_json: bool) -> None:
    """Show what waits, what is on its way to the chain, and up to which block events were read.

    Reads the store only, so it also works while the service is down.
    """
    set_json(as_json)
    from scheduler.status import read_status

    found = read_status(data, database)
    click.echo(json.dumps(found) if as_json else _as_text(found))


@admin.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("prixfixe-data"),
    show_default=True,
    help="The service's data folder, with its archive and blobs.",
)
@database_option
@blobs_option
@_RPC
@click.option("--contract", help="Address of the market's contract.")
@click.option(
    "--deployment",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The market's manifest, instead of --contract.",
)
@click.option("--write", is_flag=True, help="Fill a store that was lost, instead of comparing.")
@json_option
@click.pass_context
def rebuild(
    context: click.Context,
    data: Path,
    database: str | None,
    blobs: str | None,
    nodes: tuple[str, ...],
    contract: str | None,
    deployment: Path | None,
    write: bool,
    as_json: bool,
) -> None:
    """Make the tables anew from the chain and the archive, and compare them with the service's.

    Orders that were matched, deals, tasks, money, results and published batches are read from the chain's
    events and the documents whose hashes they hold; each difference and each document that is missing is
    printed, and the exit code is then 1. Nothing is changed, and the service may run meanwhile.

    With --write an empty database is filled instead, after the service's own was lost.

    \b
    Example:
      prixfixe admin rebuild --data prixfixe-data --rpc http://127.0.0.1:8545 --deployment 31337.json
    """
    set_json(as_json)
    from scheduler.restoring import run

    found = run(data, database, blobs, " ".join(nodes), contract, deployment, write=write)
    click.echo(json.dumps(found.to_json()) if as_json else found.to_text())
    context.exit(0 if found.is_whole else 1)


@admin.command()
@data_option
@database_option
@json_option
def verification(data: Path, database: str | None, as_json: bool) -> None:
    """Show which paid results were run again, what that cost, and who was caught.

    Reads the store only, so it also works while the service is down.
    """
    set_json(as_json)
    from scheduler.checked import as_text, read_checks
    from scheduler.status import opened

    with opened(data, database) as connection:
        found = read_checks(connection)
    click.echo(json.dumps(found) if as_json else as_text(found))


@admin.command()
@data_option
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the backup: a new one, or an earlier backup's, to which what is new is added.",
)
@blobs_option
@json_option
def backup(data: Path, to: Path, blobs: str | None, as_json: bool) -> None:
    """Copy a service's database, archive, blobs and logs, also while it runs.

    On PostgreSQL the database is pg_dump's to copy, before the folder. Blobs in an object store are not
    copied: the bucket is the backup's other half, and what of it the database names and is not there is said.

    \b
    Example:
      prixfixe admin backup --data prixfixe-data --to /backups/market
    """
    set_json(as_json)
    from scheduler.backup import back_up

    _tell_backup(back_up(data, to, blobs), f"backed up to {to}", as_json)


@admin.command()
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the backup.",
)
@data_option
@blobs_option
@json_option
def restore(source: Path, data: Path, blobs: str | None, as_json: bool) -> None:
    """Make a service's data folder from a backup; every blob is read and checked against its name, also those
    in an object store.

    `prixfixe serve --data DIR` goes on from there: what the chain did since is read from its events.

    \b
    Example:
      prixfixe admin restore --from /backups/market --data restored
    """
    set_json(as_json)
    from scheduler.backup import restore as make

    _tell_backup(make(source, data, blobs), f"restored to {data}", as_json)


def _tell_backup(found: Backup, done: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    block = "before any event" if found.block is None else f"events up to block {found.block}"
    click.echo(f"{done}: {found.jobs} jobs, {found.blobs} blobs of {found.bytes} bytes, {block}")
    for sha256 in found.missing:
        click.echo(f"  missing: blob {sha256}")


@admin.command()
@click.argument("provider", required=False)
@click.option("--note", default="", help="Why it is vouched for.")
@click.option("--remove", is_flag=True, help="Take it off the list.")
@data_option
@database_option
@json_option
def vet(
    provider: str | None, note: str, remove: bool, data: Path, database: str | None, as_json: bool
) -> None:
    """Vouch for PROVIDER, so that orders with `--placement vetted` admit it; list them without PROVIDER.

    Writes the store, while the service runs or not; it counts for quotes from then on.

    \b
    Examples:
      prixfixe admin vet 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --note "contract of 3 May"
      prixfixe admin vet 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --remove
    """
    set_json(as_json)
    from marketplace import vetting
    from prixfixe.protocol.addresses import parse_address
    from scheduler.status import open_store

    with closing(open_store(data, database)) as store:
        if provider is not None and remove:
            vetting.unvet(store, parse_address(provider))
        elif provider is not None:
            vetting.vet(store, parse_address(provider), note)
        with store.read() as connection:
            found = vetting.vetted(connection)
    if as_json:
        listed = [{"provider": each.provider, "note": each.note, "since": each.at} for each in found]
        click.echo(json.dumps({"vetted": listed}))
    else:
        lines = (f"{each.provider}  {each.note}".rstrip() for each in found)
        click.echo("\n".join(lines) or "nobody is vetted")


def _as_text(found: dict[str, Any]) -> str:
    lines = []
    for part, counts in found["states"].items():
        listed = ", ".join(f"{count} {state}" for state, count in counts.items()) or "none"
        lines.append(f"{part:<13}{listed}")
    lines.append(f"{'workers':<13}{found['workers']['alive']} alive of {found['workers']['registered']}")
    lines.append(f"{'asks':<13}{found['asks']}")
    cursor = found["cursor"]
    lines.append(
        f"{'events':<13}{'not read yet' if cursor is None else 'read up to block ' + str(cursor['block'])}"
    )
    for lot in found["waiting"]:
        lines.append(f"  waits: {lot['job']} lot {lot['lot']}: {lot['why'] or 'not looked at yet'}")
    for row in found["stuck"]:
        lines.append(
            f"  {row['state']} for {row['seconds']:.0f} s: transaction {row['id']} {row['purpose']}"
            f"{': ' + row['error'] if row['error'] else ''}"
        )
    for row in found["failed"]:
        lines.append(f"  failed: transaction {row['id']} {row['purpose']}: {row['error']}")
    return "\n".join(lines)
