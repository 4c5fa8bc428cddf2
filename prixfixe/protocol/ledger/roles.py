"""What admin and the pauser do, and who has which role (OpenZeppelin AccessControl)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.ledger.accounts import send
from prixfixe.protocol.ledger.state import Ledger, require

ADMIN_ROLE: Final = bytes(32)
PRICING_ROLE: Final = keccak256(b"PRICING_ROLE")
PAUSER_ROLE: Final = keccak256(b"PAUSER_ROLE")


def require_role(ledger: Ledger, role: bytes, sender: str) -> None:
    require((role, sender) in ledger.roles, "AccessControlUnauthorizedAccount")


def pause(ledger: Ledger, sender: str) -> Ledger:
    """Stops new matches, and nothing else. Pauser."""
    return _set_paused(ledger, sender, True)


def unpause(ledger: Ledger, sender: str) -> Ledger:
    """Allows new matches again. Pauser."""
    return _set_paused(ledger, sender, False)


def _set_paused(ledger: Ledger, sender: str, paused: bool) -> Ledger:
    require_role(ledger, PAUSER_ROLE, sender)
    return replace(ledger, paused=paused).tell("PausedSet", paused=paused)


def set_fee(ledger: Ledger, sender: str, fee_bps: int) -> Ledger:
    """Sets the fee of later matches, in hundredths of a percent of the price. Admin."""
    require_role(ledger, ADMIN_ROLE, sender)
    require(fee_bps <= ledger.policy.max_fee_bps, "MarketFeeTooHigh")
    return replace(ledger, fee_bps=fee_bps).tell("FeeSet", fee_bps=fee_bps)


def set_scheduler(ledger: Ledger, sender: str, scheduler: str) -> Ledger:
    """Replaces the scheduler. Admin."""
    require_role(ledger, ADMIN_ROLE, sender)
    return replace(ledger, scheduler=scheduler).tell("SchedulerSet", scheduler=scheduler)


def raise_deposit_cap(ledger: Ledger, sender: str, deposit_cap: int) -> Ledger:
    """Raises the most that the market may hold. Admin."""
    require_role(ledger, ADMIN_ROLE, sender)
    require(deposit_cap > ledger.deposit_cap, "MarketCapNotRaised")
    return replace(ledger, deposit_cap=deposit_cap).tell("DepositCapRaised", deposit_cap=deposit_cap)


def withdraw_treasury(ledger: Ledger, sender: str, to: str, amount: int) -> Ledger:
    """Sends from the treasury's free money. Admin."""
    require_role(ledger, ADMIN_ROLE, sender)
    return send(ledger.debit(ledger.market, amount), ledger.market, to, amount)


def grant_role(ledger: Ledger, sender: str, role: bytes, account: str) -> Ledger:
    """Gives a role. Admin."""
    require_role(ledger, ADMIN_ROLE, sender)
    if (role, account) in ledger.roles:
        return ledger
    ledger = replace(ledger, roles=ledger.roles | {(role, account)})
    return ledger.tell("RoleGranted", role=role, account=account, sender=sender)


def revoke_role(ledger: Ledger, sender: str, role: bytes, account: str) -> Ledger:
    """Takes a role. Admin."""
    require_role(ledger, ADMIN_ROLE, sender)
    return _without_role(ledger, sender, role, account)


def renounce_role(ledger: Ledger, sender: str, role: bytes, account: str) -> Ledger:
    """Gives up a role of one's own; `account` repeats who one is."""
    require(account == sender, "AccessControlBadConfirmation")
    return _without_role(ledger, sender, role, account)


def _without_role(ledger: Ledger, sender: str, role: bytes, account: str) -> Ledger:
    if (role, account) not in ledger.roles:
        return ledger
    ledger = replace(ledger, roles=ledger.roles - {(role, account)})
    return ledger.tell("RoleRevoked", role=role, account=account, sender=sender)
