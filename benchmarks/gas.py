"""`scripts/bench gas`: what each way through the contract costs, by the receipts of a real chain.

Every transaction that any party sends from a signed order to its end counts, with its calldata and its base
fee of 21,000. Accounts were used before (steady state); within a scenario every customer, provider and worker
key is another, and nothing is warm but what the transaction itself touched. Beside it stands what iExec's
PoCo 6.2 costs for the same, measured on its unmodified code.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prixfixe.chain import artefacts, transactions
from prixfixe.chain.deployment import Deployment, deploy
from prixfixe.chain.events import Challenged, DealOpened, MarketEvent, Settled
from prixfixe.chain.lot_calls import BidMatch, PurchaseMatch, Settlement
from prixfixe.chain.parameters import Policy, Roles
from prixfixe.devnet.anvil import LocalChain, running_anvil
from prixfixe.keys import development_signer
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.deals import Deal, Due, Offer, refusal_root
from prixfixe.protocol.disputes import Case, Claim, Ground
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.orders import KIND_BOTH, Ask, Bid, Purchase, Result, SignedAsk
from prixfixe.protocol.product import Product
from prixfixe.protocol.signatures import address_of_key, sign
from prixfixe.protocol.typed_data import TypedStruct

ADMIN, PRICING, SCHEDULER, ARBITER, STRANGER = (development_signer(index).address for index in range(5))
DOLLAR: Final = 1_000_000
PRICE, PAY = 2 * DOLLAR, 3 * DOLLAR // 2
PRODUCT: Final = Product.parse("cpu-2x4/10m").to_bytes()
ROOT: Final = keccak256(b"root")
MOST_PEOPLE: Final = 40


@dataclass(frozen=True)
class Person:
    """Somebody with a key; a provider signs with its worker's."""

    name: str

    @property
    def key(self) -> bytes:
        return keccak256(self.name.encode())

    @property
    def address(self) -> str:
        return address_of_key(self.key)


def customer(index: int) -> Person:
    return Person(f"customer {index}")


def provider(index: int) -> Person:
    return Person(f"provider {index}")


def worker(index: int) -> Person:
    return Person(f"worker of provider {index}")


@dataclass(frozen=True)
class Receipt:
    """What a transaction burnt, and what the market said in it."""

    gas: int
    events: Sequence[MarketEvent]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Town:
    """A market in steady state: everybody has an account, workers are authorised, offers are live."""

    def __init__(self, chain: LocalChain) -> None:
        self.chain = chain
        chain.rpc.call("anvil_autoImpersonateAccount", True)
        policy = Policy(
            window=86_400,
            grace=120,
            notice=3600,
            surety=5 * DOLLAR,
            bond=5 * DOLLAR,
            arbiter_fee=2 * DOLLAR,
            max_fee_bps=1000,
            arbiter=ARBITER,
            deposit_cap=10**15,
        )
        # Early in a window, so that no scenario crosses into the next.
        chain.move_to((chain.time // policy.window + 1) * policy.window + 60)
        roles = Roles(admin=ADMIN, pricing=PRICING, scheduler=SCHEDULER, pauser=ADMIN)
        self.deployment: Deployment = deploy(chain.rpc, development_signer(0), policy, roles)
        self.client = self.deployment.client(chain.rpc)
        self.until = chain.time + 3600
        self.offers = {
            1: Offer(PRODUCT, keccak256(b"one"), PRICE, PRICE, 1, True),
            3: Offer(PRODUCT, keccak256(b"three"), 3 * PRICE, 3 * PRICE, 2, True),
        }
        self._fund()
        for offer in self.offers.values():
            self.send(PRICING, "publish", offer, self.until + 86_400, 0)
        # The treasury has earned in this window, as it has on any day but the first.
        self.one_task(customer(MOST_PEOPLE - 1), MOST_PEOPLE - 1)

    def _fund(self) -> None:
        token, wealth = artefacts.load("DevDollar"), 10_000 * DOLLAR
        for name, arguments in (("mint", [ADMIN, 10**14]), ("approve", [self.client.contract, 10**14])):
            self._transact(ADMIN, self.client.token, token.function(name).encode_call(arguments))
        people = [make(index).address for index in range(MOST_PEOPLE) for make in (customer, provider)]
        for owner in (*people, STRANGER, ARBITER, self.client.contract):
            self.send(ADMIN, "depositFor", owner, wealth)
        for index in range(MOST_PEOPLE):
            self.chain.rpc.call("anvil_setBalance", provider(index).address, hex(10**18))
            self.send(provider(index).address, "authorise", worker(index).address, self.until + 86_400)

    # ---- transactions

    def send(self, sender: str, name: str, *arguments: Any) -> Receipt:
        return self._transact(sender, self.client.contract, self.client.encode_call(name, *arguments))

    def _transact(self, sender: str, to: str, data: bytes) -> Receipt:
        sent = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(15_000_000)}
        self.last: str = self.chain.rpc.call("eth_sendTransaction", sent)
        receipt = transactions.wait_for_receipt(self.chain.rpc, self.last)
        _require(receipt.succeeded, f"transaction {self.last} was reverted")
        return Receipt(receipt.gas_used, self.client.decode_logs(receipt.logs))

    # ---- what is signed

    def signed(self, who: Person, struct: TypedStruct) -> bytes:
        return sign(struct.digest(self.client.domain), who.key)

    def ask(self, index: int, slots: int = 1) -> SignedAsk:
        ask = Ask(
            provider=provider(index).address,
            product=PRODUCT,
            price=PAY,
            slots=slots,
            kinds=KIND_BOTH,
            customer=ZERO_ADDRESS,
            matcher=self.client.contract,
            expiry=self.until,
            era=0,
        )
        return SignedAsk(ask, self.signed(worker(index), ask))

    def purchase(self, who: Person, providers: Sequence[int], tasks: int = 1) -> PurchaseMatch:
        offer = self.offers[len(providers)]
        purchase = Purchase(
            customer=who.address,
            bundle=offer.id,
            price=offer.price,
            tasks=tasks,
            lot=tasks,
            job=keccak256(b"job of " + who.key),
            expiry=self.until,
            deliver_by=self.until + 86_400,
            era=0,
            nonce=_nonce(who),
        )
        asks = tuple(self.ask(index, slots=tasks) for index in providers)
        return PurchaseMatch(purchase, self.signed(who, purchase), offer, 0, asks)

    def bid(self, who: Person, index: int) -> BidMatch:
        bid = Bid(
            customer=who.address,
            product=PRODUCT,
            price=PRICE,
            tasks=1,
            lot=1,
            quorum=1,
            job=keccak256(b"job of " + who.key),
            matcher=self.client.contract,
            expiry=self.until,
            deliver_by=self.until + 86_400,
            era=0,
            nonce=_nonce(who),
        )
        return BidMatch(bid, self.signed(who, bid), 0, (self.ask(index),))

    def result(self, opened: DealOpened, providers: Sequence[int], done: int) -> Settlement:
        root = ROOT if done else refusal_root(opened.due)
        result = Result(opened.deal, root, done)
        signatures = tuple(self.signed(worker(index), result) for index in providers)
        return Settlement(opened.data, opened.due, root, done, signatures)

    def call(self, item: PurchaseMatch | BidMatch | Settlement) -> bytes:
        name, arguments = item.call
        return self.client.encode_call(name, *arguments)

    # ---- a whole task

    def opened(self, who: Person, providers: Sequence[int], tasks: int = 1) -> tuple[int, DealOpened]:
        name, arguments = self.purchase(who, providers, tasks).call
        receipt = self.send(SCHEDULER, name, *arguments)
        (event,) = receipt.of(DealOpened)
        return receipt.gas, event

    def ended(self, opened: DealOpened, providers: Sequence[int], done: int) -> Receipt:
        name, arguments = self.result(opened, providers, done).call
        return self.send(SCHEDULER, name, *arguments)

    def one_task(self, who: Person, *providers: int, tasks: int = 1) -> int:
        """Gas from the signed order to everybody paid, in two transactions."""
        gas, opened = self.opened(who, providers, tasks)
        receipt = self.ended(opened, providers, tasks)
        _require(len(receipt.of(Settled)) == 1, "the deal was not settled")
        return gas + receipt.gas

    def batch(self, tasks: int, groups: Sequence[Sequence[int]]) -> int:
        """Gas of one `matchMany` and one `settleMany`, customer i with the providers of group i."""
        items = [self.purchase(customer(index), group, tasks) for index, group in enumerate(groups)]
        receipt = self.send(SCHEDULER, "matchMany", [self.call(item) for item in items])
        return receipt.gas + self._settle_all(receipt, tasks, groups)

    def cleared(self, size: int) -> int:
        """Gas of one `clear` of as many bids at one price, and of one `settleMany`."""
        items = [self.bid(customer(index), index) for index in range(size)]
        price = (PRICE + PAY) // 2
        receipt = self.send(
            SCHEDULER, "clear", price, keccak256(b"batch"), [self.call(item) for item in items]
        )
        return receipt.gas + self._settle_all(receipt, 1, [(index,) for index in range(size)])

    def _settle_all(self, receipt: Receipt, tasks: int, groups: Sequence[Sequence[int]]) -> int:
        opened = receipt.of(DealOpened)
        _require(len(opened) == len(groups), "not every item was matched")
        ends = [self.result(event, group, tasks) for event, group in zip(opened, groups, strict=True)]
        receipt = self.send(SCHEDULER, "settleMany", [self.call(item) for item in ends])
        _require(len(receipt.of(Settled)) == len(groups), "not every item was settled")
        return receipt.gas

    # ---- ends without a result, and disputes

    def refund(self) -> int:
        """Gas of `expire` by a stranger, after the deadline."""
        _, opened = self.opened(customer(0), [0])
        self.chain.move_to(Due.unpack(opened.due).deadline + 1)
        return self.send(STRANGER, "expire", opened.data, opened.due).gas

    def refusal(self) -> int:
        """Gas of a settlement with nothing done."""
        _, opened = self.opened(customer(0), [0])
        return self.ended(opened, [0], 0).gas

    def case(self) -> tuple[int, int]:
        """Gas of `challenge` and of `judge`, of a deal of one leg whose customer then has its money back."""
        _, opened = self.opened(customer(0), [0])
        (settled,) = self.ended(opened, [0], 1).of(Settled)
        claim = Claim(Ground.COUNT, 0, 0, bytes(32))
        deal: Deal = opened.data
        challenged = self.send(STRANGER, "challenge", deal, ROOT, settled.fact, claim, [])
        (event,) = challenged.of(Challenged)
        fees = tuple(fee.units for fee in event.fees)
        case = Case(deal, ROOT, settled.fact, STRANGER, event.until, claim.hash, fees)
        return challenged.gas, self.send(ARBITER, "judge", case, True).gas


@dataclass(frozen=True)
class Row:
    """One line of the table. gas: of one task, or of one call. prototype, poco: for the same, when known."""

    name: str
    goal: int
    gas: float
    prototype: int | None = None
    poco: int | None = None


def measure(town: Town) -> list[Row]:
    def alone(scenario: Callable[[], Any]) -> Any:
        with town.chain.rolled_back():
            return scenario()

    singles = [(index,) for index in range(16)]
    triples = [(3 * index, 3 * index + 1, 3 * index + 2) for index in range(10)]
    challenge, judge = alone(town.case)
    return [
        Row("one task", 137_000, alone(lambda: town.one_task(customer(0), 0)), 134_829, 1_748_039),
        Row("in batches of 16, all cold, a task", 88_000, alone(lambda: town.batch(1, singles)) / 16, 86_147),
        Row("16 bids at one price, a task", 86_000, alone(lambda: town.cleared(16)) / 16, 83_502),
        Row(
            "three replicas", 195_000, alone(lambda: town.one_task(customer(0), 0, 1, 2)), 192_272, 2_528_321
        ),
        Row("three replicas in batches of ten", 148_000, alone(lambda: town.batch(1, triples)) / 10, 145_549),
        Row(
            "lot of 100, a task",
            1_375,
            alone(lambda: town.one_task(customer(0), 0, tasks=100)) / 100,
            1_348,
            771_919,
        ),
        Row(
            "lots of 20 in batches of 16, a task", 4_400, alone(lambda: town.batch(20, singles)) / 320, 4_308
        ),
        Row("refund by a stranger", 33_000, alone(town.refund), 31_363, 170_882),
        Row("refusal", 41_000, alone(town.refusal), 39_089),
        Row("challenge", 55_000, challenge, 52_320),
        Row("judge", 73_000, judge, 69_767),
    ]


def _nonce(who: Person) -> int:
    """64 bits, as a client draws them."""
    return int.from_bytes(keccak256(who.key)[:8], "big")


def _require(held: bool, otherwise: str) -> None:
    if not held:
        raise SystemExit(otherwise)


def _table(rows: Sequence[Row]) -> str:
    lines = [f"{'scenario':<38}{'goal':>10}{'measured':>11}{'prototype':>11}{'PoCo 6.2':>11}"]
    for row in rows:
        known = [f"{value:,}" if value else "-" for value in (row.prototype, row.poco)]
        missed = "" if row.gas <= row.goal else "  missed"
        lines.append(f"{row.name:<38}{row.goal:>10,}{row.gas:>11,.0f}{known[0]:>11}{known[1]:>11}{missed}")
    return "\n".join(lines)


def main() -> int:
    argparse.ArgumentParser(prog="scripts/bench gas", description=__doc__).parse_args()
    with running_anvil() as chain:
        rows = measure(Town(chain))
    print(_table(rows), file=sys.stderr)
    one = rows[0]
    print(
        json.dumps(
            {
                "name": "gas",
                "value": round(one.gas),
                "unit": "gas of one task, order to paid, by receipts",
                "goal": one.goal,
                "ok": all(row.gas <= row.goal for row in rows),
                "ratio": round(one.gas / (one.poco or 1), 4),
                "scenarios": {
                    row.name: {"gas": round(row.gas, 1), "goal": row.goal, "ok": row.gas <= row.goal}
                    for row in rows
                },
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
