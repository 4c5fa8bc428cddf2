"""`scripts/bench verify`: what liars get away with, what finding them costs, and whether lying pays.

A hundred providers sell 10,000 tasks, each a lot of its own, to a customer of a disputable bundle; every ask,
order and result is signed, and every match, settlement, challenge and judgement is a call of the compiled
contract in an EVM of this process. A fifth of the providers lie: *always*; *turned* after 20 honest results;
*rarely*, one in twenty; *together*, after 20 results too, but members of the group give each other's lies
when they are given the re-run. A customer's task goes to anyone, by chance, whatever it asks.
Which results are run again, who is admitted to that, and what the answers say, is
`prixfixe.market.verification`; a re-run is a purchase of another account from another provider, the cheapest
of those admitted, and its runner lies as it always does. Its verdict comes half an hour after the result. A
provider that was found guilty gets no more orders, and what else it settled in its window is run again.

*Unseen* are wrong results that the customer keeps: the goal is for each kind of liars by itself, their mean a
provider that lied, and the worst kind is judged. *Overhead* is the re-runs of all kinds, over the tasks.
*Worth of lying* is what a liar has more than an honest provider would have for the same tasks, when a run
costs as much as it pays, so that a lie saves all of it: the worst case. *Paid above the cheapest* is what the
runners of re-runs asked more than the cheapest who could have had them, over what all tasks were paid.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from benchmarks.town import DOLLAR, PAY, Counted, Person, Settled, Town
from prixfixe.market.verification import (
    Rule,
    admitted,
    among,
    is_confirmed,
    is_drawn,
    liars,
    rate,
    record,
    verdict,
)
from prixfixe.market.verification import truth as held
from prixfixe.protocol.hashing import keccak256
from tests.ledger.contracts import START

PROVIDERS, TASKS, DAYS = 100, 10_000, 5
DELAY: Final = 1800  # seconds from a result to the verdict about it
WAYS: Final = ("always", "turned", "rarely", "together")
RERUNS: Final = ("lie", "honest", "absent")  # what a liar does with one
# What a case takes of the signer's surety, dollars, and the window, seconds, beside the default of both.
GRID: Final = ((1, 86_400), (20, 86_400), (5, 21_600), (5, 259_200))
GOAL_UNSEEN, GOAL_OVERHEAD = 20, 0.06


@dataclass
class Found:
    """What a market's days came to."""

    reruns: int = 0
    swept: int = 0
    challenges: int = 0
    acquitted: int = 0
    above: int = 0  # paid for re-runs above the cheapest ask, token units


class Market:
    """Days of a market with liars in it."""

    def __init__(
        self,
        fee: int,
        window: int,
        rule: Rule,
        tasks: int,
        seed: int,
        reruns: str = "lie",
        by_price: bool = False,
        spread: int = 0,
        counted: bool = False,
    ) -> None:
        """reruns: of RERUNS. by_price: everybody is admitted to each re-run. spread: token units, within
        which asks are above and below PAY. counted: without a contract."""
        self.random = random.Random(seed)
        asks = [PAY - spread + 2 * spread * step // (PROVIDERS - 1) for step in range(PROVIDERS)]
        random.Random(seed).shuffle(asks)
        self.people = [
            Person(f"provider {number}", WAYS[number % 4] if number < PROVIDERS // 5 else "", ask)
            for number, ask in enumerate(asks)
        ]
        self.by_name = {person.name: person for person in self.people}
        self.reruns, self.by_price = reruns, by_price
        self.town = Counted(fee, self.people, seed) if counted else Town(fee, window, self.people)
        self.fee, self.window, self.rule, self.tasks = fee, window, rule, tasks
        self.found = Found()
        self.begun = {person.name: self.town.money(person) for person in self.people}
        self.due: list[tuple[int, int, Callable[[], None]]] = []
        self.order = count()

    def run(self) -> Found:
        secret = keccak256(b"secret of the days")
        for number in range(self.tasks):
            self.move(START + number * DAYS * 86_400 // self.tasks)
            work = keccak256(b"work %d" % number)
            provider = self.random.choice(self.candidates(()))
            sold = self.serve(self.town.customer, provider, work, own=True)
            if provider.since is not None:
                provider.since += 1
            looked_at = provider.drawn or provider.under_way
            passed = record(provider.passed, 0 if looked_at else provider.since or 0)
            if is_drawn(secret, sold.deal, 0, rate(provider.ask, self.fee, passed, self.rule)):
                self.check(sold)
        self.move(START + (DAYS + 1) * 86_400 + self.window)
        for person in self.people:
            wrong = [one for one in person.paid_for if one.own and one.digest != truth(one.work)]
            person.unseen = sum(not one.guilty for one in wrong)
        return self.found

    def move(self, now: int) -> None:
        while self.due and self.due[0][0] <= now:
            at, _, do = heapq.heappop(self.due)
            self.town.now = max(self.town.now, at)
            do()
        self.town.now = max(self.town.now, now)

    def candidates(self, without: Sequence[Person]) -> list[Person]:
        return [person for person in self.people if not person.guilty and person not in without]

    def serve(self, buyer: Person, provider: Person, work: bytes, own: bool) -> Settled:
        if (own or self.reruns == "lie") and lies(provider, self.random):
            provider.lies += own
            who = "the group" if provider.way == "together" else provider.name
            digest = keccak256(b"lie of " + who.encode() + work)
        else:
            digest = truth(work)
        sold = self.town.sold(buyer, provider, work, digest, own)
        provider.paid_for.append(sold)
        return sold

    def check(self, result: Settled, swept: bool = False) -> None:
        """Buy the work again now; what it says is known after the delay."""
        result.provider.drawn += not result.checked
        result.checked = True
        able = self.candidates([result.provider, *(each.provider for each in result.reruns)])
        known = [None] * result.unanswered + [each.root.hex() for each in result.reruns]
        chosen = "all" if self.by_price else among(known, result.provider.guilty)
        since = {each.name: 0 if each.under_way else each.since for each in able}
        takers = [
            self.by_name[name]
            for name in admitted(since, self.random.randbytes(32), chosen)
            if self.reruns != "absent" or not self.by_name[name].way
        ]
        later = self.town.now + DELAY
        if takers:
            runner = min(takers, key=lambda each: (each.ask, self.random.random()))
            runner.under_way += 1
            buyer = self.random.choice(self.town.buyers)
            result.reruns.append(self.serve(buyer, runner, result.work, own=False))
            self.found.reruns += 1
            self.found.swept += swept
            self.found.above += runner.ask - min(each.ask for each in able)
        else:
            result.unanswered += 1
        heapq.heappush(self.due, (later, next(self.order), lambda: self.conclude(result, swept)))

    def conclude(self, result: Settled, swept: bool) -> None:
        claimed, answers = result.root.hex(), [each.root.hex() for each in result.reruns]
        caught = result.provider.guilty
        said = verdict(claimed, answers, 1 if caught else 2)
        if said == "again":
            self.check(result, swept)
            return
        result.provider.drawn -= 1
        for each in result.reruns:
            each.provider.under_way -= 1
        true = held(claimed, answers, said)
        wrong = [result.reruns[place] for place in liars(claimed, answers, said)]
        if said == "wrong":
            wrong.append(result)
        right = [one for one in (result, *result.reruns) if one.root.hex() == true]
        if true is not None and not is_confirmed(claimed, answers, true, caught):
            right = [one for one in right if one is result]
        for one in (*right, *wrong):
            one.provider.passed += one in right
            one.provider.since = 0
        for one in wrong:
            if self.challenge(one):  # then who gave another answer is proven wrong
                for other in (result, *result.reruns):
                    if other.root != one.root:
                        self.challenge(other)

    def challenge(self, one: Settled) -> bool:
        """Whether the arbiter found nothing wrong."""
        if self.town.now > one.at + self.window or one.guilty:
            return False
        guilty = one.digest != truth(one.work)
        self.found.challenges += 1
        self.found.acquitted += not guilty
        self.town.judged(one, guilty)
        if not guilty:
            return True
        one.guilty = True
        provider, provider.passed = one.provider, 0
        if not provider.guilty:
            provider.guilty = True
            since = self.town.now - self.window + self.window // 10  # older ones are beyond it
            for other in provider.paid_for:
                if other.own and not other.checked and other.at >= since:
                    self.check(other, swept=True)
        return False

    def worth(self, way: str) -> float:
        """Of lying, dollars a provider of this kind."""
        people = [person for person in self.people if person.way == way]
        gained = 0
        for person in people:
            honest = sum(one.digest == truth(one.work) for one in person.paid_for)
            gained += self.town.money(person) - self.begun[person.name] - person.ask * honest
        return gained / len(people) / DOLLAR


def truth(work: bytes) -> bytes:
    return keccak256(b"result of " + work)


def lies(provider: Person, random_: random.Random) -> bool:
    match provider.way:
        case "always":
            return True
        case "turned" | "together":
            return provider.served >= 20
        case "rarely":
            return random_.random() < 0.05
    return False


def kind(people: Sequence[Person], worth: float) -> dict[str, Any]:
    """What the liars of one kind came to. `lied`: who gave a customer a wrong result at all; the mean is of
    these alone. worth: of lying, dollars, a provider."""
    lied = [person for person in people if person.lies]
    unseen = sum(person.unseen for person in people)
    return {
        "providers": len(people),
        "lied": len(lied),
        "lies": sum(person.lies for person in people),
        "unseen": unseen,
        "unseen_mean": unseen / max(1, len(lied)),
        "unseen_most": max(person.unseen for person in people),
        "found": sum(person.guilty for person in people),
        "worth": round(worth, 2),
    }


def judged(told: dict[str, Any]) -> dict[str, Any]:
    """Value, goal and ok. The value is of the worst kind: the mean of all would let those who were caught at
    their first lie make up for those who were not."""
    kinds = told["kinds"].values()
    value = max(each["unseen_mean"] for each in kinds)
    worth = max(each["worth"] for each in kinds)
    return {
        "value": value,
        "goal": GOAL_UNSEEN,
        "ok": value <= GOAL_UNSEEN and told["overhead"] <= GOAL_OVERHEAD and worth <= 0,
        "overhead_goal": GOAL_OVERHEAD,
        "worth": worth,
        "worth_goal": 0,
    }


def measured(market: Market) -> dict[str, Any]:
    began = time.monotonic()
    found = market.run()
    kinds = {
        way: kind([person for person in market.people if person.way == way], market.worth(way))
        for way in WAYS
    }
    lied = sum(each["lied"] for each in kinds.values())
    return {
        "kinds": kinds,
        "unseen_mean_of_all_kinds": sum(each["unseen"] for each in kinds.values()) / max(1, lied),
        "overhead": found.reruns / market.tasks,
        "swept": found.swept / market.tasks,
        "above": found.above / (market.tasks * PAY),
        "challenges": found.challenges,
        "acquitted": found.acquitted,
        "honest_found": sum(person.guilty for person in market.people if not person.way),
        "seconds": time.monotonic() - began,
    }


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--more", type=int, default=0, help="further seeds, to see what chance does")
    parser.add_argument("--least", type=int, default=Rule().least, help="lowest rate, millionths")
    parser.add_argument("--re-runs", choices=RERUNS, default="lie", help="what liars do with a re-run")
    parser.add_argument(
        "--count", action="store_true", help="without contract and signatures: ten times as quick"
    )
    parser.add_argument("--spread", type=int, default=0, help="asks differ from ten cents by up to so many")
    parser.add_argument("--by-price", action="store_true", help="re-runs are for all, so for the cheapest")
    parser.add_argument("--grid", action="store_true", help="also other sureties and windows")
    options = parser.parse_args(words)
    rule = Rule(options.least)

    def days(seed: int, surety: int = 5, window: int = 86_400) -> dict[str, Any]:
        market = Market(
            surety * DOLLAR,
            window,
            rule,
            options.tasks,
            seed,
            options.re_runs,
            options.by_price,
            options.spread * DOLLAR // 100,
            options.count,
        )
        return measured(market)

    told = days(options.seed)
    seeds = [told, *(days(options.seed + further) for further in range(1, options.more + 1))]
    grid = [
        {"surety": surety, "window": window} | days(options.seed, surety, window)
        for surety, window in (GRID if options.grid else ())
    ]
    said = {"name": "verify"} | judged(told)
    print(_text(told, grid), file=sys.stderr)
    if options.more:
        print(_chance(seeds), file=sys.stderr)
    print(json.dumps(said | told | {"grid": grid, "more": seeds[1:]}))
    return 0 if said["ok"] else 1


def _text(told: dict[str, Any], grid: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"{'liars':<10}{'lied':>6}{'lies':>7}{'unseen':>8}{'mean':>7}{'most':>6}{'found':>7}"
        f"{'worth of lying':>16}"
    ]
    for way, each in told["kinds"].items():
        lines.append(
            f"{way:<10}{each['lied']:>6}{each['lies']:>7}{each['unseen']:>8}{each['unseen_mean']:>7.1f}"
            f"{each['unseen_most']:>6}{each['found']:>7}{each['worth']:>14.2f} $"
        )
    said = judged(told)
    lines.append(
        f"unseen, a provider that lied, of the worst kind {said['value']:.1f} (goal {GOAL_UNSEEN}), of all "
        f"kinds together {told['unseen_mean_of_all_kinds']:.1f}; overhead {told['overhead']:.2%} (goal "
        f"{GOAL_OVERHEAD:.0%}), of which {told['swept']:.2%} swept windows; {told['above']:.2%} of all pay "
        f"above the cheapest; {told['challenges']} challenges, "
        f"{told['acquitted']} lost; {told['honest_found']} honest providers found guilty; "
        f"{'held' if said['ok'] else 'MISSED'}; {told['seconds']:.0f} s"
    )
    for each in grid:
        worth = ", ".join(f"{way} {found['worth']:.2f}" for way, found in each["kinds"].items())
        lines.append(
            f"surety {each['surety']:>2} $, window {each['window'] // 3600:>2} h: worth {worth}; unseen of "
            f"the worst kind {judged(each)['value']:.1f}, overhead {each['overhead']:.2%}"
        )
    return "\n".join(lines)


def _chance(seeds: Sequence[dict[str, Any]]) -> str:
    """What differs between seeds alone."""
    lines = [f"{len(seeds)} seeds: {sum(judged(each)['ok'] for each in seeds)} held the goal"]
    for way in WAYS:
        kinds = [each["kinds"][way] for each in seeds]
        mean = sum(each["unseen"] for each in kinds) / max(1, sum(each["lied"] for each in kinds))
        lines.append(
            f"{way:<10} unseen {mean:.1f} a provider that lied, in the worst seed "
            f"{max(each['unseen_mean'] for each in kinds):.1f}, of one provider at most "
            f"{max(each['unseen_most'] for each in kinds)}; worth "
            f"{sum(each['worth'] for each in kinds) / len(kinds):.2f} $, at best "
            f"{max(each['worth'] for each in kinds):.2f} $"
        )
    spent = [each["overhead"] for each in seeds]
    above = sum(each["above"] for each in seeds) / len(seeds)
    lines.append(
        f"overhead {sum(spent) / len(spent):.2%}, at most {max(spent):.2%}; {above:.2%} of all pay above the "
        "cheapest"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
