"""The service as a process: it starts, says where it is, stops in order, and refuses what cannot work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from marketplace.store.tables import deals
from prixfixe.development_keys import development_key
from prixfixe.devnet.anvil import running_anvil
from prixfixe.errors import ConfigurationError, DevelopmentKeyRefused
from prixfixe.keys import load_signer
from scheduler.commands import admin
from tests.support.market import PRICE, LocalMarket, deploy_local_market
from tests.support.scheduling import Service, until

pytestmark = [pytest.mark.chain, pytest.mark.network_ports]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(market: LocalMarket, tmp_path: Path) -> Iterator[Start]:
    """Starts the real command on `tmp_path`; whatever still runs is killed at the end."""
    manifest = tmp_path / "deployment.json"
    market.deployment.save(manifest)
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str, key: str = "dev:2", data: Path = tmp_path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "prixfixe", "serve", "--data", str(data)]
        command += ["--key", key, "--port", "0", "--json"]
        if "--rpc" not in arguments:  # it would be one more node
            command += ["--rpc", market.chain.url]
        if "--contract" not in arguments:
            command += ["--deployment", str(manifest)]
        process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def facts(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The start line."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate(timeout=20)[1])
    found: dict[str, Any] = json.loads(line)
    return found


def test_duties_alone_stop_in_order_as_soon_as_they_say_that_they_run(start: Start) -> None:
    process = start("--no-api")
    assert facts(process)["url"] is None
    process.send_signal(signal.SIGTERM)
    # A duty that misses the signal sleeps on for half a minute.
    assert process.wait(25) == 0


def test_duties_alone_tell_how_they_are_where_their_figures_are(start: Start, market: LocalMarket) -> None:
    """As the API does of a process that has one, until they end or the chain is gone."""
    process = start("--no-api", "--metrics", "127.0.0.1:0")
    told = facts(process)
    base = told["metrics"].removesuffix("/metrics")

    def page(path: str) -> tuple[int, dict[str, Any]]:
        answer = httpx.get(base + path, timeout=20, trust_env=False)
        assert answer.headers["Content-Type"] == "application/json"
        return answer.status_code, answer.json()

    def ready() -> tuple[int, dict[str, Any]] | None:
        answer = page("/v1/ready")
        return answer if answer[0] == 200 else None

    status, answer = until(ready, "each duty to be led")
    assert (answer["ready"], answer["missing"], set(answer["led"].values())) == (True, [], {True})
    status, answer = page("/v1/health")
    assert (status, answer["status"], answer["waiting_lots"]) == (200, "ok", 0)
    assert {duty["name"] for duty in answer["duties"]} == set(page("/v1/ready")[1]["led"])
    assert all(duty["running"] and duty["leads"] for duty in answer["duties"])
    assert httpx.get(base + "/v1/market", timeout=20, trust_env=False).status_code == 404
    assert "prixfixe_duty_" in httpx.get(base + "/metrics", timeout=20, trust_env=False).text


def test_without_the_chain_duties_alone_are_unwell_and_not_ready(start: Start, market: LocalMarket) -> None:
    with running_anvil() as chain:
        other = deploy_local_market(chain)
        process = start(
            "--no-api", "--metrics", "127.0.0.1:0", "--rpc", chain.url, "--contract", other.deployment.market
        )
        base = facts(process)["metrics"].removesuffix("/metrics")
    for path, told in (("/v1/health", "chain"), ("/v1/ready", "missing")):
        answer = httpx.get(base + path, timeout=60, trust_env=False)
        assert answer.status_code == 503
        assert "out of reach" in str(answer.json()[told])


def test_a_second_service_on_the_same_folder_is_refused(start: Start) -> None:
    facts(start())
    second = start()
    _, error = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "another service runs on" in error


def test_parts_of_a_service_share_a_folder_and_a_whole_one_does_not(start: Start, tmp_path: Path) -> None:
    parts = [start(part) for part in ("--no-api", "--no-duties", "--no-duties")]
    urls = [facts(part)["url"] for part in parts]
    for url in urls[1:]:
        until(
            lambda url=url: httpx.get(f"{url}/v1/ready", timeout=20, trust_env=False).status_code == 200,
            "each duty to be led",
        )
    whole = start()
    assert "only --no-api and --no-duties share" in whole.communicate(timeout=60)[1]
    assert whole.returncode == 2
    elsewhere = start("--database", f"sqlite:///{tmp_path / 'prixfixe.db'}", data=tmp_path / "elsewhere")
    assert f"another service runs on {tmp_path}" in elsewhere.communicate(timeout=60)[1]
    for part in parts:
        part.send_signal(signal.SIGTERM)
    assert [part.wait(60) for part in parts] == [0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "key", "said"),
    [
        ((), "dev:3", "the contract's scheduler is"),
        (("--contract", "0x" + "11" * 20), "dev:2", "there is no contract at"),
        (("--chain-wait", "0.2", "--rpc", "http://127.0.0.1:1"), "dev:2", "is out of reach"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(
    start: Start, arguments: tuple[str, ...], key: str, said: str
) -> None:
    process = start(*arguments, key=key)
    _, error = process.communicate(timeout=60)
    assert process.returncode in (2, 7)
    assert said in error
    assert "Traceback" not in error


def test_a_development_key_is_refused_on_another_chain() -> None:
    with pytest.raises(DevelopmentKeyRefused):
        load_signer("dev:2", chain_id=1)
    assert len(development_key(2)) == 32


def test_a_service_killed_at_any_moment_goes_on_where_it_was(
    start: Start, market: LocalMarket, tmp_path: Path
) -> None:
    """kill -9 after the order, after the match and after the report: the job is settled, once."""
    tables = Service(market, tmp_path)  # what the API and the worker write
    tables.list_offer()
    worker = tables.ready_worker()
    job = tables.order()
    before = tables.free(market.customer)

    for happens in ("matched", "reported", "settled"):
        process = start("--database", tables.store.url)
        facts(process)
        tables.beat(worker)
        if happens == "matched":
            until(lambda: tables.rows(deals), "the deal", 60)
        if happens == "reported":
            tables.report(worker)
        if happens == "settled":
            until(lambda: tables.job(job)["state"] == "settled", "the settlement", 60)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)

    assert tables.job(job)["charged"] == PRICE.units
    assert tables.free(market.customer) == before - PRICE.units
    assert [row["state"] for row in tables.rows(deals)] == ["settled"]
    tables.close()


def at(service: Service) -> list[str]:
    """Where a command finds the service's files and tables."""
    return ["--data", str(service.data), "--database", service.store.url]


def test_admin_status_shows_what_waits_and_why(service: Service) -> None:
    job = service.order()
    service.step()
    shown = CliRunner().invoke(admin, ["status", *at(service)])
    assert shown.exit_code == 0, shown.output
    assert "1 free" in shown.output
    assert f"waits: {job} lot 0: no worker offers this product" in shown.output
    told = json.loads(CliRunner().invoke(admin, ["status", *at(service), "--json"]).output)
    assert told["states"]["jobs"] == {"queued": 1}
    assert told["cursor"]["block"] == service.client.block().number


def test_admin_vet_keeps_the_list_of_those_whom_the_operator_vouches_for(service: Service) -> None:
    provider, here = service.market.provider.address, at(service)
    assert CliRunner().invoke(admin, ["vet", *here]).output == "nobody is vetted\n"
    listed = CliRunner().invoke(admin, ["vet", provider.lower(), "--note", "known since May", *here])
    assert listed.output == f"{provider}  known since May\n"
    told = json.loads(CliRunner().invoke(admin, ["vet", "--json", *here]).output)
    assert [each["provider"] for each in told["vetted"]] == [provider]
    assert CliRunner().invoke(admin, ["vet", provider, "--remove", *here]).output == "nobody is vetted\n"


def test_admin_status_of_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(admin, ["status", "--data", str(tmp_path)])
    assert "there is no service's store" in str(result.exception)


def test_contract_and_manifest_together_are_refused(tmp_path: Path) -> None:
    from scheduler.serve import ServeOptions, serve

    options = ServeOptions(data=tmp_path, rpc="http://127.0.0.1:1", key="dev:2")
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        with pytest.raises(ConfigurationError, match="address or its manifest"):
            serve(options)
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
            signal.signal(number, handler)
