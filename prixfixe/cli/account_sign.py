"""`prixfixe account sign-withdraw | sign-bump | sign-cancel`: words of an account for others to send."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prixfixe.cli.options import (
    MoneyType,
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_market,
    open_signer,
    read_json,
    yes_option,
)
from prixfixe.cli.output import emit, moment, say, table

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.keys import Signer
    from prixfixe.protocol.money import Money
    from prixfixe.protocol.orders import Order
    from prixfixe.protocol.signed_calls import Message

rpc_option = click.option("--rpc", metavar="URL", help="The chain node; else the context's.")


@click.command("sign-withdraw")
@click.argument("amount", type=MoneyType())
@click.option("--to", metavar="ADDRESS", help="The wallet that gets it; your own when not given.")
@click.option(
    "--fee", type=MoneyType(), default="0", help="For whoever sends it, beside AMOUNT. Default: nothing."
)
@click.option(
    "--hours", type=click.IntRange(1), default=24, show_default=True, help="How long it can be sent."
)
@context_option
@key_option
@rpc_option
@yes_option
@json_option
def sign_withdraw(
    amount: Money,
    to: str | None,
    fee: Money,
    hours: int,
    context_name: str | None,
    key: str | None,
    rpc: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Sign a withdrawal for somebody else to send.

    For a key without the chain's coin: whoever sends it pays the gas and gets --fee from your account. It
    goes to --to and nowhere else, once, until its time is over; `account bump` does not end it. Printed as
    one JSON object, which `prixfixe chain send FILE` takes. Nothing moves before it is sent.
    """
    from prixfixe.protocol.addresses import parse_address
    from prixfixe.protocol.orders import Withdraw

    context = chosen_context(context_name, key)
    market, signer = open_market(context, rpc), open_signer(context)
    target = parse_address(to, name="--to") if to is not None else signer.address
    now = market.time()
    order = Withdraw(
        account=signer.address,
        to=target,
        amount=amount.require_uint64(),
        fee=fee.require_uint64("--fee"),
        nonce=secrets.randbits(64),
        deadline=now + hours * 3600,
    )
    rows = [
        ("pays", f"{amount} to {target}"),
        ("fee", f"{fee} to whoever sends it"),
        ("takes", f"{amount + fee} of the {market.account(signer.address).free} free in your account"),
        ("good until", moment(order.deadline, now)),
    ]
    _sign(market, signer, order, rows, yes)


@click.command("sign-bump")
@context_option
@key_option
@rpc_option
@yes_option
@json_option
def sign_bump(context_name: str | None, key: str | None, rpc: str | None, yes: bool, as_json: bool) -> None:
    """Sign the end of your present era for somebody else to send.

    When it is sent, every order and ask that you have signed so far ends, as by `account bump`; until then,
    none. It is good as long as the era lasts. Printed as one JSON object for `prixfixe chain send FILE`.
    """
    from prixfixe.protocol.orders import Bump

    context = chosen_context(context_name, key)
    market, signer = open_market(context, rpc), open_signer(context)
    order = Bump(signer.address, market.account(signer.address).era)
    rows = [
        ("ends", f"every order and ask that {signer.address} signed in era {order.era}"),
        ("fee", "none: whoever sends it pays the gas"),
    ]
    _sign(market, signer, order, rows, yes)


@click.command("sign-cancel")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--lot", type=click.IntRange(0), required=True, help="Which lot of the order, from 0.")
@context_option
@key_option
@rpc_option
@yes_option
@json_option
def sign_cancel(
    file: Path,
    lot: int,
    context_name: str | None,
    key: str | None,
    rpc: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Sign the end of one lot of your order for somebody else to send.

    FILE holds the purchase or bid as JSON, or a receipt that has it. A lot that nobody matched can never be
    matched again once it is sent. Printed as one JSON object for `prixfixe chain send FILE`.
    """
    from prixfixe.protocol.orders import Cancel

    context = chosen_context(context_name, key)
    market, signer = open_market(context, rpc), open_signer(context)
    order = _order_in(file)
    digest = order.digest(market.domain)
    rows = [
        ("closes", f"lot {lot} of order 0x{digest.hex()}, if it is free"),
        ("fee", "none: whoever sends it pays the gas"),
    ]
    _sign(market, signer, Cancel(digest, lot), rows, yes, order)


def _order_in(file: Path) -> Order:
    from prixfixe.errors import InvalidInput
    from prixfixe.protocol.orders import order_from_json

    found = read_json(file)
    if isinstance(found, dict) and isinstance(found.get("order"), dict):
        found = found["order"]  # of a receipt
    if not isinstance(found, dict):
        raise InvalidInput(f"{file} holds no order", code="bad-order-file")
    return order_from_json(found)


def _sign(
    market: MarketClient,
    signer: Signer,
    message: Message,
    rows: list[tuple[str, str]],
    yes: bool,
    order: Order | None = None,
) -> None:
    from prixfixe.keys import sign_typed
    from prixfixe.protocol.signed_calls import SignedCall

    say(table([*rows, ("market", f"{market.contract} on chain {market.chain_id}")]))
    if not yes:
        click.confirm("Sign it?", abort=True, err=True)
    emit(SignedCall(market.domain, message, sign_typed(signer, message, market.domain), order).to_json())
