"""A certificate of a job: what a receipt proves, for people who read no receipts (docs/certificates.md).

It is made of the receipt and its verification alone and holds no time of its making, so that the same receipt
has the same certificate. It proves nothing by itself: `receipt` is the digest of what does.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from prixfixe.protocol.fields import Address, Message, MoneyField, Sha256, Word
from prixfixe.protocol.receipt import TransactionReference

CheckKind: TypeAlias = Literal[
    "market", "seal", "order", "manifest", "quote", "terms", "definition", "deal-terms", "deal-legs",
    "deal-replica", "deal-result", "deal-outcome", "deal-cage", "deal-dispute", "task", "sum", "other",
]  # fmt: skip
# chain: the chain's own word. files: a file that somebody has. single: what a second provider would get.
# truth: whether the program computes what is wanted. definition, deal-result: not in the receipt.
UncheckedKind: TypeAlias = Literal["chain", "files", "single", "truth", "definition", "deal-result", "other"]


class Checked(Message):
    """Checks of one kind. held: all of them. detail: of the first that did not hold, else of the first."""

    what: CheckKind
    count: int
    held: bool
    detail: str


class Application(Message):
    """What was run. bundle, version, title, definition: None for an order of any image."""

    image: str
    bundle: str | None
    version: str | None
    title: str | None
    definition: Sha256 | None  # of the bundle's definition


class CertifiedFile(Message):
    """task: index of the task that wrote it; None for an input."""

    name: str
    sha256: Sha256
    size: int
    task: Annotated[int | None, Field(exclude_if=lambda task: task is None)] = None


class CertifiedDeal(Message):
    """One deal. providers: whom it was given to; signed: those whose word was paid for. returned: whether a
    judge gave the money back."""

    deal: Word
    providers: tuple[Address, ...]
    signed: tuple[Address, ...]
    outcome: Literal["settled", "refused", "expired"]
    tasks: int
    done: int
    returned: bool
    opened: TransactionReference
    ended: TransactionReference


class Certificate(Message):
    version: Literal[1] = 1
    job: Word
    chain_id: int
    contract: Address
    operator: Address
    customer: Address
    outcome: Literal["settled", "refunded"]
    application: Application
    parameters: Sha256  # of their canonical JSON
    tasks: int
    done: int
    quoted: MoneyField
    charged: MoneyField
    inputs: tuple[CertifiedFile, ...]
    outputs: tuple[CertifiedFile, ...]
    # What the application says of its own result, a number with a fraction as its text; None: it says
    # nothing, or its file is not kept any more.
    control_totals: dict[str, Any] | None
    deals: tuple[CertifiedDeal, ...]
    valid: bool  # everything that was checked holds
    checked: tuple[Checked, ...]
    not_checked: tuple[UncheckedKind, ...]
    receipt: Sha256  # of the receipt's bytes
