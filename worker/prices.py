"""What a provider told its worker to ask: a price for all products or for one, and what it must not fall
below.

The rules lie in the worker's data folder (`prices.json`), written by `prixfixe worker price` and read anew by
the running worker at its next heartbeat. What it asks now, and why, it writes beside them (`quoted.json`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from prixfixe.errors import ConfigurationError, InvalidInput
from prixfixe.protocol.money import UNITS_PER_DOLLAR, Money
from prixfixe.protocol.prices import PriceIndex
from prixfixe.protocol.product import Product
from worker.quoting import price as own_price
from worker.settings import WorkerSettings

RULES_FILE: Final = "prices.json"
QUOTED_FILE: Final = "quoted.json"
_LEAST: Final = Money(1)  # an ask at nothing has nothing to lose and is refused
MOST_PERCENT: Final = 10_000
_UNREADABLE: Final = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    InvalidOperation,
    InvalidInput,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A price: `fixed`, or `follow` percent of the index's median, never below `floor`."""

    fixed: Money | None = None
    follow: int | None = None
    floor: Money = field(default_factory=lambda: Money(0))

    def __post_init__(self) -> None:
        if (self.fixed is None) == (self.follow is None):
            raise _wrong("a price is fixed or follows the index: one of the two")
        if self.fixed is not None and self.fixed < _LEAST:
            raise _wrong("a price of nothing has nothing to lose, and is refused")
        if self.follow is not None and not 1 <= self.follow <= MOST_PERCENT:
            raise _wrong(f"{self.follow} % of the index: 1 to {MOST_PERCENT}")

    def to_json(self) -> dict[str, Any]:
        price = {"follow": self.follow} if self.fixed is None else {"fixed": str(self.fixed.units)}
        return {**price, "floor": str(self.floor.units)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Rule:
        fixed, follow = value.get("fixed"), value.get("follow")
        return Rule(
            fixed=None if fixed is None else Money(int(fixed)),
            follow=None if follow is None else int(follow),
            floor=Money(int(value.get("floor", 0))),
        )


@dataclass(frozen=True, slots=True)
class PriceRules:
    """default: for products without a rule of their own; None: the rate that the worker was started with.
    products: by catalogue name. cost_per_hour: dollars that an hour of the whole machine costs its owner."""

    default: Rule | None = None
    products: Mapping[str, Rule] = field(default_factory=dict)
    cost_per_hour: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if not self.cost_per_hour.is_finite() or self.cost_per_hour < 0:
            raise _wrong(f"a running cost of {self.cost_per_hour} dollars an hour")

    def of(self, product: Product) -> Rule | None:
        return self.products.get(product.name, self.default)

    def with_rule(self, product: str | None, rule: Rule | None) -> PriceRules:
        """With another rule for one product, or for all that have none; None takes it away."""
        if product is None:
            return replace(self, default=rule)
        others = {name: known for name, known in self.products.items() if name != product}
        return replace(self, products=others if rule is None else {**others, product: rule})

    def to_json(self) -> dict[str, Any]:
        return {
            "default": None if self.default is None else self.default.to_json(),
            "products": {name: rule.to_json() for name, rule in sorted(self.products.items())},
            "cost_per_hour": str(self.cost_per_hour),
        }

    @staticmethod
    def load(data: Path) -> PriceRules:
        """The rules of a data folder; none when there is no file. ConfigurationError when it cannot be
        read."""
        place = data / RULES_FILE
        try:
            value = json.loads(place.read_text(encoding="utf-8"))
            default = value["default"]
            return PriceRules(
                default=None if default is None else Rule.from_json(default),
                products={
                    Product.parse(name).name: Rule.from_json(rule) for name, rule in value["products"].items()
                },
                cost_per_hour=Decimal(value["cost_per_hour"]),
            )
        except FileNotFoundError:
            return PriceRules()
        except _UNREADABLE as error:
            raise ConfigurationError(
                f"{place} holds no prices: {error}",
                code="bad-prices",
                hint="set them anew: prixfixe worker price --help",
                fault="provider",
            ) from error

    def save(self, data: Path) -> None:
        """Whole or not at all."""
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(data / RULES_FILE, self.to_json())


@dataclass(frozen=True, slots=True)
class Quoted:
    """A price of a task, and where it comes from, in words."""

    price: Money
    why: str


def quoted(settings: WorkerSettings, rules: PriceRules, product: Product, index: PriceIndex | None) -> Quoted:
    """What the worker asks for a task of the product. index: of the product, None when it is not known."""
    rule = rules.of(product)
    wished = _wished(settings, rule, product, index)
    floors = [Quoted(running_cost(settings, rules, product), "the running cost of its whole time limit")]
    if rule is not None:
        floors.append(Quoted(rule.floor, "the floor"))
    highest = max([wished, *floors], key=lambda each: each.price)
    if highest is wished:
        return replace(wished, price=max(wished.price, _LEAST))
    return replace(highest, why=f"{highest.why}; {wished.why} would be {wished.price}")


def _wished(
    settings: WorkerSettings, rule: Rule | None, product: Product, index: PriceIndex | None
) -> Quoted:
    own = own_price(settings, product)
    if rule is None:
        return Quoted(own, "the worker's rate")
    if rule.fixed is not None:
        return Quoted(rule.fixed, "fixed")
    assert rule.follow is not None
    if index is None or index.p50 is None or index.status == "fallback":
        return Quoted(own, "the worker's rate, while there is no index to follow")
    followed = Money(-(-index.p50.units * rule.follow // 100))
    return Quoted(followed, f"{rule.follow} % of the index's median {index.p50} ({index.status})")


def running_cost(settings: WorkerSettings, rules: PriceRules, product: Product) -> Money:
    """What a slot costs its owner while one task takes all the time that it may. Rounded up."""
    dollars = rules.cost_per_hour * product.max_seconds / (3600 * settings.slots)
    return Money(int((dollars * UNITS_PER_DOLLAR).to_integral_value(ROUND_CEILING)))


def write_json(place: Path, value: Any) -> None:
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    part.replace(place)


def _wrong(message: str) -> InvalidInput:
    return InvalidInput(
        message, code="bad-price", hint="see `prixfixe worker price --help`", fault="provider"
    )
