"""A job's way out, against liars: in network namespaces of the test's own, and from a real container."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from prixfixe.errors import InvalidInput
from prixfixe.protocol.egress import parse_host
from prixfixe.public_addresses import is_own, is_public
from tests.cage.conftest import LABEL, Bench
from tests.support.devnet import ROOT
from worker import egress
from worker.cage import GVISOR
from worker.containers import container_name, holder_name
from worker.egress import Proxy
from worker.engine import Engine
from worker.logs import LogTail, Piece
from worker.runner import Runner
from worker.settings import Limits
from worker.stopping import Stopper

WORLD = ROOT / "tests" / "support" / "fake_internet.py"
PUBLIC, PUBLIC6 = "93.184.216.34", "2606:2800:220:1::34"


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What came of every attempt; see `tests/support/fake_internet.py`."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("network namespaces need root, `ip` (iproute2) and `unshare`")
    done = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, str(WORLD)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_everything_that_is_refused_could_be_reached(told: dict[str, Any]) -> None:
    assert told["reachable"] == [
        PUBLIC, "10.0.0.5", "169.254.169.254", "100.64.0.1", "127.0.0.1", "93.184.216.99"
    ]  # fmt: skip


def test_a_host_that_the_job_named_is_called_by_the_name_that_was_checked(told: dict[str, Any]) -> None:
    for name, address in (
        ("good.example", PUBLIC),
        ("six.example", PUBLIC6),
        ("xn--bcher-kva.example", PUBLIC),
    ):
        # The request came with another Host, which is where a server would have looked.
        assert told["named"][name] == ["200", json.dumps([address, name])]
    for written in ("good.example.", "GOOD.Example", "good.example:80"):
        assert told["written"][written] == ["200", json.dumps([PUBLIC, "good.example"])]
    assert told["written"]["port.example:8080"][0] == "200"
    for where, address in (("good.example:443", PUBLIC), ("six.example:443", PUBLIC6)):
        status, body = told["tunnels"][where]
        assert status == "200"
        assert json.loads(body.rpartition("\n")[2]) == [address, "inside"]


@pytest.mark.parametrize(
    "name",
    ["private", "metadata", "shared", "loopback", "zero", "multicast", "mapped", "ula", "nat64", "loopback6",
     "mixed", "own", "alias"],
)  # fmt: skip
def test_a_name_that_is_not_at_public_addresses_only_is_not_called(told: dict[str, Any], name: str) -> None:
    status, body = told["named"][f"{name}.example"]
    assert (status, body) == ("403", f"{name}.example is not at a public address\n")


def test_a_name_that_changes_its_address_is_called_where_it_was_checked(told: dict[str, Any]) -> None:
    first, *later = told["rebound"]
    assert first == ["200", json.dumps([PUBLIC, "rebind.example"])]
    assert [status for status, _ in later] == ["403", "403"]


def test_other_hosts_and_other_ports_are_refused(told: dict[str, Any]) -> None:
    assert told["named"]["evil.example"][0] == "403"
    for where in ("good.example:8080", "good.example:22", "port.example"):
        assert told["written"][where][0] == "403"
    for where in ("good.example:25", "evil.example:443", "metadata.example:443"):
        assert told["tunnels"][where][0] == "403"
    assert told["named"]["nowhere.example"][0] == "502"


def test_an_address_in_no_notation_is_a_name(told: dict[str, Any]) -> None:
    odd = (PUBLIC, "10.0.0.5", "169.254.169.254", "[::1]", "2130706433", "0x7f.1", "0x7f000001", "127.1",
           "localhost", "user@good.example", "good.example%2eevil.example")  # fmt: skip
    assert {each: told["written"][each][0] for each in odd} == dict.fromkeys(odd, "400")
    assert told["tunnels"]["10.0.0.5:443"][0] == "400"
    assert [status for status, _ in told["odd"]] == ["400"] * 4


def test_a_redirect_is_the_jobs_to_follow_and_leads_nowhere_new(told: dict[str, Any]) -> None:
    assert told["redirect"][0] == "302"
    assert told["written"]["169.254.169.254"][0] == "400"


def test_bytes_are_counted_calls_are_told_and_after_the_end_nothing_goes_out(told: dict[str, Any]) -> None:
    assert 0 < told["big"] < 500_000
    assert told["after"] != "200"
    assert told.get("closed", "") == ""
    assert "egress: six.example:80 called 1 time(s)" in told["account"]
    assert "egress: private.example:80 refused 1 time(s)" in told["account"]


def test_the_silent_side_of_a_long_download_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "_IDLE_SECONDS", 2.0)
    monkeypatch.setattr(egress, "callable_addresses", lambda found: found)
    heard: list[bytes] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]

        def answer_slowly() -> None:
            connection, _ = server.accept()
            with closing(connection):
                connection.settimeout(60)
                for _ in range(6):
                    threading.Event().wait(0.5)
                    connection.sendall(b"piece")
                heard.append(connection.recv(100))

        slow = threading.Thread(target=answer_slowly)
        slow.start()
        listener = socket.create_server(("127.0.0.1", 0))
        proxy = Proxy(listener, [parse_host(f"slow.example:{port}")], resolve=lambda *_: ["127.0.0.1"])
        proxy.start()
        with closing(socket.create_connection(listener.getsockname(), timeout=60)) as job:
            job.sendall(f"CONNECT slow.example:{port} HTTP/1.1\r\n\r\n".encode())
            read = b""
            while read.count(b"piece") < 6:
                piece = job.recv(1000)
                assert piece, "it was closed in the middle"
                read += piece
            job.sendall(b"thanks")
            slow.join(60)
        proxy.close()
    assert heard == [b"thanks"]


@pytest.mark.parametrize(
    "address",
    ["192.168.1.1", "172.17.0.1", "0.0.0.0", "255.255.255.255", "198.18.0.1", "192.0.2.1", "240.0.0.1",
     "fe80::1%eth0", "::", "ff02::1", "fec0::1", "::ffff:127.0.0.1", "::10.0.0.5", "2002:a00:5::1",
     "2001:0:a00:5::1", "64:ff9b:1::a00:5", "2001:db8::1"],
)  # fmt: skip
def test_an_address_that_is_not_of_the_public_internet_is_known(address: str) -> None:
    assert not is_public(address)


def test_public_addresses_are_called_unless_they_are_this_machines() -> None:
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1::34")
    assert (is_own("127.0.0.1"), is_own("93.184.216.34")) == (True, False)


@pytest.mark.parametrize("text", ["API.Example.com", "api.example.com.", "api.example.com"])
def test_a_host_has_one_spelling(text: str) -> None:
    assert str(parse_host(text)) == "api.example.com"
    assert str(parse_host("bücher.example:8443")) == "xn--bcher-kva.example:8443"


@pytest.mark.parametrize(
    "text", ["", "localhost", "10.0.0.1", "[::1]:80", "*.example.com", "a.example:0", "a.example:99999",
             "http://a.example", "a..example", "a.example/x", "-a.example", "a.0x10"],
)  # fmt: skip
def test_what_is_no_name_is_not_allowed(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_host(text)
    assert refused.value.code == "bad-host"


@pytest.mark.engine
def test_a_container_reaches_its_proxy_from_its_first_instruction_and_nothing_else(
    bench: Bench, engine: Engine
) -> None:
    if bench.runtime == GVISOR or bench.pool.kind != "loop":
        pytest.skip("a job that calls hosts runs on runc, beside an engine of this machine, as root")
    said: list[str] = []
    job = bench.job(
        "wget -q -O - http://good.example/ 2>&1; hostname; cat /proc/net/route | wc -l;"
        " grep -c : /proc/net/dev; wget -q -O - http://10.0.0.5/; ping -c 1 -W 1 172.17.0.1 && echo pinged;"
        " for at in 2375 22 80; do nc -w 1 127.0.0.1 $at </dev/null && echo open; done; exit 0",
        hosts=("good.example",),
        said=said,
    )
    asked: list[str] = []

    def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"]

    runner = Runner(engine, resolve)
    run = runner.run(runner.create(job.cage), job, Stopper())
    log = "".join(said)
    assert run.exit_code == 0
    assert "403 Forbidden" in log, "the proxy answered the very first thing that the job did"
    assert asked == ["good.example"]
    assert "\ntask\n1\n1\n" in log, "one interface, no route"
    assert "pinged" not in log
    assert "open" not in log
    assert log.endswith("egress: good.example:80 refused 1 time(s)\n")
    engine.remove(f"prixfixe-{job.cage.attempt}-0")
    assert engine.labelled("prixfixe.worker", LABEL) == {}


@pytest.mark.engine
def test_a_job_that_calls_hosts_is_followed_by_a_second_runner_and_found_after_its_end(
    bench: Bench, engine: Engine
) -> None:
    if bench.runtime == GVISOR or bench.pool.kind != "loop":
        pytest.skip("a job that calls hosts runs on runc, beside an engine of this machine, as root")
    begun = threading.Event()
    job = bench.job(
        "echo begun; until [ -e /job/outputs/go ]; do sleep 0.1; done; exit 3", hosts=("good.example",)
    )
    job = replace(job, emit=lambda piece: begun.set())
    runner = Runner(engine)
    runner.create(job.cage)
    container = runner.create(job.cage)  # as after a kill between the first and its journal
    name = container_name(job.cage.attempt)
    assert engine.pid(holder_name(name)) > 0
    first = threading.Thread(target=runner.run, args=(container, job, Stopper()))
    first.start()
    try:
        assert begun.wait(60)

        def go(piece: Piece) -> None:
            (job.disk.outputs / "go").touch()

        # The first one's daemon was killed; it still follows and listens.
        again = replace(job, tail=LogTail(Limits()), emit=go)
        state = engine.state(container)
        assert state is not None
        assert runner.resume(state, again, Stopper()).exit_code == 3
        first.join(60)
        over = engine.state(container)
        assert over is not None
        assert runner.resume(over, replace(again, tail=LogTail(Limits())), Stopper()).exit_code == 3
    finally:
        engine.remove(name)
    assert engine.labelled("prixfixe.worker", LABEL) == {}
