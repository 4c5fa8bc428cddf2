"""JSON-RPC to a chain: one connection a node kept open, a time limit on every call, errors of ours."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import Any, Final, Protocol, Self

from prixfixe.chain.endpoints import Endpoint, Endpoints, nonsense
from prixfixe.errors import ChainError

DEFAULT_TIMEOUT_SECONDS: Final = 20.0

# Substring of a node's message (nodes agree on words, not on numbers) -> our code, a retry helps.
_REFUSALS: Final = (
    ("nonce too low", "nonce-too-low", True),
    ("already known", "already-known", False),
    ("already imported", "already-known", False),
    ("replacement transaction underpriced", "underpriced", True),
    ("max fee per gas less than block base fee", "underpriced", True),
    ("insufficient funds", "no-gas-money", False),
)

_NO_GAS_HINT: Final = (
    "every transaction costs a little of the chain's own coin: send some to the key that signs; "
    "on a local chain: `prixfixe account faucet --key KEY`"
)


class Node(Protocol):
    """What answers JSON-RPC requests."""

    def post(self, body: Any) -> Any:
        """The answer to a request, or to a list of them."""
        ...

    def close(self) -> None: ...


class Rpc:
    """A chain behind one node, or behind several that stand in for one another (`Endpoints`). Safe to share
    between threads."""

    def __init__(self, url: str, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        """url: of a node; of several, separated by spaces. ConfigurationError for what is none."""
        nodes = [Endpoint(each, timeout_seconds) for each in url.split() or [""]]
        self.url = url
        self.several = len(nodes) > 1
        self.shown_url = ", ".join(node.shown_url for node in nodes)
        self._ids = count(1)
        self._nodes: Node = Endpoints(nodes) if self.several else nodes[0]
        # Who forgets to close leaves no open socket behind.
        self._close = weakref.finalize(self, self._nodes.close)

    def call(self, method: str, *params: Any) -> Any:
        """The result of one method. Unavailable when the node does not answer, ChainError when it refuses.

        A revert's data is in the ChainError's `values["data"]`, as 0x-hex.
        """
        answer = self._nodes.post(self._request(method, params))
        if not isinstance(answer, dict):
            raise nonsense(self.shown_url)
        return self._result(answer, method)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """The results of several methods in one exchange, in order; the first refusal is raised."""
        results = self.outcomes(calls)
        for result in results:
            if isinstance(result, ChainError):
                raise result
        return results

    def outcomes(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """As `batch`, but what is refused is given as its ChainError in its place."""
        if not calls:
            return []
        requests = [self._request(method, params) for method, params in calls]
        answers = self._nodes.post(requests)
        if isinstance(answers, dict) and "error" in answers:
            self._result(answers, "batch")
        if not isinstance(answers, list) or len(answers) != len(requests):
            raise nonsense(self.shown_url)
        by_id = {answer.get("id"): answer for answer in answers if isinstance(answer, dict)}
        results = []
        for request in requests:
            if request["id"] not in by_id:
                raise nonsense(self.shown_url)
            try:
                results.append(self._result(by_id[request["id"]], str(request["method"])))
            except ChainError as refusal:
                results.append(refusal)
        return results

    def close(self) -> None:
        """Closes the connection."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Rpc({self.shown_url})"

    def _request(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}

    def _result(self, answer: dict[str, Any], method: str) -> Any:
        refusal = answer.get("error")
        if refusal is None:
            if "result" not in answer:
                raise nonsense(self.shown_url)
            return answer["result"]
        if not isinstance(refusal, dict):
            raise nonsense(self.shown_url)
        text = str(refusal.get("message", ""))[:300]
        data = refusal.get("data")
        if isinstance(data, dict):  # some nodes wrap it
            data = data.get("data")
        code, retryable = next(
            ((code, retry) for part, code, retry in _REFUSALS if part in text.lower()), ("chain-error", False)
        )
        raise ChainError(
            f"{method}: {text}",
            code=code,
            hint=_NO_GAS_HINT if code == "no-gas-money" else None,
            retryable=retryable,
            rpc_code=refusal.get("code"),
            data=data if isinstance(data, str) and data.startswith("0x") else None,
        )
