"""The market's contract, read: frozen values, at the latest block or at one that is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

from prixfixe.chain import artefacts, events, transactions
from prixfixe.chain.abi import snake_case
from prixfixe.chain.events import EventClass, MarketEvent
from prixfixe.chain.parameters import Policy
from prixfixe.chain.rpc import Rpc
from prixfixe.errors import ChainError, ConfigurationError, NotFound
from prixfixe.late import recursion_limit_kept
from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.deals import lot_key
from prixfixe.protocol.hashing import keccak256
from prixfixe.protocol.money import Money
from prixfixe.protocol.typed_data import Domain

# A block: its number, its 0x-hex hash, or a name such as "latest".
BlockRef: TypeAlias = int | str

PRICING_ROLE: Final = keccak256(b"PRICING_ROLE")
PAUSER_ROLE: Final = keccak256(b"PAUSER_ROLE")
ADMIN_ROLE: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Account:
    """An account as of a block. free: can be spent. cur, prev: bundle earnings of this window and of the
    last, which can be disputed and become free by time. era: under which orders must be signed."""

    free: Money
    cur: Money
    prev: Money
    era: int


@dataclass(frozen=True, slots=True)
class BundleState:
    """until: last second of the offer, 0 when it was never published. float_: what pays legs above the
    price."""

    until: int
    float_: Money


@dataclass(frozen=True, slots=True)
class Config:
    """fee_bps: of later matches. held: what accounts, open deals and floats hold together."""

    scheduler: str
    fee_bps: int
    paused: bool
    deposit_cap: Money
    held: Money


@dataclass(frozen=True, slots=True)
class Block:
    """time: unix seconds, the clock of every deadline."""

    number: int
    hash: str
    parent_hash: str
    time: int


class MarketReads:
    """What can be asked of one market on one chain. Safe to share between threads."""

    def __init__(self, rpc: Rpc | str, contract: str, *, chain_id: int | None = None) -> None:
        """chain_id: refused with ConfigurationError when the node serves another; asked of the node when
        None."""
        self.rpc = Rpc(rpc) if isinstance(rpc, str) else rpc
        self.contract = parse_address(contract, name="contract")
        self._artefact = artefacts.load("Market")
        self._expected_chain_id = chain_id

    def close(self) -> None:
        """Closes the connection to the node."""
        self.rpc.close()

    @cached_property
    def chain_id(self) -> int:
        found = int(self.rpc.call("eth_chainId"), 16)
        if self._expected_chain_id not in (None, found):
            raise ConfigurationError(
                f"{self.rpc.shown_url} serves chain {found}, not {self._expected_chain_id}",
                code="wrong-chain",
                hint="check the address of the chain in the context",
            )
        return found

    @cached_property
    def domain(self) -> Domain:
        """Where orders for this market are signed."""
        return Domain(self.chain_id, self.contract)

    def account(self, owner: str, *, block: BlockRef = "latest") -> Account:
        """An account; the treasury's is the contract's own."""
        free, cur, prev, era = self.read("account", owner, block=block).values()
        return Account(Money(free), Money(cur), Money(prev), era)

    def lot(self, order: bytes, index: int, *, block: BlockRef = "latest") -> bytes:
        """The word of a lot; `prixfixe.protocol.deals` says what it means."""
        return bytes(self.read("lots", lot_key(order, index), block=block))

    def bundle(self, offer_id: bytes, *, block: BlockRef = "latest") -> BundleState:
        """State of an offer."""
        until, float_ = self.read("bundles", offer_id, block=block).values()
        return BundleState(until, Money(float_))

    def worker_until(self, provider: str, key: str, *, block: BlockRef = "latest") -> int:
        """Last second at which `key` may sign for `provider`; 0: never."""
        return int(self.read("workers", provider, key, block=block))

    def policy(self, *, block: BlockRef = "latest") -> Policy:
        found = self.read("policy", block=block)
        return Policy(**{snake_case(name): value for name, value in found.items()})

    def asks_arbiter(self, *, block: BlockRef = "latest") -> bool:
        """Whether each challenge calls the arbiter; fixed at deployment."""
        return bool(self.read("asksArbiter", block=block))

    def config(self, *, block: BlockRef = "latest") -> Config:
        scheduler, fee_bps, paused, cap, held = self.read("config", block=block).values()
        return Config(scheduler, fee_bps, paused, Money(cap), Money(held))

    def has_role(self, role: bytes, account: str, *, block: BlockRef = "latest") -> bool:
        """role: ADMIN_ROLE, PRICING_ROLE or PAUSER_ROLE."""
        return bool(self.read("hasRole", role, account, block=block))

    @cached_property
    def token(self) -> str:
        """Address of the token that the market holds."""
        return str(self.read("token"))

    def gas_balance(self, owner: str) -> int:
        """What an address holds of the chain's own coin, in wei."""
        return int(self.rpc.call("eth_getBalance", owner, "latest"), 16)

    def gas_price(self) -> int:
        """Wei that a unit of gas costs now."""
        return int(self.rpc.call("eth_gasPrice"), 16)

    def block(self, ref: BlockRef = "latest") -> Block:
        """A block; NotFound when the node does not have it (any more)."""
        by_hash = isinstance(ref, str) and len(ref) == 66
        found = self.rpc.call("eth_getBlockByHash" if by_hash else "eth_getBlockByNumber", _tag(ref), False)
        if found is None:
            raise NotFound(f"the chain has no block {ref}", fault="platform")
        return Block(
            int(found["number"], 16), found["hash"] or "", found["parentHash"], int(found["timestamp"], 16)
        )

    def time(self) -> int:
        """The chain's time: what a transaction that is sent now would see.

        A local chain makes a block only when something is sent, so its latest block may be old; the pending
        block has the time of the next.
        """
        return max(self.block("latest").time, self.block("pending").time)

    def is_deployed(self) -> bool:
        """Whether there is any contract at the address; `Deployment.check` says whether it is the right
        one."""
        return self._has_code(self.contract)

    def events(
        self,
        first: BlockRef,
        last: BlockRef = "latest",
        *,
        of: Sequence[EventClass] = (),
        id: bytes | None = None,
    ) -> list[MarketEvent]:
        """The market's events of blocks `first` to `last`, both inclusive, in the chain's order.

        of: only these classes. id: only with this first indexed value (a deal's, offer's or order's id).
        """
        wanted = ["0x" + events.topic_of(cls).hex() for cls in of] or None
        topics = [wanted] if id is None else [wanted, "0x" + id.hex()]
        query = {"address": self.contract, "fromBlock": _tag(first), "toBlock": _tag(last), "topics": topics}
        return self.decode_logs(self.rpc.call("eth_getLogs", query))

    def transaction_events(self, transaction_hash: str) -> list[MarketEvent]:
        """The market's events of one mined transaction; NotFound when the chain does not have it."""
        receipt = transactions.find_receipt(self.rpc, transaction_hash)
        if receipt is None:
            raise NotFound(f"the chain has no transaction {transaction_hash}", fault="platform")
        return self.decode_logs(receipt.logs)

    def decode_logs(self, logs: Sequence[Any]) -> list[MarketEvent]:
        """The events among logs; other contracts' are left out."""
        own = self.contract.lower()
        found = (events.decode(log) for log in logs if str(log["address"]).lower() == own)
        return [event for event in found if event is not None]

    def read(self, name: str, *arguments: Any, block: BlockRef = "latest") -> Any:
        """A view by its Solidity name: one value, or a dictionary."""
        function = self._artefact.function(name)
        return function.decode_answer(
            self._call(self.contract, function.encode_call(arguments), block, context=name)
        )

    def simulate(self, sender: str, name: str, *arguments: Any, block: BlockRef = "latest") -> Any:
        """The result that a call by `sender` would have; ChainError with the reason when it would revert."""
        function = self._artefact.function(name)
        data = function.encode_call(arguments)
        answer = self._call(self.contract, data, block, context=name, sender=sender)
        return function.decode_answer(answer) if function.outputs.items else None

    def web3_contract(self) -> Any:
        """The contract as web3.py's, for what is not wrapped here. Importing web3 takes more than a
        second."""
        with recursion_limit_kept():
            from web3 import HTTPProvider, Web3

        web3 = Web3(HTTPProvider(self.rpc.url.split()[0]))
        return web3.eth.contract(Web3.to_checksum_address(self.contract), abi=list(self._artefact.abi))

    def _has_code(self, address: str) -> bool:
        return str(self.rpc.call("eth_getCode", address, "latest")) != "0x"

    def _call(self, to: str, data: bytes, block: BlockRef, *, context: str, sender: str | None = None) -> str:
        """What the node answers to a call, in 0x-hex."""
        call = {"to": to, "data": "0x" + data.hex(), **({"from": sender} if sender else {})}
        by_hash = isinstance(block, str) and len(block) == 66
        try:
            return str(self.rpc.call("eth_call", call, {"blockHash": block} if by_hash else _tag(block)))
        except ChainError as error:
            raise transactions.decoded(error, context) from error


def _tag(ref: BlockRef) -> str:
    return hex(ref) if isinstance(ref, int) else ref
