"""A node that is away, refuses or talks nonsense is told apart, and its address is never shown whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from prixfixe.chain.client import MarketClient
from prixfixe.chain.rpc import Rpc
from prixfixe.devnet.anvil import LocalChain
from prixfixe.errors import ChainError, ConfigurationError, Unavailable
from tests.support.market import LocalMarket


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """A loopback server that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://user:secret@127.0.0.1:{server.server_port}/key/sekret"
        finally:
            server.shutdown()
            thread.join()


def test_a_node_that_is_away_is_unavailable_and_its_path_is_not_shown() -> None:
    with Rpc("http://user:secret@127.0.0.1:9/key/sekret") as rpc, pytest.raises(Unavailable) as away:
        rpc.call("eth_chainId")
    assert away.value.retryable
    assert "http://127.0.0.1:9 " in away.value.message
    said = repr(rpc) + str(away.value) + str(away.value.hint)
    assert "sekret" not in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<html>", 200),
        (b"[]", 200),
        (b'{"id":1}', 200),
        (b'"x"', 200),
        (b'{"error":"x"}', 200),
        (b"busy", 503),
        (b"", 429),
    ],
)
def test_nonsense_is_unavailable(body: bytes, status: int) -> None:
    with answering(body, status) as url, Rpc(url) as rpc:
        with pytest.raises(Unavailable) as nonsense:
            rpc.call("eth_chainId")
        assert "sekret" not in nonsense.value.message


@pytest.mark.parametrize(
    ("message", "code", "retryable"),
    [
        ("nonce too low: next nonce 5, tx nonce 4", "nonce-too-low", True),
        ("already known", "already-known", False),
        ("replacement transaction underpriced", "underpriced", True),
        ("Insufficient funds for gas * price + value", "no-gas-money", False),
        ("something else", "chain-error", False),
    ],
)
def test_refusals_that_a_sender_must_tell_apart_have_codes(message: str, code: str, retryable: bool) -> None:
    answer = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": message}}
    with answering(json.dumps(answer).encode()) as url, Rpc(url) as rpc:
        with pytest.raises(ChainError) as refused:
            rpc.call("eth_sendRawTransaction", "0x")
        assert (refused.value.code, refused.value.retryable) == (code, retryable)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8545", "ws://127.0.0.1:8545", "http://", "file:///etc/passwd"]
)
def test_an_address_of_no_node_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Rpc(url)


@pytest.mark.chain
def test_a_batch_answers_in_the_order_asked(chain: LocalChain) -> None:
    calls = [("eth_chainId", []), ("eth_getBalance", ["0x" + "77" * 20, "latest"]), ("eth_chainId", [])]
    assert chain.rpc.batch(calls) == ["0x7a69", "0x0", "0x7a69"]
    assert chain.rpc.batch([]) == []
    with pytest.raises(ChainError):
        chain.rpc.batch([("eth_chainId", []), ("eth_noSuchMethod", [])])


@pytest.mark.chain
def test_a_client_for_another_chain_is_refused(market: LocalMarket) -> None:
    client = MarketClient(market.chain.rpc, market.deployment.market, chain_id=1)
    with pytest.raises(ConfigurationError) as refused:
        _ = client.chain_id
    assert refused.value.code == "wrong-chain"
