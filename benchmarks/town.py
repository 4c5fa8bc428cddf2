"""The market of `scripts/bench verify`: people, and the contract that has their money, or a count of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

from prixfixe.chain import artefacts, events
from prixfixe.chain.parameters import default_policy
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.deals import Deal, Offer
from prixfixe.protocol.disputes import Case, Claim, Ground
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.orders import KIND_BOTH, Ask, Purchase, Result, SignedAsk
from prixfixe.protocol.outputs import leaf, merkle_root
from prixfixe.protocol.product import Product
from prixfixe.protocol.signatures import address_of_key, sign
from prixfixe.protocol.typed_data import Domain, TypedStruct
from tests.ledger.contracts import START, Revm
from tests.ledger.people import ADMIN, ARBITER, PRICING, SCHEDULER, STRANGER
from tests.ledger.sides import CHAIN_ID, ROLES, event_of

DOLLAR: Final = 1_000_000
PRICE, PAY = DOLLAR // 8, DOLLAR // 10
BUYERS: Final = 5
PRODUCT: Final = Product.parse("cpu-2x4/10m").to_bytes()
UNTIL: Final = START + 400 * 86_400


@dataclass
class Person:
    """Somebody with a key. way: how it lies; "" for honest. ask: token units. since: results for customers
    since it was looked at; None: it never was. under_way: re-runs that it was given, without a verdict.
    drawn: its own results that are run again, without a verdict."""

    name: str
    way: str = ""
    ask: int = PAY
    passed: int = 0
    since: int | None = None
    under_way: int = 0
    drawn: int = 0
    guilty: bool = False
    served: int = 0  # results, of re-runs too
    lies: int = 0
    unseen: int = 0  # of the lies to the customer that stood
    paid_for: list[Settled] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = keccak256(self.name.encode())
        self.address = address_of_key(self.key)


@dataclass
class Settled:
    """A result that was paid. work: what was asked. opened, fact: of its deal, where a contract has it."""

    provider: Person
    work: bytes
    root: bytes
    digest: bytes
    deal: bytes
    opened: events.DealOpened | None
    fact: int
    at: int
    own: bool  # a customer's, not a re-run
    checked: bool = False
    guilty: bool = False
    reruns: list[Settled] = field(default_factory=list)
    unanswered: int = 0


class Town:
    """The contract, with everybody's money in it. fee: of the arbiter, which is the surety too."""

    def __init__(self, fee: int, window: int, people: Sequence[Person]) -> None:
        self.policy = replace(
            default_policy(ARBITER),
            window=window,
            surety=fee,
            bond=fee,
            arbiter_fee=fee,
            deposit_cap=2**64 - 1,
        )
        self.evm = Revm(self.policy, ROLES)
        self.domain = Domain(CHAIN_ID, self.evm.market)
        self.now = START
        self.offer = Offer(PRODUCT, keccak256(b"work"), PRICE, PRICE, 1, True)
        self.customer = Person("customer")
        self.buyers = [Person(f"buyer {number}") for number in range(BUYERS)]
        self.nonces = count(1)
        token = artefacts.load("DevDollar")
        for name, arguments in (("mint", [ADMIN, 10**15]), ("approve", [self.evm.market, 10**15])):
            reason, _ = self.evm.call(
                ADMIN, self.evm.token, token.function(name).encode_call(arguments), self.now
            )
            _require(reason == "", reason)
        owners = [person.address for person in (*people, self.customer, *self.buyers)]
        for owner in (*owners, STRANGER):
            self.send(ADMIN, "depositFor", owner, 100_000 * DOLLAR)
        self.send(PRICING, "publish", self.offer, UNTIL, 0)

    def send(self, sender: str, name: str, *arguments: Any) -> list[Any]:
        data = artefacts.load("Market").function(name).encode_call(arguments)
        reason, logs = self.evm.call(sender, self.evm.market, data, self.now)
        _require(reason == "", f"{name}: {reason}")
        return [event for each in logs if (event := event_of(each)) is not None]

    def signed(self, who: Person, struct: TypedStruct) -> bytes:
        return sign(struct.digest(self.domain), who.key)

    def sold(self, buyer: Person, provider: Person, work: bytes, digest: bytes, own: bool) -> Settled:
        """A task bought, matched and paid; the provider's answer is `digest`."""
        order = Purchase(
            customer=buyer.address,
            bundle=self.offer.id,
            price=PRICE,
            tasks=1,
            lot=1,
            job=work,
            expiry=UNTIL,
            deliver_by=UNTIL,
            era=0,
            nonce=next(self.nonces),
        )
        ask = Ask(
            provider=provider.address,
            product=PRODUCT,
            price=provider.ask,
            slots=1,
            kinds=KIND_BOTH,
            customer=ZERO_ADDRESS,
            matcher=self.evm.market,
            expiry=UNTIL,
            era=0,
        )
        matched = self.send(
            SCHEDULER,
            "matchPurchase",
            order,
            self.signed(buyer, order),
            self.offer,
            0,
            [SignedAsk(ask, self.signed(provider, ask))],
        )
        opened = next(event for event in matched if isinstance(event, events.DealOpened))
        root = merkle_root([leaf(0, 0, digest)])
        signature = self.signed(provider, Result(opened.deal, root, 1))
        ended = self.send(STRANGER, "settle", opened.data, opened.due, root, 1, [signature])
        fact = next(event.fact for event in ended if isinstance(event, events.Settled))
        provider.served += 1
        return Settled(provider, work, root, digest, opened.deal, opened, fact, self.now, own)

    def judged(self, found: Settled, guilty: bool) -> None:
        """The operator's challenge, and the arbiter's word."""
        assert found.opened is not None
        deal: Deal = found.opened.data
        claim = Claim(Ground.WRONG, 0, 0, found.digest)
        (event,) = (
            each
            for each in self.send(STRANGER, "challenge", deal, found.root, found.fact, claim, [])
            if isinstance(each, events.Challenged)
        )
        fees = tuple(fee.units for fee in event.fees)
        case = Case(deal, found.root, found.fact, STRANGER, event.until, claim.hash, fees)
        self.send(ARBITER, "judge", case, guilty)

    def money(self, who: Person) -> int:
        """All that is a person's, waiting earnings too."""
        function = artefacts.load("Market").function("account")
        data = self.evm.read(self.evm.market, function.encode_call([who.address]))
        return sum(int.from_bytes(data[32 * place : 32 * place + 32], "big") for place in range(3))


class Counted(Town):
    """The same money without a contract, ten times as quick. Its deals have other ids: other results are
    drawn."""

    def __init__(self, fee: int, people: Sequence[Person], seed: int) -> None:
        self.fee, self.seed, self.now = fee, seed, START
        self.customer = Person("customer")
        self.buyers = [Person(f"buyer {number}") for number in range(BUYERS)]
        self.nonces = count(1)
        self.gained: Counter[str] = Counter()

    def sold(self, buyer: Person, provider: Person, work: bytes, digest: bytes, own: bool) -> Settled:
        deal = keccak256(b"deal %d of %d" % (next(self.nonces), self.seed))
        provider.served += 1
        self.gained[provider.name] += provider.ask
        return Settled(provider, work, digest, digest, deal, None, 0, self.now, own)

    def judged(self, found: Settled, guilty: bool) -> None:
        self.gained[found.provider.name] -= guilty * (found.provider.ask + self.fee)

    def money(self, who: Person) -> int:
        return self.gained[who.name]


def _require(held: bool, otherwise: str) -> None:
    if not held:
        raise SystemExit(otherwise)
