"""`prixfixe admin credit` and `prixfixe admin accounts`: the operator's part of managed accounts."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prixfixe.cli.failures import set_json
from prixfixe.cli.options import MoneyType
from scheduler.admin_options import data_option, database_option, json_option

if TYPE_CHECKING:
    from prixfixe.protocol.money import Money


@click.command()
@click.argument("account")
@click.argument("amount", type=MoneyType())
@click.option("--invoice", required=True, help="Number of the invoice that was paid; counts once.")
@click.option("--note", default="", help="For your books.")
@data_option
@database_option
@json_option
def credit(
    account: str,
    amount: Money,
    invoice: str,
    note: str,
    data: Path,
    database: str | None,
    as_json: bool,
) -> None:
    """Record money that was received for ACCOUNT, and have the service deposit it.

    ACCOUNT is a managed account's address, or the e-mail address of its owner. The service sends AMOUNT of
    the operator's own tokens to it, once for each invoice whatever happens; on SQLite it looks for such work
    every half minute. The same command again shows how far the deposit is, and tries again one that failed,
    such as for want of tokens.

    \b
    Example:
      prixfixe admin credit ada@example.com 500 --invoice 2026-017
    """
    set_json(as_json)
    from marketplace.accounts import top_ups
    from scheduler.status import open_store

    with closing(open_store(data, database)) as store:
        shown, sends = top_ups.credit(store, account, amount, invoice, note)
    if as_json:
        click.echo(json.dumps({**shown.model_dump(mode="json"), "sends": sends}))
        return
    goes = "goes to the chain" if sends else f"is {shown.state}"
    where = f" in transaction {shown.transaction}" if shown.transaction else ""
    click.echo(f"invoice {shown.invoice}: the deposit of {shown.amount} {goes}{where}")


@click.command("reset-password")
@click.argument("email")
@data_option
@database_option
@json_option
def reset_password(email: str, data: Path, database: str | None, as_json: bool) -> None:
    """Give the person who signs in as EMAIL a new password, for one who has forgotten it.

    It is printed this once; hand it over and have it changed. All sessions of the person end. Make sure first
    of who is asking: the service cannot.
    """
    set_json(as_json)
    from marketplace.accounts import resetting
    from scheduler.status import open_store

    with closing(open_store(data, database)) as store:
        password = resetting.reset_password(store, email)
    click.echo(json.dumps({"email": email, "password": password}) if as_json else password)


@click.command()
@data_option
@database_option
@json_option
def accounts(data: Path, database: str | None, as_json: bool) -> None:
    """List the managed accounts: address, name, owners, how they came, and what was credited to them.

    Reads the store only, so it also works while the service is down; balances are the chain's to tell
    (`prixfixe account show ADDRESS`).
    """
    set_json(as_json)
    from marketplace.accounts.listing import list_accounts
    from scheduler.status import opened

    with opened(data, database) as connection:
        found = list_accounts(connection)
    if as_json:
        click.echo(json.dumps({"accounts": [each.to_json() for each in found]}))
        return
    for each in found:
        came = f"  by {each.channel}" if each.channel else ""
        click.echo(f"{each.address}  {each.name}  {', '.join(each.owners)}  credited {each.credited}{came}")
    if not found:
        click.echo("there are no managed accounts")
