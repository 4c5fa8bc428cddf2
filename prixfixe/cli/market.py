"""`prixfixe market`: look at the market."""

from __future__ import annotations

import click

from prixfixe.cli.market_batches import batches, replay
from prixfixe.cli.market_book import book, cancel, orders
from prixfixe.cli.market_replace import replace
from prixfixe.cli.market_reputation import reputation
from prixfixe.cli.market_rules import rules
from prixfixe.cli.market_trades import index, trades


@click.group()
def market() -> None:
    """See what is offered and paid on this market, and check its auction.

    \b
    Examples:
      prixfixe market book cpu-2x4/10m
      prixfixe market replace 0x3fa9 --price 0.02
      prixfixe market replay 12 --product cpu-2x4/10m
      prixfixe market trades cpu-2x4/10m
      prixfixe market index
      prixfixe market reputation
    """


for command in (book, orders, cancel, replace, batches, replay, rules, trades, index, reputation):
    market.add_command(command)
