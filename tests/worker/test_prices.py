"""What a provider tells its worker to ask: fixed, after the index, never below its floors, without a
restart."""

from __future__ import annotations

import json
from concurrent.futures import Executor, Future
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from prixfixe.errors import ConfigurationError, InvalidInput, Unavailable
from prixfixe.protocol.money import Money
from prixfixe.protocol.prices import PriceIndex
from prixfixe.protocol.product import Product
from tests.worker.test_quoting import SETTINGS
from worker.commands import worker
from worker.prices import PriceRules, Rule, quoted
from worker.pricing import Pricing
from worker.quoting import price as rate_price

HOUR = Product.parse("cpu-1x1/1h")
OTHER = Product.parse("cpu-1x2/1h")


def index(p50: int | None, status: str = "live") -> PriceIndex:
    price = None if p50 is None else str(p50)
    return PriceIndex.model_validate(
        {"product": "0x" + HOUR.to_bytes().hex(), "status": status, "source": "index", "p10": price,
         "p50": price, "p90": price, "trades": 9, "makers": 6, "newest": 1, "block": 1, "time": 2}
    )  # fmt: skip


class Now(Executor):
    """Does what it is given at once."""

    def submit(self, work: Any, /, *arguments: Any, **options: Any) -> Any:
        done: Future[Any] = Future()
        done.set_result(work(*arguments, **options))
        return done


def test_without_a_rule_the_rate_is_asked() -> None:
    found = quoted(SETTINGS, PriceRules(), HOUR, index(5))
    assert (found.price, found.why) == (rate_price(SETTINGS, HOUR), "the worker's rate")


def test_a_fixed_price_is_for_one_product_or_for_all() -> None:
    rules = PriceRules().with_rule(None, Rule(fixed=Money(70))).with_rule(HOUR.name, Rule(fixed=Money(90)))
    assert quoted(SETTINGS, rules, HOUR, None).price == Money(90)
    assert quoted(SETTINGS, rules, OTHER, None).price == Money(70)
    assert quoted(SETTINGS, rules.with_rule(HOUR.name, None), HOUR, None).price == Money(70)


def test_the_index_is_followed_by_percent_rounded_up_while_it_is_a_market() -> None:
    rules = PriceRules(default=Rule(follow=95))
    assert quoted(SETTINGS, rules, HOUR, index(1001)).price == Money(951)
    assert "stale" in quoted(SETTINGS, rules, HOUR, index(1001, "stale")).why
    for nothing in (None, index(None), index(1001, "fallback")):
        assert quoted(SETTINGS, rules, HOUR, nothing).price == rate_price(SETTINGS, HOUR)


def test_no_price_falls_below_the_floor_or_the_running_cost() -> None:
    rules = PriceRules(default=Rule(follow=50, floor=Money(800)))
    low = quoted(SETTINGS, rules, HOUR, index(1000))
    assert (low.price, low.why.partition(";")[0]) == (Money(800), "the floor")
    # Ten cents an hour, two slots: an hour of one slot costs five.
    dear = replace(rules, cost_per_hour=Decimal("0.10"))
    cost = quoted(replace(SETTINGS, slots=2), dear, HOUR, index(1000))
    assert cost.price == Money.parse("0.05")
    assert "running cost" in cost.why
    assert quoted(SETTINGS, rules, HOUR, index(3000)).price == Money(1500)


@pytest.mark.parametrize(
    "wrong", [{}, {"fixed": Money(1), "follow": 5}, {"fixed": Money(0)}, {"follow": 0}, {"follow": 10_001}]
)
def test_a_rule_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Rule(**wrong)


def test_rules_are_kept_in_the_data_folder(tmp_path: Path) -> None:
    rules = PriceRules(Rule(follow=95, floor=Money(5)), {HOUR.name: Rule(fixed=Money(7))}, Decimal("0.12"))
    rules.save(tmp_path / "new")
    assert PriceRules.load(tmp_path / "new") == rules
    assert PriceRules.load(tmp_path) == PriceRules()
    (tmp_path / "prices.json").write_text("[]")
    with pytest.raises(ConfigurationError, match="holds no prices"):
        PriceRules.load(tmp_path)


def test_a_running_worker_takes_a_change_and_says_what_it_asks(tmp_path: Path) -> None:
    answers = [index(1000)]
    pricing = Pricing(replace(SETTINGS, data=tmp_path), lambda product: answers[0], Now())
    pricing.refresh()
    assert pricing.of(HOUR) == rate_price(SETTINGS, HOUR)
    PriceRules(default=Rule(follow=110)).save(tmp_path)
    pricing.refresh()
    assert pricing.of(HOUR) == Money(1100)
    said = json.loads((tmp_path / "quoted.json").read_text())["products"][HOUR.name]
    assert said == {"price": "1100", "why": "110 % of the index's median $0.001 (live)"}
    (tmp_path / "prices.json").write_text("{")
    pricing.refresh()
    assert pricing.of(HOUR) == Money(1100)  # what cannot be read changes nothing


def test_an_index_that_cannot_be_had_costs_no_ask(tmp_path: Path) -> None:
    def silent(product: Product) -> PriceIndex:
        raise Unavailable("away")

    PriceRules(default=Rule(follow=110)).save(tmp_path)
    pricing = Pricing(replace(SETTINGS, data=tmp_path), silent, Now())
    pricing.refresh()
    assert pricing.of(HOUR) == rate_price(SETTINGS, HOUR)


def test_the_command_sets_and_shows(tmp_path: Path) -> None:
    def run(*words: str) -> Any:
        done = CliRunner().invoke(worker, ["price", "--data", str(tmp_path), "--json", *words])
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    assert run()["changed"] is False
    run("--follow-index", "95", "--floor", "0.01")
    run("--fixed", "0.02", "--product", HOUR.name)
    found = run("--cost-per-hour", "0.12")
    assert found == {
        "default": {"follow": 95, "floor": "10000"},
        "products": {HOUR.name: {"fixed": "20000", "floor": "0"}},
        "cost_per_hour": "0.12",
        "changed": True,
        "asked": {},
    }
    assert run("--reset", "--product", HOUR.name)["products"] == {}
    assert run("--reset") == {
        "default": None, "products": {}, "cost_per_hour": "0", "changed": True, "asked": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("--fixed", "1", "--follow-index", "90"),
        ("--floor", "1"),
        ("--product", "cpu-1x1/1h"),
        ("--reset", "--fixed", "1"),
        ("--cost-per-hour", "much"),
    ],
)
def test_what_makes_no_sense_is_said(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(worker, ["price", "--data", str(tmp_path), *words])
    assert done.exit_code == 2
    assert not (tmp_path / "prices.json").exists()
