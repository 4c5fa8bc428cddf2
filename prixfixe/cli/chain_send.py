"""`prixfixe chain send`: send what somebody else signed, for its fee."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prixfixe.cli.options import (
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
    from prixfixe.protocol.signed_calls import SignedCall

_COIN = 10**18  # smallest units of the chain's own coin
_LAST_MOMENT = 253_402_300_800  # the end of the year 9999


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rpc", metavar="URL", help="The chain node; else the context's.")
@context_option
@key_option
@yes_option
@json_option
def send(
    file: Path, rpc: str | None, context_name: str | None, key: str | None, yes: bool, as_json: bool
) -> None:
    """Send a withdrawal, a cancelled lot or a bump that somebody else signed.

    FILE is what `prixfixe account sign-withdraw`, `sign-cancel` or `sign-bump` printed. You pay the gas; a
    withdrawal's fee goes to your wallet. What it does, what it pays you and what the gas costs at most is
    shown first, and a call that the contract would refuse is not sent.
    """
    from prixfixe.chain.carrying import carry, foresee
    from prixfixe.protocol.signed_calls import SignedCall

    call = SignedCall.from_json(read_json(file))
    context = chosen_context(context_name, key)
    market, signer = open_market(context, rpc), open_signer(context)
    seen = foresee(market, signer.address, call)
    rows = [
        *_said(call, market.time()),
        ("pays you", f"{seen.fee} to {signer.address}" if seen.fee else "nothing"),
        ("costs you", f"at most {seen.gas:,} gas, {seen.most_wei / _COIN:.8f} of the chain's coin"),
    ]
    say(table(rows))
    if not yes:
        click.confirm("Send it?", abort=True, err=True)
    outcome = carry(market, signer, call)
    if as_json:
        emit(
            {
                "transaction": outcome.transaction_hash,
                "block": outcome.block_number,
                "type": type(call.message).__name__,
                "account": call.account,
                "fee": str(seen.fee.units),
                "gas_used": outcome.gas_used,
            }
        )
        return
    click.echo(outcome.transaction_hash)
    say(f"sent for {outcome.gas_used:,} gas" + (f"; {seen.fee} is in your wallet" if seen.fee else ""))


def _moment(seconds: int, now: int) -> str:
    # A time that no calendar has is one that somebody chose to be never.
    return moment(seconds, now) if seconds < _LAST_MOMENT else "ever"


def _said(call: SignedCall, now: int) -> list[tuple[str, str]]:
    """What the account signed."""
    from prixfixe.protocol.money import Money
    from prixfixe.protocol.orders import Cancel, Withdraw

    signed, message = ("signed by", call.account), call.message
    if isinstance(message, Withdraw):
        amount = f"{Money(message.amount)} to {message.to}"
        return [signed, ("withdraws", amount), ("good until", _moment(message.deadline, now))]
    if isinstance(message, Cancel):
        return [signed, ("closes", f"lot {message.lot} of order 0x{message.order.hex()}")]
    return [signed, ("ends", f"every order and ask that it signed in era {message.era}")]
