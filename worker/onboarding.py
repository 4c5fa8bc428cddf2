"""What a provider does once, with its own key, on any machine but a worker: authorise a key, keep the surety.

After it the provider's key is needed again only to withdraw or to renew the authorisation.
"""

from __future__ import annotations

from dataclasses import dataclass

from prixfixe.chain.client import MarketClient
from prixfixe.chain.faucet import make_coin, make_play_money
from prixfixe.development_keys import is_local_chain
from prixfixe.errors import InsufficientFunds
from prixfixe.keys import Signer
from prixfixe.protocol.money import Money


@dataclass(frozen=True, slots=True)
class Lacking:
    """What a provider and its worker's key lack now. until: last second at which the key may sign, as it is
    or as it shall be; `authorise` says which. deposit: what is missing of the surety. play: how much of that
    is made from nothing first, on a local chain."""

    free: Money
    surety: Money
    until: int
    authorise: bool
    deposit: Money
    play: Money

    def __bool__(self) -> bool:
        return self.authorise or bool(self.deposit)


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


def lacking(market: MarketClient, provider: str | None, key: str | None, seconds: int) -> Lacking:
    """What onboarding would do. provider, key: addresses; None for one that is not made yet."""
    surety = Money(market.policy().surety)
    free = Money(0) if provider is None else market.account(provider).free
    wallet = Money(0) if provider is None else market.token_balance(provider)
    missing = surety - free if free < surety else Money(0)
    now = market.block().time
    until = 0 if provider is None or key is None else market.worker_until(provider, key)
    # Renewed only when it is worth a transaction: a key that is good for most of the time asked for stays.
    authorise = until - now < seconds // 2
    local = is_local_chain(market.chain_id)
    return Lacking(
        free=free,
        surety=surety,
        until=now + seconds if authorise else until,
        authorise=authorise,
        deposit=missing,
        play=missing - wallet if local and wallet < missing else Money(0),
    )


def onboard(market: MarketClient, provider: Signer, key: str, seconds: int) -> Onboarding:
    """Authorise `key` for `seconds` from now and fill the provider's account up to the surety; on a local
    chain with play money where the wallet holds too little. What is there already is left as it is.
    InsufficientFunds when the provider's wallet holds too little."""
    found = lacking(market, provider.address, key, seconds)
    if found and is_local_chain(market.chain_id):
        for address in (provider.address, key):
            make_coin(market, address)
    if found.play:
        make_play_money(market, provider, found.play)
    _require_wallet(market, provider.address, found)
    deposited = market.deposit(provider, found.deposit) if found.deposit else None
    authorised = market.authorise(provider, key, found.until) if found.authorise else None
    return Onboarding(
        provider=provider.address,
        key=key,
        until=found.until,
        free=market.account(provider.address).free,
        surety=found.surety,
        deposited=found.deposit,
        authorised_in=authorised.transaction_hash if authorised else None,
        deposited_in=deposited.transaction_hash if deposited else None,
    )


def _require_wallet(market: MarketClient, provider: str, found: Lacking) -> None:
    wallet = market.token_balance(provider)
    if wallet < found.deposit:
        raise InsufficientFunds(
            f"provider {provider} needs {found.deposit} more in its account to keep the surety of"
            f" {found.surety}, and its wallet holds {wallet}",
            hint=f"send the token {market.token} to {provider}, and some of the chain's coin for"
            " transactions, and run this again",
            fault="provider",
        )
