"""The worker's own key: made in its data folder, encrypted with a password that lies beside it.

A worker must start again by itself after a power cut, so whoever reads its folder can sign as it, with or
without a password. What the key may do is therefore small (sell for its provider until a date, never move
money), and the folder is its user's alone.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from prixfixe.keys import Signer, ask_password, create_keystore, keystore_path, load_signer

KEY_FILE: Final = "key.json"
PASSWORD_FILE: Final = "key.password"


def key_spec(data: Path) -> str:
    """The key spec of the folder's own key."""
    return str(data.absolute() / KEY_FILE)


def make_key(data: Path) -> str:
    """Make the folder's own key; its address. Conflict when there is one."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = secrets.token_urlsafe(32)
    place = data / PASSWORD_FILE
    with suppress(FileNotFoundError):
        if not (data / KEY_FILE).exists():
            place.unlink()  # of a make that was cut off before there was a key
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(password + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    _, address = create_keystore(key_spec(data), password)
    return address


def open_key(data: Path, spec: str, chain_id: int) -> Signer:
    """The signer of a worker. The folder's own key opens by itself; any other as everywhere."""
    return load_signer(spec, chain_id=chain_id, password=lambda prompt: _password(data, spec, prompt))


def _password(data: Path, spec: str, prompt: str) -> str:
    with suppress(OSError):
        if keystore_path(spec.removeprefix("keystore:")).samefile(data / KEY_FILE):
            return (data / PASSWORD_FILE).read_text(encoding="ascii").rstrip("\n")
    return ask_password(prompt)
