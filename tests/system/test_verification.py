"""A lie that nobody complains about, on a market whose operator checks: found, judged and paid back."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from prixfixe.development_keys import ADDRESSES
from prixfixe.devnet import settings as numbers
from prixfixe.keys import development_signer
from prixfixe.protocol.money import Money
from tests.support.devnet import Devnet, wait_for

BUYERS = (17, 18)
LIAR = ADDRESSES[numbers.FIRST_PROVIDER]


@pytest.fixture
def checked(shared_devnet: Devnet) -> Iterator[Devnet]:
    """The devnet with a service that checks results from now on; its operator and buyers have money."""
    devnet, market = shared_devnet, shared_devnet.market
    devnet.dev("advance", "11m")  # what other tests bought is beyond its window
    for signer in (*map(development_signer, BUYERS), development_signer(numbers.OPERATOR)):
        market.mint(signer, signer.address, Money.parse("20"))
        market.deposit(signer, Money.parse("20"))
    devnet.kill("service")
    keys = ",".join(f"dev:{number}" for number in BUYERS)
    folder = ("--folder", str(devnet.folder.root))
    devnet.types("dev", *folder, "start", "service", PRIXFIXE_SERVICE_CHECKERS=keys)
    devnet.heal()
    yield devnet
    devnet.kill("service")
    devnet.heal()


def test_a_lie_is_found_by_the_operator_and_its_customer_repaid_without_a_word(checked: Devnet) -> None:
    devnet, before = checked, checked.account().free
    for name in ("worker-2", "worker-3"):
        devnet.kill(name)
    with devnet.lying("worker-1"):
        job = devnet.run("ok", 7)
        assert job.state == "settled"
        for name in ("worker-2", "worker-3"):  # they are given the same work by somebody else
            devnet.start(name)
        with devnet.client() as client:
            states = wait_for(
                lambda: [dispute.state for dispute in client.job(job.id).disputes if dispute.state != "open"],
                240,
                "the judgement",
            )
            assert states == ["guilty"]
            assert client.job(job.id).disputes[0].challenger == ADDRESSES[numbers.OPERATOR]
    assert devnet.account().free == before, "the price is back"
    told = devnet.types("admin", "verification", "--data", str(devnet.folder.service), "--json")
    found = json.loads(told.stdout)
    assert [row["provider"] for row in found["caught"]] == [LIAR]
    assert (found["checks"].get("wrong"), found["cases"].get("guilty")) == (1, 1)
    assert found["reruns"] == 2
