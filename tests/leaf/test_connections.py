"""Over https a client trusts the usual authorities; over http nobody, and reads nothing for it."""

from __future__ import annotations

import ssl

import httpx
import pytest

from prixfixe.connections import connection_options


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
