"""docs/states.md: the state machines of the service, drawn from where they are written."""

from __future__ import annotations

_HEAD = """\
# States

Where a job and its parts can be, and every way from one state to another. This page is generated from
`marketplace/store/states.py` by `scripts/docs`. The database holds the service to it: a CHECK admits these
states and no others, and a trigger refuses a change of state that is none of these transitions, on SQLite
and on PostgreSQL. Transitions in *italics* take back what a re-organisation of the chain took back.

A **job** has one or more **lots**; a lot has **tasks** and, one after another, **deals**; a deal has an
**attempt** of each of its workers, a **round** when there are several, and **cases** when it is challenged.
A **transaction** is what the service wants done on the chain. How they move together:
[architecture](architecture.md); what each end means for money: [protocol](protocol.md).
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
    lines.append(f"    [*] --> {next(iter(machine.states))}")
    drawn: dict[tuple[str, str], list[str]] = {}
    for each in own:
        if not each.rewinds:
            for pair in each.pairs:
                drawn.setdefault(pair, []).append(each.name)
    lines += [f"    {source} --> {target}: {', '.join(names)}" for (source, target), names in drawn.items()]
    left = {source for source, _ in drawn}
    lines += [f"    {state} --> [*]" for state in machine.states if state not in left]
    lines += ["```", "", "| state | |", "|---|---|"]
    lines += [f"| {state} | {meaning} |" for state, meaning in machine.states.items()]
    lines += ["", "| transition | from | to | who | when |", "|---|---|---|---|---|"]
    for each in own:
        name = f"*{each.name}*" if each.rewinds else each.name
        lines.append(f"| {name} | {', '.join(each.sources)} | {each.target} | {each.who} | {each.when} |")
    return "\n".join(lines) + "\n"
