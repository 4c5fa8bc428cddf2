"""`prixfixe challenge`: dispute a result that was paid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.failures import Interrupted
from prixfixe.cli.options import (
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_client,
    open_market,
    open_signer,
    yes_option,
)
from prixfixe.cli.output import Progress, emit, moment, say, span, table

if TYPE_CHECKING:
    from prixfixe.client import Context
    from prixfixe.client.dispute import Challenge, Verdict
    from prixfixe.protocol.receipt import Receipt

_MEANINGS = {
    "wrong": "running it again gives something else",
    "missing": "its output is not delivered",
    "count": "fewer tasks succeeded than were paid",
}


@click.command()
@click.argument("job")
@click.option("--task", default=0, show_default=True, metavar="N", help="Which task of the job.")
@click.option(
    "--ground",
    type=click.Choice(list(_MEANINGS)),
    default="wrong",
    show_default=True,
    help="What is the matter: the result is wrong, its output is missing, or the count of paid tasks.",
)
@click.option(
    "--receipt",
    "receipt_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The job's receipt; asked of the service, or found where `run` put it, when not given.",
)
@click.option("--rpc", metavar="URL", help="The chain node; else the context's.")
@click.option("--no-wait", is_flag=True, help="Return once the case is open.")
@context_option
@key_option
@yes_option
@json_option
def challenge(
    job: str,
    task: int,
    ground: str,
    receipt_path: Path | None,
    rpc: str | None,
    no_wait: bool,
    context_name: str | None,
    key: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Challenge a result that was paid, and wait for the arbiter's judgement.

    A result of a disputable bundle can be challenged for one window after it was paid. It costs a bond from
    your account, which doubles with each past case of the same lot. If the arbiter agrees, the customer gets
    back what it paid and you your bond; if not, the arbiter keeps the bond; if it says nothing in its time,
    the bond is yours again. All of it is shown and asked before anything is sent.

    The service is not needed: the receipt and a chain node are enough. JOB is a job's id; of a job that was
    bought on this machine its first digits are enough.

    \b
    Examples:
      prixfixe challenge 0x3fa9
      prixfixe challenge 0x3fa9 --task 7 --ground missing
      prixfixe challenge 0x3fa9 --receipt receipt.json --yes --json
    """
    from prixfixe.client import dispute
    from prixfixe.client.keeping import complete_job_id
    from prixfixe.client.onchain_reader import NodeEvidence

    job = complete_job_id(job)
    context = chosen_context(context_name, key)
    market, signer = open_market(context, rpc), open_signer(context)
    receipt = _receipt(context, job, receipt_path)
    evidence = NodeEvidence(market.rpc, context.contract)
    planned = dispute.prepare(market, evidence, receipt, signer.address, task=task, ground=ground)
    if not as_json:
        click.echo(table(_rows(planned, job)))
    if not yes:
        click.confirm(f"Put up {planned.bond} and challenge it?", abort=True, err=True)
    opened = dispute.send(market, signer, planned)
    document: dict[str, Any] = {
        "job": job,
        **planned.to_json(),
        "transaction": opened.transaction,
        "until": opened.case.until,
    }
    if no_wait:
        if as_json:
            emit({**document, "outcome": "open"})
        else:
            say(f"the case is open. See how it stands: prixfixe jobs show {job}")
        return
    progress = Progress()
    try:
        verdict = dispute.wait(market, signer, opened, progress.show)
    except KeyboardInterrupt:
        raise Interrupted(
            f"the case goes on without being watched, until {moment(opened.case.until)} at most",
            f"see how it stands: prixfixe jobs show {job}",
        ) from None
    finally:
        progress.close()
    if as_json:
        emit({**document, "judgement": verdict.to_json(), "outcome": verdict.outcome})
    else:
        click.echo(_sentence(verdict, planned))


def _receipt(context: Context, job: str, path: Path | None) -> Receipt:
    """The job's receipt: the file given, the service's, or the one that was kept when the service is
    silent."""
    from prixfixe.client.keeping import kept_order
    from prixfixe.client.verification import read_receipt
    from prixfixe.errors import InvalidInput, Unavailable

    if path is None:
        try:
            with open_client(context) as client:
                return client.receipt(job)
        except Unavailable:
            order = kept_order(job)
            if order is None or order.receipt is None or not Path(order.receipt).is_file():
                raise
            path = Path(order.receipt)
            say(f"the service is silent; using {path}")
    receipt = read_receipt(path)
    if receipt.job != job:
        raise InvalidInput(f"{path} is the receipt of job {receipt.job}", file=str(path))
    return receipt


def _rows(planned: Challenge, job: str) -> list[tuple[str, str]]:
    from prixfixe.protocol.disputes import Ground

    word = Ground(planned.claim.ground).word
    past = f", {planned.past_cases} past case(s)" if planned.past_cases else ""
    return [
        ("job", job),
        ("claim", f"task {planned.task} is {word}: {_MEANINGS[word]}"),
        ("bond", f"{planned.bond} from your account{past}; it doubles with each case of this lot"),
        ("if upheld", f"{planned.refund} goes back to {planned.deal.customer}, the bond to you"),
        ("if not", f"the bond goes to the arbiter {planned.arbiter}"),
        ("if silent", f"after {span(planned.judged_within)} the bond is yours again and the result stands"),
        ("window", f"it can be challenged until {moment(planned.closes, planned.now)}"),
    ]


def _sentence(verdict: Verdict, planned: Challenge) -> str:
    where = f"(transaction {verdict.transaction})"
    if verdict.outcome == "guilty":
        return (
            f"guilty: {verdict.returned} is back in the account of {planned.deal.customer}, and your bond of "
            f"{verdict.bond_returned} in yours {where}"
        )
    if verdict.outcome == "acquitted":
        return f"not guilty: the result stands, and your bond of {planned.bond} went to the arbiter {where}"
    back = f"your bond of {verdict.bond_returned} is back and the result stands"
    return f"the arbiter said nothing: {back} {where}"
