"""What the replicas of a deal say together: pure rules of one round of commit, open, agree.

`quorum` is how many must have opened the same root. A replica that is `gone` (lost, refused, late) is no
longer waited for; what it opened before still counts, since its signature does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Replica:
    """One leg. key: its worker's. committed: it gave a commitment. root: what it opened. gone: it will do no
    more."""

    key: str
    committed: bool = False
    root: str | None = None
    gone: bool = False

    @property
    def may_open(self) -> bool:
        """A root can still come from it."""
        return self.root is None and not self.gone


def have_committed(replicas: Sequence[Replica], quorum: int) -> bool:
    """Whether as many have committed, and are there to open, as must agree."""
    return sum(replica.committed and not replica.gone for replica in replicas) >= quorum


def all_committed(replicas: Sequence[Replica], quorum: int) -> bool:
    """Whether opening can begin: nobody is left who might still copy, and enough are there."""
    settled = all(replica.committed or replica.gone for replica in replicas)
    return settled and have_committed(replicas, quorum)


def agreed_root(replicas: Sequence[Replica], quorum: int) -> str | None:
    """The root that a quorum opened. A quorum is a majority, so there is at most one."""
    for root, votes in _votes(replicas).most_common(1):
        if votes >= quorum:
            return root
    return None


def is_possible(replicas: Sequence[Replica], quorum: int) -> bool:
    """Whether some root has a quorum, or can still get one from those who have not opened."""
    most = max(_votes(replicas).values(), default=0)
    return most + sum(replica.may_open for replica in replicas) >= quorum


def is_split(replicas: Sequence[Replica], quorum: int) -> bool:
    """Whether they have answered differently so that no root can have a quorum any more."""
    return len(_votes(replicas)) > 1 and not is_possible(replicas, quorum)


def _votes(replicas: Sequence[Replica]) -> Counter[str]:
    return Counter(replica.root for replica in replicas if replica.root is not None)
