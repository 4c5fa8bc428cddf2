"""What the ledger remembers, and the few ways in which money moves inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.deals import LOT_CANCELLED, LOT_FREE, Deal, open_word, settled_word
from prixfixe.protocol.disputes import LOT_GUILTY, Case
from prixfixe.protocol.policy import Policy
from prixfixe.protocol.typed_data import Domain, TypedStruct


class LedgerError(Exception):
    """The call is refused and nothing changed. reason: name of the contract's error, "" when it has none."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def require(condition: bool, reason: str) -> None:
    """LedgerError with this reason unless the condition holds."""
    if not condition:
        raise LedgerError(reason)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: the contract's event and its values, under the names of `chain.events`,
    amounts in units. `Skipped.code` is the name of the error."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Signature:
    """The fact that `by` signed `digest`. wallet: `by` is a contract that says so itself (EIP-1271)."""

    by: str
    digest: bytes
    wallet: bool = False


NOBODY: Final = Signature(ZERO_ADDRESS, b"")
"""Bytes that are nobody's signature of anything."""


@dataclass(frozen=True, slots=True)
class Account:
    """free: can be spent. cur, prev: earnings of disputable deals settled in window number `epoch` and in the
    one before; they wait, so that a wrong result can cost them. era: orders and asks signed under another are
    void."""

    free: int = 0
    cur: int = 0
    prev: int = 0
    epoch: int = 0
    era: int = 0

    def at(self, epoch: int) -> Account:
        """As of a later window: what waited in `prev` is free after one, all of it after two."""
        if epoch == self.epoch:
            return self
        if epoch == self.epoch + 1:
            return Account(self.free + self.prev, 0, self.cur, epoch, self.era)
        return Account(self.free + self.prev + self.cur, 0, 0, epoch, self.era)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The customer closed the lot."""


@dataclass(frozen=True, slots=True)
class Open:
    """The deal can be settled until `due` (packed, see `deals.Due`)."""

    deal: Deal
    due: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The deal is paid; `fact` (packed, see `deals.Fact`) says for what, to whom and when."""

    deal: Deal
    root: bytes
    fact: int


@dataclass(frozen=True, slots=True)
class Guilty:
    """A judge found the result wrong, and the customer has its money back."""


# A free lot is none of these; a disputed one is its case.
Lot: TypeAlias = Cancelled | Open | Settled | Case | Guilty


def word_of(lot: Lot | None) -> bytes:
    """The word that the contract keeps of a lot."""
    match lot:
        case None:
            return LOT_FREE
        case Cancelled():
            return LOT_CANCELLED
        case Open(deal, due):
            return open_word(deal.id, due)
        case Settled(deal, root, fact):
            return settled_word(deal.id, root, fact)
        case Guilty():
            return LOT_GUILTY
        case _:
            return lot.word


@dataclass(frozen=True, slots=True)
class Bundle:
    """until: last second of the offer, 0 when it was never published. float_: what pays legs above the
    price."""

    until: int = 0
    float_: int = 0


ENDLESS: Final = 2**256 - 1
"""An allowance that is not used up."""


@dataclass(frozen=True, slots=True)
class Token:
    """A plain ERC-20 with permits and authorisations, as far as the market meets it.

    allowances: what the market may take from each. nonces: permits that were used. used: authorisations that
    were, by signer and nonce.
    """

    domain: Domain
    balances: Mapping[str, int] = field(default_factory=dict)
    allowances: Mapping[str, int] = field(default_factory=dict)
    nonces: Mapping[str, int] = field(default_factory=dict)
    used: frozenset[tuple[str, bytes]] = frozenset()

    def move(self, source: str, to: str, amount: int) -> Token:
        balance = self.balances.get(source, 0)
        require(amount <= balance, "ERC20InsufficientBalance")
        balances = {**self.balances, source: balance - amount}
        return replace(self, balances={**balances, to: balances.get(to, 0) + amount})

    def pull(self, source: str, to: str, amount: int) -> Token:
        """`to`, the market, takes what it was allowed to."""
        allowed = self.allowances.get(source, 0)
        require(amount <= allowed, "ERC20InsufficientAllowance")
        left = allowed if allowed == ENDLESS else allowed - amount
        return replace(self, allowances={**self.allowances, source: left}).move(source, to, amount)


Bucket: TypeAlias = Literal["free", "cur", "prev"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The whole state of a market at the second `now`.

    market: its own address, whose account is the treasury. accounts, lots, bundles, workers: what is missing
    is empty, free, never published, not authorised. lots: by order and index. workers: last second, by
    provider and key. spent: digests of signed withdrawals that were used. roles: (role, who has it). held:
    what accounts, open deals, cases and floats hold together. log: all that ever happened.
    """

    policy: Policy
    domain: Domain
    token: Token
    scheduler: str
    deposit_cap: int
    now: int
    roles: frozenset[tuple[bytes, str]] = frozenset()
    fee_bps: int = 0
    paused: bool = False
    held: int = 0
    accounts: Mapping[str, Account] = field(default_factory=dict)
    lots: Mapping[tuple[bytes, int], Lot] = field(default_factory=dict)
    bundles: Mapping[bytes, Bundle] = field(default_factory=dict)
    workers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    spent: frozenset[bytes] = frozenset()
    log: tuple[Event, ...] = ()

    @property
    def market(self) -> str:
        return self.domain.verifying_contract

    @property
    def epoch(self) -> int:
        """The number of the dispute window that `now` lies in."""
        return self.now // self.policy.window

    def at(self, now: int) -> Ledger:
        """The same ledger later."""
        return replace(self, now=now)

    def tell(self, event: str, **values: Any) -> Ledger:
        """The ledger with one more event in its log."""
        return replace(self, log=(*self.log, Event(event, values)))

    # ---------------------------------------------------------------------------------------- accounts

    def account(self, owner: str) -> Account:
        """The account as of now."""
        return self.accounts.get(owner, Account()).at(self.epoch)

    def with_account(self, owner: str, account: Account) -> Ledger:
        return replace(self, accounts={**self.accounts, owner: account})

    def credit(self, owner: str, amount: int, bucket: Bucket = "free") -> Ledger:
        account = self.account(owner)
        return self.with_account(owner, replace(account, **{bucket: getattr(account, bucket) + amount}))

    def take(self, owner: str, amount: int, bucket: Bucket) -> Ledger:
        """The inverse of a credit that is known to be there still."""
        account = self.account(owner)
        return self.with_account(owner, replace(account, **{bucket: getattr(account, bucket) - amount}))

    def debit(self, owner: str, amount: int) -> Ledger:
        account = self.account(owner)
        require(amount <= account.free, "MarketFundsShort")
        return self.with_account(owner, replace(account, free=account.free - amount))

    def debit_above_surety(self, owner: str, amount: int) -> Ledger:
        """As `debit`; while earnings wait, the surety stays."""
        ledger = self.debit(owner, amount)
        left = ledger.account(owner)
        require(left.cur + left.prev == 0 or left.free >= self.policy.surety, "MarketSuretyLocked")
        return ledger

    # ---------------------------------------------------------------------------------------- the others

    def lot(self, order: bytes, index: int) -> Lot | None:
        """The state of a lot; None: it is free."""
        return self.lots.get((order, index))

    def with_lot(self, order: bytes, index: int, lot: Lot | None) -> Ledger:
        lots = {key: value for key, value in self.lots.items() if key != (order, index)}
        if lot is not None:
            lots[order, index] = lot
        return replace(self, lots=lots)

    def bundle(self, offer_id: bytes) -> Bundle:
        return self.bundles.get(offer_id, Bundle())

    def with_bundle(self, offer_id: bytes, bundle: Bundle) -> Ledger:
        return replace(self, bundles={**self.bundles, offer_id: bundle})

    def digest(self, struct: TypedStruct) -> bytes:
        """What is signed of a struct for this market; of an order also its id."""
        return struct.digest(self.domain)

    def require_signed(self, signature: Signature, signer: str, digest: bytes) -> None:
        require(
            signature.digest == digest and signature.by == signer != ZERO_ADDRESS,
            "MarketSignature",
        )
