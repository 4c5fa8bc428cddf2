"""The resting asks as the market's rules see them: what the matcher takes from, and what a quote tells of."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Connection, Text, cast, func, select
from sqlalchemy.engine import RowMapping

from marketplace.chain import ChainView
from marketplace.store import attempting, batches, outbox
from marketplace.store.tables import asks, attempts, deals, lots, workers
from prixfixe.market.reputation import Grade
from prixfixe.market.rules import Conditions, Offered, slots_taken
from prixfixe.protocol.orders import Ask
from prixfixe.protocol.typed_data import format_bytes32

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MarketTerms:
    """contract, operator: addresses. grace, surety: the contract's policy. silence_seconds: after which a
    worker is lost. newcomer_cap: as in `rules.Conditions`."""

    contract: str
    operator: str
    grace: int
    surety: int
    silence_seconds: float
    newcomer_cap: int | None = None

    def conditions(self, now: int) -> Conditions:
        """What holds at the chain's time `now`."""
        return Conditions(
            now=now,
            contract=self.contract,
            matcher=self.operator,
            grace=self.grace,
            surety=self.surety,
            heartbeat_seconds=self.silence_seconds,
            newcomer_cap=self.newcomer_cap,
        )


_NO_GRADES: Final[Mapping[str, Grade]] = {}
_NOTHING: Final[Mapping[str, int]] = {}


def capabilities_of(resources: Mapping[str, Any]) -> frozenset[str]:
    """What a worker that registered these resources has beyond what every worker has."""
    return frozenset(resources.get("capabilities", ()))


@dataclass(frozen=True, slots=True)
class Resting:
    """rows: of asks with their workers. busy: slots that each worker has taken."""

    rows: Sequence[RowMapping]
    busy: Counter[str]

    @property
    def providers(self) -> list[str]:
        """Whose accounts the rules ask for."""
        return sorted({row["provider"] for row in self.rows})

    def offered(
        self,
        view: ChainView,
        now: float,
        grades: Mapping[str, Grade] = _NO_GRADES,
        under_way: Mapping[str, int] = _NOTHING,
    ) -> list[Offered]:
        """The asks at the service's time `now`; `view` knows the providers' accounts, `grades` their grades
        where they matter: an auction does not look at them. under_way: of `newcomers_open`."""
        return [
            Offered(
                worker=row["worker"],
                ask=_parsed(row["ask"]),
                silent_seconds=now - row["heartbeat_at"],
                draining=row["draining"],
                cooling=row["cool_until"] > now,
                free_slots=row["resources"]["slots"] - self.busy[row["worker"]],
                provider_free=view.accounts[row["provider"]].free,
                provider_era=view.accounts[row["provider"]].era,
                grade=grades.get(row["provider"], Grade.NEW),
                has=capabilities_of(row["resources"]),
                newcomer_open=under_way.get(row["provider"]),
                cached=frozenset(row["cached"] or ()),
            )
            for row in self.rows
        ]


class _Asks:
    """Asks as they were parsed, by their values: a book is read many times while its asks rest, and checking
    one takes longer than finding it. The newest `most` are kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: dict[tuple[Any, ...], Ask] = {}

    def __call__(self, ask: dict[str, Any]) -> Ask:
        key = tuple(ask.items())
        found = self._known.get(key)
        if found is None:
            found = Ask.from_json(ask)
            with self._lock:
                self._known[key] = found
                if len(self._known) > self._most:
                    del self._known[next(iter(self._known))]
        return found


_parsed = _Asks(50_000)


def resting_asks(connection: Connection, products: Collection[bytes]) -> Resting:
    """All asks that rest for these products."""
    rows = (
        connection.execute(
            select(
                asks,
                workers.c.heartbeat_at,
                workers.c.draining,
                workers.c.cool_until,
                workers.c.resources,
                workers.c.cached,
            )
            .join(workers, workers.c.key == asks.c.worker)
            .where(asks.c.product.in_([format_bytes32(product) for product in products]))
        )
        .mappings()
        .all()
    )
    return Resting(rows, busy_slots(connection))


# Made once: making a statement takes as long as running it.
_WIDEST: Final = select(func.max(asks.c.slots)).where(asks.c.worker == attempts.c.worker).scalar_subquery()
_RUNNING: Final = (
    select(attempts.c.worker, lots.c["count"].label("tasks"), _WIDEST.label("slots"))
    .join(deals, (deals.c.id == attempts.c.deal) & (deals.c.opening == attempts.c.opening))
    .join(lots, (lots.c.job == attempts.c.job) & (lots.c.lot == attempts.c.lot))
    .where(deals.c.state == "open", attempts.c.state.in_((*attempting.ALIVE, "lost")))
)
_MATCHING: Final = select(lots.c.job, lots.c.lot, lots.c["count"].label("tasks")).where(
    lots.c.state == "matching"
)


_OPEN_DEALS: Final = select(cast(deals.c.deal, Text)).where(deals.c.state == "open")


class _Parsed(Generic[T]):
    """What was made of texts, for as long as they are asked for each time: what is under way is read for
    every match, and long."""

    def __init__(self, parse: Callable[[str], T]) -> None:
        self._parse: Final = parse
        self._known: dict[str, T] = {}

    def __call__(self, texts: Sequence[str]) -> list[T]:
        known = self._known
        self._known = now = {text: known[text] if text in known else self._parse(text) for text in texts}
        return [now[text] for text in texts]


def _shares_of(deal: str) -> tuple[tuple[str, int], ...]:
    """Of a deal, as it is stored, its providers and what each will be paid at most."""
    told = json.loads(deal)
    return tuple((leg["provider"], int(leg["pay"]) * int(told["count"])) for leg in told["legs"])


@dataclass(frozen=True, slots=True)
class _Leg:
    """Of a `match` or `clear` that is on its way. price: what it is paid a task, token units."""

    worker: str
    ask: Ask
    price: int


def _legs_of(match: str) -> tuple[_Leg, ...]:
    """Of the arguments of a `match`, as they are stored."""
    return tuple(_leg(leg) for leg in json.loads(match)["asks"])


def _leg(given: Mapping[str, Any], price: int | None = None) -> _Leg:
    ask = _parsed(given["ask"])
    return _Leg(given["worker"], ask, ask.price if price is None else price)


_shares = _Parsed(_shares_of)
_legs = _Parsed(_legs_of)


def busy_slots(connection: Connection) -> Counter[str]:
    """Slots taken by worker: open deals that it has not reported on, and matches that are under way. A lot
    takes as many as it has tasks, and no more than the worker's asks give to one lot."""
    running = connection.execute(_RUNNING)
    busy: Counter[str] = Counter()
    for row in running:
        busy[row.worker] += min(row.slots or 1, row.tasks)
    for tasks, leg in _legs_under_way(connection):
        busy[leg.worker] += slots_taken(leg.ask, tasks)
    return busy


def _legs_under_way(connection: Connection) -> Iterator[tuple[int, _Leg]]:
    """Of each lot that is being matched its number of tasks, with each leg of the `match` or `clear` that is
    on its way."""
    matching = connection.execute(_MATCHING).all()
    if not matching:
        return
    cleared = batches.busy_with(connection)
    matches = outbox.last_matches(connection, [(row.job, row.lot) for row in matching])
    matched = dict(zip(matches, _legs(list(matches.values())), strict=True))
    for row in matching:
        clearing = cleared.get((row.job, row.lot))
        if clearing is not None:
            yield from ((row.tasks, _leg(leg, clearing.price)) for leg in clearing.asks)
        else:
            yield from ((row.tasks, leg) for leg in matched.get((row.job, row.lot), ()))


def newcomers_open(connection: Connection, newcomers: Collection[str]) -> dict[str, int]:
    """What is under way with each of these providers, token units: their pay in open deals and in matches
    and clears that are on their way."""
    total = dict.fromkeys(newcomers, 0)
    if not total:
        return total
    for legs in _shares(connection.execute(_OPEN_DEALS).scalars().all()):
        for provider, value in legs:
            if provider in total:
                total[provider] += value
    for tasks, leg in _legs_under_way(connection):
        if leg.ask.provider in total:
            total[leg.ask.provider] += leg.price * tasks
    return total
