"""What must be true of a market that has come to rest, whatever happened to it on the way.

Three books are held against each other: the contract's own numbers, the executable ledger made anew from the
contract's events, and the service's tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import JSON, Table, func, select

from marketplace.store.database import Store
from marketplace.store.states import MACHINES, TRANSITIONS, Machine
from marketplace.store.tables import cursor, deals, jobs, metadata
from prixfixe.chain import events
from prixfixe.chain.client import MarketClient
from prixfixe.chain.deployment import Deployment
from prixfixe.chain.events import MarketEvent
from prixfixe.protocol.ledger import Event, Ledger, Token
from prixfixe.protocol.ledger.rebuilding import rebuilt
from prixfixe.protocol.money import Money
from prixfixe.protocol.typed_data import Domain

# States in which a row may rest although a transition leads on.
_MAY_REST = {
    "deals": {"settled"},  # until it is challenged
    "tasks": {"queued", "succeeded", "failed"},  # of an order that was refunded; until another worker begins
    "attempts": {"lost", "opened"},  # until its worker comes back, though paid with the replicas that did
    "checks": {"spared", "right"},  # until somebody is caught
    "rounds": {"committing", "opening", "agreed"},  # of a deal that ended without them, or was settled
}


def _unfinished(machine: Machine) -> tuple[str, ...]:
    """The states in which somebody still has to do something: those that a transition leads out of."""
    left = {
        source
        for each in TRANSITIONS
        if each.machine is machine and not each.rewinds
        for source, target in each.pairs
    }
    return tuple(state for state in machine.states if state in left - _MAY_REST.get(machine.table, set()))


_UNFINISHED = {metadata.tables[machine.table]: _unfinished(machine) for machine in MACHINES}


def unfinished(store: Store) -> dict[str, dict[str, int]]:
    """What is not at its end yet: rows by table and state; empty when all is."""
    found = {}
    with store.read() as connection:
        for table, states in _UNFINISHED.items():
            counted = connection.execute(
                select(table.c.state, func.count()).where(table.c.state.in_(states)).group_by(table.c.state)
            )
            if counts := {row[0]: row[1] for row in counted}:
                found[table.name] = counts
    return found


def stuck(store: Store) -> str:
    """Every row that is not at its end, for the message of a failure."""
    told = []
    with store.read() as connection:
        for table, states in _UNFINISHED.items():
            rows = connection.execute(select(*_telling(table)).where(table.c.state.in_(states)).limit(20))
            told += [f"{table.name}: {dict(row)}" for row in rows.mappings()]
        told.append(f"cursor: {[dict(row) for row in connection.execute(select(cursor)).mappings()]}")
    return "\n".join(told)


def _telling(table: Table) -> list[Any]:
    """The columns without the long documents."""
    return [column for column in table.c if not isinstance(column.type, JSON)]


def ledger_of(deployment: Deployment, found: Iterable[MarketEvent], times: Mapping[int, int]) -> Ledger:
    """The executable ledger after these events. times: of blocks, by number."""
    empty = Ledger(
        policy=deployment.policy,
        domain=Domain(deployment.chain_id, deployment.market),
        token=Token(Domain(deployment.chain_id, deployment.token, name="Dev Dollar")),
        scheduler=deployment.roles.scheduler,
        deposit_cap=deployment.policy.deposit_cap,
        now=0,
    )
    return rebuilt(empty, ((times[event.at.block_number], _of_ledger(event)) for event in found))


def _of_ledger(event: MarketEvent) -> Event:
    values = {each.name: getattr(event, each.name) for each in fields(event) if each.name != "at"}
    units = {name: value.units for name, value in values.items() if isinstance(value, Money)}
    return Event(type(event).__name__, values | units)


def check_money(client: MarketClient, deployment: Deployment, store: Store) -> Counter[str]:
    """AssertionError unless no money was made or lost, each lot ended once, and the tables say the same.
    Gives how many events there were of each name."""
    found = client.events(deployment.block)
    times = {number: client.block(number).time for number in {each.at.block_number for each in found}}
    now = client.time()
    ledger = ledger_of(deployment, found, times).at(now)
    _check_contract(client, ledger)
    charged = _check_lots(found)
    _check_tables(store, found, charged)
    return Counter(type(event).__name__ for event in found)


def _check_contract(client: MarketClient, ledger: Ledger) -> None:
    held = client.config().held.units
    assert held == ledger.held, "the contract holds what came in and did not go out"
    assert client.token_balance(client.contract).units == held, "and has it"
    for owner in ledger.accounts:
        of_chain, of_ledger = client.account(owner), ledger.account(owner)
        assert (of_chain.free.units, of_chain.cur.units, of_chain.prev.units) == (
            of_ledger.free,
            of_ledger.cur,
            of_ledger.prev,
        ), f"the account of {owner}"
    accounts = [ledger.account(owner) for owner in ledger.accounts]
    floats = sum(bundle.float_ for bundle in ledger.bundles.values())
    # No deal and no case is open any more, so all of it belongs to somebody.
    assert sum(each.free + each.cur + each.prev for each in accounts) + floats == held


def _check_lots(found: Iterable[MarketEvent]) -> Counter[str]:
    """Each opening has one end, and a lot is paid at most once. Gives what each order was charged."""
    opened: dict[bytes, events.DealOpened] = {}
    paid: Counter[tuple[bytes, int]] = Counter()
    charged: Counter[str] = Counter()
    for event in found:
        if isinstance(event, events.DealOpened):
            assert event.deal not in opened, "a deal was opened while it was open"
            opened[event.deal] = event
        elif isinstance(event, events.Settled):
            deal = opened.pop(event.deal).data
            paid[deal.order, deal.lot] += 1
            charged["0x" + deal.order.hex()] += deal.total.units - event.returned.units
        elif isinstance(event, events.Refused | events.Expired):
            deal = opened.pop(event.deal).data
            assert event.returned == deal.total, "a refund is whole"
    assert not opened, "a deal has no end"
    assert set(paid.values()) <= {1}, "a lot was paid twice"
    return charged


def _check_tables(store: Store, found: Iterable[MarketEvent], charged: Counter[str]) -> None:
    ends = {"Settled": "settled", "Refused": "refused", "Expired": "expired"}
    of_chain = Counter(
        ("0x" + event.deal.hex(), ends[type(event).__name__])
        for event in found
        if isinstance(event, events.Settled | events.Refused | events.Expired)
    )
    with store.read() as connection:
        of_store = Counter(
            (row.id, row.state) for row in connection.execute(select(deals.c.id, deals.c.state))
        )
        assert of_store == of_chain, "the deals of the tables are those of the chain"
        for row in connection.execute(select(jobs.c.id, jobs.c.state, jobs.c.charged)):
            assert row.charged == charged[row.id], f"what job {row.id} cost"
            assert row.state == ("settled" if charged[row.id] else "refunded"), f"how job {row.id} ended"
