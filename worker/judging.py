"""What an arbiter concludes from what it found: pure, and careful. Guilty needs proof; doubt is acquittal;
what could not be looked at is no judgement at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.outputs import TaskStatus, leaf, lot_root

# A run that ended so may say more about the arbiter's machine than about the job.
_MACHINES: Final = (
    TaskStatus.COULD_NOT_START,
    TaskStatus.OUT_OF_TIME,
    TaskStatus.OUT_OF_MEMORY,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """guilty: None when it cannot be said (yet). why: in words, for the arbiter's log."""

    guilty: bool | None
    why: str


@dataclass(frozen=True, slots=True)
class Rerun:
    """One run of a challenged task by the arbiter: status and digest, as in a leaf."""

    status: int
    digest: bytes


def judge_wrong(claim: Claim, runs: Sequence[Rerun]) -> Finding:
    """From the arbiter's own runs, one or two; with one that disagrees a second is needed (guilty is
    None)."""
    found = [leaf(claim.index, run.status, run.digest) for run in runs]
    if claim.leaf in found:
        return Finding(False, "running it again gives the same leaf")
    if any(run.status in _MACHINES for run in runs):
        status = next(TaskStatus(run.status) for run in runs if run.status in _MACHINES)
        return Finding(None, f"a run here ended as {status.name}, which may be this machine's fault")
    if len(found) < 2:
        return Finding(None, "one run gives another leaf; a second decides")
    if found[0] == found[1]:
        return Finding(True, f"two runs agree with each other, and not with the leaf 0x{claim.leaf.hex()}")
    return Finding(False, "two runs here differ: the program does not give the same every time")


def judge_missing(missing: Sequence[str], waited: float, patience: float) -> Finding:
    """From the files that nobody could deliver. waited: seconds since the challenge; before `patience` is
    over nobody is guilty, because anyone may still hand them in."""
    if not missing:
        return Finding(False, "every file of the output is delivered")
    if waited < patience:
        return Finding(None, f"{len(missing)} file(s) are not delivered yet, such as {missing[0]}")
    return Finding(True, f"{len(missing)} file(s) were not delivered in {waited:.0f} s, such as {missing[0]}")


def judge_count(leaves: Sequence[tuple[int, bytes]], root: bytes, done: int) -> Finding:
    """From (status, digest) of all tasks of the lot, in order, if they are those under the root."""
    if not leaves or lot_root(leaves) != root:
        return Finding(None, "the leaves that were found are not those under the root")
    succeeded = sum(status == TaskStatus.SUCCEEDED for status, _ in leaves)
    if succeeded < done:
        return Finding(True, f"{done} tasks were paid and {succeeded} succeeded")
    return Finding(False, f"{succeeded} tasks succeeded, and {done} were paid")
