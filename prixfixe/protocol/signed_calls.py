"""What an account signed for somebody else to send, as it is handed over: a withdrawal, a closed lot, the end
of an era, with the chain and the contract that it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from prixfixe.errors import InvalidInput
from prixfixe.protocol.orders import Bump, Cancel, Order, Withdraw, order_from_json
from prixfixe.protocol.signatures import parse_signature
from prixfixe.protocol.typed_data import Domain, require_fields

VERSION: Final = 1

Message: TypeAlias = Withdraw | Cancel | Bump

_MESSAGES: Final[dict[str, type[Message]]] = {each.__name__: each for each in (Withdraw, Cancel, Bump)}
_FIELDS: Final = ["version", "type", "chainId", "contract", "message", "signature"]


@dataclass(frozen=True, slots=True)
class SignedCall:
    """A signed message and where it counts. signature: of a key, 64 or 65 bytes. order: whose lot a Cancel
    closes, which the contract must see whole; None for the others. InvalidInput when message and order do not
    belong together."""

    domain: Domain
    message: Message
    signature: bytes
    order: Order | None = None

    def __post_init__(self) -> None:
        if isinstance(self.message, Cancel) != (self.order is not None):
            raise InvalidInput("a Cancel needs its order, and nothing else has one", code="bad-signed-call")
        if isinstance(self.message, Cancel) and self._closed().digest(self.domain) != self.message.order:
            raise InvalidInput(
                "the Cancel names another order than the one beside it, or one of another market",
                code="bad-signed-call",
            )

    @property
    def account(self) -> str:
        """Whose word it is."""
        return self._closed().customer if isinstance(self.message, Cancel) else self.message.account

    def _closed(self) -> Order:
        assert self.order is not None  # checked when made
        return self.order

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "version": VERSION,
            "type": type(self.message).__name__,
            "chainId": self.domain.chain_id,
            "contract": self.domain.verifying_contract,
            "message": self.message.to_json(),
            "signature": "0x" + self.signature.hex(),
        }
        return document if self.order is None else {**document, "order": self.order.to_json()}

    @staticmethod
    def from_json(value: object) -> SignedCall:
        """The call of `to_json`'s object; InvalidInput for anything else."""
        if not isinstance(value, Mapping):
            raise InvalidInput("a signed call is a JSON object", code="bad-signed-call")
        closes = value.get("type") == Cancel.__name__
        require_fields(value, [*_FIELDS, "order"] if closes else _FIELDS, "signed call")
        if value["version"] != VERSION or value["type"] not in _MESSAGES:
            raise InvalidInput(
                f"a signed {value['type']!r} of version {value['version']!r} is not known",
                code="bad-signed-call",
                hint=f"version {VERSION} has {', '.join(_MESSAGES)}",
            )
        return SignedCall(
            domain=Domain(value["chainId"], value["contract"]),
            message=_MESSAGES[value["type"]].from_json(value["message"]),
            signature=parse_signature(value["signature"]),
            order=order_from_json(value["order"]) if closes else None,
        )
