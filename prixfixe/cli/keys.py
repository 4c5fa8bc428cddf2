"""`prixfixe keys`: encrypted keys on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from prixfixe.cli.options import json_option
from prixfixe.cli.output import emit, say, table


@click.group()
def keys() -> None:
    """Make and list the keys that sign for you.

    A key is kept encrypted (keystore version 3, as wallets use) in the folder `keys` of PRIXFIXE_HOME. Its
    password is asked for on the terminal, or read from the file that PRIXFIXE_PASSWORD_FILE names; never
    from an argument. Wherever a command takes --key: a keystore's name or path, `command:PROGRAM` for a
    signer of your own, or `dev:N` for an account that everybody knows, on local chains only.

    \b
    Examples:
      prixfixe keys new finance
      prixfixe keys list
      prixfixe keys address finance
    """


@keys.command()
@click.argument("name")
@json_option
def new(name: str, as_json: bool) -> None:
    """Make a new key called NAME. Keep a copy of its file and its password: nobody can restore them."""
    path, address = make_keystore(name)
    if as_json:
        emit({"name": path.stem, "address": address, "path": str(path)})
        return
    click.echo(address)
    say(f"kept encrypted in {path}; copy this file to a safe place")
    say(f"use it: prixfixe context add NAME --service URL --key {path.stem}")


def make_keystore(name: str) -> tuple[Path, str]:
    """A new keystore with a password that is asked for twice; its path and address."""
    import os

    from prixfixe.errors import InvalidInput
    from prixfixe.keys import PASSWORD_FILE_VARIABLE, ask_password, create_keystore

    password = ask_password(f"New password for {name}: ")
    if not os.environ.get(PASSWORD_FILE_VARIABLE) and ask_password("Again: ") != password:
        raise InvalidInput(
            "the two passwords differ", code="passwords-differ", hint="nothing was made; try again"
        )
    return create_keystore(name, password)


@keys.command(name="list")
@json_option
def list_keys(as_json: bool) -> None:
    """List the keys of this machine, without opening any."""
    from prixfixe.keys import list_keystores

    found = list_keystores()
    if as_json:
        emit({"keys": [{"name": name, "address": address} for name, address in found]})
    elif found:
        click.echo(table(found, head=("NAME", "ADDRESS")))
    else:
        say("no keys yet: make one with `prixfixe keys new NAME`")


@keys.command()
@click.argument("key")
@click.option("--chain-id", type=int, default=31337, show_default=True, help="The chain it is opened for.")
@json_option
def address(key: str, chain_id: int, as_json: bool) -> None:
    """Print the address of a key.

    A keystore in the folder is not opened for that.
    """
    from prixfixe.client.setup import address_of_spec
    from prixfixe.keys import load_signer

    found = address_of_spec(key) or load_signer(key, chain_id=chain_id).address
    if as_json:
        emit({"key": key, "address": found})
    else:
        click.echo(found)
