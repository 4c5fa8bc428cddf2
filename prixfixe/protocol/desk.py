"""What the pricing desk and the service tell each other. For addresses with the contract's pricing role."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from prixfixe.protocol.fields import Address, Body, Message, MoneyField, ProductField, Seconds, Word
from prixfixe.protocol.prices import PriceIndex

MOST_INPUT_BYTES = 32_768

# Why something is done although a stop rule says no; kept in the history.
Override = Annotated[str, StringConstraints(max_length=500)]


class DeskInputs(Message):
    """What a suggestion rests on. settled, failed: deals of the product that ended in 30 days, paid or not.
    gas: units of a task from order to paid, the median of `gas_samples` that this service sent with so many
    replicas; None when it sent none. stops: why no new version of the bundle may be published now."""

    product: ProductField
    replicas: int
    index: PriceIndex
    settled: int
    failed: int
    gas: int | None
    gas_samples: int
    stops: tuple[str, ...]


class PriceNote(Message):
    """One act of the pricing desk: who did what, why, and on which inputs."""

    number: int
    bundle: str
    version: str
    act: Literal["published", "retired"]
    by: Address
    at: Seconds  # service clock
    note: str
    inputs: dict[str, Any] = Field(default_factory=dict)
    override: str = ""


class RetireRequest(Body):
    note: Annotated[str, StringConstraints(max_length=500)] = ""


class OfferExposure(Message):
    """What one offer could cost the treasury. open: its deals that run. above: what their legs cost above the
    price, which comes out of the offer's float if all succeed. The float itself is on the chain."""

    offer_id: Word
    bundle: str
    version: str
    tier: str
    replicas: int
    product: ProductField
    price: MoneyField
    max_cost: MoneyField
    until: Seconds
    retired: bool
    open: int
    above: MoneyField


class Exposure(Message):
    """Every offer that lives, or has deals that run."""

    offers: tuple[OfferExposure, ...]
    time: Seconds  # the chain's
