"""`prixfixe market`: look at the market."""

from __future__ import annotations

import click

from prixfixe.cli.market_trades import index, trades


@click.group()
def market() -> None:
    """See what is paid on this market.

    \b
    Examples:
      prixfixe market trades cpu-2x4/10m
      prixfixe market index
    """


market.add_command(trades)
market.add_command(index)
