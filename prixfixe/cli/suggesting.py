"""What a bundle should cost, and what its prices would have earned: asked of the service, computed here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, Final

from prixfixe.market.index import Trade
from prixfixe.market.pricing import (
    DAY_SECONDS,
    BackTest,
    Suggestion,
    Term,
    back_test,
    failure,
    suggest,
    verification,
    volatility,
)
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.money import UNITS_PER_DOLLAR, Money
from prixfixe.protocol.product import Product

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.client import Client
    from prixfixe.protocol.desk import DeskInputs

MOST_TRADES: Final = 20_000  # recorded legs that a back-test looks at, the newest
# From order to paid, when this service has not sent any itself: the goals of `scripts/bench gas`.
_GAS_ONE_REPLICA: Final = 137_000
_GAS_MORE: Final = 29_000
_WEI_PER_COIN: Final = 10**18


@dataclass(frozen=True, slots=True)
class Choices:
    """What a person decides about a suggestion. Margins in ten-thousandths; None: as computed. coin_price:
    dollars for one of the chain's coins; 0: gas is counted as free. days: how far the back-test looks
    back."""

    volatility_bps: int | None = None
    verification_bps: int | None = None
    coin_price: Decimal = Decimal(0)
    gas_price: int | None = None
    days: int = 30


@dataclass(frozen=True, slots=True)
class TierTest:
    """A tier's price on the recorded market. price, max_cost: of one task with all its replicas."""

    label: str
    replicas: int
    price: int
    max_cost: int
    test: BackTest


@dataclass(frozen=True, slots=True)
class Advice:
    """Suggestions by number of replicas, the tests of the prices at hand, and what stops a new version."""

    product: Product
    status: str
    suggestions: tuple[Suggestion, ...]
    tiers: tuple[TierTest, ...]
    stops: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As the history keeps it: whole numbers and text only, money as digits."""
        return {
            "product": self.product.name,
            "index": self.status,
            "suggestions": [_suggestion_json(each) for each in self.suggestions],
            "tiers": [
                {
                    "tier": each.label,
                    "price": str(each.price),
                    "max_cost": str(each.max_cost),
                    "back_test": test_json(each.test),
                }
                for each in self.tiers
            ],
            "stops": list(self.stops),
        }


def advise(
    client: Client,
    market: MarketClient,
    product: Product,
    replicas: Sequence[int],
    choices: Choices,
    definition: BundleDefinition | None = None,
) -> Advice:
    """Suggest a price for the product with each number of replicas, and test the definition's prices, or the
    suggested ones when there is none, on the recorded market."""
    bundle = None if definition is None else definition.id
    wei = choices.gas_price if choices.gas_price is not None else market.gas_price()
    known = [client.perform(client.operations.desk_inputs(product, count, bundle)) for count in replicas]
    suggestions = [suggestion(inputs, choices, wei) for inputs in known]
    gas = {each.replicas: each.terms[-1].value for each in suggestions}
    recorded = _recorded(client, product, known[0].index.time - choices.days * DAY_SECONDS)
    if definition is not None:
        sold = [
            (_label(tier.name, n), n, offer.price, offer.max_cost) for tier, n, offer in definition.offers()
        ]
    else:
        sold = [
            (f"suggested x{each.replicas}", each.replicas, each.price, each.max_cost) for each in suggestions
        ]
    tiers = tuple(
        TierTest(
            label,
            count,
            price,
            most,
            back_test(recorded, price=price, max_cost=most, replicas=count, gas=gas.get(count, 0)),
        )
        for label, count, price, most in sold
    )
    return Advice(product, known[0].index.status, tuple(suggestions), tiers, known[0].stops)


def suggestion(inputs: DeskInputs, choices: Choices, wei: int) -> Suggestion:
    """The price with this number of replicas. wei: what a unit of gas costs."""
    index = inputs.index
    p50, p90 = (None if each is None else each.units for each in (index.p50, index.p90))
    source = {
        "index": f"P50 of the {index.status} index",
        "trades": "the middle of what trades there are: too few makers for an index",
        "asks": "the middle of what is asked now: nothing was paid lately",
        "none": "nothing: neither trades nor asks",
    }[index.source]
    ask = Term("ask", p50 or 0, source, index.trades if index.source != "asks" else 0)
    margins = (
        volatility(p50, p90, index.trades, index.status)
        if choices.volatility_bps is None
        else Term("volatility", choices.volatility_bps, "chosen"),
        failure(inputs.failed, inputs.settled),
        verification(inputs.replicas, choices.verification_bps),
    )
    return suggest(inputs.replicas, ask, margins, _gas(inputs, choices.coin_price, wei))


def _gas(inputs: DeskInputs, coin_price: Decimal, wei: int) -> Term:
    units, said = inputs.gas, f"median of {inputs.gas_samples} sent by this service"
    if units is None:
        units = _GAS_ONE_REPLICA + _GAS_MORE * (inputs.replicas - 1)
        said = "the benchmarks' goal"
    if not coin_price:
        return Term("gas", 0, f"{units:,} gas ({said}), counted as free: no --coin-price", inputs.gas_samples)
    dollars = Decimal(units) * wei * coin_price / _WEI_PER_COIN
    value = int((dollars * UNITS_PER_DOLLAR).to_integral_value(ROUND_CEILING))
    return Term("gas", value, f"{units:,} gas ({said}) at {wei:,} wei", inputs.gas_samples)


def _recorded(client: Client, product: Product, oldest: int) -> list[Trade]:
    return [
        Trade(each.time, each.price.units, each.tasks, each.provider, each.customer)
        for each in client.trades(product, MOST_TRADES)
        if each.time >= oldest
    ]


def _label(tier: str, replicas: int) -> str:
    return tier if replicas == 1 else f"{tier} x{replicas}"


def _suggestion_json(made: Suggestion) -> dict[str, Any]:
    return {
        "replicas": made.replicas,
        "price": str(made.price),
        "max_cost": str(made.max_cost),
        "terms": [
            {"name": term.name, "value": str(term.value), "source": term.source, "samples": term.samples}
            for term in made.terms
        ],
    }


def test_json(test: BackTest) -> dict[str, Any]:
    worst = test.worst
    return {
        "tasks": test.tasks,
        "losses": test.losses,
        "loss_bps": test.loss_bps,
        "unfilled": test.unfilled,
        "margin": str(test.margin),
        "worst_day": None if worst is None else {"start": worst.start, "margin": str(worst.margin)},
    }


def text(advice: Advice) -> str:
    """For people: each term with its source, then each price on the recorded market."""
    from prixfixe.cli.output import table

    blocks = []
    for made in advice.suggestions:
        rows = [(f"  {term.name}", _value(term, made.replicas), _samples(term)) for term in made.terms]
        head = f"{advice.product.name}, replicas {made.replicas}: {Money(made.price)} a task"
        most = f"  its legs may cost {Money(made.max_cost)} at most (max_cost)"
        blocks.append("\n".join((head, table(rows), most)))
    tested = [
        (
            "  " + tier.label,
            str(Money(tier.price)),
            f"{tier.test.tasks:,}",
            f"{tier.test.loss_bps / 100:.2f} %",
            f"{tier.test.unfilled:,}",
            signed(tier.test.margin),
            _worst(tier.test),
        )
        for tier in advice.tiers
    ]
    if any(tier.test.tasks for tier in advice.tiers):
        columns = ("  PRICE OF", "IS", "TASKS", "LOSSES", "UNFILLED", "LEFT IN ALL", "WORST DAY")
        blocks.append("on the recorded market:\n" + table(tested, head=columns))
    else:
        blocks.append("no trades are recorded for this product: there is nothing to test a price on")
    blocks += [f"frozen: {why}" for why in advice.stops]
    return "\n".join(blocks)


def signed(units: int) -> str:
    """Money that may be below zero."""
    return f"-{Money(-units)}" if units < 0 else str(Money(units))


def _value(term: Term, replicas: int) -> str:
    if term.name == "ask":
        return f"{Money(term.value)}" + (f" x {replicas}" if replicas > 1 else "")
    return f"+ {Money(term.value)}" if term.name == "gas" else f"+ {term.value / 100:.2f} %"


def _samples(term: Term) -> str:
    return term.source + (f" ({term.samples:,} samples)" if term.samples else "")


def _worst(test: BackTest) -> str:
    if test.worst is None:
        return "-"
    day = time.strftime("%Y-%m-%d", time.gmtime(test.worst.start))
    return f"{day}: {signed(test.worst.margin)}"
