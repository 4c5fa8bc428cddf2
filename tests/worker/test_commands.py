"""`prixfixe worker`, as a person types it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from prixfixe.protocol.money import Money
from tests.worker.conftest import Stage
from tests.worker.orders import CUSTOMER, PROVIDER, WORKER
from worker import benchmarking, selftest
from worker.benchmarking import kept_benchmark, run_measurement
from worker.commands import worker
from worker.isolation import AUTO
from worker.machine_key import open_key
from worker.profile import Profile

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
    words = ("init", *where, "--key", "dev:9", "--worker-key", NEW_KEY, "--days", "30", "--json", "--yes")
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
    monkeypatch.setattr(benchmarking, "run_measurement", partial(run_measurement, seconds=0.02))
    market = stage.market
    rpc = market.chain.rpc.url
    save_context(Context("here", stage.url, market.client.chain_id, market.client.contract, rpc))
    market.client.mint(market.admin, market.stranger.address, Money.parse("7"))
    data = tmp_path / "data"
    words = ("--key", "dev:9", "--worker-key", "dev:13", "--data", str(data), "--payout", PROVIDER.address)
    planned = json.loads(run("init", *words, "--dry-run", "--json"))
    assert [step.split()[0] for step in planned["steps"]] == ["move", "let"]
    assert not data.exists()
    done = json.loads(run("init", *words, "--image", stage.image, "--yes", "--json"))
    assert done["key"] == "0x1CBd3b2770909D4e10f157cABC84C7264073C9Ec"
    assert {each["verdict"] for each in done["verdicts"]} <= {"ok", "weak"}
    assert kept_benchmark(data, done["key"]) is not None
    kept = Profile.of(data)
    assert (kept.provider, kept.key, kept.payout) == (done["provider"], "dev:13", PROVIDER.address)
    assert (kept.service, kept.rpc, kept.contract) == (stage.url, rpc, market.client.contract)
    elsewhere = CliRunner().invoke(
        worker, ["init", "--service", "http://127.0.0.1:9", "--key", "dev:9", "--worker-key", NEW_KEY]
    )
    assert "name a chain node" in str(getattr(elsewhere.exception, "hint", ""))


def test_a_worker_machine_without_the_providers_key_says_what_to_type_where_it_is(
    stage: Stage, tmp_path: Path
) -> None:
    where = ("--service", stage.url, "--rpc", stage.market.chain.rpc.url, "--data", str(tmp_path / "data"))
    stranger = stage.market.stranger.address
    first = json.loads(run("init", *where, "--provider", stranger, "--no-check", "--yes", "--json"))
    assert not first["ready"]
    assert f"worker init --key KEY --worker-key {first['key']}" in first["elsewhere"]
    spec = Profile.of(tmp_path / "data").key
    assert open_key(tmp_path / "data", spec, 31337).address == first["key"]
    run("init", *where[:4], "--key", "dev:9", "--worker-key", first["key"], "--yes")
    again = json.loads(run("init", *where, "--no-check", "--yes", "--json"))
    assert (again["ready"], again["key"], again["provider"]) == (True, first["key"], stranger)


def test_what_is_free_above_the_surety_is_paid_out_to_the_wallet_that_was_named(
    stage: Stage, tmp_path: Path
) -> None:
    where = ("--service", stage.url, "--rpc", stage.market.chain.rpc.url)
    client, data, wallet = stage.market.client, ("--data", str(tmp_path / "data")), CUSTOMER.address
    words = ("--key", "dev:9", "--worker-key", "dev:13", "--payout", wallet, "--no-check", "--yes")
    run("init", *where, *data, *words)
    nothing = CliRunner().invoke(worker, ["withdraw", *data, "--yes"])
    assert getattr(nothing.exception, "code", "") == "nothing-to-send"
    client.mint(stage.market.admin, stage.market.admin.address, Money.parse("3"))
    client.deposit_for(stage.market.admin, stage.market.stranger.address, Money.parse("3"))
    before = client.token_balance(wallet)
    sent = json.loads(run("withdraw", *data, "--yes", "--json"))
    assert (sent["amount"], sent["to"], sent["free"]) == ("3000000", wallet, "5000000")
    assert client.token_balance(wallet) - before == Money.parse("3")


def test_a_payout_shows_what_goes_where_and_asks(stage: Stage, tmp_path: Path) -> None:
    where = ("--service", stage.url, "--rpc", stage.market.chain.rpc.url, "--data", str(tmp_path / "data"))
    run("init", *where, "--key", "dev:9", "--worker-key", "dev:13", "--no-check", "--yes")
    asked = CliRunner().invoke(worker, ["withdraw", "--all", *where[4:]], input="n\n")
    assert asked.exit_code == 1
    assert f"$5.00 goes to {stage.market.stranger.address}" in asked.output
    assert "no work comes" in asked.output


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


def test_checks_of_two_folders_at_once_do_not_end_each_others_container(stage: Stage) -> None:
    folders = [stage.folder / name for name in ("one", "other")]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            told = pool.map(lambda folder: list(selftest.check(folder, "auto", AUTO, stage.image)), folders)
            assert [each for said in told for each in said if each.level == "bad"] == []


def test_check_of_an_unknown_runtime_fails(stage: Stage) -> None:
    done = CliRunner().invoke(worker, ["check", "--runtime", "nope", "--data", str(stage.folder / "check")])
    assert done.exit_code == 9
    assert "no runtime 'nope'" in done.output
