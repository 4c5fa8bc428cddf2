"""`prixfixe chain`: deploys after asking, writes the manifest, shows what the chain has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prixfixe.chain.deployment import Deployment
from prixfixe.cli.chain import chain as command
from prixfixe.errors import ConfigurationError, Conflict
from tests.support.market import LocalMarket

pytestmark = pytest.mark.chain


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(command, list(arguments), input=answer)


def test_a_market_is_deployed_as_chosen_and_proven(market: LocalMarket, tmp_path: Path) -> None:
    url, out = market.chain.url, tmp_path / "new.json"
    options = ["--window", "600", "--surety", "7.50", "--scheduler", market.scheduler.address]
    done = run("deploy", "--rpc", url, "--key", "dev:0", "--out", str(out), "--yes", "--json", *options)
    assert done.exit_code == 0, done.output
    deployment = Deployment.load(out)
    assert json.loads(done.stdout) == {**deployment.to_json(), "manifest": str(out)}
    assert (deployment.policy.window, deployment.policy.surety) == (600, 7_500_000)
    assert deployment.roles.scheduler == market.scheduler.address
    assert deployment.roles.admin == market.admin.address

    shown = run("show", "--manifest", str(out), "--rpc", url, "--json")
    facts = json.loads(shown.stdout)
    assert facts["manifest_proven"] is True
    assert facts["asks_arbiter"] is False
    assert (facts["contract"], facts["held"], facts["policy"]) == (
        deployment.market,
        "0",
        deployment.policy.to_json(),
    )


def test_what_cannot_be_changed_later_is_shown_and_asked_first(market: LocalMarket, tmp_path: Path) -> None:
    block, out = market.client.block(), tmp_path / "new.json"
    done = run("deploy", "--rpc", market.chain.url, "--key", "dev:0", "--out", str(out), answer="n\n")
    assert done.exit_code != 0
    assert "86400 s to dispute a result" in done.stderr
    assert "$5.00 that a provider keeps" in done.stderr
    assert "calls nobody: the arbiter is a key" in done.stderr
    assert not out.exists()
    assert market.client.block() == block


def test_an_existing_manifest_is_kept(market: LocalMarket, tmp_path: Path) -> None:
    out = tmp_path / "new.json"
    out.write_text("kept")
    done = run("deploy", "--rpc", market.chain.url, "--key", "dev:0", "--out", str(out), "--yes")
    assert isinstance(done.exception, Conflict)
    assert out.read_text() == "kept"


def test_a_policy_that_makes_no_sense_is_refused_before_it_is_asked(
    market: LocalMarket, tmp_path: Path
) -> None:
    done = run(
        "deploy", "--rpc", market.chain.url, "--key", "dev:0", "--out", str(tmp_path / "x"), "--surety", "1"
    )
    assert isinstance(done.exception, ConfigurationError)
    assert "surety is below the arbiter's fee" in str(done.exception)


def test_a_deployment_needs_a_key(market: LocalMarket) -> None:
    done = run("deploy", "--rpc", market.chain.url, "--yes")
    assert isinstance(done.exception, ConfigurationError)
    assert done.exception.code == "no-key"


def test_show_reads_for_people_too(market: LocalMarket, tmp_path: Path) -> None:
    market.deployment.save(tmp_path / "m.json")
    done = run("show", "--manifest", str(tmp_path / "m.json"), "--rpc", market.chain.url)
    assert done.exit_code == 0, done.output
    assert "owes" in done.stdout
    assert "$120.00, and holds $120.00" in done.stdout
    assert "the chain holds exactly what" in done.stderr
