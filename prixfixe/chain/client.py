"""The market's contract, read and called.

Reads give frozen values, at the latest block or at one that is named. Calls come in two forms: `encode_call`
gives the call data (the relayer keeps its own nonces), and the named methods build, sign, send and wait (for
people and scripts). What the contract refuses is a ChainError with the contract's own reason.
"""

from __future__ import annotations

from prixfixe.chain.court_calls import CourtCalls
from prixfixe.chain.lot_calls import BidMatch, LotCalls, PurchaseMatch, Settlement
from prixfixe.chain.money_calls import MoneyCalls
from prixfixe.chain.reads import (
    ADMIN_ROLE,
    PAUSER_ROLE,
    PRICING_ROLE,
    Account,
    Block,
    BlockRef,
    BundleState,
    Config,
)
from prixfixe.chain.role_calls import RoleCalls
from prixfixe.chain.sending import Outcome

__all__ = [
    "ADMIN_ROLE",
    "PAUSER_ROLE",
    "PRICING_ROLE",
    "Account",
    "BidMatch",
    "Block",
    "BlockRef",
    "BundleState",
    "Config",
    "MarketClient",
    "Outcome",
    "PurchaseMatch",
    "Settlement",
]


class MarketClient(MoneyCalls, LotCalls, CourtCalls, RoleCalls):
    """One market on one chain: everything that can be asked of it and done with it. Safe to share between
    threads."""
