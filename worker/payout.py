"""What a provider can be paid out now, worked out before anything is signed."""

from __future__ import annotations

from dataclasses import dataclass

from prixfixe.chain.client import MarketClient
from prixfixe.errors import InsufficientFunds, InvalidInput
from prixfixe.protocol.money import Money


@dataclass(frozen=True, slots=True)
class Payout:
    """amount: goes from the account of `provider` to the wallet `target`. free: in the account before that.
    waiting: earnings that can still be disputed, which stay."""

    provider: str
    target: str
    amount: Money
    free: Money
    waiting: Money
    surety: Money

    def lines(self) -> list[str]:
        """For the provider to read before it says yes."""
        left = self.free - self.amount
        lines = [
            f"{self.free} is free in the account of {self.provider}, {self.waiting} can still be disputed",
            f"{self.amount} goes to {self.target}, once, and cannot be taken back; {left} stays",
        ]
        if left < self.surety:
            lines.append(f"with less than the surety of {self.surety} no work comes")
        return lines

    def require_owner(self, address: str) -> None:
        """InvalidInput when another account's key was given: its money is not what was shown."""
        if address != self.provider:
            raise InvalidInput(
                f"that is the key of {address}; this worker earns for {self.provider}",
                code="wrong-provider-key",
                hint="name the provider's own key with --key",
                fault="provider",
            )


def quote_payout(
    market: MarketClient, provider: str, target: str, amount: str | None, *, everything: bool = False
) -> Payout:
    """amount: in dollars; None is all that is free but the surety. everything: the surety too.
    InsufficientFunds when it is more than the contract would send now."""
    account, surety = market.account(provider), Money(market.policy().surety)
    waiting = account.cur + account.prev
    # While earnings wait the contract keeps the surety; else it is the provider's to take.
    most = _above(account.free, surety) if waiting else account.free
    wanted = account.free if everything else _above(account.free, surety)
    if amount is not None:
        if everything:
            raise InvalidInput("an amount or --all, not both", code="bad-amount", fault="provider")
        wanted = Money.parse(amount)
    if wanted > most or not wanted:
        stays = f", and the surety of {surety} stays while {waiting} can still be disputed" if waiting else ""
        raise InsufficientFunds(
            f"{most if amount or everything else wanted} of the {account.free} that is free can be sent"
            f"{stays}{f'; {wanted} was asked for' if wanted else ''}",
            code="nothing-to-send" if not wanted else "too-much-to-send",
            hint="`prixfixe worker earnings` shows what comes; `--all` sends the surety too",
            fault="provider",
        )
    return Payout(provider, target, wanted, account.free, waiting, surety)


def _above(free: Money, surety: Money) -> Money:
    return free - surety if free > surety else Money(0)
