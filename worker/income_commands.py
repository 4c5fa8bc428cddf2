"""`prixfixe worker price`, `earnings` and `why`: what a worker asks, what it was paid, and what it missed.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.options import (
    contract_option,
    data_option,
    json_option,
    rpc_option,
    service_option,
    signed_in,
    whose_key_option,
)

if TYPE_CHECKING:
    from prixfixe.keys import Signer
    from prixfixe.protocol.money import Money
    from prixfixe.protocol.prices import Earnings, EarningsLine
    from worker.prices import PriceRules, Rule


@click.command()
@click.option("--product", metavar="NAME", default=None, help="Only for this one, such as cpu-2x4/10m.")
@click.option("--fixed", metavar="DOLLARS", default=None, help="Ask this for a task.")
@click.option(
    "--follow-index",
    "follow",
    metavar="PERCENT",
    type=click.IntRange(1, 10_000),
    default=None,
    help="Ask so much of the price index's median; 100 is the median.",
)
@click.option("--floor", metavar="DOLLARS", default=None, help="Never ask less for a task.")
@click.option(
    "--cost-per-hour",
    metavar="DOLLARS",
    default=None,
    help="What an hour of this whole machine costs you: no task is asked for less than its share.",
)
@click.option("--reset", is_flag=True, help="Forget the price, and ask by the rate of `worker start` again.")
@data_option
@json_option
def price(
    product: str | None,
    fixed: str | None,
    follow: int | None,
    floor: str | None,
    cost_per_hour: str | None,
    reset: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Show or set what this machine's worker asks for a task.

    Without options: the rules, and what the running worker asks now and why. A change is taken by the
    running worker at its next heartbeat, without a restart. --data is the worker's folder.

    While an index is only a fallback (too few makers), the rate of `worker start` is asked. Whatever the
    rule, no price falls below --floor or below the running cost of the product's whole time limit, shared by
    the machine's slots.

    \b
    Examples:
      prixfixe worker price
      prixfixe worker price --fixed 0.02 --product cpu-2x4/10m
      prixfixe worker price --follow-index 95 --floor 0.01
      prixfixe worker price --cost-per-hour 0.12
    """
    from prixfixe.protocol.product import Product
    from worker.prices import PriceRules

    rules = PriceRules() if reset and product is None else PriceRules.load(data)
    name = None if product is None else Product.read(product).name
    if reset and (fixed, follow, floor, cost_per_hour) != (None,) * 4:
        raise click.UsageError("--reset stands alone, or with --product")
    rule = _rule(fixed, follow, floor)
    if product is not None and rule is None and not reset and cost_per_hour is None:
        raise click.UsageError("--product needs --fixed, --follow-index or --reset")
    changed = rule is not None or reset or cost_per_hour is not None
    if rule is not None or (reset and name is not None):
        rules = rules.with_rule(name, rule)
    if cost_per_hour is not None:
        from dataclasses import replace

        rules = replace(rules, cost_per_hour=_dollars(cost_per_hour))
    if changed:
        rules.save(data)
    asked = _quoted(data)
    if as_json:
        click.echo(json.dumps({**rules.to_json(), "changed": changed, "asked": asked}))
        return
    _show(rules, asked, changed=changed)


@click.command()
@service_option
@rpc_option
@contract_option
@whose_key_option
@click.option("--worker", "worker_key", metavar="ADDRESS", default=None, help="Whose; else the key's own.")
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True)
@data_option
@json_option
def earnings(
    service: str | None,
    rpc: str | None,
    contract: str | None,
    key: str | None,
    worker_key: str | None,
    days: int,
    data: Path,
    as_json: bool,
) -> None:
    """Show what a worker was paid, by day, product and bundle.

    Of the worker in --data; of any other of yours with --key and --worker. Only settled lots pay. WAITING is
    the part that can still be disputed; TAKEN was paid for results that were judged wrong and went back; FEES
    is what those cases cost beside it. Per slot-hour: what an hour of one slot that worked has brought, taken
    and fees subtracted, idle time not counted.
    """
    with signed_in(service, rpc, contract, key, data) as (client, signer):
        found = client.earnings(_whose(signer, worker_key), days)
    if as_json:
        click.echo(json.dumps({**found.model_dump(mode="json"), "total": _totals(found)}))
        return
    from prixfixe.cli.output import table

    if not found.lines:
        click.echo(f"nothing was paid in the last {days} days; why not: prixfixe worker why", err=True)
        return
    head = ("DAY", "PRODUCT", "FOR", "LOTS", "TASKS", "EARNED", "WAITING", "TAKEN", "FEES", "PER SLOT-HOUR")
    click.echo(table([*map(_row, found.lines), _total_row(found)], head=head))
    if found.more:
        click.echo("there is more than one answer holds: ask for fewer --days", err=True)


@click.command()
@service_option
@rpc_option
@contract_option
@whose_key_option
@click.option("--worker", "worker_key", metavar="ADDRESS", default=None, help="Whose; else the key's own.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many lots.")
@data_option
@json_option
def why(
    service: str | None,
    rpc: str | None,
    contract: str | None,
    key: str | None,
    worker_key: str | None,
    limit: int,
    data: Path,
    as_json: bool,
) -> None:
    """Say why the last lots did not come to this worker.

    Looks at the newest lots of the products that it asks for: those that others got, judged as the worker
    was at that moment, those that wait, and those that nobody took. The reasons are the very rules that
    match, counted under the first that kept the worker out; then what would have won the nearest miss.
    """
    with signed_in(service, rpc, contract, key, data) as (client, signer):
        found = client.why(_whose(signer, worker_key), limit)
    if as_json:
        click.echo(found.model_dump_json())
        return
    from prixfixe.cli.output import clean, moment, table

    if not found.products:
        click.echo("it asks for nothing: is it running, and does one slot fit what is sold?", err=True)
        return
    if not found.misses:
        click.echo(f"nothing passed it by; it got {found.got} of the newest lots", err=True)
        return
    head = ("AT", "PRODUCT", "KIND", "OUTCOME", "YOU ASKED", "IT PAID", "WHY")
    rows = [
        (
            moment(miss.at).partition(",")[0],
            miss.product.name,
            miss.kind,
            miss.outcome,
            "-" if miss.price is None else str(miss.price),
            str(miss.paid),
            clean(miss.reasons[0]),
        )
        for miss in found.misses
    ]
    click.echo(table(rows, head=head))
    counted = ", ".join(f"{each.lots} {each.reason}" for each in found.counts)
    click.echo(f"{len(found.misses)} lots: {counted}; {found.got} came to it")
    click.echo(f"nearest: {found.nearest}")
    click.echo(f"at equal prices: {found.standing}")


def _whose(signer: Signer, worker_key: str | None) -> str:
    from prixfixe.protocol.addresses import parse_address

    return signer.address if worker_key is None else parse_address(worker_key, name="worker")


def _rule(fixed: str | None, follow: int | None, floor: str | None) -> Rule | None:
    from prixfixe.protocol.money import Money
    from worker.prices import Rule

    if fixed is not None and follow is not None:
        raise click.UsageError("--fixed or --follow-index, not both")
    if fixed is None and follow is None:
        if floor is not None:
            raise click.UsageError("--floor goes with --fixed or --follow-index")
        return None
    return Rule(
        fixed=None if fixed is None else Money.parse(fixed),
        follow=follow,
        floor=Money.parse(floor or "0"),
    )


def _dollars(text: str) -> Decimal:
    try:
        return Decimal(text.removeprefix("$"))
    except InvalidOperation:
        raise click.BadParameter(
            f"{text!r} is not dollars such as 0.12", param_hint="--cost-per-hour"
        ) from None


def _quoted(data: Path) -> dict[str, dict[str, str]]:
    """What the worker wrote about what it asks; nothing when it never ran here."""
    from worker.prices import QUOTED_FILE

    try:
        found = json.loads((data / QUOTED_FILE).read_text(encoding="utf-8"))["products"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _show(rules: PriceRules, asked: dict[str, dict[str, str]], *, changed: bool) -> None:
    from prixfixe.protocol.money import Money

    click.echo(f"every product: {_words(rules.default)}")
    for name, rule in sorted(rules.products.items()):
        click.echo(f"{name}: {_words(rule)}")
    if rules.cost_per_hour:
        click.echo(f"running cost of the machine: ${rules.cost_per_hour} an hour")
    if changed:
        click.echo("a running worker takes this at its next heartbeat", err=True)
        return
    for name, each in sorted(asked.items()):
        click.echo(f"last asked for {name}: {Money(int(each['price']))} a task ({each['why']})")


def _words(rule: Rule | None) -> str:
    if rule is None:
        return "the rate of `worker start`"
    floor = f", at least {rule.floor}" if rule.floor else ""
    if rule.fixed is not None:
        return f"{rule.fixed} a task{floor}"
    return f"{rule.follow} % of the index's median{floor}"


def _row(line: EarningsLine) -> tuple[str, ...]:
    return (
        line.day,
        line.product.name,
        line.bundle or line.kind,
        f"{line.lots:,}",
        f"{line.tasks:,}",
        *(str(each) for each in (line.earned, line.waiting, line.taken, line.fees)),
        _hourly(line.earned, line.fees, line.seconds),
    )


def _total_row(found: Earnings) -> tuple[str, ...]:
    from prixfixe.protocol.money import Money

    totals = _totals(found)
    money = {name: Money(int(str(totals[name]))) for name in _MONEY}
    return (
        "all",
        "",
        "",
        f"{totals['lots']:,}",
        f"{totals['tasks']:,}",
        *(str(money[name]) for name in _MONEY),
        _hourly(money["earned"], money["fees"], sum(line.seconds for line in found.lines)),
    )


_MONEY = ("earned", "waiting", "taken", "fees")


def _totals(found: Earnings) -> dict[str, object]:
    """All lines added up, as JSON."""
    sums = {name: sum(getattr(line, name).units for line in found.lines) for name in _MONEY}
    return {
        **{name: str(value) for name, value in sums.items()},
        "lots": sum(line.lots for line in found.lines),
        "tasks": sum(line.tasks for line in found.lines),
        "slot_hours": round(sum(line.seconds for line in found.lines) / 3600, 6),
    }


def _hourly(earned: Money, fees: Money, seconds: float) -> str:
    if not seconds:
        return "-"
    net = (earned.units - fees.units) / 1_000_000 * 3600 / seconds
    return f"{'-' if net < 0 else ''}${abs(net):,.4f}"
