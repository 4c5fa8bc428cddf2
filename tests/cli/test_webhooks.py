"""`prixfixe webhooks`, and the receiver of docs/howto/webhooks.md."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from marketplace.webhooks.sending import Sender
from prixfixe.client.contexts import resolve_context
from tests.cli.conftest import Terminal
from tests.support.ports import lasting_port
from tests.support.receiver import receiving
from tests.support.scheduling import until
from tests.support.service import World

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "webhooks.md"


def test_a_webhook_is_added_tested_seen_rotated_and_removed(types: Terminal, world: World) -> None:
    with receiving() as receiver:
        made = types("webhooks", "add", receiver.url, "--event", "job.settled", "--json").json
        endpoint = made["endpoint"]["id"]
        assert made["secret"].startswith("whsec_")
        assert types("webhooks", "test", endpoint).code == 0
        Sender(world.store, local=True).send_all(lambda: False)
        assert len(receiver.came) == 1
    listed = types("webhooks", "list").out
    assert receiver.url in listed
    assert "job.settled" in listed
    assert made["secret"] not in listed
    told = types("webhooks", "list", endpoint).out
    assert "delivered" in told
    assert "webhook.test" in told
    again = types("webhooks", "replay", endpoint, "--since", "2020-01-01", "--json")
    assert again.json == {"count": 0}  # of the types that it asked for there was none
    rotated = types("webhooks", "rotate", endpoint, "--json").json
    assert rotated["secret"] != made["secret"]
    assert types("webhooks", "remove", endpoint).out == "removed\n"
    assert types("webhooks", "list").out == "there are no webhooks\n"
    gone = types("webhooks", "test", endpoint)
    assert (gone.code, "there is no such webhook" in gone.err) == (6, True)


def test_what_cannot_be_a_webhook_is_refused_with_what_to_do(types: Terminal, world: World) -> None:
    inside = types("webhooks", "add", "https://169.254.169.254/latest")
    assert (inside.code, "public internet" in inside.err) == (3, True)
    assert types("webhooks", "add", "https://example.com", "--event", "job.lost").code == 3
    assert types("webhooks", "replay", "x").code == 2
    wrong = types("webhooks", "test", "abc")
    assert (wrong.code, "'abc' is no webhook's id" in wrong.err) == (3, True)
    assert "prixfixe webhooks list" in wrong.err
    assert resolve_context().service not in inside.err


def test_the_receiver_of_the_page_takes_what_is_sent_and_refuses_what_is_not_signed(
    types: Terminal, world: World, tmp_path: Path
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    port = lasting_port()
    url = f"http://127.0.0.1:{port}/"
    made = types("webhooks", "add", url, "--json").json
    types("webhooks", "test", made["endpoint"]["id"])
    file = tmp_path / "receiver.py"
    file.write_text(program)
    (tmp_path / "secret").write_text(made["secret"] + "\n")
    command = [sys.executable, str(file), str(port)]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        try:
            until(lambda: _listens(port), "the receiver to listen")
            Sender(world.store, local=True).send_all(lambda: False)
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            assert running.stdout.readline().startswith("webhook.test")
            assert httpx.post(url, content=b'{"type": "job.settled", "data": {}}').status_code == 401
        finally:
            running.kill()
    (delivery,) = types("webhooks", "list", made["endpoint"]["id"], "--json").json["items"]
    assert (delivery["state"], delivery["status"]) == ("delivered", 204)
    assert json.dumps(delivery).count(made["secret"]) == 0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
