"""The contract's money in plain Python: its executable specification.

A `Ledger` is everything that the contract remembers. Each thing that anyone can ask of the contract is a
function `(ledger, sender, ...) -> ledger`, named as the contract's own in snake_case; it gives the ledger as
it is afterwards, with what happened at the end of its `log`, or raises `LedgerError` with the name of the
contract's error. Nothing is ever changed in place, so a refused call has changed nothing.

Read in this order:

    state      what is remembered: accounts with earnings that wait, words of lots, offers, the token
    accounts   money in and out, keys, eras, closed lots, and the roles' calls
    matching   a purchase or a bid meets asks: a deal opens
    settling   a deal ends: paid, refused, expired; or is hastened
    court      a settled deal is challenged, judged, or forgotten by its judge
    batches    many of these in one call, where a failing one is skipped

There is no cryptography in it: a signature is a `Signature`, the fact that somebody signed a digest. Digests
and ids are names. The arbiter is an address without code, and the token a plain one. tests/ledger drives it
and the compiled contract side by side.
"""

from __future__ import annotations

from prixfixe.protocol.ledger.accounts import (
    authorise,
    bump,
    bump_by_sig,
    cancel,
    cancel_bid,
    cancel_bid_by_sig,
    cancel_by_sig,
    deposit,
    deposit_for,
    deposit_with_authorization,
    deposit_with_permit,
    withdraw,
    withdraw_by_sig,
)
from prixfixe.protocol.ledger.batches import (
    Item,
    clear,
    expire_many,
    match_many,
    settle_many,
)
from prixfixe.protocol.ledger.court import challenge, judge, lapse
from prixfixe.protocol.ledger.matching import match_bid, match_purchase
from prixfixe.protocol.ledger.offers import publish, reclaim, retire
from prixfixe.protocol.ledger.roles import (
    ADMIN_ROLE,
    PAUSER_ROLE,
    PRICING_ROLE,
    grant_role,
    pause,
    raise_deposit_cap,
    renounce_role,
    revoke_role,
    set_fee,
    set_scheduler,
    unpause,
    withdraw_treasury,
)
from prixfixe.protocol.ledger.settling import expire, hasten, settle
from prixfixe.protocol.ledger.state import (
    ENDLESS,
    NOBODY,
    Account,
    Bundle,
    Cancelled,
    Event,
    Guilty,
    Ledger,
    LedgerError,
    Lot,
    Open,
    Settled,
    Signature,
    Token,
    word_of,
)

ENTRY_POINTS = (
    *(deposit, deposit_for, deposit_with_permit, deposit_with_authorization, withdraw, withdraw_by_sig),
    *(authorise, bump, bump_by_sig, cancel, cancel_bid, cancel_by_sig, cancel_bid_by_sig),
    *(publish, retire, reclaim),
    *(match_purchase, match_bid, clear, match_many, settle, settle_many, expire, expire_many, hasten),
    *(challenge, judge, lapse),
    *(pause, unpause, set_fee, set_scheduler, raise_deposit_cap, withdraw_treasury),
    *(grant_role, revoke_role, renounce_role),
)
"""Everything that changes something, in the order of the contract's interface."""

__all__ = [
    "ADMIN_ROLE",
    "ENDLESS",
    "ENTRY_POINTS",
    "NOBODY",
    "PAUSER_ROLE",
    "PRICING_ROLE",
    "Account",
    "Bundle",
    "Cancelled",
    "Event",
    "Guilty",
    "Item",
    "Ledger",
    "LedgerError",
    "Lot",
    "Open",
    "Settled",
    "Signature",
    "Token",
    "authorise",
    "bump",
    "bump_by_sig",
    "cancel",
    "cancel_bid",
    "cancel_bid_by_sig",
    "cancel_by_sig",
    "challenge",
    "clear",
    "deposit",
    "deposit_for",
    "deposit_with_authorization",
    "deposit_with_permit",
    "expire",
    "expire_many",
    "grant_role",
    "hasten",
    "judge",
    "lapse",
    "match_bid",
    "match_many",
    "match_purchase",
    "pause",
    "publish",
    "raise_deposit_cap",
    "reclaim",
    "renounce_role",
    "retire",
    "revoke_role",
    "set_fee",
    "set_scheduler",
    "settle",
    "settle_many",
    "unpause",
    "withdraw",
    "withdraw_by_sig",
    "withdraw_treasury",
    "word_of",
]
