"""What crosses HTTP: requests and answers of the service, as frozen models.

Each is parsed once at the edge and trusted after that. Unknown fields are refused in requests, so that a
misspelt option is an error and never a default. Conventions: addresses are EIP-55 strings; digests (SHA-256)
are 64 lower-case hex digits; chain words (ids, hashes, signatures) are 0x-hex; money is a decimal string of
the token's smallest unit; times are seconds since the epoch, on the chain's clock unless a field says
otherwise.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from prixfixe.protocol.benchmarks import SignedBenchmark
from prixfixe.protocol.egress import MOST_HOSTS
from prixfixe.protocol.fields import (
    Address,
    AskField,
    Body,
    DealField,
    LegSignature,
    Message,
    MoneyField,
    OfferField,
    OrderField,
    OutputManifestField,
    ProductField,
    PurchaseField,
    Replicas,
    ResultField,
    Seconds,
    Sha256,
    Signature,
    Word,
)
from prixfixe.protocol.manifest import (
    MOST_SECRETS,
    Capability,
    ImageName,
    InputFile,
    Isolation,
    JobManifest,
    SecretName,
)
from prixfixe.protocol.replicas import MOST_REPLICAS, Commitment
from prixfixe.protocol.secrets import SignedSealingKey

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
    """address: the one that was asked with, as the message must write it (EIP-55)."""

    nonce: str
    domain: str
    address: Annotated[Address | None, Field(exclude_if=lambda address: address is None)] = None


class SessionRequest(Body):
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


class BundlePublication(Body):
    """Sent by the pricing desk after its offers are on chain."""

    definition: dict[str, Any]  # prixfixe.protocol.bundle.BundleDefinition, JSON form, image filled in
    image_archive: Sha256  # blob that holds `docker save` of the image
    note: Annotated[str, StringConstraints(max_length=500)] = ""
    inputs: dict[str, Any] = Field(default_factory=dict)  # what the prices rest on, for the history
    override: Annotated[str, StringConstraints(max_length=500)] = ""  # why, although a stop rule says no


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


class QuoteRequest(Body):
    customer: Address
    bundle: str
    version: str | None = None  # the newest when none is named
    parameters: dict[str, Any]
    inputs: Annotated[tuple[InputFile, ...], Field(max_length=1000)]
    units: Annotated[int, Field(ge=0)]  # counted by the client's preflight; checked again inside the cage
    replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] | None = None  # the bundle's usual number


BidKind = Literal["flat", "auction"]
Placement = Literal["public", "vetted"]
JobKind = Literal["bundle", "flat", "auction"]


def _is_bid(value: Any) -> str:
    given = value if isinstance(value, dict) else getattr(value, "__dict__", ())
    return "bid" if "product" in given else "bundle"


class BidQuoteRequest(Body):
    """A wish for tasks of any image. Left out: `lot`, the service cuts the order so that the asks that rest
    share it; `price`, flat: what the best asks cost now, auction: the same and half more."""

    customer: Address
    kind: BidKind
    product: ProductField
    image: ImageName
    image_archive: Sha256 | None = None  # blob with `docker save` of the image; None: from its registry
    command: Annotated[tuple[str, ...], Field(max_length=256)]
    environment: dict[str, str] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: Annotated[tuple[InputFile, ...], Field(max_length=1000)] = ()
    tasks: Annotated[int, Field(ge=1, le=65_536)] = 1
    matrix: InputFile | None = None  # blob of parameters, one row a task (`protocol.matrix`)
    lot: Annotated[int, Field(ge=1, le=65_535)] | None = None
    replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = 1
    determinism: Literal["exact", "none"] = "none"
    price: MoneyField | None = None  # per task, all replicas and the fee: the most
    wait_seconds: Annotated[int, Field(ge=10, le=30 * 86_400)] = 600  # for a match
    deliver_seconds: Annotated[int, Field(ge=10, le=31 * 86_400)] | None = None  # from now to the result
    whole: bool = False
    providers: Annotated[tuple[Address, ...], Field(min_length=1, max_length=64)] | None = None
    # vetted: of those, none but whom the operator vouches for when it is quoted.
    placement: Placement = "public"
    isolation: Isolation | None = None  # what its cage must be beyond what every worker has
    hosts: Annotated[tuple[str, ...], Field(max_length=MOST_HOSTS)] = ()  # that it may call; none: no network
    secrets: Annotated[tuple[SecretName, ...], Field(max_length=MOST_SECRETS)] = ()  # names only


AnyQuoteRequest = Annotated[
    Annotated[QuoteRequest, Tag("bundle")] | Annotated[BidQuoteRequest, Tag("bid")], Discriminator(_is_bid)
]


class Excluded(Message):
    """How many resting asks a rule of the market keeps from an order."""

    reason: str
    asks: int


class QuotedIndex(Message):
    """What a task of the product has cost lately (`GET /v1/index`), beside what is asked for it here. p50:
    to one provider; None when nothing is known."""

    status: Literal["live", "stale", "fallback"]
    p50: MoneyField | None


class PastRuns(Message):
    """How long lots of the same image took: milliseconds that a tenth and nine tenths of the newest `sample`
    runs stayed below."""

    low_ms: int
    high_ms: int
    sample: int


class QuoteBase(Message):
    """What every price says before any money moves. Signed by the operator: typed data `Quote` (see
    `prixfixe.protocol.quotes`)."""

    id: str
    customer: Address
    total: MoneyField  # the most that the whole order can cost
    price: MoneyField  # per task, all replicas included
    replicas: Replicas = 1
    tasks: int
    lot: int
    manifest: JobManifest
    job: Word  # SHA-256 of the canonical manifest
    expires_at: Seconds
    order_expiry: Seconds  # latest `expiry` of the order that the service takes
    deliver_by: Seconds  # the order's `deliverBy`: result until then, or the full price back by the contract
    era: int  # the customer's, as the chain has it
    balance: MoneyField  # the customer's free balance, as the chain has it
    starts_in: int | None  # seconds until enough providers are free; None when nobody knows
    past: PastRuns | None  # None: this image has not run here yet
    live_asks: int  # how many providers could run it now
    excluded: tuple[Excluded, ...] = ()  # the asks of this product that could not, and why
    nearest: str | None = None  # of those, what would admit the one that fewest rules keep out
    # Left out by services that tell of no index: their quotes keep their bytes.
    index: Annotated[QuotedIndex | None, Field(exclude_if=lambda index: index is None)] = None
    signature: Signature


class Quote(QuoteBase):
    """The flat price of a bundle's run: charged exactly, for each task that succeeds."""

    bundle: str
    version: str
    tier: str
    unit: str
    units: int
    offer_id: Word
    offer: OfferField
    terms: Sha256  # digest of the refund terms that the definition states

    def _repr_html_(self) -> str:
        from prixfixe.client.notebook import quote_html

        return quote_html(self)


class BidQuote(QuoteBase):
    """The most that a bid for tasks of a product pays. flat: the best asks are taken at once, each paid what
    it asks; auction: it waits for the next batch and pays that batch's price."""

    kind: BidKind
    product: ProductField
    image_archive: Sha256 | None
    fee_bps: int  # the market's, part of the price
    expected: MoneyField | None  # the whole order by the asks that rest now; None when they are too few
    whole: bool  # all lots at once, or none
    providers: Annotated[tuple[Address, ...], Field(max_length=64)] | None  # whom the customer admits

    def _repr_html_(self) -> str:
        from prixfixe.client.notebook import quote_html

        return quote_html(self)


AnyQuote = Annotated[
    Annotated[Quote, Tag("bundle")] | Annotated[BidQuote, Tag("bid")], Discriminator(_is_bid)
]


class JobRequest(Body):
    """A signed order. replaces: a waiting bid of the same customer that leaves the book when this one takes
    its place; needs a session, as a cancel does."""

    quote: str
    order: OrderField
    signature: Signature
    replaces: Word | None = None


JobState = Literal["queued", "running", "settled", "refunded"]


class Reason(Message):
    """Why something ended, whose fault it was, what to do next."""

    code: str
    message: str
    hint: str = ""
    fault: Literal["none", "customer", "provider", "platform"] = "none"
    details: dict[str, Any] = Field(default_factory=dict)


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


class JobEnd(Message):
    """Tasks of a job that ended in the same way: why, whose fault it was, how many, and what they cost. Those
    of a lot whose result the arbiter found wrong are `judged-wrong`, and cost nothing any more."""

    code: str
    message: str
    fault: Literal["none", "customer", "provider", "platform"]
    tasks: int
    charged: MoneyField


class Job(Message):
    id: str  # the order's digest: the same order is the same job
    kind: JobKind
    state: JobState
    bundle: str | None  # of a purchase, as are version and tier
    version: str | None
    tier: str | None
    image: ImageName
    tasks: int
    quoted: MoneyField
    charged: MoneyField  # what the contract kept of the customer's money; exact once ended
    created_at: Seconds  # service clock
    ended_at: Seconds | None
    attempts: int
    progress: float | None  # 0..1 of the running attempt, as the application says
    stage: str  # a few words for people: "waiting for a worker", "running on w2", "settling"
    reason: Reason | None
    outputs: tuple[OutputFileInfo, ...]  # the first of them; `GET .../outputs` gives all
    output_count: int
    ends: tuple[JobEnd, ...] = ()  # how its tasks ended, once it is over; most tasks first
    disputes: tuple[JobDispute, ...] = ()  # in the chain's order
    # Of a queued job at a flat price: older ones of its product that are queued too; 100 for any more.
    ahead: int | None = None

    def _repr_html_(self) -> str:
        from prixfixe.client.notebook import job_html

        return job_html(self)


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


GpuModel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,10}[a-z0-9])?$")]
GpuCount = Annotated[int, Field(gt=0, le=255)]


class Resources(Message):
    milli_vcpu: Annotated[int, Field(gt=0, lt=2**32)]
    memory_mib: Annotated[int, Field(gt=0, lt=2**32)]
    disk_mib: Annotated[int, Field(ge=0, lt=2**32)]
    slots: Annotated[int, Field(gt=0, lt=2**16)]
    capabilities: tuple[Capability, ...] = ()  # that a job may need and not every worker has
    # Model -> how many; left out when there are none.
    gpus: Annotated[
        dict[GpuModel, GpuCount],
        Field(default_factory=dict, max_length=64, exclude_if=lambda found: not found),
    ]


class WorkerRegistration(Body):
    provider: Address
    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
    resources: Resources
    version: Annotated[str, StringConstraints(max_length=64)]
    # To whom a job's secrets are sealed; None of a worker that takes none.
    sealing: Annotated[SignedSealingKey | None, Field(exclude_if=lambda signed: signed is None)] = None


class SignedAsk(Message):
    ask: AskField
    signature: Signature


MOST_CACHED: Final = 64  # digests that a heartbeat names


class Heartbeat(Body):
    """`asks` are new or renewed ones only; one that rests stays until it expires, is replaced or the worker
    drains. trouble: why it drains, for its provider, unless it is being stopped."""

    asks: Annotated[tuple[SignedAsk, ...], Field(max_length=256)]
    running: Annotated[tuple[str, ...], Field(max_length=1024)]  # attempt ids
    draining: bool = False
    trouble: Annotated[str, Field(max_length=500)] | None = None
    stops_at: Seconds | None = None
    # Digests of images (as `sha256:...`) and inputs that it has, those used last; None: as it said before.
    cached: Annotated[tuple[ImageName | Sha256, ...], Field(max_length=MOST_CACHED)] | None = None


class HeartbeatAnswer(Message):
    stop: tuple[str, ...]  # attempts that the market has given up: stop their containers
    products: tuple[ProductField, ...]  # what live bundles need: worth quoting
    refused: tuple[Reason, ...]  # asks that were not taken, and why
    # Its lease: silent for longer than this, it loses what it runs. Each answer renews it.
    lease_seconds: float | None = None


class Assignment(Message):
    attempt: str
    deal: DealField
    deal_id: Word
    due: int  # packed as on chain
    deadline: Seconds
    order: OrderField
    manifest: JobManifest
    definition: dict[str, Any] | None  # a purchase's: the worker checks image and parameters itself
    image_archive: Sha256 | None  # blob that holds the image; None: it comes from its registry
    product: ProductField
    tasks: tuple[int, ...]  # indexes of this lot
    limit_units: int | None


class Deletion(Message):
    """A file (`name` is its digest) or the log of an attempt's task (`<attempt>-<task>`) that was deleted."""

    kind: Literal["file", "log"]
    name: str
    size: int
    at: int


class Deletions(Message):
    """What was deleted of a job, by policy or at its customer's word. signature: the operator's over the
    statement `{job, items}` (`protocol.signatures.statement_digest`, title "Prixfixe deletions")."""

    job: Word
    items: tuple[Deletion, ...]
    operator: Address
    signature: Signature


class Forgotten(Message):
    """What came of forgetting a job. deletions: all that was deleted of it until now. kept: its files that
    are still there, because something else names them."""

    deletions: Deletions
    kept: tuple[Sha256, ...]


class LogChunk(Body):
    """Text of one task, from `offset` bytes of what that task has said so far; how far it is, and, once it is
    over, how it ended. task: index in the job."""

    task: Annotated[int, Field(ge=0, lt=2**31)] = 0
    offset: Annotated[int, Field(ge=0)]
    text: Annotated[str, StringConstraints(max_length=65536)]
    progress: Annotated[float, Field(ge=0, le=1)] | None = None
    status: Annotated[int, Field(ge=0, le=255)] | None = None


class ReportAnswer(Message):
    accepted: bool
    reason: Reason | None = None


class CommitRequest(Body):
    """What a worker gives before it shows its result. signature: over `protocol.replicas.Commitment`."""

    hash: Word
    signature: Signature

    def commitment(self, deal: bytes, provider: str) -> Commitment:
        return Commitment(deal, provider, bytes.fromhex(self.hash[2:]))


class OpenRequest(Body):
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
    trouble: str | None = None  # why
    benchmark: SignedBenchmark | None = None  # the newest that it sent
