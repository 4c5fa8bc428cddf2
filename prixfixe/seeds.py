"""The operator's seed, from which every managed account has a key of its own.

A *seed spec* names a seed and never is one:

    NAME or keystore:NAME   an encrypted keystore, made by `prixfixe keys new`: its 32 bytes are the seed
    command:PROGRAM ARGS    an external signer that holds the seed; asked as in `prixfixe.keys`, with a `path`
    dev                     the well-known development mnemonic; local chains only

Account N has the key m/44'/60'/N'/0/0, where hardware wallets look for their N-th account. The third step is
hardened: the key of one account tells nothing of another's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NoReturn, Protocol

from prixfixe import development_keys
from prixfixe.derivation import HARDENED, derive, written
from prixfixe.errors import DevelopmentKeyRefused, InvalidInput
from prixfixe.keys import (
    CommandSigner,
    LocalSigner,
    Signer,
    ask_password,
    command_words,
    keystore_path,
    open_keystore,
)

MOST_ACCOUNTS: Final = HARDENED - 1
_MOST_KEPT: Final = 10_000


class Seed(Protocol):
    """Where the keys of managed accounts come from, on one chain."""

    @property
    def chain_id(self) -> int:
        """The chain that it was opened for."""
        ...

    def signer(self, number: int) -> Signer:
        """Of account `number`: 1, 2, ..."""
        ...


class LocalSeed:
    """A seed in this process's memory."""

    __slots__ = ("__seed", "_chain_id")

    def __init__(self, seed: bytes, *, chain_id: int) -> None:
        self.__seed = seed
        self._chain_id = chain_id

    @property
    def chain_id(self) -> int:
        return self._chain_id

    def signer(self, number: int) -> Signer:
        return LocalSigner(derive(self.__seed, path_of(number)), chain_id=self._chain_id)

    def __repr__(self) -> str:
        return f"LocalSeed(chain_id={self._chain_id})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a seed is never copied or pickled")


class CommandSeed:
    """A seed held by another program, which is asked once for an account's address. What is kept is that
    address: keys stay with the program, and a signature of another one is refused."""

    __slots__ = ("_chain_id", "_command", "_signers")

    def __init__(self, command: Sequence[str], *, chain_id: int) -> None:
        self._command = tuple(command)
        self._chain_id = chain_id
        self._signers: dict[str, CommandSigner] = {}  # by path
        self.signer(1)  # it answers

    @property
    def chain_id(self) -> int:
        return self._chain_id

    def signer(self, number: int) -> Signer:
        path = written(path_of(number))
        found = self._signers.get(path)
        if found is None:
            found = CommandSigner(self._command, chain_id=self._chain_id, path=path)
            if len(self._signers) >= _MOST_KEPT:
                self._signers.clear()
            self._signers[path] = found
        return found


def path_of(number: int) -> tuple[int, ...]:
    """Of an account's key. InvalidInput for what is no account's number."""
    if type(number) is not int or not 1 <= number <= MOST_ACCOUNTS:
        raise InvalidInput(f"{number!r} is no account's number: 1 to {MOST_ACCOUNTS}")
    return (44 | HARDENED, 60 | HARDENED, number | HARDENED, 0, 0)


def load_seed(spec: str, *, chain_id: int, password: Callable[[str], str] | None = None) -> Seed:
    """The seed that a spec names, opened for one chain; DevelopmentKeyRefused for `dev` off local chains.

    password: asked for the keystore's, with a prompt text; by default the password file, else the terminal.
    """
    if spec == "dev":
        if not development_keys.is_local_chain(chain_id):
            raise DevelopmentKeyRefused(
                f"the development seed is known to all: refused on chain {chain_id}", chain_id=chain_id
            )
        return LocalSeed(development_keys.seed(), chain_id=chain_id)
    kind, separator, rest = spec.partition(":")
    if separator and kind == "command":
        return CommandSeed(command_words(rest), chain_id=chain_id)
    path = keystore_path(rest if separator and kind == "keystore" else spec)
    secret = open_keystore(path, password or ask_password)
    if any(secret == development_keys.development_key(index) for index in range(20)):
        raise DevelopmentKeyRefused("a development key is no seed: it is known to all", chain_id=chain_id)
    return LocalSeed(secret, chain_id=chain_id)
