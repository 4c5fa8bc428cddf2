"""Calls of those whom the market gave a role: admin, pauser."""

from __future__ import annotations

from prixfixe.chain.sending import MarketSender, Outcome
from prixfixe.keys import Signer
from prixfixe.protocol.money import Money


class RoleCalls(MarketSender):
    """What admin and pauser may change."""

    def set_paused(self, signer: Signer, paused: bool) -> Outcome:
        """Stops new matches and nothing else, or allows them again. Pauser."""
        return self.send(signer, "pause" if paused else "unpause")

    def set_fee(self, signer: Signer, fee_bps: int) -> Outcome:
        """The fee of later matches, in hundredths of a percent. Admin."""
        return self.send(signer, "setFee", fee_bps)

    def set_scheduler(self, signer: Signer, scheduler: str) -> Outcome:
        """Who matches purchases and hastens deals from now on. Admin."""
        return self.send(signer, "setScheduler", scheduler)

    def raise_deposit_cap(self, signer: Signer, cap: Money) -> Outcome:
        """The most that the market may hold; it can only grow. Admin."""
        return self.send(signer, "raiseDepositCap", cap.require_uint64())

    def withdraw_treasury(self, signer: Signer, to: str, amount: Money) -> Outcome:
        """Sends from the treasury's free money. Admin."""
        return self.send(signer, "withdrawTreasury", to, amount.require_uint64())

    def grant_role(self, signer: Signer, role: bytes, account: str) -> Outcome:
        """role: ADMIN_ROLE, PRICING_ROLE or PAUSER_ROLE. Admin."""
        return self.send(signer, "grantRole", role, account)

    def revoke_role(self, signer: Signer, role: bytes, account: str) -> Outcome:
        """Takes a role away. Admin."""
        return self.send(signer, "revokeRole", role, account)

    def renounce_role(self, signer: Signer, role: bytes) -> Outcome:
        """Gives the signer's own role up."""
        return self.send(signer, "renounceRole", role, signer.address)
