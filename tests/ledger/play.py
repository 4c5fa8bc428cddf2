"""A market with people in it: what they sign, and what lies open, settled or in court."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, TypeVar

from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.deals import Deal, Fact, Offer
from prixfixe.protocol.disputes import Case, Claim
from prixfixe.protocol.ledger import Open, Settled, deposit_for, match_purchase, publish, settle
from prixfixe.protocol.ledger.batches import EntryPoint
from prixfixe.protocol.orders import KIND_BOTH, Ask, Bid, Purchase, Result
from prixfixe.protocol.outputs import leaf, merkle_proof, merkle_root
from prixfixe.protocol.policy import Policy
from prixfixe.protocol.product import Product
from tests.ledger.people import (
    ADMIN,
    ALICE,
    ARBITER,
    BOB,
    PRICING,
    PROVIDERS,
    STRANGER,
    WALLET,
    Written,
    sign,
    unchecked,
)
from tests.ledger.sides import Sides

L = TypeVar("L", Open, Settled, Case)

POLICY: Final = Policy(
    window=1_000,
    grace=10,
    notice=100,
    surety=50,
    bond=40,
    arbiter_fee=31,
    max_fee_bps=1_000,
    arbiter=ARBITER,
    deposit_cap=10**6,
)
# Everything that may be 0 is, windows are short, and the cap is the highest.
BARE_POLICY: Final = Policy(
    window=7,
    grace=1,
    notice=0,
    surety=0,
    bond=0,
    arbiter_fee=0,
    max_fee_bps=10_000,
    arbiter=ARBITER,
    deposit_cap=2**64 - 1,
)

PRODUCT: Final = Product.parse("cpu-1x1/1m").to_bytes()
OTHER_PRODUCT: Final = Product.parse("cpu-1x1/2m").to_bytes()


def _offer(price: int, max_cost: int, quorum: int, *, disputable: bool) -> Offer:
    return Offer(PRODUCT, b"\x07" * 32, price, max_cost, quorum, disputable)


JUDGED: Final = _offer(100, 130, 1, disputable=True)
JUDGED_PAIR: Final = _offer(250, 300, 2, disputable=True)
PLAIN: Final = _offer(100, 100, 1, disputable=False)
GIFT: Final = _offer(0, 60, 1, disputable=False)  # the float pays all of it
DEAREST: Final = _offer(2**96 - 1, 2**96 - 1, 1, disputable=False)
OFFERS: Final = (JUDGED, JUDGED_PAIR, PLAIN, GIFT, DEAREST)

FLOATS: Final = {JUDGED.id: 400, JUDGED_PAIR.id: 300, GIFT.id: 600}
DEPOSITS: Final = {
    ALICE: 20_000,
    BOB: 5_000,
    WALLET: 3_000,
    **dict.fromkeys(PROVIDERS, 200),
    PROVIDERS[3]: 49,
}


class Play(Sides):
    """Both sides of a market, the past deals, and the leaves behind each root."""

    def furnish(self) -> None:
        """Money for everybody, and the offers published."""
        for owner in DEPOSITS:
            if owner != WALLET:  # no wallet outside: its money comes from the admin
                self.mint(owner, 100_000)
                self.approve(owner)
        self.mint(ADMIN, 2**65)
        self.approve(ADMIN)
        self.mint(STRANGER, 1_000)
        for owner, amount in DEPOSITS.items():
            assert not self.call(deposit_for, ADMIN, owner, amount)
        assert not self.call(deposit_for, ADMIN, self.market, 2_000)
        for offer in OFFERS:
            assert not self.call(publish, PRICING, offer, self.now + 20_000, FLOATS.get(offer.id, 0))
        window = self.ledger.policy.window
        self.move_to(-(-self.now // window) * window)
        self.ledger = replace(self.ledger, log=())

    def does(self, entry: EntryPoint, sender: str, *arguments: Any) -> None:
        """A call that must be accepted."""
        assert self.call(entry, sender, *arguments) == ""

    def refuses(self, reason: str, entry: EntryPoint, sender: str, *arguments: Any) -> None:
        """A call that must be refused for this reason."""
        assert self.call(entry, sender, *arguments) == reason

    @property
    def market(self) -> str:
        return self.contract.market

    # ------------------------------------------------------------------------------- what people sign

    def signed(self, signer: str, struct: Any, *, short: bool = False) -> Written:
        return sign(signer, self.ledger.digest(struct), short=short)

    def ask(self, provider: str, price: int, *, signer: str = "", **changes: Any) -> tuple[Ask, Written]:
        """signer: the provider when not given."""
        plain = Ask(
            provider=provider,
            product=PRODUCT,
            price=price,
            slots=1,
            kinds=KIND_BOTH,
            customer=ZERO_ADDRESS,
            matcher=ZERO_ADDRESS,
            expiry=self.now + 500,
            era=self.ledger.account(provider).era,
        )
        ask = unchecked(plain, **changes)
        return ask, self.signed(signer or provider, ask)

    def purchase(self, customer: str, offer: Offer, *, nonce: int = 1, **changes: Any) -> Purchase:
        plain = Purchase(
            customer=customer,
            bundle=offer.id,
            price=offer.price,
            tasks=6,
            lot=3,
            job=b"\x0b" * 32,
            expiry=self.now + 3_000,
            deliver_by=self.now + 10_000,
            era=self.ledger.account(customer).era,
            nonce=nonce,
        )
        return unchecked(plain, **changes)

    def bid(self, customer: str, price: int, *, nonce: int = 1, **changes: Any) -> Bid:
        plain = Bid(
            customer=customer,
            product=PRODUCT,
            price=price,
            tasks=4,
            lot=2,
            quorum=1,
            job=b"\x0c" * 32,
            matcher=ZERO_ADDRESS,
            expiry=self.now + 3_000,
            deliver_by=self.now + 10_000,
            era=self.ledger.account(customer).era,
            nonce=nonce,
        )
        return unchecked(plain, **changes)

    def results(self, deal: Deal, root: bytes, done: int) -> list[Written | None]:
        """What every leg signs when all agree."""
        return [self.signed(leg.key, Result(deal.id, root, done)) for leg in deal.legs]

    # ------------------------------------------------------------------------------- what there is

    def open_lots(self) -> list[Open]:
        return [lot for lot in self.ledger.lots.values() if isinstance(lot, Open)]

    def settled_lots(self) -> list[Settled]:
        return [lot for lot in self.ledger.lots.values() if isinstance(lot, Settled)]

    def cases(self) -> list[Case]:
        return [lot for lot in self.ledger.lots.values() if isinstance(lot, Case)]

    def opened(self, purchase: Purchase, offer: Offer, *asks: tuple[Ask, Written], lot: int = 0) -> Open:
        """Matches a lot of a purchase, and gives the open lot."""
        signature = self.signed(purchase.customer, purchase)
        self.does(match_purchase, self.ledger.scheduler, purchase, signature, offer, lot, list(asks))
        return self.state(Open, purchase, lot)

    def settled(self, lot: Open, done: int, salt: int = 0) -> Settled:
        """Settles an open lot by a stranger with all signatures, and gives the settled lot."""
        root = root_of(lot.deal.count, done, salt)
        self.does(settle, STRANGER, lot.deal, lot.due, root, done, self.results(lot.deal, root, done))
        return self.state(Settled, lot.deal.order, lot.deal.lot)

    def state(self, kind: type[L], order: Purchase | Bid | bytes, lot: int) -> L:
        """The state of a lot, which must be of this kind."""
        found = self.ledger.lot(order if isinstance(order, bytes) else self.ledger.digest(order), lot)
        assert isinstance(found, kind)
        return found

    def money(self, owner: str) -> tuple[int, int, int]:
        """free, cur, prev."""
        account = self.ledger.account(owner)
        return account.free, account.cur, account.prev


def leaves_of(count: int, done: int, salt: int = 0) -> list[bytes]:
    """Leaves of a lot: the first `done` tasks succeeded."""
    return [leaf(index, 0 if index < done else 1, digest_of(index, salt)) for index in range(count)]


def digest_of(index: int, salt: int = 0) -> bytes:
    return bytes([salt + 1, index % 256]) * 16


def root_of(count: int, done: int, salt: int = 0) -> bytes:
    """Of large lots any word will do: nobody proves a leaf of theirs."""
    return merkle_root(leaves_of(count, done, salt)) if count <= 16 else b"\xaa" * 32


def wrong_leaf(settled: Settled, index: int = 0, salt: int = 0, ground: int = 0) -> tuple[Claim, list[bytes]]:
    """The claim that a task's leaf is wrong, and the proof that it is under the root."""
    done = Fact.unpack(settled.fact).done
    leaves = leaves_of(settled.deal.count, done, salt)
    claim = Claim(ground, index, 0 if index < done else 1, digest_of(index, salt), bytes(32))
    return claim, merkle_proof(leaves, index)
