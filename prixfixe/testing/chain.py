"""A chain with one market on it, in memory: a node that a test has in its hand.

It answers the JSON-RPC of a node, so `MarketClient`, and whatever else is given an `Rpc`, works on it as on a
real one. Time stands still unless the test moves it; a block is made for each transaction unless the test
holds them back; and the test can take blocks back, lose what waits, or be out of reach.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

from prixfixe.chain import artefacts
from prixfixe.chain.client import ADMIN_ROLE, PAUSER_ROLE, PRICING_ROLE, MarketClient
from prixfixe.chain.deployment import Deployment
from prixfixe.chain.parameters import Policy, Roles
from prixfixe.chain.rpc import Rpc
from prixfixe.errors import InvalidInput, Unavailable
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.ledger import Event, Ledger, Token
from prixfixe.protocol.typed_data import Domain
from prixfixe.testing.contract import Reverted, log_of, read, transact
from prixfixe.testing.transactions import Sent, parse

CHAIN_ID: Final = 31337
MARKET: Final = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
TOKEN: Final = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
_GAS: Final = 200_000
_GWEI: Final = 10**9
_COIN: Final = 10**24  # what every address has of the chain's own coin


@dataclass(frozen=True)
class Mined:
    """A transaction in its block."""

    sent: Sent
    succeeded: bool
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Block:
    """What the chain is after this block. nonces: next ones, by sender."""

    number: int
    hash: str
    parent: str
    time: int
    ledger: Ledger
    nonces: Mapping[str, int]
    mined: tuple[Mined, ...] = ()


@dataclass
class _Refusal(Exception):
    """An answer of the node that is an error."""

    message: str
    data: bytes | None = None


@dataclass
class Dials:
    """What a test turns. automine: a block for each transaction. reachable: whether anybody gets an
    answer."""

    automine: bool = True
    reachable: bool = True


class MemoryChain(Rpc):
    """A chain of id 31337 with a market and its play money."""

    def __init__(self, policy: Policy, roles: Roles, *, time: int) -> None:
        """time: unix seconds of its first block; the market is in it."""
        self.url = self.shown_url = "memory:"
        self.several = False
        self._nodes = self
        self._ids = count(1)
        self.dials = Dials()
        self._lock = threading.RLock()  # a market's threads ask, a test's changes
        self._policy, self._roles = policy, roles
        self._salt = count(1)  # so that a block that comes instead of another has another hash
        self._waiting: dict[str, Sent] = {}
        ledger = Ledger(
            policy=policy,
            domain=Domain(CHAIN_ID, MARKET),
            token=Token(Domain(CHAIN_ID, TOKEN, name="Dev Dollar")),
            scheduler=roles.scheduler,
            deposit_cap=policy.deposit_cap,
            now=time,
            roles=frozenset(
                {(ADMIN_ROLE, roles.admin), (PRICING_ROLE, roles.pricing), (PAUSER_ROLE, roles.pauser)}
            ),
        )
        self._blocks = [Block(0, self._hash(0), "0x" + bytes(32).hex(), time, ledger, {})]
        self._now = time

    # ------------------------------------------------------------------------------------- what a test does

    @property
    def rpc(self) -> Rpc:
        """Itself, where a chain is asked for its node."""
        return self

    @property
    def time(self) -> int:
        """Unix seconds that a block made now would have."""
        return self._now

    @property
    def head(self) -> int:
        """The number of the latest block."""
        return self._head.number

    @property
    def ledger(self) -> Ledger:
        """The market now."""
        return self._head.ledger.at(self._now)

    @property
    def deployment(self) -> Deployment:
        """What `deploy` would have given."""
        artefact = artefacts.load("Market")
        return Deployment(
            chain_id=CHAIN_ID,
            market=MARKET,
            token=TOKEN,
            policy=self._policy,
            roles=self._roles,
            block=1,
            transactions={},
            source_hash=artefact.source_hash,
            compiler=artefact.compiler,
        )

    def client(self) -> MarketClient:
        """The market's contract."""
        return MarketClient(self, MARKET)

    def advance(self, seconds: int) -> int:
        """Moves the clock and makes a block; the new time."""
        with self._lock:
            self._now += seconds
            self.mine()
            return self._now

    def mine(self) -> None:
        """A block of all that waits and can be mined, in the order of nonces."""
        with self._lock:
            before = self._head
            ledger, nonces = before.ledger.at(self._now), dict(before.nonces)
            mined = []
            for sent in sorted(self._waiting.values(), key=lambda each: each.transaction.nonce):
                if sent.transaction.nonce != nonces.get(sent.sender, 0):
                    continue
                nonces[sent.sender] = sent.transaction.nonce + 1
                try:
                    ledger, events = self._run(
                        ledger, sent.sender, sent.transaction.to, sent.transaction.data
                    )
                    mined.append(Mined(sent, True, tuple(events)))
                except Reverted:
                    mined.append(Mined(sent, False, ()))
            number = before.number + 1
            block = Block(number, self._hash(number), before.hash, self._now, ledger, nonces, tuple(mined))
            self._blocks.append(block)
            self._forget_stale()

    def lose_waiting(self) -> int:
        """Forgets every transaction that is not mined, as a node does that was restarted; how many."""
        with self._lock:
            lost = len(self._waiting)
            self._waiting.clear()
            return lost

    def reorganise(self, blocks: int) -> None:
        """Other blocks come in the place of the last ones, with nothing in them. The first one stays."""
        with self._lock:
            blocks = min(blocks, len(self._blocks) - 1)
            times = [block.time for block in self._blocks[len(self._blocks) - blocks :]]
            del self._blocks[len(self._blocks) - blocks :]
            for time in times:
                before = self._head
                number = before.number + 1
                ledger = before.ledger.at(time)
                self._blocks.append(
                    Block(number, self._hash(number), before.hash, time, ledger, before.nonces)
                )
            self._forget_stale()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody gets an answer for the length of the block."""
        self.dials.reachable = False
        try:
            yield
        finally:
            self.dials.reachable = True

    def close(self) -> None:
        """Nothing to close: whoever restarts finds the same chain."""

    # ------------------------------------------------------------------------------------- the node's side

    @property
    def _head(self) -> Block:
        return self._blocks[-1]

    def _hash(self, number: int) -> str:
        return (
            "0x" + keccak256(b"block" + number.to_bytes(8, "big") + next(self._salt).to_bytes(8, "big")).hex()
        )

    def _forget_stale(self) -> None:
        self._waiting = {
            name: each
            for name, each in self._waiting.items()
            if each.transaction.nonce >= self._head.nonces.get(each.sender, 0)
        }

    @staticmethod
    def _run(ledger: Ledger, sender: str, to: str | None, data: bytes) -> tuple[Ledger, list[Event]]:
        if to not in (MARKET, TOKEN):
            return ledger, []  # to somebody else: nothing of the market's
        return transact(ledger, sender, to, data)

    def post(self, body: Any) -> Any:
        """What a node answers to a request, or to a list of them."""
        if not self.dials.reachable:
            raise Unavailable("the chain in memory is out of reach", code="chain-unavailable")
        with self._lock:
            return [self._answer(each) for each in body] if isinstance(body, list) else self._answer(body)

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        method = getattr(self, "_on_" + request["method"], None)
        try:
            if method is None:
                raise _Refusal(f"the method {request['method']} does not exist")
            return {"id": request["id"], "result": method(*request["params"])}
        except _Refusal as refusal:
            error: dict[str, Any] = {"code": 3, "message": refusal.message}
            if refusal.data is not None:
                error["data"] = "0x" + refusal.data.hex()
            return {"id": request["id"], "error": error}

    def _block_at(self, tag: str | Mapping[str, str]) -> Block | None:
        """None for a block that is not there; "pending" is the head at the present time."""
        if isinstance(tag, Mapping):
            tag = tag["blockHash"]
        if tag in ("latest", "safe", "finalized"):
            return self._head
        if tag == "pending":
            return replace(self._head, ledger=self.ledger, time=self._now)
        if tag == "earliest":
            return self._blocks[0]
        if len(tag) == 66:
            return next((block for block in self._blocks if block.hash == tag), None)
        number = int(tag, 16)
        return self._blocks[number] if number < len(self._blocks) else None

    def _on_eth_chainId(self) -> str:
        return hex(CHAIN_ID)

    def _on_eth_blockNumber(self) -> str:
        return hex(self._head.number)

    def _on_eth_gasPrice(self) -> str:
        return hex(2 * _GWEI)

    def _on_eth_maxPriorityFeePerGas(self) -> str:
        return hex(_GWEI)

    def _on_eth_getBalance(self, _address: str, _tag: str = "latest") -> str:
        return hex(_COIN)

    def _on_eth_getCode(self, address: str, _tag: str = "latest") -> str:
        known = {MARKET.lower(): "Market", TOKEN.lower(): "DevDollar"}.get(address.lower())
        return "0x" if known is None else "0x" + artefacts.load(known).runtime_code.hex()

    def _on_eth_getTransactionCount(self, address: str, tag: str = "latest") -> str:
        nonce = self._head.nonces.get(address, 0)
        if tag == "pending":
            own = {each.transaction.nonce for each in self._waiting.values() if each.sender == address}
            while nonce in own:
                nonce += 1
        return hex(nonce)

    def _on_eth_getBlockByNumber(self, tag: str, _whole: bool = False) -> dict[str, Any] | None:
        block = self._block_at(tag)
        if block is None:
            return None
        return {
            "number": hex(block.number),
            "hash": block.hash,
            "parentHash": block.parent,
            "timestamp": hex(block.time),
            "baseFeePerGas": hex(_GWEI),
            "gasLimit": hex(30_000_000),
            "transactions": [each.sent.hash for each in block.mined],
        }

    _on_eth_getBlockByHash = _on_eth_getBlockByNumber

    def _on_eth_call(self, call: Mapping[str, str], tag: str | Mapping[str, str] = "latest") -> str:
        block = self._block_at(tag)
        if block is None:
            raise _Refusal("header not found")
        to, data = call.get("to", ""), bytes.fromhex(call.get("data", "0x")[2:])
        to = next((each for each in (MARKET, TOKEN) if each.lower() == to.lower()), to)
        try:
            answer = read(block.ledger, to, data)
            if answer is None:
                self._run(block.ledger, call.get("from", MARKET), to, data)
        except Reverted as reverted:
            raise _Refusal(f"execution reverted: {reverted}", reverted.data) from reverted
        return "0x" + (answer or b"").hex()

    def _on_eth_estimateGas(self, call: Mapping[str, str], _tag: str = "pending") -> str:
        self._on_eth_call(call, "pending")
        return hex(_GAS)

    def _on_eth_sendRawTransaction(self, raw: str) -> str:
        try:
            sent = parse(bytes.fromhex(raw[2:]))
        except InvalidInput as error:
            raise _Refusal(str(error)) from error
        nonce = sent.transaction.nonce
        if sent.hash in self._waiting or self._place_of(sent.hash) is not None:
            raise _Refusal("transaction already known")
        if nonce < self._head.nonces.get(sent.sender, 0):
            raise _Refusal("nonce too low")
        for name, other in list(self._waiting.items()):
            if (other.sender, other.transaction.nonce) == (sent.sender, nonce):
                if sent.transaction.max_fee * 10 < other.transaction.max_fee * 11:
                    raise _Refusal("replacement transaction underpriced")
                del self._waiting[name]
        self._waiting[sent.hash] = sent
        if self.dials.automine:
            self.mine()
        return sent.hash

    def _place_of(self, name: str) -> tuple[Block, int] | None:
        for block in reversed(self._blocks):
            for at, mined in enumerate(block.mined):
                if mined.sent.hash == name:
                    return block, at
        return None

    def _on_eth_getTransactionReceipt(self, name: str) -> dict[str, Any] | None:
        place = self._place_of(name)
        if place is None:
            return None
        block, at = place
        return {
            "transactionHash": name,
            "blockNumber": hex(block.number),
            "blockHash": block.hash,
            "status": hex(block.mined[at].succeeded),
            "gasUsed": hex(_GAS),
            "effectiveGasPrice": hex(2 * _GWEI),
            "contractAddress": None,
            "logs": [log for log in self._logs(block) if log["transactionHash"] == name],
        }

    def _on_eth_getTransactionByHash(self, name: str) -> dict[str, Any] | None:
        place = self._place_of(name)
        sent = self._waiting.get(name) if place is None else place[0].mined[place[1]].sent
        if sent is None:
            return None
        transaction = sent.transaction
        return {
            "hash": name,
            "from": sent.sender,
            "to": transaction.to,
            "input": "0x" + transaction.data.hex(),
            "nonce": hex(transaction.nonce),
            "gas": hex(transaction.gas),
            "maxFeePerGas": hex(transaction.max_fee),
            "maxPriorityFeePerGas": hex(transaction.priority_fee),
            "blockNumber": None if place is None else hex(place[0].number),
            "blockHash": None if place is None else place[0].hash,
        }

    def _on_eth_getLogs(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        first, last = self._number(query["fromBlock"]), self._number(query["toBlock"])
        return [
            log
            for block in self._blocks[first : last + 1]
            for log in self._logs(block)
            if _fits(log["topics"], query.get("topics") or [])
        ]

    def _number(self, tag: str) -> int:
        block = self._block_at(tag)
        return int(tag, 16) if block is None else block.number

    def _logs(self, block: Block) -> list[dict[str, Any]]:
        numbers = count()
        logs = []
        for mined in block.mined:
            for event in mined.events:
                topics, data = log_of(event)
                logs.append(
                    {
                        "address": MARKET,
                        "topics": ["0x" + topic.hex() for topic in topics],
                        "data": "0x" + data.hex(),
                        "blockNumber": hex(block.number),
                        "blockHash": block.hash,
                        "transactionHash": mined.sent.hash,
                        "logIndex": hex(next(numbers)),
                    }
                )
        return logs


def _fits(topics: Sequence[str], wanted: Sequence[Any]) -> bool:
    """Whether a log has the topics of a filter: None for any, a list for one of several."""
    if len(wanted) > len(topics):
        return False
    pairs = zip(topics, wanted, strict=False)
    return all(
        each is None or topic == each or (isinstance(each, list) and topic in each) for topic, each in pairs
    )
