"""Over https a client trusts the usual authorities; over http nobody, and reads nothing for it."""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
import urllib3

from prixfixe.connections import connection_options, connection_pool


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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, str]]]]:
    """What the environment's proxy was asked: the path of each request, and its headers."""
    seen: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("http_proxy", f"http://office:p%40ss@127.0.0.1:{server.server_port}")
        monkeypatch.setenv("no_proxy", "inside.example")
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()


def post(url: str) -> None:
    pool, headers = connection_pool(url, connections=2)
    pool.urlopen("POST", url, body=b"{}", headers=headers, retries=False, timeout=5)
    pool.clear()


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
    for url in ("http://inside.example:1/", "http://127.0.0.1:1/", "http://localhost:1/", "http://[::1]:1/"):
        with pytest.raises(urllib3.exceptions.HTTPError):
            post(url)
    assert asked == []


def test_name_and_password_of_an_address_are_sent(asked: list[tuple[str, dict[str, str]]]) -> None:
    post("http://us%3Aer:s%C3%ABcret@node.example/")
    ((_, headers),) = asked
    assert headers["authorization"] == basic("us:er:s\u00ebcret")


def test_a_node_over_https_is_verified() -> None:
    pool, _ = connection_pool("https://node.example", connections=2)
    trusted = pool.connection_pool_kw["ssl_context"]
    assert (trusted.verify_mode, trusted.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert trusted.cert_store_stats()["x509"] > 0
