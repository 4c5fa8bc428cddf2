"""`prixfixe jobs again`: order what a job has left undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from prixfixe.cli.options import (
    JOB,
    MoneyType,
    chosen_context,
    context_option,
    deadline_option,
    json_option,
    key_option,
    open_client,
    price_option,
    wait_option,
    whole_id,
    yes_option,
)
from prixfixe.cli.output import emit, say

if TYPE_CHECKING:
    from prixfixe.protocol.money import Money


@click.command()
@JOB
@price_option
@click.option("--budget", type=MoneyType(), help="The most for all of it; above, nothing is ordered.")
@wait_option
@deadline_option
@click.option("--renumber", is_flag=True, help="Without a matrix: task indexes may begin at 0 again.")
@yes_option
@context_option
@key_option
@json_option
def again(
    job: str,
    price: Money | None,
    budget: Money | None,
    wait: str,
    deadline: str | None,
    renumber: bool,
    yes: bool,
    context_name: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Order the tasks of a job of any image that were not done.

    A lot that is done in part is final, and what was not done was not charged: this orders just those tasks
    in a job of its own, at a price that you see first. With a matrix they keep their rows. Without one their
    indexes begin at 0 again, which is refused unless --renumber says that the program does not mind.

    \b
    Examples:
      prixfixe jobs again 0x3fa9
      prixfixe jobs again 0x3fa9 --renumber --budget 1
    """
    from prixfixe.cli import buying
    from prixfixe.cli.jobview import job_json
    from prixfixe.cli.submit import offer
    from prixfixe.devnet.duration import parse_duration

    job = whole_id(job)
    with open_client(chosen_context(context_name, key)) as client:
        rest = client.perform(
            client.operations.quote_rest(
                job,
                price=price,
                wait_seconds=parse_duration(wait),
                deliver_seconds=None if deadline is None else parse_duration(deadline),
                renumber=renumber,
            )
        )
        say(offer(rest.quote))
        say(f"  of job {job[:12]} the tasks {_ranges(rest.tasks)}, here from 0 on")
        buying.agree(client, rest.quote, budget, f"Order for at most {rest.quote.total}?", yes)
        sources = client.operations.sources(rest.quote)
        new = buying.buy(client, rest.quote, sources, {"result": None, "receipt": None})
    if as_json:
        emit({**job_json(new), "again": job, "indexes": list(rest.tasks)})
    else:
        buying.detached(new, secrets=rest.quote.manifest.secrets)


def _ranges(tasks: tuple[int, ...]) -> str:
    """Ascending numbers as people write them: "0 to 2, 7"."""
    runs: list[list[int]] = []
    for task in tasks:
        if runs and runs[-1][1] == task - 1:
            runs[-1][1] = task
        else:
            runs.append([task, task])
    return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in runs)
