"""What crosses HTTP: requests and answers of the service, as frozen models.

Each is parsed once at the edge and trusted after that. Unknown fields are refused in requests, so that a
misspelt option is an error and never a default. Conventions: addresses are EIP-55 strings; digests (SHA-256)
are 64 lower-case hex digits; chain words (ids, hashes, signatures) are 0x-hex; money is a decimal string of
the token's smallest unit; times are seconds since the epoch, on the chain's clock unless a field says
otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, Protocol, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    model_validator,
)

from prixfixe.protocol.addresses import parse_address
from prixfixe.protocol.deals import Deal, Offer
from prixfixe.protocol.disputes import Claim
from prixfixe.protocol.manifest import InputFile, JobManifest
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Ask, Purchase, Result
from prixfixe.protocol.outputs import OutputManifest
from prixfixe.protocol.product import Product
from prixfixe.protocol.replicas import MOST_REPLICAS, Commitment

Address = Annotated[str, PlainValidator(parse_address)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Word = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{64}$")]
Signature = Annotated[str, StringConstraints(pattern=r"^0x(?:[0-9a-f]{128}|[0-9a-f]{130})$")]
# Of one leg among several: "0x" where it did not sign.
LegSignature = Annotated[str, StringConstraints(pattern=r"^0x(?:[0-9a-f]{128}|[0-9a-f]{130})?$")]
# Left out when it is one, so that what was signed before there were more keeps its bytes.
Replicas = Annotated[int, Field(ge=1, le=MOST_REPLICAS, exclude_if=lambda count: count == 1)]
Seconds = Annotated[int, Field(ge=0, lt=2**40)]
# Of a report's reason and cage together; an honest worker's have some hundreds.
MAX_WORDS_BYTES: Final = 32_768


class _Json(Protocol):
    """A protocol value with its own exact JSON form."""

    def to_json(self) -> dict[str, Any]: ...

    @classmethod
    def from_json(cls, data: Any) -> Self: ...


_V = TypeVar("_V", bound=_Json)


def _validator(cls: type[_V]) -> Callable[[Any], _V]:
    return lambda value: value if isinstance(value, cls) else cls.from_json(value)


def _money(value: Any) -> Money:
    if isinstance(value, Money):
        return value
    if not isinstance(value, str) or not value.isascii() or not value.isdigit():
        raise ValueError("money is a string of digits: the token's smallest unit")
    return Money(int(value))


def _product(value: Any) -> Product:
    if isinstance(value, Product):
        return value
    if not isinstance(value, str):
        raise ValueError("a product is its 0x-hex code")
    return Product.from_bytes(bytes.fromhex(value.removeprefix("0x")))


_dump = PlainSerializer(lambda value: value.to_json(), return_type=dict)

MoneyField = Annotated[
    Money, PlainValidator(_money), PlainSerializer(lambda m: str(m.units), return_type=str)
]
ProductField = Annotated[
    Product, PlainValidator(_product), PlainSerializer(lambda p: "0x" + p.to_bytes().hex(), return_type=str)
]
PurchaseField = Annotated[Purchase, PlainValidator(_validator(Purchase)), _dump]
AskField = Annotated[Ask, PlainValidator(_validator(Ask)), _dump]
ResultField = Annotated[Result, PlainValidator(_validator(Result)), _dump]
DealField = Annotated[Deal, PlainValidator(_validator(Deal)), _dump]
ClaimField = Annotated[Claim, PlainValidator(_validator(Claim)), _dump]
OfferField = Annotated[Offer, PlainValidator(_validator(Offer)), _dump]
OutputManifestField = Annotated[OutputManifest, PlainValidator(_validator(OutputManifest)), _dump]


class Message(BaseModel):
    """Base of all: frozen, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


# --- the market -----------------------------------------------------------------------------------


class PolicyNumbers(Message):
    """The contract's fixed numbers that a signer relies on (seconds, token units, basis points)."""

    window: int
    grace: int
    notice: int
    surety: MoneyField
    bond: MoneyField
    max_fee_bps: int
    arbiter: Address


class Market(Message):
    """Everything a client needs to talk to this market; it checks chain and contract against its own
    context."""

    name: str
    version: str
    chain_id: int
    contract: Address
    token: Address
    token_symbol: str
    token_decimals: int
    operator: Address  # signs quotes, is the contract's scheduler
    policy: PolicyNumbers
    max_blob_bytes: int
    heartbeat_seconds: float  # a worker that is silent for three of these is lost


# --- sessions (EIP-4361) --------------------------------------------------------------------------


class Nonce(Message):
    nonce: str
    domain: str


class SessionRequest(Message):
    message: Annotated[str, StringConstraints(max_length=4096)]
    signature: Signature


class Session(Message):
    token: str
    address: Address
    expires_at: Seconds  # service clock


# --- bundles --------------------------------------------------------------------------------------


class ListedTier(Message):
    """One tier of a published bundle version with one number of replicas: an offer of its own on chain."""

    name: str
    replicas: int = 1
    unit: str
    up_to: int
    price: MoneyField
    offer_id: Word
    offer: OfferField
    until: Seconds

    @property
    def label(self) -> str:
        """The tier's name, with its replicas when there are several."""
        return self.name if self.replicas == 1 else f"{self.name} x{self.replicas}"


class BundlePublication(Message):
    """Sent by the pricing desk after its offers are on chain."""

    definition: dict[str, Any]  # prixfixe.protocol.bundle.BundleDefinition, JSON form, image filled in
    image_archive: Sha256  # blob that holds `docker save` of the image
    note: Annotated[str, StringConstraints(max_length=500)] = ""


class BundleListing(Message):
    id: str
    version: str
    definition: dict[str, Any]
    definition_digest: Sha256
    image: str
    image_archive: Sha256
    tiers: tuple[ListedTier, ...]
    published_at: Seconds
    retired: bool


# --- quotes and jobs ------------------------------------------------------------------------------


class QuoteRequest(Message):
    customer: Address
    bundle: str
    version: str | None = None  # the newest when none is named
    parameters: dict[str, Any]
    inputs: Annotated[tuple[InputFile, ...], Field(max_length=1000)]
    units: Annotated[int, Field(ge=0)]  # counted by the client's preflight; checked again inside the cage
    replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] | None = None  # the bundle's usual number


class Excluded(Message):
    """How many resting asks a rule of the market keeps from an order."""

    reason: str
    asks: int


class Quote(Message):
    """A price before any money moves. Signed by the operator: typed data `Quote` (see
    `prixfixe.protocol.quotes`)."""

    id: str
    customer: Address
    bundle: str
    version: str
    tier: str
    unit: str
    units: int
    total: MoneyField
    price: MoneyField  # per task, all replicas included
    replicas: Replicas = 1
    tasks: int
    lot: int
    offer_id: Word
    offer: OfferField
    manifest: JobManifest
    job: Word  # SHA-256 of the canonical manifest
    expires_at: Seconds
    order_expiry: Seconds  # latest `Purchase.expiry` that the service takes
    deliver_by: Seconds  # `Purchase.deliverBy`: result until then, or the full price back by the contract
    era: int  # the customer's, as the chain has it
    balance: MoneyField  # the customer's free balance, as the chain has it
    terms: Sha256  # digest of the refund terms that the definition states
    live_asks: int  # how many providers could run it now
    excluded: tuple[Excluded, ...] = ()  # the asks of this product that could not, and why
    nearest: str | None = None  # of those, what would admit the one that fewest rules keep out
    signature: Signature


class JobRequest(Message):
    quote: str
    purchase: PurchaseField
    signature: Signature


JobState = Literal["queued", "running", "settled", "refunded"]


class Reason(Message):
    """Why something ended, whose fault it was, what to do next."""

    code: str
    message: str
    hint: str = ""
    fault: Literal["none", "customer", "provider", "platform"] = "none"
    details: dict[str, Any] = {}


class OutputFileInfo(Message):
    path: str
    sha256: Sha256
    size: int


CaseState = Literal["open", "guilty", "acquitted", "lapsed"]
GroundName = Literal["wrong", "missing", "count"]


class JobDispute(Message):
    """A challenge of a job's settled result. open: it waits for the arbiter until `until`; guilty: `returned`
    went back to the customer; acquitted: the arbiter found nothing wrong; lapsed: it said nothing."""

    state: CaseState
    ground: GroundName
    task: int  # index in the job; the first of the lot when the ground names none
    challenger: Address
    bond: MoneyField
    until: Seconds
    returned: MoneyField


class Job(Message):
    id: str  # the purchase's digest: the same order is the same job
    state: JobState
    bundle: str
    version: str
    tier: str
    quoted: MoneyField
    charged: MoneyField  # what the contract kept of the customer's money; exact once ended
    created_at: Seconds  # service clock
    ended_at: Seconds | None
    attempts: int
    progress: float | None  # 0..1 of the running attempt, as the application says
    stage: str  # a few words for people: "waiting for a worker", "running on w2", "settling"
    reason: Reason | None
    outputs: tuple[OutputFileInfo, ...]
    disputes: tuple[JobDispute, ...] = ()  # in the chain's order


class JobEvent(Message):
    """One server-sent event; `id` grows by one within a job."""

    id: int
    kind: Literal["state", "progress", "log", "end"]
    data: dict[str, Any]


# --- cases --------------------------------------------------------------------------------------


class CaseTask(Message):
    """A task of a challenged deal as it was settled. index: in the job."""

    index: int
    status: int
    outputs: OutputManifestField


class CaseFile(Message):
    """What the arbiter is given of a challenged deal; it believes none of it without its hash."""

    deal_id: Word
    purchase: PurchaseField
    manifest: JobManifest
    definition: dict[str, Any]
    image_archive: Sha256
    tasks: tuple[CaseTask, ...]


# --- workers --------------------------------------------------------------------------------------


class Resources(Message):
    milli_vcpu: Annotated[int, Field(gt=0, lt=2**32)]
    memory_mib: Annotated[int, Field(gt=0, lt=2**32)]
    disk_mib: Annotated[int, Field(ge=0, lt=2**32)]
    slots: Annotated[int, Field(gt=0, lt=2**16)]


class WorkerRegistration(Message):
    provider: Address
    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
    resources: Resources
    version: Annotated[str, StringConstraints(max_length=64)]


class SignedAsk(Message):
    ask: AskField
    signature: Signature


class Heartbeat(Message):
    """`asks` are new or renewed ones only; one that rests stays until it expires, is replaced or the worker
    drains. trouble: why a worker drains that was not told to, for its provider."""

    asks: Annotated[tuple[SignedAsk, ...], Field(max_length=256)]
    running: Annotated[tuple[str, ...], Field(max_length=1024)]  # attempt ids
    draining: bool = False
    trouble: Annotated[str, Field(max_length=500)] | None = None


class HeartbeatAnswer(Message):
    stop: tuple[str, ...]  # attempts that the market has given up: stop their containers
    products: tuple[ProductField, ...]  # what live bundles need: worth quoting
    refused: tuple[Reason, ...]  # asks that were not taken, and why


class Assignment(Message):
    attempt: str
    deal: DealField
    deal_id: Word
    due: int  # packed as on chain
    deadline: Seconds
    purchase: PurchaseField
    manifest: JobManifest
    definition: dict[str, Any] | None  # the bundle's, so that the worker checks image and parameters itself
    image_archive: Sha256 | None
    product: ProductField
    tasks: tuple[int, ...]  # indexes of this lot
    limit_units: int | None


class LogChunk(Message):
    offset: Annotated[int, Field(ge=0)]
    text: Annotated[str, StringConstraints(max_length=65536)]
    progress: Annotated[float, Field(ge=0, le=1)] | None = None


class TaskReport(Message):
    """How the lot's one task ended, with the worker's signature over the root (a refusal when `done` is
    0)."""

    status: Annotated[int, Field(ge=0, le=255)]
    exit_code: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    outputs: OutputManifestField
    result: ResultField
    signature: Signature
    reason: Reason | None = None
    cage: dict[str, Any] = {}

    @model_validator(mode="after")
    def _short(self) -> Self:
        """What a worker says in words is kept for ever in job and receipt, so it is bounded."""
        words = [{} if self.reason is None else self.reason.model_dump(mode="json"), self.cage]
        if len(json.dumps(words, allow_nan=False)) > MAX_WORDS_BYTES:
            raise ValueError(f"reason and cage have more than {MAX_WORDS_BYTES} bytes of JSON")
        return self


class ReportAnswer(Message):
    accepted: bool
    reason: Reason | None = None


class CommitRequest(Message):
    """What a worker gives before it shows its result. signature: over `protocol.replicas.Commitment`."""

    hash: Word
    signature: Signature

    def commitment(self, deal: bytes, provider: str) -> Commitment:
        return Commitment(deal, provider, bytes.fromhex(self.hash[2:]))


class OpenRequest(Message):
    """The result behind a commitment, and the salt that proves it."""

    result: ResultField
    salt: Word
    signature: Signature  # over the result


class Round(Message):
    """How a deal of several replicas stands for one of its workers.

    committing: others have not committed yet. opening: show the result now. agreed: a quorum signed this
    worker's root; deliver. outvoted, split, over: nothing is paid for it, `reason` says why; stop.
    """

    state: Literal["committing", "opening", "agreed", "outvoted", "split", "over"]
    signatures: tuple[LegSignature, ...] = ()  # one a leg, when agreed: what settles the deal
    delivered: bool = False  # the outputs are at the service already
    reason: Reason | None = None


class WorkerStatus(Message):
    key: Address
    provider: Address
    name: str
    alive: bool
    free: MoneyField
    held: MoneyField  # earnings of the dispute windows: cur + prev
    surety: MoneyField
    running: int
    settled: int
    failed: int
    lost: int
    earned: MoneyField
    draining: bool = False  # takes no work
    trouble: str | None = None  # why, when nobody told it to
