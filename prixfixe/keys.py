"""Keys: who signs, and where its key lies.

A *key spec* is a short text that names a key and never is one:

    NAME or keystore:NAME   an encrypted keystore (JSON, version 3) in PRIXFIXE_HOME/keys, or its path
    command:PROGRAM ARGS    an external signer: a program that reads one JSON object and answers with one
    dev:N                   account N of the well-known development mnemonic; local chains only

A keystore's password comes from the file that PRIXFIXE_PASSWORD_FILE names, else from a prompt; never from an
argument, which every user of the machine could read. No `repr`, error or log of this module shows a secret.

The external signer's protocol: `{"version": 1, "method": "address"}` is answered by `{"address": "0x..."}`
and `{"version": 1, "method": "sign", "digest": "0x...", "chain_id": N}` by `{"signature": "0x..."}`. Every
signature is checked against the address before it is used. One that holds a seed (`prixfixe.seeds`) is told
which of its keys is meant: `"path": "m/44'/60'/7'/0/0"`.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

from prixfixe.development_keys import development_key, require_usable
from prixfixe.errors import ConfigurationError, Conflict, InvalidInput, NotFound, PrixfixeError, Unavailable
from prixfixe.late import recursion_limit_kept
from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.signatures import address_of_key, parse_signature, require_signer, sign
from prixfixe.protocol.typed_data import Domain, TypedStruct

PASSWORD_FILE_VARIABLE: Final = "PRIXFIXE_PASSWORD_FILE"
_SIGNER_TIMEOUT_SECONDS: Final = 120  # a person may have to press a button on a device
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class Signer(Protocol):
    """Something that signs for one address on one chain."""

    @property
    def address(self) -> str:
        """EIP-55 address of the key."""
        ...

    @property
    def chain_id(self) -> int:
        """The chain that it was opened for."""
        ...

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r | s | v over 32 bytes."""
        ...


class LocalSigner:
    """A private key in this process's memory."""

    __slots__ = ("__key", "_address", "_chain_id")

    def __init__(self, private_key: bytes, *, chain_id: int) -> None:
        """DevelopmentKeyRefused for a well-known key on a chain that is not local."""
        self._address = address_of_key(private_key)
        self._chain_id = chain_id
        require_usable(self._address, chain_id)
        self.__key = private_key

    @property
    def address(self) -> str:
        return self._address

    @property
    def chain_id(self) -> int:
        return self._chain_id

    def sign_digest(self, digest: bytes) -> bytes:
        require_usable(self._address, self._chain_id)
        return sign(digest, self.__key)

    def __repr__(self) -> str:
        return f"LocalSigner({self._address}, chain_id={self._chain_id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer holds a private key and is never copied or pickled")


class CommandSigner:
    """A key held by another program: a hardware wallet's, a vault's, a signing service's."""

    __slots__ = ("_address", "_chain_id", "_command", "_path")

    def __init__(self, command: Sequence[str], *, chain_id: int, path: str | None = None) -> None:
        """path: which of the keys below the program's seed is meant (BIP-32); None: its one key."""
        if not command:
            raise ConfigurationError("the external signer has no program to run", code="bad-key-spec")
        self._command = tuple(command)
        self._chain_id = chain_id
        self._path = path
        answer = self._ask({"version": 1, "method": "address"})
        self._address = parse_address(answer.get("address"), name="the external signer's address")
        require_usable(self._address, chain_id)

    @property
    def address(self) -> str:
        return self._address

    @property
    def chain_id(self) -> int:
        return self._chain_id

    def sign_digest(self, digest: bytes) -> bytes:
        require_usable(self._address, self._chain_id)
        question = {
            "version": 1,
            "method": "sign",
            "digest": "0x" + digest.hex(),
            "chain_id": self._chain_id,
        }
        signature = parse_signature(self._ask(question).get("signature"))
        require_signer(digest, signature, self._address)
        return signature

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        program = self._command[0]
        if self._path is not None:
            question = {**question, "path": self._path}
        try:
            done = subprocess.run(
                self._command,
                input=json.dumps(question),
                capture_output=True,
                text=True,
                timeout=_SIGNER_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"the external signer {program} did not answer in time") from error
        except OSError as error:
            raise ConfigurationError(f"the signer {program} does not run: {error.strerror}") from error
        # What the program printed is not repeated: it may hold what only the program should know.
        if done.returncode != 0:
            raise PrixfixeError(
                f"the external signer {program} refused (exit {done.returncode})", code="signer-refused"
            )
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ConfigurationError(
                f"the external signer {program} answered no JSON object", code="signer-protocol"
            )
        return answer

    def __repr__(self) -> str:
        return f"CommandSigner({self._address}, chain_id={self._chain_id})"


def sign_typed(signer: Signer, struct: TypedStruct, domain: Domain) -> bytes:
    """The signature of an order or result. Refuses a domain on another chain than the signer was opened
    for."""
    if domain.chain_id != signer.chain_id:
        raise ConfigurationError(
            f"the key was opened for chain {signer.chain_id}, and the order is for chain {domain.chain_id}",
            code="wrong-chain",
            hint="choose the context of the chain that you mean",
        )
    require_usable(signer.address, domain.chain_id)
    return signer.sign_digest(struct.digest(domain))


def development_signer(index: int, *, chain_id: int = 31337) -> LocalSigner:
    """Account `index` (0 to 19) of the development mnemonic."""
    return LocalSigner(development_key(index), chain_id=chain_id)


def load_signer(spec: str, *, chain_id: int, password: Callable[[str], str] | None = None) -> Signer:
    """The signer that a key spec names, opened for one chain.

    password: asked for the keystore's, with a prompt text; by default the password file, else the terminal.
    """
    kind, separator, rest = spec.partition(":")
    if separator and kind == "dev":
        if not (rest.isascii() and rest.isdigit()):
            raise InvalidInput(f"key spec {spec!r}: dev: takes a number, such as dev:3", code="bad-key-spec")
        return development_signer(int(rest), chain_id=chain_id)
    if separator and kind == "command":
        return CommandSigner(command_words(rest), chain_id=chain_id)
    path = keystore_path(rest if separator and kind == "keystore" else spec)
    return LocalSigner(open_keystore(path, password or ask_password), chain_id=chain_id)


def command_words(text: str) -> list[str]:
    """The program and arguments of a `command:` spec. InvalidInput when a quotation has no end."""
    try:
        return shlex.split(text)
    except ValueError:
        raise InvalidInput(
            "the command has a quotation without an end",
            code="bad-key-spec",
            hint="quote it as in a shell: command:pass 'my market'",
        ) from None


def opens_unasked(spec: str) -> bool:
    """Whether the key can be opened and signs without anybody being asked for anything, such as a password or
    a touch."""
    kind, separator, _ = spec.partition(":")
    if separator and kind in ("dev", "command"):
        return kind == "dev"
    return bool(os.environ.get(PASSWORD_FILE_VARIABLE))


# ------------------------------------------------------------------------------------------------ keystores


def home() -> Path:
    """PRIXFIXE_HOME, else the folder `prixfixe` in the XDG data folder. Not created here."""
    if chosen := os.environ.get("PRIXFIXE_HOME"):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME", "")
    # The XDG specification says that a relative path there is to be ignored.
    base = Path(data) if Path(data).is_absolute() else Path.home() / ".local" / "share"
    return base / "prixfixe"


def keystore_folder() -> Path:
    """Where keystores lie by name."""
    return home() / "keys"


def keystore_path(name: str) -> Path:
    """The file of a keystore: a path when it looks like one, else by name in the folder."""
    if "/" in name or name.endswith(".json"):
        return Path(name).expanduser()
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name[:40]!r} is not a key's name",
            code="bad-key-spec",
            hint="give a keystore's name (letters, digits, '.', '-', '_') or path, dev:N, or command:PROGRAM",
        )
    return keystore_folder() / f"{name}.json"


def list_keystores() -> list[tuple[str, str]]:
    """(name, address) of every keystore in the folder, sorted by name; nothing is decrypted."""
    found = []
    for path in sorted(keystore_folder().glob("*.json")):
        found.append((path.stem, keystore_address(str(path))))
    return found


def keystore_address(name: str) -> str:
    """The address of a keystore, by name or path; it is not decrypted. NotFound when there is none."""
    path = keystore_path(name)
    address = str(_read_keystore(path).get("address", ""))
    return parse_address("0x" + address.removeprefix("0x"), name=f"address of {path.name}")


def create_keystore(name: str, password: str, *, private_key: bytes | None = None) -> tuple[Path, str]:
    """Writes a new keystore that only this user may read. A fresh random key unless one is given.

    Returns (path, address). Conflict when the file exists: a key is never overwritten.
    """
    with recursion_limit_kept():
        from eth_keyfile.keyfile import create_keyfile_json  # late: it takes a second to import

    if not password:
        raise InvalidInput("an empty password protects nothing", code="empty-password")
    key = private_key if private_key is not None else _random_key()
    address = address_of_key(key)
    document = create_keyfile_json(key, password.encode("utf-8"))
    path = keystore_path(name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Conflict(f"there is a keystore {path.name} already", hint="choose another name") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(document, stream)
    return path, address


def ask_password(prompt: str) -> str:
    """The password from the file that PRIXFIXE_PASSWORD_FILE names (its first line), else from the
    terminal."""
    if name := os.environ.get(PASSWORD_FILE_VARIABLE):
        try:
            return Path(name).read_text(encoding="utf-8").split("\n", 1)[0]
        except OSError as error:
            raise ConfigurationError(f"the password file {name} cannot be read: {error.strerror}") from error
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "a keystore's password is needed and there is no terminal to ask on",
            code="no-password",
            hint=f"write it to a file that only you may read and set {PASSWORD_FILE_VARIABLE} to its path",
        )
    return getpass.getpass(prompt)


def open_keystore(path: Path, password: Callable[[str], str]) -> bytes:
    """The 32 secret bytes of a keystore; never to be shown. ConfigurationError for a wrong password."""
    document = _read_keystore(path)
    secret = password(f"Password of {path.stem}: ")

    with recursion_limit_kept():
        from eth_keyfile.keyfile import decode_keyfile_json

    try:
        return bytes(decode_keyfile_json(document, secret.encode("utf-8")))
    except Exception:  # it raises ValueError, KeyError and its own; none may carry the password or the key on
        raise ConfigurationError(
            f"the keystore {path.name} does not open with this password", code="wrong-password"
        ) from None


def _read_keystore(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no keystore {path.stem}",
            hint="make one: `prixfixe keys new`, or list them: `prixfixe keys list`",
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the keystore {path.name} cannot be read", code="bad-keystore") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"the keystore {path.name} is not a JSON object", code="bad-keystore")
    return document


def _random_key() -> bytes:
    while True:
        key = os.urandom(32)
        try:
            address_of_key(key)
        except ConfigurationError:  # zero or above the curve's order: one in 2^128
            continue
        return key
