"""The local chain: found or explained, gone when the block ends, and remembered when it has a file."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from prixfixe.devnet import anvil
from prixfixe.errors import ConfigurationError, Unavailable

pytestmark = pytest.mark.chain


def test_a_stopped_chain_is_gone_and_a_chain_with_a_file_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with anvil.running_anvil(state=state) as chain:
        advanced = chain.advance(7200)
        url = chain.url
    with pytest.raises(Unavailable):
        anvil.LocalChain(url).rpc.call("eth_chainId")
    with anvil.running_anvil(state=state) as chain:
        assert chain.time == advanced


# Answers at once, and heeds SIGTERM a moment later, as anvil does on a machine with much to do.
SLOW_TO_HEED = """#!{python}
import pathlib, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Node(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{{"id": 1, "result": "0x7a69"}}')

server = HTTPServer(("127.0.0.1", 0), Node)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"Listening on 127.0.0.1:{{server.server_port}}", flush=True)
time.sleep(0.5)
state = pathlib.Path(sys.argv[sys.argv.index("--state") + 1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(state.write_text("{{}}") and 0))
while True:
    signal.pause()
"""


def test_a_chain_that_is_stopped_as_soon_as_it_answers_has_written_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, state = tmp_path / "anvil", tmp_path / "state.json"
    program.write_text(SLOW_TO_HEED.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv(anvil.ANVIL_VARIABLE, str(program))
    with anvil.running_anvil(state=state):
        pass
    assert state.exists()


def test_a_chain_whose_clock_was_moved_on_makes_no_block_before_its_last_when_it_goes_on(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state.json"
    with anvil.running_anvil(state=state) as chain:
        moved = chain.advance(7200)
    with anvil.running_anvil(state=state) as chain:
        chain.rpc.call("evm_mine")
        assert moved <= chain.time < moved + 60


def test_a_chains_clock_is_worked_out_anew_at_each_start(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    command = ["anvil", "--state", str(state), "--state-interval", "1"]
    assert anvil.going_on(command) == command, "nothing to go on from"
    for content in ("", "{", "[]", '{"block": null}', '{"block": {"timestamp": 7}}'):
        state.write_text(content)
        assert anvil.going_on(command) == command
    later = int(time.time()) + 1000
    state.write_text(json.dumps({"block": {"timestamp": hex(later)}}))
    moved = [*command, "--timestamp", str(later)]
    assert anvil.going_on(command) == anvil.going_on([*command, "--timestamp", "5"]) == moved
    state.write_text(json.dumps({"block": {"timestamp": "0x5"}}))
    assert anvil.going_on(moved) == command


def test_time_moves_by_as_much_as_asked_and_can_be_undone(chain: anvil.LocalChain) -> None:
    before = chain.time
    with chain.rolled_back():
        assert 3600 <= chain.advance(3600) - before < 3660
        chain.move_to(before + 10_000)
        assert chain.time == before + 10_000
    assert chain.time == before


def test_a_block_after_a_long_rest_is_not_later_than_who_looked_at_the_clock_could_know(
    chain: anvil.LocalChain,
) -> None:
    chain.rpc.call("evm_increaseTime", hex(7200))  # as if nobody had made a block for two hours
    with chain.rolled_back():
        before = chain.time
        chain.rpc.call("evm_mine")
        assert chain.time - before < 3600


def test_a_missing_program_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.setattr(anvil, "_upwards", lambda folder: ())
    monkeypatch.setattr(anvil.sys, "executable", os.fspath(tmp_path / "python"))
    with pytest.raises(ConfigurationError) as missing:
        anvil.find_anvil()
    assert "scripts/setup" in str(missing.value.hint)
    monkeypatch.setenv(anvil.ANVIL_VARIABLE, os.fspath(tmp_path / "nothing"))
    with pytest.raises(ConfigurationError, match=anvil.ANVIL_VARIABLE):
        anvil.find_anvil()


def test_a_chain_that_cannot_start_says_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "anvil"
    broken.write_text("#!/bin/sh\necho no luck today\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv(anvil.ANVIL_VARIABLE, os.fspath(broken))
    with (
        pytest.raises(ConfigurationError, match="ended with 3 before it listened: no luck today"),
        anvil.running_anvil(),
    ):
        pass
