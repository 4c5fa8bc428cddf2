"""Which paid results are run again, and what the answers say: pure arithmetic that anyone can repeat.

**The rate.** Whoever signs a lie instead of running saves at most the lot's pay, its gain `g`. Found guilty,
it loses that pay and `S`, the arbiter's fee, which its surety holds. At a rate `q` of re-runs a single lie
is worth `g (1 - q) - S q`, which is nothing from `q = g / (g + S)` on: the *floor*. What else the provider
earned in its window is left out of `S` on purpose: honest earnings are never taken, so they do not frighten
one who lies once in a while, and other lies are each worth a challenge of their own.

A provider of whom fewer than `trials` results were found right since it came, or since it was last caught, is
a newcomer: its results are always run again. After that the rate falls to a sixteenth with each result that
is found right, down to the floor, and never below `least`. A record that nobody looked at for `STALE` results
counts no more, unless it is being looked at: whoever can keep re-runs from itself, busy or away when one
comes, is drawn instead. That is of results; who leaves canaries alone is not drawn for more of them.

**The draw.** A deal of a day is drawn when `HMAC-SHA256(secret of the day, deal)`, as a fraction, is below
the rate. The secret's SHA-256 is told before the day begins, the secret once the day's results cannot be
challenged any more: nobody can know the draw before it, nor change it after.

**The verdict.** A re-run that gives the same answer clears the result. One that does not is repeated
elsewhere, since either may lie: two re-runs that agree against the result make it wrong; one that agrees with
the result makes the other re-run wrong. Against a provider that was just caught one re-run is enough: the
arbiter has the last word anyway. That one's own word is then confirmed by nobody, and it is no result found
right for that one.

**Who runs it again.** A re-run checks its runner too, since an answer that differs is run once more. So the
first re-run of a result is for the quarter of its product's sellers that sold most since they were last
looked at. One of a provider that was just caught, and one that decides between two answers, is for all alike.
Of those that a re-run is for some are admitted, by chance, so that no two always follow each other: a single
one where it shall be looked at, since among several the cheapest would always be the one, and the dearest
never; else three. When nobody takes it, everybody is admitted.

**Canaries.** What cannot be disputed need not have the same bytes twice (class `none`), so that a re-run says
nothing. There the draw is of the provider: one that is drawn is given a task whose answer the operator knows,
a while after the result that drew it. Its answer counts in the same record.

Rates are whole millionths; money is token units.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from prixfixe.errors import ConfigurationError

WHOLE: Final = 1_000_000  # always
MOST_RUNS: Final = 3  # re-runs of one result; when they all differ nobody can tell
STALE: Final = 60  # results of a provider, settled since it was last looked at
_FALL_BITS: Final = 4  # of the rate, lost with each result that is found right: a sixteenth is left
_LOOKED_AT: Final = 4  # a quarter of the sellers: one of them is looked at
_LEAST_LOOKED_AT: Final = 3  # sellers, where there are as many
_SOME: Final = 3

Among = Literal["unseen", "some", "all"]
Verdict = Literal["right", "wrong", "unclear", "again"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What the operator chooses. least: no rate is below, millionths. trials: results of a newcomer that must
    be found right before its rate begins to fall, at least 1."""

    least: int = 20_000
    trials: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.least <= WHOLE:
            raise ConfigurationError(f"a rate of {self.least} millionths is not between 0 and {WHOLE}")
        if self.trials < 1:
            raise ConfigurationError(f"{self.trials} trials: a newcomer's first result is always run again")


def floor(gain: int, stake: int) -> int:
    """The rate from which on a single lie is worth nothing: `g / (g + S)`, rounded up."""
    return -(-WHOLE * gain // (gain + stake)) if gain else 0


def rate(gain: int, stake: int, passed: int, rule: Rule) -> int:
    """How often a result is run again. gain: its pay. stake: what a verdict of guilty costs beside it.
    passed: results of its provider that were found right since it came or was last caught."""
    if passed < rule.trials:
        return WHOLE
    falling = WHOLE >> _FALL_BITS * min(passed - rule.trials + 1, 32)
    return min(WHOLE, max(rule.least, falling, floor(gain, stake)))


def record(passed: int, since: int) -> int:
    """What of a provider's record counts. since: its results settled since it was last looked at; 0 while it
    is, so while one of them is run again."""
    return passed if since < STALE else 0


def is_drawn(secret: bytes, deal: bytes, opening: int, chance: int) -> bool:
    """Whether a deal is run again. deal: its id. opening: its number among the deals with this id. chance: a
    rate."""
    mark = hmac.digest(secret, deal + opening.to_bytes(4, "big"), "sha256")
    return int.from_bytes(mark[:8], "big") * WHOLE < chance << 64


def pause(secret: bytes, deal: bytes, opening: int, within: int) -> int:
    """How long after a result its provider is given a canary, seconds from 0 to less than `within`; of other
    bits of the mark than the draw."""
    mark = hmac.digest(secret, deal + opening.to_bytes(4, "big"), "sha256")
    return int.from_bytes(mark[8:16], "big") * within >> 64


def unlike(told: Mapping[str, str], expected: Mapping[str, str]) -> tuple[str, ...]:
    """Paths of expected output files that are missing or other than the operator knows them. told, expected:
    SHA-256 by path."""
    return tuple(sorted(path for path, sha256 in expected.items() if told.get(path) != sha256))


def commitment(secret: bytes) -> str:
    """What is told of a day's secret before the day, hex."""
    return hashlib.sha256(secret).hexdigest()


def verdict(claimed: str, answers: Sequence[str], needed: int = 2) -> Verdict:
    """What the re-runs of a result say of it. answers: of providers of their own, one each; `again`: one more
    is needed. needed: how many that agree make it wrong."""
    if claimed in answers:
        return "right"
    if any(votes >= needed for votes in Counter(answers).values()):
        return "wrong"
    return "unclear" if len(answers) >= MOST_RUNS else "again"


def truth(claimed: str, answers: Sequence[str], said: Verdict) -> str | None:
    """The answer that holds by the verdict that was said; None when it says of none."""
    if said == "right":
        return claimed
    return Counter(answers).most_common(1)[0][0] if said == "wrong" else None


def is_confirmed(claimed: str, answers: Sequence[str], true: str, caught: bool) -> bool:
    """Whether the re-runs that gave the answer that holds are known to have run: another said the same.
    caught: whether the result's provider was just caught, whose word confirms nobody's."""
    return answers.count(true) + (claimed == true and not caught) > 1


def liars(claimed: str, answers: Sequence[str], said: Verdict) -> tuple[int, ...]:
    """The places of the re-runs that are wrong by the verdict that was said."""
    true = truth(claimed, answers, said)
    return () if true is None else tuple(at for at, answer in enumerate(answers) if answer != true)


def among(answers: Sequence[str | None], caught: bool) -> Among:
    """Among whom a result's next re-run is given. answers: of those before it; None: nobody answered.
    caught: as in `is_confirmed`."""
    if None in answers:
        return "all"
    return "some" if answers or caught else "unseen"


def admitted(since: Mapping[str, int | None], seed: bytes, chosen: Among) -> tuple[str, ...]:
    """Who may be given a re-run. since: of each provider that can take it, how many results it settled since
    it was last looked at; None: it never was. seed: that nobody knows before."""
    mixed = sorted(since, key=lambda each: hashlib.sha256(seed + each.encode("ascii")).digest())
    if chosen == "all":
        return tuple(mixed)
    if chosen == "some":
        return tuple(mixed[:_SOME])
    # Whoever never was is behind all who sold since: else new accounts could keep re-runs from old ones, and
    # its own results are run again anyway.
    most = sorted(mixed, key=lambda each: (since[each] or 0, since[each] is None), reverse=True)
    part = most[: max(_LEAST_LOOKED_AT, len(most) // _LOOKED_AT)]
    return tuple(each for each in mixed if each in part)[:1]
