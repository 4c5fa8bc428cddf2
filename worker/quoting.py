"""What a worker asks for its time: pure functions of settings, the market's wants and the chain's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.money import UNITS_PER_DOLLAR, Money
from prixfixe.protocol.orders import KIND_BIDS, KIND_BOTH, KIND_BUNDLES, Ask
from prixfixe.protocol.product import Product
from worker.gpus import models
from worker.settings import Sells, WorkerSettings

# A vCPU of the rate comes with this much memory; a task that needs more pays for the cores it keeps idle.
MEMORY_MIB_PER_VCPU: Final = 4096
KINDS: Final[Mapping[Sells, int]] = {"both": KIND_BOTH, "bundles": KIND_BUNDLES, "bids": KIND_BIDS}
_SECONDS_PER_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Standing:
    """What an ask rests on beside settings and product: the contract (its matcher), the provider's era, the
    chain's time in seconds, the worker's own key."""

    contract: str
    era: int
    now: int
    key: str


def slot_fits(settings: WorkerSettings, product: Product) -> str | None:
    """Why one slot cannot run the product, in words; None when it can. A slot is an even share of the
    machine."""
    for what, needed, whole, unit in (
        ("processor", product.milli_vcpu, settings.milli_vcpu, "milli-vCPU"),
        ("memory", product.memory_mib, settings.memory_mib, "MiB"),
        ("disk", product.disk_mib, settings.disk_mib, "MiB"),
    ):
        share = whole // settings.slots
        if needed > share:
            return f"{product.name} needs {needed} {unit} of {what}, a slot here has {share}"
    offered = models(settings.gpus).get(product.gpu_model, 0)
    if product.gpu_count > offered:
        return (
            f"{product.name} needs {product.gpu_count} GPU {product.gpu_model}, this worker offers {offered}"
        )
    return None


def slots_for(settings: WorkerSettings, product: Product) -> int:
    """How many tasks of the product run side by side: the worker's slots, or what its GPUs are enough for."""
    if not product.gpu_count:
        return settings.slots
    return min(settings.slots, models(settings.gpus).get(product.gpu_model, 0) // product.gpu_count)


def price(settings: WorkerSettings, product: Product) -> Money:
    """Least pay for one task: the rate for the larger of its share of cores and of memory over its whole time
    cap, at least the minimum. Rounded up to the token's smallest unit."""
    cores = max(
        Decimal(product.milli_vcpu) / 1000,
        Decimal(product.memory_mib) / MEMORY_MIB_PER_VCPU,
    )
    dollars = settings.rate * cores * product.max_seconds / _SECONDS_PER_HOUR
    units = int((dollars * UNITS_PER_DOLLAR).to_integral_value(ROUND_CEILING))
    return max(settings.minimum, Money(units))


def make_ask(settings: WorkerSettings, product: Product, standing: Standing, pay: Money | None = None) -> Ask:
    """The ask for a product: matched by the market's scheduler only, alive for `ask_seconds` less up to a
    third of them, by the worker's key: an ask does not name its worker, and two of one provider that signed
    the very same one would be one ask.

    pay: of one task; the worker's rate when None. `slots` is how many tasks of one lot run side by side,
    which sets the deal's deadline: all that the machine has for it. A lot with fewer tasks takes as many
    as it has.
    """
    return Ask(
        provider=settings.provider,
        product=product.to_bytes(),
        price=(price(settings, product) if pay is None else pay).units,
        slots=slots_for(settings, product),
        kinds=KINDS[settings.sells],
        customer=ZERO_ADDRESS,
        matcher=standing.contract,
        expiry=standing.now
        + settings.ask_seconds
        - int(standing.key, 16) % max(settings.ask_seconds // 3, 1),
        era=standing.era,
    )


def due_asks(
    settings: WorkerSettings,
    wanted: Iterable[Product],
    standing: Standing,
    resting: Mapping[bytes, Ask],
    price_of: Callable[[Product], Money] | None = None,
) -> list[Ask]:
    """New asks for the wanted products that fit: those never asked, past half of their life, or of another
    era or price than now. resting: product code -> the ask that the market holds. price_of: pay of one task;
    the worker's rate when None."""
    asks = []
    for product in wanted:
        if slot_fits(settings, product) is not None:
            continue
        pay = None if price_of is None else price_of(product)
        fresh = make_ask(settings, product, standing, pay)
        known = resting.get(fresh.product)
        if (
            known is None
            or known.expiry - standing.now < settings.ask_seconds / 2
            or known.expiry > fresh.expiry  # the chain went back in time: another chain, or a reset one
            or (known.era, known.price, known.matcher, known.slots)
            != (fresh.era, fresh.price, fresh.matcher, fresh.slots)
        ):
            asks.append(fresh)
    return asks
