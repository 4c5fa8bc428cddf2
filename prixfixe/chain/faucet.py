"""Play money on local chains, where anybody may make it."""

from __future__ import annotations

from typing import Final

from prixfixe.chain.client import MarketClient
from prixfixe.development_keys import is_local_chain
from prixfixe.errors import Forbidden
from prixfixe.keys import Signer
from prixfixe.protocol.money import Money

_COIN: Final = 10**18  # smallest units of the chain's own coin; enough for thousands of transactions


def make_coin(market: MarketClient, address: str) -> None:
    """Give an address what transactions cost, unless it has it. Forbidden off local chains."""
    require_local(market.chain_id)
    if int(market.rpc.call("eth_getBalance", address, "latest"), 16) < _COIN // 10:
        market.rpc.call("anvil_setBalance", address, hex(_COIN))


def make_play_money(market: MarketClient, signer: Signer, amount: Money) -> None:
    """Make `amount` in the signer's wallet, and what transactions cost. Forbidden off local chains."""
    make_coin(market, signer.address)
    market.mint(signer, signer.address, amount)


def require_local(chain_id: int) -> None:
    """Forbidden off local chains."""
    if not is_local_chain(chain_id):
        raise Forbidden(f"chain {chain_id} is not a local one: its dollars cannot be made")
