"""Customers who order while everything breaks: each order is signed once and sent until somebody took it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import httpx

from prixfixe.chain.client import MarketClient
from prixfixe.keys import LocalSigner, sign_typed
from prixfixe.protocol import wire
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.money import Money
from prixfixe.protocol.quotes import order_of
from prixfixe.protocol.signatures import message_digest
from prixfixe.protocol.siwe import SignIn
from tests.faults.sellers import PRODUCT
from tests.support.service import DEFINITION

_PATIENCE_SECONDS: Final = 180.0
ARCHIVE: Final = b"an image"
TABLE: Final = b"a,b\n"


class Front:
    """The doors of the service: a call goes to one of them, and to the next when it does not answer."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._doors = [httpx.Client(base_url=url, timeout=10.0) for url in urls]
        self._next = 0
        self.repeated = 0  # calls that had to be made again

    def close(self) -> None:
        for door in self._doors:
            door.close()

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The first answer that is no failure of the service's; AssertionError when there is none in time."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            door = self._doors[self._next % len(self._doors)]
            try:
                answer = door.request(method, path, **options)
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
                failure = f"{answer.status_code}: {answer.text[:300]}"
            except httpx.HTTPError as error:
                failure = f"{type(error).__name__}: {error}"
            assert time.monotonic() < deadline, f"{method} {path}: {failure}"
            self._next += 1
            self.repeated += 1
            time.sleep(0.1)

    def sign_in(self, signer: LocalSigner) -> dict[str, str]:
        """The header of a session."""
        nonce = self.call("GET", "/v1/sessions/nonce").json()
        text = SignIn.now(
            nonce["domain"], signer.address, f"http://{nonce['domain']}", signer.chain_id, nonce["nonce"]
        ).compose()
        body = {"message": text, "signature": "0x" + signer.sign_digest(message_digest(text)).hex()}
        answer = self.call("POST", "/v1/sessions", json=body)
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}


class Customer:
    """One customer and its quotes: a bundle's and a bid at the market's price, each with one replica and with
    three, and a bid of several lots."""

    def __init__(self, front: Front, signer: LocalSigner, client: MarketClient, promise_seconds: int) -> None:
        self._front, self._signer, self._client = front, signer, client
        session = front.sign_in(signer)
        name = sha256_hex(ARCHIVE)
        for content in (ARCHIVE, TABLE):
            front.call("PUT", f"/v1/blobs/{sha256_hex(content)}", content=content, headers=session)
        bid = {
            "customer": signer.address,
            "kind": "flat",
            "product": "0x" + PRODUCT.to_bytes().hex(),
            "image": f"sha256:{'1' * 64}",
            "image_archive": name,
            "command": ["true"],
            "wait_seconds": promise_seconds,
        }
        purchase = {
            "customer": signer.address,
            "bundle": "echo",
            "parameters": {"word": "hello"},
            "inputs": [{"name": "table.csv", "sha256": sha256_hex(TABLE), "size": len(TABLE)}],
            "units": 50,
        }
        several = {"replicas": 3}
        self._wishes = (purchase, purchase | several, bid, bid | several, {**bid, "tasks": 3, "lot": 2})
        self._ask_quotes()
        self.orders: list[str] = []

    def orders_one(self) -> str:
        """Signs one more order, and sends it until it is a job; the job's id."""
        answer = self._send_next()
        if answer.status_code == 410:  # quotes end, and a machine that does much else may take as long
            self._ask_quotes()
            answer = self._send_next()
        assert answer.status_code in (200, 201), answer.text
        self.orders.append(wire.Job.model_validate(answer.json()).id)
        return self.orders[-1]

    def _send_next(self) -> httpx.Response:
        number = len(self.orders) + 1
        quote = self._quotes[number % len(self._quotes)]
        order = order_of(quote, self._client.contract, expiry=quote.order_expiry, nonce=number)
        signature = "0x" + sign_typed(self._signer, order, self._client.domain).hex()
        body = {"quote": quote.id, "order": order.to_json(), "signature": signature}
        return self._front.call("POST", "/v1/jobs", json=body)

    def _ask_quotes(self) -> None:
        self._quotes: tuple[wire.Quote | wire.BidQuote, ...] = tuple(
            (wire.Quote if "bundle" in wish else wire.BidQuote).model_validate(self._quote(wish))
            for wish in self._wishes
        )

    def _quote(self, wish: dict[str, Any]) -> Any:
        answer = self._front.call("POST", "/v1/quotes", json=wish)
        assert answer.status_code == 200, answer.text
        return answer.json()


def publish(front: Front, client: MarketClient, pricing: LocalSigner, promise_seconds: int) -> None:
    """A bundle whose tasks the workers sell: its offers on the chain, its definition at the service."""
    limits = {
        "milli_vcpu": PRODUCT.milli_vcpu,
        "memory_mib": PRODUCT.memory_mib,
        "disk_mib": PRODUCT.disk_mib,
        "max_seconds": PRODUCT.max_seconds,
    }
    tier = {"name": "small", "unit": "rows", "up_to": 100, "price": "2.00", "max_cost": "2.00"}
    changes = {
        "limits": limits,
        "tiers": [tier],
        "disputable": False,
        "replicas": [1, 3],
        "service_level": promise_seconds,
    }
    definition = BundleDefinition.model_validate({**DEFINITION, **changes})
    for _, _, offer in definition.offers():
        client.publish(pricing, offer, client.time() + 86_400, Money(0))
    session = front.sign_in(pricing)
    name = sha256_hex(ARCHIVE)
    front.call("PUT", f"/v1/blobs/{name}", content=ARCHIVE, headers=session)
    body = {"definition": definition.to_json(), "image_archive": name}
    answer = front.call("POST", "/v1/bundles", json=body, headers=session)
    assert answer.status_code == 201, answer.text
