"""Over https a client trusts the usual authorities; over http nobody, and reads nothing for it."""

from __future__ import annotations

import base64
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from prixfixe import connections
from prixfixe.chain.endpoints import Endpoint
from prixfixe.connections import connection_options, connection_pool
from prixfixe.errors import ConfigurationError, Unavailable


def test_plain_http_reads_no_authorities() -> None:
    trusted = connection_options("http://market.example")["verify"]
    assert trusted.cert_store_stats()["x509"] == 0
    assert (trusted.verify_mode, trusted.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_https_is_verified_as_ever() -> None:
    assert "verify" not in connection_options("https://market.example")


@pytest.mark.parametrize(
    ("url", "proxies"),
    [
        ("http://127.0.0.1:8545", False),
        ("http://localhost:8545", False),
        ("http://[::1]:8545", False),
        ("https://market.example", True),
    ],
)
def test_proxies_are_not_for_this_machine(url: str, proxies: bool) -> None:
    assert connection_options(url)["trust_env"] is proxies
    httpx.Client(**connection_options(url)).close()


@contextmanager
def answering(see: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[int]:
    """A loopback server that answers all with an empty object; its port. see: is shown each request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            see(self)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, str]]]]:
    """What the environment's proxy was asked: the path of each request, and its headers."""
    seen: list[tuple[str, dict[str, str]]] = []

    def see(each: BaseHTTPRequestHandler) -> None:
        seen.append((each.path, {name.lower(): value for name, value in each.headers.items()}))

    with answering(see) as port:
        monkeypatch.setenv("http_proxy", f"http://office:p%40ss@127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "inside.example,door.example:1")
        yield seen


def post(url: str) -> None:
    node = Endpoint(url, timeout_seconds=5)
    node.post({})
    node.close()


def basic(named: str) -> str:
    return "Basic " + base64.b64encode(named.encode()).decode()


def test_a_node_is_asked_through_the_environments_proxy(asked: list[tuple[str, dict[str, str]]]) -> None:
    post("http://node.example:8545/v3/key")
    ((path, headers),) = asked
    assert path == "http://node.example:8545/v3/key"
    assert headers["proxy-authorization"] == basic("office:p@ss")
    assert "authorization" not in headers


def test_what_is_inside_and_this_machine_are_asked_without_it(
    asked: list[tuple[str, dict[str, str]]],
) -> None:
    for url in (
        "http://inside.example:1/",
        "http://door.example:1/",
        "http://127.0.0.1:1/",
        "http://localhost:1/",
        "http://[::1]:1/",
    ):
        with pytest.raises(Unavailable):
            post(url)
    assert asked == []


def test_name_and_password_of_an_address_are_sent(asked: list[tuple[str, dict[str, str]]]) -> None:
    post("http://us%3Aer:s%C3%ABcret@node.example/")
    ((path, headers),) = asked
    assert path == "http://node.example/", "which the proxy may write down"
    assert headers["authorization"] == basic("us:er:s\u00ebcret")


def test_a_node_over_https_is_verified() -> None:
    pool, _ = connection_pool("https://node.example", connections=2)
    trusted = pool.connection_pool_kw["ssl_context"]
    assert (trusted.verify_mode, trusted.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert trusted.cert_store_stats()["x509"] > 0


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "ftp://127.0.0.1:9"])
def test_a_proxy_that_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    monkeypatch.delenv("https_proxy", raising=False)
    with pytest.raises(ConfigurationError, match="proxy for https is"):
        Endpoint("https://node.example", timeout_seconds=5)


def test_a_proxy_without_a_scheme_is_an_http_proxy(
    asked: list[tuple[str, dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", os.environ["http_proxy"].removeprefix("http://"))
    post("http://node.example/")
    assert [path for path, _ in asked] == ["http://node.example/"]


def test_a_port_that_is_none_is_said() -> None:
    for url in ("http://node.example:port", "http://node.example:99999", "http://node.example:0"):
        with pytest.raises(ConfigurationError, match="address must be"):
            Endpoint(url, timeout_seconds=5)


def test_a_connection_that_lay_idle_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is between may have forgotten it, and would answer nothing."""
    came_from: list[int] = []
    with answering(lambda each: came_from.append(each.client_address[1])) as port:
        node = Endpoint(f"http://127.0.0.1:{port}", timeout_seconds=5)
        node.post({})
        node.post({})
        monkeypatch.setattr(connections, "_IDLE_SECONDS", 0.0)
        node.post({})
        node.close()
    first, second, third = came_from
    assert first == second != third
