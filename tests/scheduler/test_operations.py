"""What an operator sees of a service: one id from order to settlement, figures, readiness; no secret."""

from __future__ import annotations

import json
import logging
import re
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection

from marketplace.store.database import tell
from prixfixe.development_keys import development_key
from prixfixe.keys import development_signer
from prixfixe.protocol.signatures import message_digest
from prixfixe.protocol.siwe import SignIn
from tests.scheduler.test_serve import Start, facts, start
from tests.support.market import PAY, PRICE, LocalMarket
from tests.support.scheduling import Service, until

__all__ = ["start"]  # the fixture

pytestmark = [pytest.mark.chain, pytest.mark.network_ports]

DOCS = Path(__file__).parents[2] / "docs"


def test_one_id_finds_an_order_from_its_placing_to_its_settlement(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "prixfixe.jobs")
    worker = service.ready_worker()
    job = service.order()
    # Without the reaper: a machine that stands still for a while must not look like a silent worker.
    service.matcher.run_once()
    service.relay()
    service.indexer.run_once()
    service.report(worker)
    service.relay()
    service.indexer.run_once()
    lines = [(record.message, getattr(record, "ids", {})) for record in caplog.records]
    said = [message for message, named in lines if named.get("job") == job]
    assert said == [
        "job queued: waiting for a worker",
        "match goes to the relayer",
        "job queued: paying into the contract",
        "match sent",
        "job running: assigned to w1",
        "deal opened",
        "settle goes to the relayer",
        "job running: settling",
        "settle sent",
        f"deal settled, 1 done, {PAY.units} paid",
        f"job ended settled, charged {PRICE.units}",
    ]
    of_deal = [named for message, named in lines if message.startswith("deal") and named["job"] == job]
    assert of_deal[0]["deal"] == of_deal[1]["deal"]
    assert of_deal[0]["transaction"] != of_deal[1]["transaction"]


def test_what_was_rolled_back_is_not_in_the_log(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "prixfixe.jobs")

    def fails(connection: Connection) -> None:
        tell(connection, "it happened", job="0x1")
        raise ValueError("no")

    def works(connection: Connection) -> None:
        tell(connection, "this did", job="0x2")

    with pytest.raises(ValueError, match="no"):
        service.store.together(fails)
    service.store.each_together([fails, works])
    assert [record.message for record in caplog.records] == ["this did"]


def test_a_service_starts_answers_shows_figures_and_stops_in_order(
    start: Start, market: LocalMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every metric that an alert names is there, every alert is in the runbook, every line of the log is one
    JSON object, and none holds the node's password, a session's token or a key."""
    monkeypatch.setenv("PRIXFIXE_SERVICE_CHECKERS", "dev:7")  # with all duties that there are
    rpc = market.chain.url.replace("://", "://reader:hunter22@")
    process = start(
        *("--rpc", rpc, "--metrics", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug")
    )
    told = facts(process)
    assert (told["contract"], told["operator"]) == (market.deployment.market, market.scheduler.address)
    with httpx.Client(base_url=told["url"], timeout=60, trust_env=False) as client:
        token = _sign_in(client, told["url"])
        client.get("/v1/jobs", headers={"Authorization": f"Bearer {token}"}).raise_for_status()
        client.get("/v1/jobs/0x12/log", headers={"Authorization": f"Bearer {token}x"})
        # Each duty's thread takes its lead by itself.
        ready = until(lambda: _is_ready(client), "every duty to be led", 60)
        text = client.get(told["metrics"]).text
        health = client.get("/v1/health")
    assert ready["missing"] == []
    assert set(ready["led"]) >= {
        "indexer",
        "relayer",
        "matcher",
        "auctioneer",
        "reaper",
        "cleaner",
        "messenger",
        "verifier",
    }
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert {duty["name"] for duty in health.json()["duties"]} == set(ready["led"])
    found = dict(re.findall(r"^(prixfixe_\S+) (\S+)$", text, re.MULTILINE))
    assert (found["prixfixe_store_up"], found["prixfixe_chain_up"]) == ("1", "1")
    assert float(found["prixfixe_operator_gas"]) > 1
    assert found['prixfixe_request_seconds_count{method="POST",route="/v1/sessions",status="200"}'] == "1"
    assert found['prixfixe_duty_led{duty="relayer"}'] == "1"
    _require_alerts_fit(text)

    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines[-1]["message"] == "stopped"
    assert {line["level"] for line in lines} <= {"debug", "info"}
    for secret in ("hunter22", token, development_key(2).hex()):
        assert secret not in log


def _is_ready(client: httpx.Client) -> dict[str, Any] | None:
    answer = client.get("/v1/ready")
    assert answer.status_code in (200, 503)
    return answer.json() if answer.status_code == 200 else None


def _sign_in(client: httpx.Client, url: str) -> str:
    signer = development_signer(3)
    given = client.get("/v1/sessions/nonce").json()
    text = SignIn.now(given["domain"], signer.address, url, 31337, given["nonce"]).compose()
    signature = "0x" + signer.sign_digest(message_digest(text)).hex()
    answer = client.post("/v1/sessions", json={"message": text, "signature": signature})
    return str(answer.raise_for_status().json()["token"])


def _require_alerts_fit(text: str) -> None:
    rules = (DOCS / "alerts.yml").read_text()
    shown = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    named = set(re.findall(r"\bprixfixe_\w+", rules))
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in named} <= shown
    for label, value in re.findall(r'\b(queue|state|level)="(\w+)"', rules):
        assert f'{label}="{value}"' in text
    runbook = (DOCS / "operations.md").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert len(alerts) == len(set(alerts)) > 10
    assert [alert for alert in alerts if f"`{alert}`" not in runbook] == []
    _require_told(shown, set(re.findall(r'(\w+)="([^"]*)"', text)), runbook)


def _require_told(shown: set[str], labels: set[tuple[str, str]], page: str) -> None:
    """The page's expressions name figures that are shown; its table has all of them, and what else stands
    there as code is a label or one of its values."""
    assert set(re.findall(r"\((prixfixe_\w+)", page)) <= shown
    (table,) = re.findall(r"\| about \| figures \|\n((?:\|.*\n)+)", page)
    named = {word for code in re.findall(r"`([^`]+)`", table) for word in re.findall(r"\w+", code)}
    figures = {name.removeprefix("prixfixe_") for name in shown}
    assert figures - named == set(), "the table lacks them"
    others = named - figures - {word for label in labels for word in label}
    assert others == {"quantile"}, "of latencies, of which an empty service has none"
