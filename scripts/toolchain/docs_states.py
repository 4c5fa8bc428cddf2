"""docs/states.md: the state machines of the service, drawn from where they are written."""

from __future__ import annotations

_HEAD = """\
# States

Where a job and its parts can be, and every way from one state to another. This page is generated from
`marketplace/store/states.py` by `scripts/docs`. The database holds the service to it: a CHECK admits these
states and no others, and a trigger refuses a change of state that is none of these transitions, on SQLite
and on PostgreSQL. The trigger guards changes, not new rows: of those the database asks only that their state
is one of these. The service begins each where its drawing begins, also when a lost store is filled again
([rebuilding](operations.md#a-lost-store)): that makes the transitions anew, as the chain tells them.
Transitions in *italics*, in the drawings in (brackets), take back what a re-organisation of the chain took
back; a state from which nothing else leads is an end.

A **job** has one or more **lots**; a lot has **tasks** and, one after another, **deals**; a deal has an
**attempt** of each of its workers, a **round** when there are several, and **cases** when it is challenged.
A **transaction** is what the service wants done on the chain. How they move together:
[architecture](architecture.md); what each end means for money: [protocol](protocol.md).

## Reasons

Whatever ends without being paid says why by a `code`, a sentence, and whose `fault` it was: `none`,
`customer`, `provider` or `platform`. The codes are in [errors](errors.md#why-a-job-ended), those of tasks
that ran [below them](errors.md#how-tasks-ended).

The database insists on it: a second trigger refuses the change of a lot to `ended`, of a deal to `refused` or
`expired`, and of an attempt to `failed` or `lost` when no reason comes with it. What ended before it
did may have none.

- A **job**: `reason` in the API, in the `end` of its events, in its webhook and receipt; it cost `charged`.
  Of one that was paid for and has tasks that failed it is `tasks-failed`.
- A **task**: `ends` of its job, where those that ended alike are told together: how many, why, whose fault,
  and what they cost. The receipt has the `status` of each, and in a lot of several why each failed.
- A **lot** that `ended`: that of its last deal, or why it had none; `ends` tells it of its tasks. It cost
  nothing.
- A **deal** that was `refused` or `expired`: kept beside it, and its lot's when that ends with it. The whole
  price went back, by the transaction that the receipt names. One that is `guilty` cost nothing any more:
  `disputes` of job and receipt say what came back, `ends` that its tasks were `judged-wrong`.
- An **attempt** that `failed` or was `lost`: kept beside it; one of several replicas is told of it, and the
  receipt tells it in `legs`, with what it would have earned. Nothing was paid for it.
"""


def page() -> str:
    """A section a machine: its states, a drawing, and its transitions."""
    from marketplace.store.states import MACHINES

    return "\n".join([_HEAD, *(_section(machine) for machine in MACHINES)])


def _section(machine: object) -> str:
    from marketplace.store.states import TRANSITIONS, Machine

    assert isinstance(machine, Machine)
    own = [each for each in TRANSITIONS if each.machine is machine]
    lines = [f"## {machine.noun.capitalize()}", "", "```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {state}" for state in machine.begins or (next(iter(machine.states)),)]
    drawn: dict[tuple[str, str], list[str]] = {}
    for each in own:
        for pair in each.pairs:
            drawn.setdefault(pair, []).append(f"({each.name})" if each.rewinds else each.name)
    lines += [f"    {source} --> {target}: {', '.join(names)}" for (source, target), names in drawn.items()]
    left = {source for each in own if not each.rewinds for source, _ in each.pairs}
    lines += [f"    {state} --> [*]" for state in machine.states if state not in left]
    lines += ["```", "", "| state | |", "|---|---|"]
    lines += [f"| {state} | {meaning} |" for state, meaning in machine.states.items()]
    lines += ["", "| transition | from | to | who | when |", "|---|---|---|---|---|"]
    for each in own:
        name = f"*{each.name}*" if each.rewinds else each.name
        lines.append(f"| {name} | {', '.join(each.sources)} | {each.target} | {each.who} | {each.when} |")
    return "\n".join(lines) + "\n"
