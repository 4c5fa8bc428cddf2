"""What a provider does once, with its own key, on any machine but a worker: authorise a key, keep the surety.

After it the provider's key is needed again only to withdraw or to renew the authorisation.
"""

from __future__ import annotations

from dataclasses import dataclass

from prixfixe.chain.client import MarketClient
from prixfixe.development_keys import is_local_chain
from prixfixe.errors import InsufficientFunds
from prixfixe.keys import Signer
from prixfixe.protocol.money import Money


@dataclass(frozen=True, slots=True)
class Onboarding:
    """What was found and done. until: last second at which the key may sign. deposited: what was moved from
    the provider's wallet to reach the surety. Transactions are None when nothing had to be done."""

    provider: str
    key: str
    until: int
    free: Money
    surety: Money
    deposited: Money
    authorised_in: str | None
    deposited_in: str | None


def onboard(market: MarketClient, provider: Signer, key: str, seconds: int) -> Onboarding:
    """Authorise `key` for `seconds` from now and fill the provider's account up to the surety. What is there
    already is left as it is. InsufficientFunds when the provider's wallet holds too little."""
    surety = Money(market.policy().surety)
    free = market.account(provider.address).free
    missing = surety - free if free < surety else Money(0)
    wallet = market.token_balance(provider.address)
    if wallet < missing:
        local = is_local_chain(market.chain_id)
        raise InsufficientFunds(
            f"provider {provider.address} needs {missing} more in its account to keep the surety of {surety},"
            f" and its wallet holds {wallet}",
            hint=f"send the token {market.token} to {provider.address} and run this again"
            + ("; on this local chain: prixfixe account faucet 20 --key KEY" if local else ""),
            fault="provider",
        )
    deposited = market.deposit(provider, missing) if missing else None
    now = market.block().time
    until = market.worker_until(provider.address, key)
    authorised = None
    # Renewed only when it is worth a transaction: a key that is good for most of the time asked for stays.
    if until - now < seconds // 2:
        until = now + seconds
        authorised = market.authorise(provider, key, until)
    return Onboarding(
        provider=provider.address,
        key=key,
        until=until,
        free=market.account(provider.address).free,
        surety=surety,
        deposited=missing,
        authorised_in=authorised.transaction_hash if authorised else None,
        deposited_in=deposited.transaction_hash if deposited else None,
    )
