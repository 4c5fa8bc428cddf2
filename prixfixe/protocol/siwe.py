"""Sign-in with a key (EIP-4361, version 1): the message, composed and read strictly.

The text is signed as EIP-191 (`personal_sign`). Reading accepts exactly what `compose` writes, field by field
and in the standard's order, so that no two texts mean the same and nothing hides in a line that is not looked
at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from prixfixe.errors import InvalidInput
from prixfixe.protocol.addresses import parse_address

_GREETING: Final = " wants you to sign in with your Ethereum account:"
_DOMAIN = re.compile(r"[A-Za-z0-9.\-_\[\]:]{1,255}", re.ASCII)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[!-~]{1,1024}", re.ASCII)
_NONCE = re.compile(r"[A-Za-z0-9]{8,64}", re.ASCII)
_STATEMENT = re.compile(r"[ -~]{1,256}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_CHAIN_ID = re.compile(r"[1-9]\d{0,76}", re.ASCII)
_MAX_CHARACTERS: Final = 4096


@dataclass(frozen=True, slots=True)
class SignIn:
    """What a person or worker signs to open a session.

    domain: host and port of the service, as it names itself. address: who signs in. uri: the service's base
    URL. nonce: from the service, used once. issued_at, expiration: RFC 3339 times.
    """

    domain: str
    address: str
    uri: str
    chain_id: int
    nonce: str
    issued_at: str
    statement: str | None = None
    expiration: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", parse_address(self.address, name="address"))
        _require(_DOMAIN, "domain", self.domain)
        _require(_URI, "URI", self.uri)
        _require(_NONCE, "nonce", self.nonce)
        if type(self.chain_id) is not int or self.chain_id < 1:
            raise _bad(f"chain id is {self.chain_id!r}, not a positive whole number")
        if self.statement is not None:
            _require(_STATEMENT, "statement", self.statement)
        _moment("issued at", self.issued_at)
        if self.expiration is not None:
            _moment("expiration time", self.expiration)

    @staticmethod
    def now(domain: str, address: str, uri: str, chain_id: int, nonce: str) -> SignIn:
        """A message of this moment."""
        issued = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return SignIn(domain, address, uri, chain_id, nonce, issued)

    @property
    def issued(self) -> float:
        """Seconds since the epoch at which it was made, as the signer's clock says."""
        return _moment("issued at", self.issued_at)

    @property
    def expires(self) -> float | None:
        """Seconds since the epoch after which it must not be accepted; None: it does not say."""
        return None if self.expiration is None else _moment("expiration time", self.expiration)

    def compose(self) -> str:
        """The text that is shown and signed."""
        lines = [f"{self.domain}{_GREETING}", self.address, ""]
        if self.statement is not None:
            lines += [self.statement]
        lines += [
            "",
            f"URI: {self.uri}",
            "Version: 1",
            f"Chain ID: {self.chain_id}",
            f"Nonce: {self.nonce}",
            f"Issued At: {self.issued_at}",
        ]
        if self.expiration is not None:
            lines += [f"Expiration Time: {self.expiration}"]
        return "\n".join(lines)

    @staticmethod
    def parse(text: str) -> SignIn:
        """The message of a text; InvalidInput unless it is exactly what `compose` writes for it."""
        if len(text) > _MAX_CHARACTERS:
            raise _bad(f"the message has more than {_MAX_CHARACTERS} characters")
        lines = _Lines(text)
        greeting = lines.take("the greeting")
        if not greeting.endswith(_GREETING):
            raise _bad(f"the message does not begin with a domain and {_GREETING.strip()!r}")
        address = lines.take("the address")
        lines.expect("")
        statement = lines.take("the statement")
        if statement:
            lines.expect("")
        found = SignIn(
            domain=greeting.removesuffix(_GREETING),
            address=address,
            uri=lines.field("URI"),
            chain_id=_version_then_chain_id(lines),
            nonce=lines.field("Nonce"),
            issued_at=lines.field("Issued At"),
            statement=statement or None,
            expiration=lines.field("Expiration Time") if lines.left else None,
        )
        if lines.left or found.compose() != text:
            raise _bad("the message is not written as the standard says")
        return found


class _Lines:
    """The lines of a message, taken one after the other."""

    def __init__(self, text: str) -> None:
        self.left = text.split("\n")

    def take(self, what: str) -> str:
        if not self.left:
            raise _bad(f"the message ends before {what}")
        return self.left.pop(0)

    def expect(self, line: str) -> None:
        if self.take("its fields") != line:
            raise _bad("an empty line is missing in the message")

    def field(self, name: str) -> str:
        line = self.take(f"its {name}")
        if not line.startswith(f"{name}: "):
            raise _bad(f"the message has no {name} where the standard wants it")
        return line.removeprefix(f"{name}: ")


def _version_then_chain_id(lines: _Lines) -> int:
    version = lines.field("Version")
    if version != "1":
        raise _bad(f"the message has version {version!r}, not 1")
    chain_id = lines.field("Chain ID")
    _require(_CHAIN_ID, "chain id", chain_id)
    return int(chain_id)


def _moment(name: str, text: object) -> float:
    _require(_TIME, name, text)
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError as error:
        raise _bad(f"{name} is {text!r}, which is no time") from error


def _require(pattern: re.Pattern[str], name: str, text: object) -> None:
    if type(text) is not str or not pattern.fullmatch(text):
        shown = repr(text)
        raise _bad(f"{name} is {shown if len(shown) <= 80 else shown[:77] + '...'}")


def _bad(message: str) -> InvalidInput:
    return InvalidInput(
        message,
        code="bad-sign-in",
        hint="sign the message that the service's nonce and domain give (EIP-4361, version 1)",
    )
