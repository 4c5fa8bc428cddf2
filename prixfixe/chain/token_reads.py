"""The token, as far as the market's money needs it: balances, allowances, and whether it takes signatures.

A plain ERC-20 has no more than the first; EIP-2612 and EIP-3009 are asked for and never assumed.
"""

from __future__ import annotations

from typing import Any, Final

from prixfixe.chain.abi import parse_function
from prixfixe.chain.sending import MarketSender
from prixfixe.errors import ChainError, InvalidInput, Unavailable
from prixfixe.protocol.money import Money
from prixfixe.protocol.typed_data import Domain

_FUNCTIONS: Final = {
    name: parse_function(
        {
            "name": name,
            "inputs": [{"name": str(at), "type": kind} for at, kind in enumerate(inputs)],
            "outputs": [{"name": "", "type": output}] if output else [],
        }
    )
    for name, inputs, output in (
        ("balanceOf", ["address"], "uint256"),
        ("allowance", ["address", "address"], "uint256"),
        ("approve", ["address", "uint256"], "bool"),
        ("mint", ["address", "uint256"], ""),
        ("name", [], "string"),
        ("version", [], "string"),
        ("nonces", ["address"], "uint256"),
        ("DOMAIN_SEPARATOR", [], "bytes32"),
        ("authorizationState", ["address", "bytes32"], "bool"),
    )
}
# Who states no version signs as this one (EIP-2612's own example, and OpenZeppelin's).
_USUAL_VERSION: Final = "1"


class TokenReads(MarketSender):
    """Reads of the market's token, and its two calls that a market needs."""

    def token_balance(self, owner: str, *, block: int | str = "latest") -> Money:
        """What an address holds of the token outside of the market."""
        return Money(self._ask_token("balanceOf", owner, block=block))

    def token_domain(self) -> Domain | None:
        """Where signatures for the token count; None when it does not say, or says it in a way that cannot
        be checked against its own separator, so that nobody signs for the wrong one."""
        separator, name = self._ask_if_there("DOMAIN_SEPARATOR"), self._ask_if_there("name")
        if separator is None or name is None:
            return None
        version = self._ask_if_there("version")
        domain = Domain(self.chain_id, self.token, name, _USUAL_VERSION if version is None else version)
        return domain if domain.separator == separator else None

    def permit_nonce(self, owner: str) -> int | None:
        """The nonce of the owner's next EIP-2612 permit; None when the token takes none."""
        nonce = self._ask_if_there("nonces", owner)
        return None if nonce is None else int(nonce)

    def takes_authorisations(self) -> bool:
        """Whether the token has EIP-3009."""
        return self._ask_if_there("authorizationState", self.contract, bytes(32)) is not None

    def is_authorisation_used(self, owner: str, nonce: bytes) -> bool:
        """Whether the token has taken an authorisation (EIP-3009), or its owner took it back."""
        return bool(self._ask_token("authorizationState", owner, nonce))

    def _ask_token(self, name: str, *arguments: Any, block: int | str = "latest") -> Any:
        function = _FUNCTIONS[name]
        return function.decode_answer(
            self._call(self.token, function.encode_call(arguments), block, context=name)
        )

    def _ask_if_there(self, name: str, *arguments: Any) -> Any:
        """As `_ask_token`, of what a token need not have: None when it has it not. One that takes any call
        says nothing to it, as a node does that is behind; it is the token when its code is there and it says
        nothing again."""
        for _ in range(2):
            try:
                return self._ask_token(name, *arguments)
            except (ChainError, InvalidInput):
                return None
            except Unavailable as error:
                if error.code != "empty-answer" or not self._has_code(self.token):
                    raise
        return None

    def _token_call(self, name: str, *arguments: Any) -> bytes:
        return _FUNCTIONS[name].encode_call(arguments)
