"""`prixfixe jobs`: everything about jobs that were bought."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.again import again
from prixfixe.cli.cancelling import cancel, close_lots
from prixfixe.cli.certificate import certificate
from prixfixe.cli.failures import Interrupted
from prixfixe.cli.forgetting import forget
from prixfixe.cli.jobview import follow, follow_log, job_json, job_rows, sold_as
from prixfixe.cli.options import (
    JOB,
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_client,
    open_market,
    open_signer,
    require_wallet,
    whole_id,
    yes_option,
)
from prixfixe.cli.output import Progress, clean, emit, moment, say, table
from prixfixe.cli.secrets import secrets
from prixfixe.client.endings import money_sentence

if TYPE_CHECKING:
    from prixfixe.client.refund import LotState


@click.group()
def jobs() -> None:
    """List, watch, download, cancel and refund your jobs.

    JOB is a job's id; of a job that was bought on this machine its first digits are enough.

    \b
    Examples:
      prixfixe jobs list
      prixfixe jobs watch 0x3fa9
      prixfixe jobs download 0x3fa9 --out results
      prixfixe jobs refund 0x3fa9
    """


@jobs.command(name="list")
@click.option("--limit", default=20, show_default=True, help="How many, newest first; 0: all.")
@click.option("--ids", is_flag=True, help="Show whole ids.")
@context_option
@key_option
@json_option
def list_jobs(limit: int, ids: bool, context_name: str | None, key: str | None, as_json: bool) -> None:
    """List your jobs, newest first."""
    with open_client(chosen_context(context_name, key)) as client:
        found = client.jobs(limit or None)
    if as_json:
        emit({"jobs": [job_json(job) for job in found]})
    elif not found:
        say("no jobs yet: `prixfixe run --help` shows how to buy one")
    else:
        click.echo(
            table(
                (
                    (
                        job.id if ids else job.id[:12],
                        job.state,
                        sold_as(job, short=True),
                        str(job.quoted),
                        str(job.charged),
                        moment(job.created_at),
                    )
                    for job in found
                ),
                head=("JOB", "STATE", "OF", "QUOTED", "CHARGED", "BOUGHT"),
            )
        )


@jobs.command()
@JOB
@context_option
@key_option
@json_option
def show(job: str, context_name: str | None, key: str | None, as_json: bool) -> None:
    """Show one job: state, money, reason, outputs."""
    job = whole_id(job)
    with open_client(chosen_context(context_name, key)) as client:
        found = client.job(job)
    if as_json:
        emit(job_json(found))
        return
    click.echo(table(job_rows(found)))
    for file in found.outputs:
        click.echo(f"  {file.path}  {file.size:,} bytes  sha256 {file.sha256}")
    if found.output_count > len(found.outputs):
        click.echo(f"  ... and {found.output_count - len(found.outputs):,} more files")


@jobs.command()
@JOB
@context_option
@key_option
@json_option
def watch(job: str, context_name: str | None, key: str | None, as_json: bool) -> None:
    """Follow a job until it ends.

    Ctrl-C ends the watching, not the job.
    """
    job = whole_id(job)
    with open_client(chosen_context(context_name, key)) as client:
        try:
            follow(client.events(job), Progress())
        except KeyboardInterrupt:
            raise Interrupted(
                f"job {job} goes on without being watched, and nothing changes for its money",
                f"look again: prixfixe jobs watch {job}",
            ) from None
        found = client.job(job)
    if as_json:
        emit(job_json(found))
    else:
        click.echo(table(job_rows(found)))


@jobs.command()
@JOB
@click.option("-f", "--follow", "live", is_flag=True, help="As it is printed, until the job ends.")
@click.option("--task", type=click.IntRange(0), help="Only of this task, by its index.")
@context_option
@key_option
@json_option
def log(
    job: str, live: bool, task: int | None, context_name: str | None, key: str | None, as_json: bool
) -> None:
    """Print what the job has printed.

    With -f also what it prints from now on; of several replicas, what the first to speak says.

    \b
    Example:
      prixfixe jobs log 0x3fa9 -f --task 7
    """
    job = whole_id(job)
    with open_client(chosen_context(context_name, key)) as client:
        if live and not as_json:
            try:
                follow_log(client.events(job), task)
            except KeyboardInterrupt:
                raise Interrupted(
                    f"job {job} goes on without being watched, and nothing changes for its money",
                    f"look again: prixfixe jobs log {job} -f",
                ) from None
            say(money_sentence(client.job(job)))
            return
        if live:
            client.wait(job)
        text = client.logs(job, task=task)
    if as_json:
        emit({"job": job, "log": text})
    else:
        click.echo(clean(text), nl=not text.endswith("\n"))


@jobs.command()
@JOB
@click.option("--out", type=click.Path(path_type=Path), help="A folder for all, or a file for one output.")
@click.option("--file", "name", metavar="PATH", help="Only this output, by the path that `jobs show` lists.")
@click.option("--task", type=click.IntRange(0), help="Only the outputs of this task, by its index.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@context_option
@key_option
@json_option
def download(
    job: str,
    out: Path | None,
    name: str | None,
    task: int | None,
    force: bool,
    context_name: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Download a job's outputs.

    Each file is checked against the digest that the worker signed, and appears whole or not at all. Those of
    a job of several tasks go to a folder for each task, named by its index. What was downloaded before is not
    sent again: a download that was interrupted goes on.

    \b
    Examples:
      prixfixe jobs download 0x3fa9                              into a folder named after the job
      prixfixe jobs download 0x3fa9 --file pivot.csv --out sales.csv
    """
    job = whole_id(job)
    progress = Progress()
    with open_client(chosen_context(context_name, key)) as client:
        if name is None:
            folder = out or Path(f"job-{job[2:10]}")
            paths = client.download(
                job, folder, task=task, overwrite=force, progress=progress.bytes("downloading")
            )
        else:
            target = out or Path(Path(name).name)
            paths = (
                client.download_file(
                    job, name, target, overwrite=force, progress=progress.bytes(f"downloading {name}")
                ),
            )
    progress.close()
    if as_json:
        emit({"job": job, "files": [str(path) for path in paths]})
        return
    for path in paths:
        click.echo(str(path))


@jobs.command()
@JOB
@context_option
@key_option
@json_option
def deletions(job: str, context_name: str | None, key: str | None, as_json: bool) -> None:
    """Show which files and logs of a job the market has deleted, and when.

    Files are kept for the days that the job's bundle promises, else for the market's own. The list is signed
    by the operator; --json shows the signature.
    """
    with open_client(chosen_context(context_name, key)) as client:
        found = client.deletions(whole_id(job))
    if as_json:
        emit(found.model_dump(mode="json"))
        return
    for each in found.items:
        say(f"{each.kind} {each.name}: {each.size} bytes, deleted {moment(each.at)}")
    if not found.items:
        say("nothing of this job was deleted")


@jobs.command()
@JOB
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("receipt.json"))
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@context_option
@key_option
@json_option
def receipt(
    job: str, out: Path, force: bool, context_name: str | None, key: str | None, as_json: bool
) -> None:
    """Write the receipt of a job to a file.

    The job must have ended. The file is receipt.json when --out is not given.
    """
    from prixfixe.cli.receipts import write_receipt
    from prixfixe.client.files import require_free_target

    require_free_target(out, overwrite=force)
    with open_client(chosen_context(context_name, key)) as client:
        found = client.receipt(whole_id(job))
    write_receipt(found, out)
    if as_json:
        emit(
            {
                "job": found.job,
                "receipt": str(out),
                "outcome": found.outcome,
                "charged": str(found.charged.units),
            }
        )
    else:
        say(f"{out}: job {found.outcome}, {found.charged} charged. Check it: prixfixe verify {out}")


@jobs.command()
@JOB
@click.option("--rpc", metavar="URL", help="The chain node; else the context's.")
@click.option(
    "--close", is_flag=True, help="Also close lots that are still free, so that they are never matched."
)
@context_option
@key_option
@yes_option
@json_option
def refund(
    job: str,
    rpc: str | None,
    close: bool,
    context_name: str | None,
    key: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Get a late job's money back by yourself.

    This works without the service. A deal whose deadline has passed gives its whole price back to whoever
    asks in a transaction; the service does that by itself, and this does it when the service is silent. It
    costs a little of the chain's own coin.

    \b
    Examples:
      prixfixe jobs refund 0x3fa9
      prixfixe jobs refund 0x3fa9 --close      also give up what was never started
    """
    from prixfixe.client.keeping import kept_order
    from prixfixe.client.onchain_reader import NodeEvidence
    from prixfixe.client.refund import expire_late, lot_states
    from prixfixe.protocol.typed_data import parse_bytes32

    job = whole_id(job)
    context = chosen_context(context_name, key)
    require_wallet(context)
    market = open_market(context, rpc)
    chain = NodeEvidence(market.rpc, context.contract)
    order = kept_order(job)
    lots = order.order.lots if order is not None else None
    states = lot_states(chain, parse_bytes32(job, name="job"), lots)
    now = chain.now()
    late = [lot for lot in states if lot.can_expire(now)]
    free = [lot for lot in states if lot.state == "free"] if close and order is not None else []
    rows = [_lot_row(lot, now) for lot in states]
    if not as_json:
        click.echo(
            table(rows, head=("LOT", "STATE", "MONEY")) if rows else "the contract holds nothing for this job"
        )
    done: list[dict[str, Any]] = []
    if late or free:
        if not yes:
            click.confirm(f"Send {len(late) + len(free)} transaction(s)?", abort=True, err=True)
        signer = open_signer(context)
        for each in expire_late(market, signer, late, now):
            done.append(
                {"lot": each.lot, "returned": str(each.amount.units), "transaction": each.transaction}
            )
            say(f"lot {each.lot}: {each.amount} is back in your account (see transaction {each.transaction})")
        if order is not None:
            done += [
                {"lot": index, "returned": "0", "transaction": sent}
                for index, sent in close_lots(market, signer, order.order, free)
            ]
    elif not as_json:
        say("there is nothing to get back now")
    if as_json:
        held = sum(lot.held.units for lot in states if lot not in late)
        charged = sum(lot.charged.units for lot in states)
        emit({"job": job, "transactions": done, "still_held": str(held), "charged": str(charged)})


def _lot_row(lot: LotState, now: int) -> tuple[str, str, str]:
    if lot.state == "open" and lot.deadline is not None:
        when = moment(lot.deadline, now)
        state = f"late since {when}" if lot.can_expire(now) else f"running until at most {when}"
        return (str(lot.index), state, f"{lot.held} held")
    money = f"{lot.charged} charged" if lot.state == "settled" else "nothing held"
    return (str(lot.index), lot.state, money)


for command in (cancel, again, forget, secrets, certificate):
    jobs.add_command(command)
