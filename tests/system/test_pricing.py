"""The pricing desk and the provider on a whole market: suggest, plan, schedule, explain; ask, earn."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from prixfixe.cli import main
from prixfixe.cli.failures import set_json
from prixfixe.development_keys import ADDRESSES
from tests.support.devnet import PROBE, Devnet, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.chain, pytest.mark.network_ports]


def types(devnet: Devnet, *words: str) -> Result:
    """As `devnet.types`, in this process: a dozen starts of Python would take longer than the test."""
    done = CliRunner(env={"PRIXFIXE_HOME": str(devnet.home)}).invoke(main, list(words))
    set_json(False)
    return done


def says(devnet: Devnet, *words: str) -> Any:
    done = types(devnet, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def asks_of(devnet: Devnet, worker: str) -> list[str]:
    """What rests of a worker, as the service's store has it."""
    with sqlite3.connect(f"file:{devnet.folder.root / 'service' / 'prixfixe.db'}?mode=ro", uri=True) as store:
        return [str(row[0]) for row in store.execute("SELECT price FROM asks WHERE worker = ?", (worker,))]


def test_a_price_is_suggested_planned_scheduled_published_explained_and_retired(
    devnet: Devnet, tmp_path: Path
) -> None:
    assert devnet.run("ok").state == "settled"
    advice = says(devnet, "pricing", "suggest", "probe", "--key", "dev:1")
    assert {term["name"] for term in advice["suggestions"][0]["terms"]} == {
        "ask", "volatility", "failure", "verification", "gas",
    }  # fmt: skip
    assert advice["tiers"][0]["back_test"]["tasks"] >= 1

    folder = tmp_path / "probe"
    shutil.copytree(PROBE, folder)
    definition = (folder / "bundle.toml").read_text()
    (folder / "bundle.toml").write_text(definition.replace('version = "1.0.0"', 'version = "1.0.7"'))
    plan = tmp_path / "plan.json"
    planned = says(
        devnet, "pricing", "publish", str(folder), "--plan", str(plan), "--note", "winter", "--key", "dev:1"
    )
    wrong = types(devnet, "pricing", "apply", str(plan), "--digest", "00" * 32, "--yes", "--key", "dev:1")
    assert wrong.exit_code != 0
    assert planned["digest"] in wrong.stderr

    says(devnet, "pricing", "schedule", "--plan", str(plan), "--at", "+0s")
    assert len(says(devnet, "pricing", "run-schedule", "--key", "dev:1")["done"]) == 1
    with devnet.client() as client:
        assert {each.version for each in client.bundles() if each.id == "probe"} == {"1.0.0", "1.0.7"}
    exposed = says(devnet, "pricing", "exposure", "--key", "dev:1")
    assert {each["float"] for each in exposed["offers"]} == {"0"}

    retire = ("--retire", "probe", "--version", "1.0.7", "--note", "spring", "--at", "+0s")
    says(devnet, "pricing", "schedule", *retire)
    assert len(says(devnet, "pricing", "run-schedule", "--key", "dev:1")["done"]) == 1
    assert says(devnet, "pricing", "run-schedule", "--key", "dev:1") == {"done": [], "failed": []}
    newest, before = says(devnet, "pricing", "history", "probe", "--limit", "2", "--key", "dev:1")["history"]
    assert [(each["act"], each["version"], each["note"]) for each in (newest, before)] == [
        ("retired", "1.0.7", "spring"),
        ("published", "1.0.7", "winter"),
    ]
    assert before["by"] == ADDRESSES[1]
    assert before["inputs"]["suggestions"] == json.loads(plan.read_bytes())["inputs"]["suggestions"]


def test_a_provider_changes_its_price_while_the_worker_runs_and_sees_what_it_earned(devnet: Devnet) -> None:
    devnet.run("ok")
    (trade, *_) = says(devnet, "market", "trades")["trades"]
    worker = next(record for record in devnet.state.processes if record.name == "worker-1")
    data = worker.argv[worker.argv.index("--data") + 1]
    key = worker.argv[worker.argv.index("--key") + 1]
    address = ADDRESSES[int(key.removeprefix("dev:"))]
    before = asks_of(devnet, address)
    says(devnet, "worker", "price", "--data", data, "--fixed", "0.123456")
    wait_for(lambda: set(asks_of(devnet, address)) == {"123456"}, 60, "the new price")
    assert "fixed" in types(devnet, "worker", "price", "--data", data).stdout
    says(devnet, "worker", "price", "--data", data, "--reset")
    wait_for(lambda: asks_of(devnet, address) == before, 60, "the old price")

    income = {}
    for record in devnet.state.processes:
        if record.name.startswith("worker-"):
            whose = record.argv[record.argv.index("--key") + 1]
            income[whose] = says(devnet, "worker", "earnings", "--key", whose)
    earned = sum(int(each["total"]["earned"]) for each in income.values())
    assert earned >= int(trade["price"]) > 0
    paid = says(devnet, "market", "trades", "--limit", "10000")["trades"]
    assert earned == sum(int(each["price"]) * each["tasks"] for each in paid)
    why = says(devnet, "worker", "why", "--key", key)
    assert why["got"] + len(why["misses"]) >= 1
    assert sum(each["lots"] for each in why["counts"]) == len(why["misses"])
