"""`prixfixe account`: a balance in the contract, and money in and out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.options import (
    MoneyType,
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_market,
    open_signer,
    yes_option,
)
from prixfixe.cli.output import emit, say, table

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.protocol.money import Money

_COIN = 10**18  # smallest units of the chain's own coin; enough for thousands of transactions

rpc_option = click.option("--rpc", metavar="URL", help="The chain node; else the context's.")


@click.group()
def account() -> None:
    """Show your balance; move money in and out.

    Your money is in the contract, and only your signature moves it. These commands talk to the chain
    directly, so they work without the service.

    \b
    Examples:
      prixfixe account show
      prixfixe account deposit 100
      prixfixe account withdraw 25.50 --to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
    """


@account.command()
@click.argument("address", required=False)
@context_option
@key_option
@rpc_option
@json_option
def show(
    address: str | None, context_name: str | None, key: str | None, rpc: str | None, as_json: bool
) -> None:
    """Show the account of ADDRESS, or your own."""
    from prixfixe.client.setup import address_of_spec
    from prixfixe.protocol.addresses import parse_address

    context = chosen_context(context_name, key)
    if address is None:
        address = (address_of_spec(context.key) if context.key else None) or open_signer(context).address
    _report(open_market(context, rpc), parse_address(address), as_json)


@account.command()
@click.argument("amount", type=MoneyType())
@context_option
@key_option
@rpc_option
@json_option
def deposit(amount: Money, context_name: str | None, key: str | None, rpc: str | None, as_json: bool) -> None:
    """Move dollars from your wallet into your account."""
    from prixfixe.errors import InsufficientFunds

    context = chosen_context(context_name, key)
    market, signer = open_market(context, rpc), open_signer(context)
    held = market.token_balance(signer.address)
    if held < amount:
        raise InsufficientFunds(
            f"your wallet {signer.address} holds {held} of the token and {amount} is to be deposited",
            hint="send tokens to this address first"
            + ("; on this local chain: `prixfixe account faucet AMOUNT`" if _local(context.chain_id) else ""),
        )
    outcome = market.deposit(signer, amount)
    _report(market, signer.address, as_json, f"deposited {amount}", outcome.transaction_hash)


@account.command()
@click.argument("amount", type=MoneyType())
@click.option("--to", metavar="ADDRESS", help="The wallet that gets it; your own when not given.")
@context_option
@key_option
@rpc_option
@yes_option
@json_option
def withdraw(
    amount: Money,
    to: str | None,
    context_name: str | None,
    key: str | None,
    rpc: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Move dollars from your account to a wallet.

    AMOUNT arrives in the wallet --to, your own when it is not given. It cannot be taken back.
    """
    from prixfixe.protocol.addresses import parse_address

    context = chosen_context(context_name, key)
    market, signer = open_market(context, rpc), open_signer(context)
    target = parse_address(to, name="--to") if to is not None else signer.address
    if not yes:
        click.confirm(f"Send {amount} to {target}?", abort=True, err=True)
    outcome = market.withdraw(signer, target, amount)
    _report(market, signer.address, as_json, f"sent {amount} to {target}", outcome.transaction_hash)


@account.command()
@click.argument("amount", type=MoneyType(), default="1000")
@context_option
@key_option
@rpc_option
@json_option
def faucet(amount: Money, context_name: str | None, key: str | None, rpc: str | None, as_json: bool) -> None:
    """Make play dollars on a local chain.

    Makes AMOUNT (1000 when not given) and deposits it into your account. A new key also gets a coin of the
    chain, which transactions cost.
    """
    from prixfixe.errors import Forbidden

    context = chosen_context(context_name, key)
    if not _local(context.chain_id):
        raise Forbidden(f"chain {context.chain_id} is not a local one: its dollars cannot be made")
    market, signer = open_market(context, rpc), open_signer(context)
    if int(market.rpc.call("eth_getBalance", signer.address, "latest"), 16) < _COIN // 10:
        market.rpc.call("anvil_setBalance", signer.address, hex(_COIN))
    market.mint(signer, signer.address, amount)
    outcome = market.deposit(signer, amount)
    _report(market, signer.address, as_json, f"made and deposited {amount}", outcome.transaction_hash)


def _local(chain_id: int) -> bool:
    from prixfixe.development_keys import is_local_chain

    return is_local_chain(chain_id)


def _report(
    market: MarketClient, address: str, as_json: bool, done: str = "", transaction: str | None = None
) -> None:
    found = market.account(address)
    wallet = market.token_balance(address)
    waiting = found.cur + found.prev
    document: dict[str, Any] = {
        "address": address,
        "free": str(found.free.units),
        "held": str(waiting.units),
        "wallet": str(wallet.units),
        "era": found.era,
    }
    if transaction is not None:
        document["transaction"] = transaction
    if as_json:
        emit(document)
        return
    if done:
        say(f"{done} in transaction {transaction}")
    rows = [("account", address), ("free", f"{found.free}   can be spent or withdrawn")]
    if waiting:
        rows.append(("held", f"{waiting}   earnings that can still be disputed; they become free by time"))
    rows.append(
        ("wallet", f"{wallet}   outside of the market: `prixfixe account deposit AMOUNT` moves it in")
    )
    click.echo(table(rows))
