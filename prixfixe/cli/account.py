"""`prixfixe account`: a balance in the contract, and money in and out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.account_api import (
    limits,
    show_managed,
    standing,
    top_ups,
    withdraw_managed,
    withdraw_to,
)
from prixfixe.cli.account_managed import leave, statement
from prixfixe.cli.account_sign import sign_bump, sign_cancel, sign_withdraw
from prixfixe.cli.options import (
    MoneyType,
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_market,
    open_signer,
    require_wallet,
    yes_option,
)
from prixfixe.cli.output import emit, moment, say, table

if TYPE_CHECKING:
    from prixfixe.chain.client import Account, MarketClient
    from prixfixe.protocol.money import Money

rpc_option = click.option("--rpc", metavar="URL", help="The chain node; else the context's.")


@click.group()
def account() -> None:
    """Show your balance; move money in and out.

    Your money is in the contract, and only your signature moves it. These commands talk to the chain
    directly, so they work without the service. With the API key of a managed account, whose key the operator
    holds, they talk to the service and need no wallet: `show`, `statement`, `top-ups`, `limits`, `withdraw`,
    `withdraw-to`, `standing`.

    \b
    Examples:
      prixfixe account show
      prixfixe account deposit 100
      prixfixe account withdraw 25.50 --to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
      prixfixe account bump
      prixfixe account sign-withdraw 25.50 --fee 0.10 --yes > withdrawal.json
    """


for command in (
    statement,
    limits,
    top_ups,
    withdraw_to,
    standing,
    leave,
    sign_withdraw,
    sign_bump,
    sign_cancel,
):
    account.add_command(command)


@account.command()
@click.argument("address", required=False)
@context_option
@key_option
@rpc_option
@json_option
def show(
    address: str | None, context_name: str | None, key: str | None, rpc: str | None, as_json: bool
) -> None:
    """Show the account of ADDRESS, or your own.

    With an API key your own is the managed account, as the service tells it.
    """
    from prixfixe.client.setup import address_of_spec, api_key_of
    from prixfixe.protocol.addresses import parse_address

    context = chosen_context(context_name, key)
    if address is None and api_key_of(context) is not None:
        show_managed(context, as_json)
        return
    if address is None:
        address = (address_of_spec(context.key) if context.key else None) or open_signer(context).address
    _report(open_market(context, rpc), parse_address(address), as_json)


@account.command()
@click.argument("amount", type=MoneyType())
@context_option
@key_option
@rpc_option
@yes_option
@json_option
def deposit(
    amount: Money, context_name: str | None, key: str | None, rpc: str | None, yes: bool, as_json: bool
) -> None:
    """Move dollars from your wallet into your account.

    One transaction when the token takes signed permits (EIP-2612); else two, since the token must be told
    first that the market may take AMOUNT. What is in your account you can withdraw again at any time.
    """
    from prixfixe.errors import InsufficientFunds

    context = chosen_context(context_name, key)
    require_wallet(context)
    market, signer = open_market(context, rpc), open_signer(context)
    held = market.token_balance(signer.address)
    if held < amount:
        raise InsufficientFunds(
            f"your wallet {signer.address} holds {held} of the token and {amount} is to be deposited",
            hint="send tokens to this address first"
            + ("; on this local chain: `prixfixe account faucet AMOUNT`" if _local(context.chain_id) else ""),
        )
    if not yes:
        rows = [
            ("from", f"your wallet {signer.address}, which keeps {held - amount}"),
            ("to", f"your account in {market.contract} on chain {market.chain_id}"),
            ("by", _deposit_steps(market, signer.address, amount)),
        ]
        say(table(rows))
        click.confirm(f"Deposit {amount}?", abort=True, err=True)
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

    AMOUNT arrives in the wallet --to, your own when it is not given. It cannot be taken back. Earnings that
    wait cannot be withdrawn yet, and while any wait the market's surety stays; `account show` says until
    when. With an API key it goes to the account's withdrawal address, and no --to is taken.

    \b
    Examples:
      prixfixe account withdraw 25.50
      prixfixe account withdraw 25.50 --to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
    """
    from prixfixe.client.setup import api_key_of
    from prixfixe.protocol.addresses import parse_address

    context = chosen_context(context_name, key)
    if api_key_of(context) is not None:
        if to is not None:
            raise click.UsageError("a managed account's money leaves to its withdrawal address only")
        withdraw_managed(context, amount, yes, as_json)
        return
    market, signer = open_market(context, rpc), open_signer(context)
    target = parse_address(to, name="--to") if to is not None else signer.address
    if not yes:
        left = market.account(signer.address).free
        say(f"{left} is free in your account")
        click.confirm(f"Send {amount} to {target}?", abort=True, err=True)
    outcome = market.withdraw(signer, target, amount)
    _report(market, signer.address, as_json, f"sent {amount} to {target}", outcome.transaction_hash)


@account.command()
@context_option
@key_option
@rpc_option
@yes_option
@json_option
def bump(context_name: str | None, key: str | None, rpc: str | None, yes: bool, as_json: bool) -> None:
    """End every order and ask that you have signed so far.

    For a key that others may have used, or orders that you have lost sight of: whatever was signed in your
    account's present era can never be matched again, wherever it lies. Deals that run go on and are paid or
    returned; signed withdrawals stay good. Workers sign new asks by themselves. Costs one transaction.
    """
    context = chosen_context(context_name, key)
    require_wallet(context)
    market, signer = open_market(context, rpc), open_signer(context)
    era = market.account(signer.address).era
    if not yes:
        say(f"{signer.address} is in era {era}; every order and ask signed under it would end")
        click.confirm("End them all?", abort=True, err=True)
    outcome = market.bump(signer, era)
    _report(market, signer.address, as_json, f"era {era} is over", outcome.transaction_hash)


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
    from prixfixe.chain.faucet import make_play_money, require_local

    context = chosen_context(context_name, key)
    require_local(context.chain_id)  # before a password is asked for
    market, signer = open_market(context, rpc), open_signer(context)
    make_play_money(market, signer, amount)
    outcome = market.deposit(signer, amount)
    _report(market, signer.address, as_json, f"made and deposited {amount}", outcome.transaction_hash)


def _deposit_steps(market: MarketClient, owner: str, amount: Money) -> str:
    """What a deposit will send."""
    if market.allowance(owner) >= amount.units:
        return "one transaction; the token was told already that the market may take it"
    if market.takes_permits(owner):
        return f"one transaction, with a signed permit for {amount}"
    return f"two transactions: the token is told that the market may take {amount}, then the deposit"


def _local(chain_id: int) -> bool:
    from prixfixe.development_keys import is_local_chain

    return is_local_chain(chain_id)


def _waiting(market: MarketClient, found: Account) -> tuple[list[tuple[Money, int]], int]:
    """Earnings that wait, each with the second from which it is free, and the time now; on the chain's
    clock. Those of this window wait for the end of the next, those of the last for the end of this one."""
    now, window = market.block().time, market.policy().window
    ends = (now // window + 1) * window
    both = ((found.prev, ends), (found.cur, ends + window))
    return [(amount, at) for amount, at in both if amount], now


def _report(
    market: MarketClient, address: str, as_json: bool, done: str = "", transaction: str | None = None
) -> None:
    found = market.account(address)
    wallet = market.token_balance(address)
    waiting, now = _waiting(market, found)
    document: dict[str, Any] = {
        "address": address,
        "free": str(found.free.units),
        "held": str((found.cur + found.prev).units),
        "waiting": [{"amount": str(amount.units), "free_at": at} for amount, at in waiting],
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
    for amount, at in waiting:
        rows.append(("waits", f"{amount}   earnings that can still be disputed; free {moment(at, now)}"))
    rows.append(
        ("wallet", f"{wallet}   outside of the market: `prixfixe account deposit AMOUNT` moves it in")
    )
    click.echo(table(rows))
