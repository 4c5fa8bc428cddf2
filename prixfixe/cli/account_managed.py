"""`prixfixe account statement` and `prixfixe account leave`: of managed accounts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.account_api import require_api_key
from prixfixe.cli.options import (
    chosen_context,
    context_option,
    json_option,
    key_option,
    open_client,
    open_market,
    open_signer,
    read_json,
    yes_option,
)
from prixfixe.cli.output import emit, moment, say, table

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.keys import Signer
    from prixfixe.protocol.accounts import StandingWithdrawal
    from prixfixe.protocol.signed_calls import SignedCall


@click.command()
@click.option(
    "--since", type=click.DateTime(), help="From this moment, UTC; from the beginning when not given."
)
@click.option("--until", type=click.DateTime(), help="Up to this moment, UTC.")
@click.option(
    "--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Write it there, too."
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["csv", "pdf"]),
    help="Write a file of this kind instead of showing it.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of --format; statement.csv or statement.pdf here when not given.",
)
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", help="Of a PDF.")
@context_option
@json_option
def statement(
    since: Any,
    until: Any,
    csv_file: Path | None,
    file_format: str | None,
    output: Path | None,
    language: str,
    context_name: str | None,
    as_json: bool,
) -> None:
    """Show every movement of a managed account, and whether their sum is what the contract holds.

    The account's API key is the context's, or in PRIXFIXE_API_KEY; `read` is scope enough. The lines are the
    chain's events: each with its transaction, which anybody can look up.

    \b
    Examples:
      prixfixe account statement --since 2026-11-01 --csv november.csv
      prixfixe account statement --since 2026-11-01 --format pdf --output november.pdf
    """
    from prixfixe.client.keeping import write_file
    from prixfixe.protocol.statements import as_csv, dollars, utc

    context = chosen_context(context_name)
    require_api_key(context)
    with open_client(context) as client:
        if file_format == "pdf":
            written = client.statement_pdf(_seconds(since), _seconds(until), language)
        else:
            found = client.statement(_seconds(since), _seconds(until))
            written = as_csv(found).encode()
    if file_format is not None:
        target = output or Path(f"statement.{file_format}")
        write_file(target, written)
        say(f"wrote {target}")
        return
    if csv_file is not None:
        csv_file.write_text(as_csv(found), encoding="utf-8", newline="")
        say(f"wrote {csv_file}")
    if as_json:
        emit(found.model_dump(mode="json"))
        return
    if found.lines:
        click.echo(
            table(
                [
                    (utc(line.time), line.kind, dollars(line.amount), dollars(line.balance), line.reference)
                    for line in found.lines
                ]
            )
        )
    held = dollars(found.on_chain)
    say(f"balance {dollars(found.balance)} up to block {found.block}; the contract holds {held}")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rpc", metavar="URL", help="The chain node; else the context's.")
@context_option
@key_option
@yes_option
@json_option
def leave(
    file: Path, rpc: str | None, context_name: str | None, key: str | None, yes: bool, as_json: bool
) -> None:
    """Take everything out of a managed account, without its operator.

    FILE is the standing withdrawal that the service handed to the account's owner. Those of its signed
    withdrawals are sent that make the account's balance; they pay the address in it and nobody else. You pay
    the gas, with any key. What was sent before is left out, so that this can be given again after a failure.
    """
    from prixfixe.errors import InvalidInput
    from prixfixe.protocol.accounts import StandingWithdrawal
    from prixfixe.protocol.money import Money

    try:
        standing = StandingWithdrawal.model_validate(read_json(file))
    except ValueError as error:
        raise InvalidInput(f"{file} is no standing withdrawal", code="bad-standing-withdrawal") from error
    context = chosen_context(context_name, key)
    market, signer = open_market(context, rpc), open_signer(context)
    balance = market.account(standing.account).free
    rows = [
        ("from", f"account {standing.account}, which can pay {balance}"),
        ("to", standing.to),
        ("good until", moment(standing.deadline, market.time())),
        ("gas", f"for about {bin(balance.units).count('1')} transactions, from {signer.address}"),
    ]
    say(table(rows))
    if not yes:
        click.confirm("Send them?", abort=True, err=True)
    sent = _send(market, signer, standing, balance.units)
    left = market.account(standing.account).free
    document = {"to": standing.to, "sent": str(balance.units - left.units), "left": str(left.units)}
    if as_json:
        emit({**document, "transactions": sent})
        return
    click.echo(f"sent {Money(balance.units - left.units)} to {standing.to} in {len(sent)} transactions")
    if left:
        say(f"{left} is left: what makes it up was sent before")


def _send(market: MarketClient, signer: Signer, standing: StandingWithdrawal, left: int) -> list[str]:
    """The largest first; the hashes of what was sent."""
    from prixfixe.chain.carrying import carry
    from prixfixe.errors import ChainError

    sent = []
    for call, amount in reversed(_steps(standing)):
        if amount > left:
            continue
        try:
            outcome = carry(market, signer, call)
        except ChainError as refused:
            if refused.revert != "MarketSpent":
                raise
            continue
        sent.append(outcome.transaction_hash)
        left -= amount
    return sent


def _steps(standing: StandingWithdrawal) -> list[tuple[SignedCall, int]]:
    from prixfixe.errors import InvalidInput
    from prixfixe.protocol.orders import Withdraw
    from prixfixe.protocol.signed_calls import SignedCall

    steps = []
    for each in standing.calls:
        call = SignedCall.from_json(each)
        message = call.message
        if not isinstance(message, Withdraw) or (message.account, message.to) != (
            standing.account,
            standing.to,
        ):
            raise InvalidInput("a part of it pays somebody else", code="bad-standing-withdrawal")
        steps.append((call, message.amount))
    return sorted(steps, key=lambda step: step[1])


def _seconds(moment: Any) -> int | None:
    from datetime import UTC

    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp())
