"""`prixfixe account` of a managed account: what an API key can see and do, without wallet and chain node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.options import (
    MoneyType,
    chosen_context,
    context_option,
    json_option,
    open_client,
    yes_option,
)
from prixfixe.cli.output import emit, moment, say, table

if TYPE_CHECKING:
    from prixfixe.client import Context
    from prixfixe.protocol.accounts import Account, Limits
    from prixfixe.protocol.money import Money


class LimitType(MoneyType):
    """Dollars, or `none`."""

    name = "DOLLARS|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "none" else super().convert(value, param, ctx)


def require_api_key(context: Context) -> None:
    """ConfigurationError unless an API key speaks for this context's customer."""
    from prixfixe.client.setup import api_key_of
    from prixfixe.errors import ConfigurationError

    if api_key_of(context) is None:
        raise ConfigurationError(
            "this is of a managed account, and no API key is set",
            code="no-api-key",
            hint="put the key into PRIXFIXE_API_KEY, or say where it lies: `prixfixe context add` with "
            "--api-key; with a wallet: `prixfixe account show`",
        )


def show_managed(context: Context, as_json: bool) -> None:
    """The account of the context's API key."""
    with open_client(context) as client:
        found = client.account()
    if as_json:
        emit(found.model_dump(mode="json"))
    else:
        click.echo(table(_rows(found)))


def withdraw_managed(context: Context, amount: Money, yes: bool, as_json: bool) -> None:
    """Send money to the account's own withdrawal address."""
    import secrets

    from prixfixe.errors import ConfigurationError

    with open_client(context) as client:
        found = client.account()
        target = found.withdrawal.address
        if target is None:
            raise ConfigurationError(
                "the account has no withdrawal address; nothing was sent",
                code="no-withdrawal-address",
                hint="name it: prixfixe account withdraw-to ADDRESS",
            )
        if not yes:
            say(f"{found.spendable} can be spent or withdrawn")
            click.confirm(f"Send {amount} to {target}?", abort=True, err=True)
        sent = client.withdraw(amount, secrets.token_hex(16))
    if as_json:
        emit(sent.model_dump(mode="json"))
    else:
        say(f"{sent.amount} are on their way to {sent.to} ({sent.state}); see `prixfixe account statement`")


@click.command(name="top-ups")
@context_option
@json_option
def top_ups(context_name: str | None, as_json: bool) -> None:
    """Show what the operator received for a managed account, and how far its deposit is."""
    context = chosen_context(context_name)
    require_api_key(context)
    with open_client(context) as client:
        found = client.top_ups()
    if as_json:
        emit({"top_ups": [each.model_dump(mode="json") for each in found]})
    elif not found:
        say("nothing was received yet: pay the operator, who credits it with its invoice")
    else:
        rows = [(moment(each.at), each.invoice, str(each.amount), each.state) for each in found]
        click.echo(table(rows, head=("RECEIVED", "INVOICE", "AMOUNT", "DEPOSIT")))


@click.command()
@click.option("--per-job", type=LimitType(), help="The most that one order may cost; `none`: no limit.")
@click.option("--per-day", type=LimitType(), help="The most for all orders of 24 hours; `none`: no limit.")
@click.option("--warn-below", type=MoneyType(), help="With less to spend the account is said to be low.")
@context_option
@json_option
def limits(
    per_job: Any, per_day: Any, warn_below: Money | None, context_name: str | None, as_json: bool
) -> None:
    """Show or set what the service signs for a managed account.

    Without an option nothing is changed. To change them the API key needs the scope `manage`.

    \b
    Example:
      prixfixe account limits --per-job 20 --per-day 200
    """
    given = {"per_job": per_job, "per_day": per_day, "warn_below": warn_below}
    changes = {name: None if value == "none" else value for name, value in given.items() if value is not None}
    context = chosen_context(context_name)
    require_api_key(context)
    with open_client(context) as client:
        found = client.account().limits
        if changes:
            found = client.set_limits(found.model_copy(update=changes))
    if as_json:
        emit(found.model_dump(mode="json"))
    else:
        click.echo(table(_limit_rows(found)))


@click.command(name="withdraw-to")
@click.argument("address")
@yes_option
@context_option
@json_option
def withdraw_to(address: str, yes: bool, context_name: str | None, as_json: bool) -> None:
    """Fix the one ADDRESS to which a managed account's money may leave.

    The first counts at once as long as the account has had no money; another one only after a delay, so that
    a stolen key cannot empty the account. The API key needs the scope `manage`.
    """
    from prixfixe.protocol.addresses import parse_address

    target = parse_address(address)
    context = chosen_context(context_name)
    require_api_key(context)
    if not yes:
        click.confirm(f"Let money leave to {target} and no other address?", abort=True, err=True)
    with open_client(context) as client:
        found = client.fix_withdrawal_address(target)
    if as_json:
        emit(found.model_dump(mode="json"))
    elif found.next is None:
        say(f"money leaves to {found.address}")
    else:
        say(f"money leaves to {found.address or 'nobody'}; from {moment(found.next_at or 0)} to {found.next}")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@context_option
def standing(file: Path, force: bool, context_name: str | None) -> None:
    """Write a managed account's standing withdrawal to FILE.

    Signed withdrawals to its withdrawal address, good without the operator: with `prixfixe account leave
    FILE` anybody can send them. They pay that address and nobody else. The API key needs the scope `manage`.
    """
    from prixfixe.client.files import require_free_target
    from prixfixe.client.keeping import write_private

    require_free_target(file, overwrite=force)
    context = chosen_context(context_name)
    require_api_key(context)
    with open_client(context) as client:
        found = client.standing_withdrawal()
    write_private(file, found.model_dump_json(indent=1))
    say(f"{file}: everything to {found.to}, good until {moment(found.deadline)}; keep it")


def _rows(found: Account) -> list[tuple[str, str]]:
    leaving = found.withdrawal
    target = leaving.address or "no address yet: `prixfixe account withdraw-to ADDRESS`"
    if leaving.next is not None:
        target += f"; from {moment(leaving.next_at or 0)} {leaving.next}"
    low = "   low: pay the operator, who credits it" if found.low else ""
    return [
        ("account", f"{found.address}   {found.name}"),
        ("spendable", f"{found.spendable}{low}"),
        ("waiting", f"{found.waiting}   promised to orders that nobody has taken yet"),
        *_limit_rows(found.limits),
        ("spent", f"{found.spent_today}   by orders of the last 24 hours"),
        ("leaves to", target),
        ("key may", ", ".join(found.scopes)),
    ]


def _limit_rows(limits: Limits) -> list[tuple[str, str]]:
    return [
        ("per job", "no limit" if limits.per_job is None else f"at most {limits.per_job}"),
        ("per day", "no limit" if limits.per_day is None else f"at most {limits.per_day}"),
        ("warn below", f"{limits.warn_below}"),
    ]
