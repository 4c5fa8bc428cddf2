"""Several nodes stand in for one another; one that is away, behind or another chain is not asked."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from prixfixe.chain import endpoints
from prixfixe.chain.rpc import Rpc
from prixfixe.errors import ChainError, Unavailable


@dataclass
class Node:
    """A chain node of the test's own: where it is, and what it was asked beside that."""

    chain: int = 1
    first: str | None = "0xaa"
    head: int = 100
    time: int = 10_000
    away: bool = False
    asked: list[str] = field(default_factory=list)
    looks: int = 0
    url: str = ""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        method, params = request["method"], request["params"]
        told: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        if method == "eth_chainId":
            self.looks += 1
            return {**told, "result": hex(self.chain)}
        if method == "eth_getBlockByNumber" and params[0] == "0x0":
            return {**told, "result": None if self.first is None else {"hash": self.first}}
        if method == "eth_getBlockByNumber":
            return {**told, "result": {"number": hex(self.head), "timestamp": hex(self.time)}}
        self.asked.append(method)
        if method == "refused":
            return {**told, "error": {"code": 3, "message": "execution reverted"}}
        return {**told, "result": self.url}


def serving(node: Node, closing: ExitStack) -> Node:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            given = [node.answer(each) for each in body] if isinstance(body, list) else node.answer(body)
            content = b"" if node.away else json.dumps(given).encode()
            self.send_response(503 if node.away else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = closing.enter_context(HTTPServer(("127.0.0.1", 0), Handler))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    closing.callback(thread.join)
    closing.callback(server.shutdown)
    node.url = f"http://127.0.0.1:{server.server_port}"
    return node


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    """Three of one chain."""
    with ExitStack() as closing:
        yield [serving(Node(), closing) for _ in range(3)]


@pytest.fixture
def rpc(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> Iterator[Rpc]:
    """All of them, looked at with every question."""
    monkeypatch.setattr(endpoints, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(endpoints, "_NONE_SECONDS", 0.0)
    monkeypatch.setattr(endpoints, "_REST_SECONDS", 0.0)
    with Rpc(" ".join(node.url for node in nodes)) as made:
        yield made


def test_the_first_that_is_fit_is_asked_and_the_others_are_not(rpc: Rpc, nodes: list[Node]) -> None:
    assert [rpc.call("who") for _ in range(3)] == [nodes[0].url] * 3
    assert nodes[1].asked == nodes[2].asked == []


def test_one_that_is_away_is_stood_in_for_at_once_and_what_was_asked_is_answered(
    nodes: list[Node], caplog: pytest.LogCaptureFixture
) -> None:
    """Without waiting for the next look."""
    with Rpc(" ".join(node.url for node in nodes)) as rpc, caplog.at_level(logging.WARNING):
        assert rpc.call("who") == nodes[0].url
        nodes[0].away = True
        assert rpc.call("who") == nodes[1].url
        nodes[0].away = False
        assert rpc.batch([("who", []), ("who", [])]) == [nodes[1].url] * 2, "it keeps the place"
    assert f"answered 503; asking {nodes[1].url} from now on" in caplog.text


def test_one_that_falls_behind_is_not_asked_any_more(rpc: Rpc, nodes: list[Node]) -> None:
    assert rpc.call("who") == nodes[0].url
    for node in nodes[1:]:
        node.head, node.time = 103, 10_000 + endpoints.MOST_LAG_SECONDS
    assert rpc.call("who") == nodes[0].url, "as far as any node may be"
    for node in nodes[1:]:
        node.time += 1
    assert rpc.call("who") == nodes[1].url


@pytest.mark.parametrize("other", [{"chain": 2}, {"first": "0xbb"}])
def test_another_chain_is_not_asked_even_when_it_is_the_only_one_left(
    rpc: Rpc, nodes: list[Node], other: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Two local chains have the same id: their first blocks tell them apart."""
    for name, value in other.items():
        setattr(nodes[1], name, value)
    nodes[1].head = 10_000
    assert rpc.call("who") == nodes[0].url
    nodes[0].away = True
    assert rpc.call("who") == nodes[2].url
    nodes[2].away = True
    with pytest.raises(Unavailable, match="503"):
        rpc.call("who")
    assert nodes[1].asked == []
    assert caplog.text.count("is another chain") == 1
    nodes[2].away = False
    assert rpc.call("who") == nodes[2].url


def test_a_node_that_keeps_no_first_block_is_known_by_its_id(rpc: Rpc, nodes: list[Node]) -> None:
    nodes[1].first = None
    assert rpc.call("who") == nodes[0].url
    nodes[0].away = True
    assert rpc.call("who") == nodes[1].url


def test_what_the_chain_refuses_no_other_node_is_asked(rpc: Rpc, nodes: list[Node]) -> None:
    with pytest.raises(ChainError, match="reverted"):
        rpc.call("refused")
    assert [node.asked for node in nodes] == [["refused"], [], []]


def test_while_none_answers_it_says_so_and_goes_on_when_one_does(rpc: Rpc, nodes: list[Node]) -> None:
    for node in nodes:
        node.away = True
    for _ in range(2):
        with pytest.raises(Unavailable, match="answered 503"):
            rpc.call("who")
    nodes[2].away = False
    assert rpc.call("who") == nodes[2].url


def test_while_none_answers_not_every_question_looks_at_all_of_them(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look may last as long as all nodes take to say nothing, and the others wait for it."""
    monkeypatch.setattr(endpoints, "_NONE_SECONDS", 3600.0)
    for node in nodes:
        node.away = True
    with Rpc(" ".join(node.url for node in nodes)) as rpc:
        for _ in range(3):
            with pytest.raises(Unavailable, match=f"the chain at {nodes[0].url} answered 503"):
                rpc.call("who")
        looked = [node.looks for node in nodes]
        with pytest.raises(Unavailable):
            rpc.call("who")
        assert [node.looks for node in nodes] == looked
        assert max(looked) <= 2
        nodes[2].away = False
        monkeypatch.setattr(endpoints, "_NONE_SECONDS", 0.0)
        assert rpc.call("who") == nodes[2].url


def test_the_first_is_not_asked_for_want_of_others_when_it_is_another_chain(
    rpc: Rpc, nodes: list[Node]
) -> None:
    nodes[0].away = True
    assert rpc.call("who") == nodes[1].url
    nodes[0].away, nodes[0].chain = False, 2
    for node in nodes[1:]:
        node.away = True
    with pytest.raises(Unavailable, match=r"503|another chain"):
        rpc.call("who")
    with pytest.raises(Unavailable, match=r"503|another chain"):
        rpc.call("who")
    assert nodes[0].asked == []
