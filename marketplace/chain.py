"""What the service asks the chain, as one narrow question that costs one round trip.

Use cases know the protocol `ChainReader` and no client library, so that their tests need no chain, and no
request ever waits for an import or for three answers one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from prixfixe.errors import ChainError, Unavailable
from prixfixe.protocol.hashing import keccak256

if TYPE_CHECKING:
    from prixfixe.chain.rpc import Rpc

PRICING_ROLE: Final = keccak256(b"PRICING_ROLE")
_TRIES: Final = 4
_PAUSE_SECONDS: Final = 0.05
# A question by its name: a method of the node, or a view of the contract.
_Asked: TypeAlias = tuple[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account now, in the token's smallest unit. held: earnings of the dispute windows."""

    free: int
    held: int
    era: int


@dataclass(frozen=True, slots=True)
class ChainView:
    """One look at the chain.

    time: the second that a block made now would have, which is what a deadline is compared with. offers:
    until when each lives, 0 when it was never published. workers: until when each (provider, key) may sign,
    0 for never. fee_bps: of a match made now, hundredths of a percent; 0 when it was not asked for.
    """

    block: int
    time: int
    accounts: Mapping[str, AccountView] = field(default_factory=dict)
    offers: Mapping[bytes, int] = field(default_factory=dict)
    workers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    fee_bps: int = 0


class ChainReader(Protocol):
    """Reads of the market's contract. Unavailable when the node does not answer."""

    def look(
        self,
        *,
        accounts: Sequence[str] = (),
        offers: Sequence[bytes] = (),
        workers: Sequence[tuple[str, str]] = (),
        fee: bool = False,
    ) -> ChainView:
        """Everything named, in one exchange."""
        ...

    def may_price(self, address: str) -> bool:
        """Whether the contract gives `address` its pricing role."""
        ...


class MarketReader:
    """The reader of one deployed market behind one node. Safe for many threads."""

    def __init__(self, rpc: Rpc, contract: str) -> None:
        from prixfixe.chain.artefacts import load

        self._rpc = rpc
        self._contract = contract
        self._market = load("Market")

    def look(
        self,
        *,
        accounts: Sequence[str] = (),
        offers: Sequence[bytes] = (),
        workers: Sequence[tuple[str, str]] = (),
        fee: bool = False,
    ) -> ChainView:
        questions = [
            *(("account", (each,)) for each in accounts),
            *(("bundles", (each,)) for each in offers),
            *(("workers", each) for each in workers),
            *([("config", ())] if fee else ()),
        ]
        # On a quiet chain the latest block may be old, and a local chain's clock can be moved: what counts is
        # the block that is to come.
        blocks = [("eth_getBlockByNumber", (tag, False)) for tag in ("latest", "pending")]
        (latest, pending), found = self._answers(blocks, questions)
        results = iter(found)
        return ChainView(
            block=int(latest["number"], 16),
            time=max(int(block["timestamp"], 16) for block in (latest, pending) if block),
            accounts={each: _account(next(results)) for each in accounts},
            offers={each: next(results)["until"] for each in offers},
            workers={each: next(results) for each in workers},
            fee_bps=tuple(next(results).values())[1] if fee else 0,
        )

    def may_price(self, address: str) -> bool:
        _, [answer] = self._answers([], [("hasRole", (PRICING_ROLE, address))])
        return bool(answer)

    def _answers(self, plain: Sequence[_Asked], views: Sequence[_Asked]) -> tuple[list[Any], list[Any]]:
        """What the node answers to `plain`, and what the contract's views say. None of them reverts or is
        silent. A local chain that takes in a block just then may join its accounts with the time of the block
        before, in which no account can be so new, and one that goes back to a block has no contract for a
        moment: it is asked again."""
        for _ in range(_TRIES - 1):
            try:
                return self._asked_once(plain, views)
            except (ChainError, Unavailable) as error:
                if isinstance(error, Unavailable) and error.code != "empty-answer":
                    raise
            time.sleep(_PAUSE_SECONDS)
        return self._asked_once(plain, views)

    def _asked_once(self, plain: Sequence[_Asked], views: Sequence[_Asked]) -> tuple[list[Any], list[Any]]:
        calls = [self._call(name, arguments) for name, arguments in views]
        answers = self._rpc.batch([*plain, *calls])
        said = zip(views, answers[len(plain) :], strict=True)
        return answers[: len(plain)], [
            self._market.function(name).decode_answer(answer) for (name, _), answer in said
        ]

    def _call(self, name: str, arguments: Sequence[Any]) -> _Asked:
        data = self._market.function(name).encode_call(list(arguments))
        return "eth_call", ({"to": self._contract, "data": "0x" + data.hex()}, "latest")


def _account(result: Mapping[str, Any]) -> AccountView:
    return AccountView(free=result["free"], held=result["cur"] + result["prev"], era=result["era"])
