"""The receipt: everything needed to check a finished job without asking the service again.

It carries the signed quote, the signed order, the manifest (inside the quote), a bundle's definition,
each lot's deal as the contract opened it, how it ended and the worker's signature over the result, and the
list of output files with their digests, all sealed by the operator. `prixfixe.client.verification` checks it
offline and against a chain that the verifier chose.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from prixfixe.protocol.fields import (
    Address,
    ClaimField,
    DealField,
    LegSignature,
    Message,
    MoneyField,
    OrderField,
    OutputManifestField,
    Signature,
    Word,
)
from prixfixe.protocol.money import Money
from prixfixe.protocol.wire import AnyQuote, CaseState, Reason

# A number that JSON cannot hold exactly.
Digits = Annotated[str, StringConstraints(pattern=r"^(?:0|[1-9][0-9]{0,28})$")]


class TransactionReference(Message):
    """Where on the chain something happened."""

    transaction: Word
    block: int
    log_index: int
    time: int  # the block's


class ReceiptTask(Message):
    """index: in the job. reason: of a task of a lot of several that failed, in its worker's words."""

    index: int
    status: int
    outputs: OutputManifestField
    reason: Annotated[Reason | None, Field(exclude_if=lambda reason: reason is None)] = None


class ReceiptDispute(Message):
    """A challenge of a settled deal, and how it ended so far.

    fact: the deal's when it was challenged, packed (`protocol.deals.Fact`). until: last second of a
    judgement. fees: what each signing leg gave towards the arbiter's. fee: what the arbiter got. returned: to
    the customer.
    """

    challenger: Address
    claim: ClaimField
    fact: Digits
    until: int
    bond: MoneyField
    fees: tuple[MoneyField, ...]
    opened: TransactionReference
    outcome: CaseState
    ended: TransactionReference | None
    fee: MoneyField | None
    returned: MoneyField | None


class ReceiptLeg(Message):
    """One of several replicas: whether its word counted, and if not, why. pay: what it earned or would have
    earned for a task."""

    provider: Address
    pay: MoneyField
    signed: bool
    reason: Reason | None


class ReceiptLot(Message):
    """One deal of one lot: opened, and then settled, refused or expired; settled, it may have been disputed.

    signatures: one a leg, "0x" for who did not sign. legs: only of a deal with several. fact: what the
    contract remembers of the settlement, packed, as of the receipt; None unless settled.
    cage: what its tasks ran in, as the worker that delivered them says and signs (`protocol.surroundings`).
    """

    deal_id: Word
    deal: DealField
    due: int
    opened: TransactionReference
    outcome: Literal["settled", "refused", "expired"]
    ended: TransactionReference
    root: Word | None
    done: int
    signatures: tuple[LegSignature, ...]
    tasks: tuple[ReceiptTask, ...]
    legs: Annotated[tuple[ReceiptLeg, ...], Field(exclude_if=lambda legs: not legs)] = ()
    fact: Digits | None = None
    disputes: tuple[ReceiptDispute, ...] = ()
    cage: Annotated[dict[str, Any] | None, Field(exclude_if=lambda cage: not cage)] = None

    @property
    def overturned(self) -> bool:
        """Whether the arbiter found it guilty: what it had kept went back to the customer."""
        return any(dispute.outcome == "guilty" for dispute in self.disputes)

    @property
    def signed(self) -> int:
        """A bit for each leg that signed, the first leg lowest."""
        return sum(1 << at for at, signature in enumerate(self.signatures) if signature != "0x")

    @property
    def kept(self) -> Money:
        """What the contract keeps of the customer's money when it is settled like this."""
        return self.deal.total - self.deal.given_back(min(self.done, self.deal.count), self.signed)


DIRECT: Final = "direct"  # a customer who came by itself


class Receipt(Message):
    version: Literal[1] = 1
    job: Word  # the order's digest
    chain_id: int
    contract: Address
    operator: Address
    quote: AnyQuote
    order: OrderField
    order_signature: Signature
    definition: dict[str, Any] | None  # the bundle's; None for a bid
    lots: tuple[ReceiptLot, ...]  # every deal that was ever opened for this job, in order
    outcome: Literal["settled", "refunded"]
    quoted: MoneyField
    charged: MoneyField
    reason: Reason | None
    channel: str = DIRECT  # by which the customer of a managed account came
    # By the operator over all of the above (`prixfixe.protocol.quotes.receipt_digest`): what no other
    # signature binds, such as the reason and the times, cannot be altered either. It proves no money; the
    # chain does.
    signature: Signature

    def _repr_html_(self) -> str:
        from prixfixe.client.notebook import receipt_html

        return receipt_html(self)
