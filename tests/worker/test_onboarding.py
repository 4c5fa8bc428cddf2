"""What a provider lacks, on a chain whose money is real."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from prixfixe.chain.client import MarketClient
from prixfixe.errors import InsufficientFunds
from prixfixe.keys import Signer
from prixfixe.protocol.money import Money
from worker.onboarding import lacking, onboard

PROVIDER = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"
KEY = "0xFABB0ac9d68B0B445fB7357272Ff202C5651694a"
DAY = 86_400


def market(*, free: str, wallet: str, until: int = 0) -> MarketClient:
    """A market on a public chain, at second 1000, that takes no call."""
    found: Any = SimpleNamespace(
        chain_id=8453,
        token="0x5FbDB2315678afecb367f032d93F642f64180aa3",
        policy=lambda: SimpleNamespace(surety=5_000_000),
        account=lambda _: SimpleNamespace(free=Money.parse(free)),
        token_balance=lambda _: Money.parse(wallet),
        block=lambda: SimpleNamespace(time=1000),
        worker_until=lambda *_: until,
    )
    return cast(MarketClient, found)


def test_no_play_money_is_made_where_money_is_real() -> None:
    found = lacking(market(free="1", wallet="0"), PROVIDER, KEY, 90 * DAY)
    assert (found.deposit, found.play) == (Money.parse("4"), Money(0))


def test_a_key_that_is_good_for_most_of_the_time_is_left_as_it_is() -> None:
    assert not lacking(market(free="5", wallet="0", until=1000 + 60 * DAY), PROVIDER, KEY, 90 * DAY)
    assert lacking(market(free="5", wallet="0", until=1000 + 40 * DAY), PROVIDER, KEY, 90 * DAY).authorise


def test_keys_that_are_not_made_yet_lack_everything() -> None:
    found = lacking(market(free="9", wallet="9"), None, None, DAY)
    assert (found.deposit, found.authorise, found.until) == (Money.parse("5"), True, 1000 + DAY)


def test_without_money_it_says_where_to_send_it() -> None:
    signer = cast(Signer, SimpleNamespace(address=PROVIDER, chain_id=8453))
    with pytest.raises(InsufficientFunds, match=r"needs \$4.00 more") as caught:
        onboard(market(free="1", wallet="3.99"), signer, KEY, DAY)
    assert PROVIDER in str(caught.value.hint)
