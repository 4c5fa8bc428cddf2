"""The ledger once more, from nothing but what happened: the chain's events and the times of their blocks.

No call is known here, no signature and no reason, so whoever has the events has every balance, lot, offer,
key and role. tests/ledger holds the result of each random sequence against the ledger that made it, and so
against the contract. What the market's token knows beside the market is not in its events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from prixfixe.protocol.deals import Deal, Fact
from prixfixe.protocol.disputes import Case
from prixfixe.protocol.ledger.court import acquit, bond_of, convict, hold
from prixfixe.protocol.ledger.settling import give_back, pay, signed_legs
from prixfixe.protocol.ledger.state import Bundle, Cancelled, Event, Ledger, Open, Settled


class Unexpected(Exception):
    """An event that cannot follow those before it: one is missing, or they are of another market."""


def rebuilt(empty: Ledger, events: Iterable[tuple[int, Event]]) -> Ledger:
    """The ledger after these events, each with its block's time, in the chain's order. empty: the market as
    it was deployed. Unexpected when they do not make sense."""
    ledger = empty
    deals: dict[bytes, Deal] = {}
    for now, event in events:
        ledger = ledger.at(now)
        data = event.values.get("data")
        if isinstance(data, Deal):
            deals[event.values["deal"]] = data
        ledger = _after(ledger, event.name, event.values, deals.get(event.values.get("deal", b"")))
    return ledger


def _after(ledger: Ledger, name: str, values: Any, deal: Deal | None) -> Ledger:
    match name:
        case "Deposited":
            ledger = replace(ledger, held=ledger.held + values["amount"])
            return ledger.credit(values["account"], values["amount"])
        case "Withdrawn":
            ledger = replace(ledger, held=ledger.held - values["amount"])
            return ledger.debit(values["account"], values["amount"])
        case "Authorised":
            key = (values["provider"], values["key"])
            return replace(ledger, workers={**ledger.workers, key: values["until"]})
        case "Bumped":
            account = ledger.account(values["account"])
            return ledger.with_account(values["account"], replace(account, era=values["era"]))
        case "Published":
            before = ledger.bundle(values["id"]).float_
            ledger = ledger.debit(ledger.market, values["float_"])
            return ledger.with_bundle(values["id"], Bundle(values["until"], before + values["float_"]))
        case "Retired":
            return ledger.with_bundle(
                values["id"], replace(ledger.bundle(values["id"]), until=values["until"])
            )
        case "Reclaimed":
            ledger = ledger.credit(ledger.market, values["amount"])
            return ledger.with_bundle(values["id"], replace(ledger.bundle(values["id"]), float_=0))
        case "Cancelled":
            return ledger.with_lot(values["order"], values["lot"], Cancelled())
        case "Spent":
            return replace(ledger, spent=ledger.spent | {values["digest"]})
        case "Cleared" | "Skipped":
            return ledger
        case "FeeSet" | "SchedulerSet" | "DepositCapRaised" | "PausedSet":
            return replace(ledger, **values)
        case "RoleGranted":
            return replace(ledger, roles=ledger.roles | {(values["role"], values["account"])})
        case "RoleRevoked":
            return replace(ledger, roles=ledger.roles - {(values["role"], values["account"])})
    if deal is None:
        raise Unexpected(f"{name} of a deal that was never opened")
    return _after_deal(ledger, name, values, deal)


def _after_deal(ledger: Ledger, name: str, values: Any, deal: Deal) -> Ledger:
    lot = ledger.lot(deal.order, deal.lot)
    match name, lot:
        case "DealOpened", None:
            above = max(0, sum(leg.pay for leg in deal.legs) - deal.price) * deal.count
            if above:
                bundle = ledger.bundle(deal.bundle)
                ledger = ledger.with_bundle(deal.bundle, replace(bundle, float_=bundle.float_ - above))
            ledger = ledger.debit(deal.customer, deal.price * deal.count)
            return ledger.with_lot(deal.order, deal.lot, Open(deal, values["due"]))
        case "Hastened", Open():
            return ledger.with_lot(deal.order, deal.lot, Open(deal, values["due"]))
        case "Settled", Open():
            fact = Fact.unpack(values["fact"])
            ledger, _ = pay(ledger, deal, fact.done, signed_legs(deal, fact.signed))
            return ledger.with_lot(deal.order, deal.lot, Settled(deal, values["root"], values["fact"]))
        case "Refused" | "Expired", Open():
            return give_back(ledger, deal).with_lot(deal.order, deal.lot, None)
        case "Challenged", Settled(_, root, fact_):
            ledger = ledger.debit(values["challenger"], values["bond"])
            ledger, fees = hold(ledger, deal, Fact.unpack(fact_))
            claim, until = values["claim"].hash, values["until"]
            case_ = Case(deal, root, fact_, values["challenger"], until, claim, fees)
            return ledger.with_lot(deal.order, deal.lot, case_)
        case "Judged", Case() as case_ if values["guilty"]:
            ledger, _ = convict(ledger, case_)
            ledger = ledger.credit(case_.challenger, bond_of(ledger, Fact.unpack(case_.fact)))
            return ledger.credit(ledger.policy.arbiter, values["fee"])
        case "Judged", Case() as case_:
            return acquit(ledger, case_)[0].credit(ledger.policy.arbiter, values["fee"])
        case "Lapsed", Case() as case_:
            ledger, _ = acquit(ledger, case_)
            return ledger.credit(case_.challenger, bond_of(ledger, Fact.unpack(case_.fact)))
    raise Unexpected(f"{name} of a lot that is {type(lot).__name__ if lot else 'free'}")
