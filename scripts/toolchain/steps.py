"""A set-up step, and how a list of them is shown and run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolchain.project import say


@dataclass(frozen=True)
class Step:
    """One thing that the set-up makes.

    `missing` says in a few words why the step must run, or gives None when its result is there and
    belongs to the present locks. `run` makes it; it may be interrupted at any point and run again,
    because `missing` looks only at what is written last.
    """

    name: str
    does: str
    missing: Callable[[], str | None]
    run: Callable[[], None]


def run_all(steps: Sequence[Step], *, verbose: bool = True) -> int:
    """Run what is missing, in order, saying what is done and how long it took. Returns how many ran."""
    ran = 0
    for step in steps:
        reason = step.missing()
        if reason is None:
            if verbose:
                say(f"  {step.name:<9} done already")
            continue
        say(f"  {step.name:<9} {step.does} ({reason}) ...")
        began = time.monotonic()
        step.run()
        say(f"  {step.name:<9} ready after {time.monotonic() - began:.1f} s")
        ran += 1
    return ran
