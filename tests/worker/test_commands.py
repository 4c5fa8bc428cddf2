"""`prixfixe worker`, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from prixfixe.protocol.money import Money
from tests.worker.conftest import Stage
from tests.worker.orders import WORKER
from worker.commands import worker

pytestmark = [pytest.mark.engine, pytest.mark.chain]
NEW_KEY = "0xFABB0ac9d68B0B445fB7357272Ff202C5651694a"  # dev:12, which no provider knows yet


def run(*words: str) -> str:
    done = CliRunner().invoke(worker, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_init_authorises_the_key_and_fills_up_the_surety_once(stage: Stage) -> None:
    client, provider = stage.market.client, stage.market.stranger
    client.mint(stage.market.admin, provider.address, Money.parse("7"))
    where = ("--service", stage.url, "--rpc", stage.market.chain.rpc.url)
    words = ("init", *where, "--key", "dev:9", "--worker-key", NEW_KEY, "--days", "30", "--json")
    first = json.loads(run(*words))
    assert (first["deposited"], first["free"], len(first["transactions"])) == ("5000000", "5000000", 2)
    assert client.worker_until(provider.address, NEW_KEY) == first["until"]
    again = json.loads(run(*words))
    assert (again["deposited"], again["transactions"], again["until"]) == ("0", [], first["until"])


def test_what_is_not_given_comes_from_the_context_and_keys_go_by_name(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prixfixe.client.contexts import Context, save_context

    monkeypatch.setenv("PRIXFIXE_HOME", str(tmp_path / "home"))
    market = stage.market
    rpc = market.chain.rpc.url
    save_context(Context("here", stage.url, market.client.chain_id, market.client.contract, rpc))
    market.client.mint(market.admin, market.stranger.address, Money.parse("7"))
    done = json.loads(run("init", "--key", "dev:9", "--worker-key", "dev:13", "--json"))
    assert done["key"] == "0x1CBd3b2770909D4e10f157cABC84C7264073C9Ec"
    elsewhere = CliRunner().invoke(
        worker, ["init", "--service", "http://127.0.0.1:9", "--key", "dev:9", "--worker-key", "dev:13"]
    )
    assert "name a chain node" in str(getattr(elsewhere.exception, "hint", ""))


def test_init_without_money_says_where_to_send_it(stage: Stage) -> None:
    from prixfixe.errors import InsufficientFunds

    where = ("--service", stage.url, "--rpc", stage.market.chain.rpc.url)
    with pytest.raises(InsufficientFunds, match="its wallet holds") as caught:
        run("init", *where, "--key", "dev:9", "--worker-key", NEW_KEY)
    assert stage.market.stranger.address in str(caught.value.hint)


def test_status_shows_what_the_market_knows(stage: Stage) -> None:
    with stage.worker():
        where = ("--service", stage.url, "--rpc", stage.market.chain.rpc.url)
        told = run("status", *where, "--key", "dev:10")
    assert WORKER.address in told
    assert "alive" in told


def test_check_gives_a_verdict_a_line_and_nothing_bad(stage: Stage) -> None:
    told = run("check", "--image", stage.image, "--data", str(stage.folder / "check"), "--json")
    verdicts = {line["check"]: line["verdict"] for line in map(json.loads, told.splitlines())}
    assert "bad" not in verdicts.values()
    assert {"engine", "seccomp", "disk", "user", "capabilities", "network", "socket", "root"} <= set(verdicts)


def test_check_of_an_unknown_runtime_fails(stage: Stage) -> None:
    done = CliRunner().invoke(worker, ["check", "--runtime", "nope", "--data", str(stage.folder / "check")])
    assert done.exit_code == 9
    assert "no runtime 'nope'" in done.output
