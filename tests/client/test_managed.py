"""A client with an API key: the service signs, and the client still believes nothing that it can check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from marketplace.chain import AccountView
from marketplace.store.tables import jobs
from prixfixe.client import Client, Context
from prixfixe.errors import InsufficientFunds, Unauthorized, Unavailable, VerificationFailed
from tests.support.accounts import Person
from tests.support.service import CHAIN_ID, CONTRACT, DOLLAR, HOST, SEED, InProcess, World

CONTEXT = Context(name="test", service=f"http://{HOST}", chain_id=CHAIN_ID, contract=CONTRACT)
ADDRESS = SEED.signer(1).address


@pytest.fixture
def key(world: World) -> Iterator[str]:
    """An API key of an account that holds $100."""
    person = Person(world, "ada@example.com")
    person.sign_up()
    world.chain.accounts[ADDRESS] = AccountView(100 * DOLLAR, 0, 0)
    yield person.key("order")["Authorization"].removeprefix("Bearer ")
    person.close()


def quoted(client: Client, tmp_path: Path) -> Any:
    table = tmp_path / "table.csv"
    table.write_bytes(b"a,b\n")
    return client.quote("echo", parameters={"word": "hello"}, inputs=[table], units=50)


def stored(world: World) -> int:
    with world.store.read() as connection:
        return len(connection.execute(select(jobs.c.id)).all())


def test_a_quote_is_bought_without_a_key_of_ones_own_and_once(world: World, key: str, tmp_path: Path) -> None:
    with Client(CONTEXT, api_key=key, transport=InProcess(world.app)) as client:
        assert client.address == ADDRESS
        quote = quoted(client, tmp_path)
        job = client.buy(quote)
        assert client.buy(quote).id == job.id
        assert [each.id for each in client.jobs()] == [job.id]
        assert client.account().spendable.units == 96 * DOLLAR
        assert client.statement().lines == ()
    assert stored(world) == 1


def test_the_key_may_come_from_the_environment(
    world: World, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIXFIXE_API_KEY", key)
    with Client(CONTEXT, transport=InProcess(world.app)) as client:
        assert client.address == ADDRESS


def test_an_order_whose_answer_was_lost_is_bought_once(world: World, key: str, tmp_path: Path) -> None:
    class Losing(httpx.BaseTransport):
        """Loses the first answer to an order."""

        def __init__(self) -> None:
            self.inner, self.lost = InProcess(world.app), 0

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = self.inner.handle_request(request)
            if request.url.path == "/v1/account/orders" and not self.lost:
                self.lost += 1
                raise httpx.ReadError("cut", request=request)
            return answer

        def close(self) -> None:
            self.inner.close()

    transport = Losing()
    with Client(CONTEXT, api_key=key, transport=transport) as client:
        client.buy(quoted(client, tmp_path))
    assert (transport.lost, stored(world)) == (1, 1)


def test_a_service_that_bought_something_else_is_found_out(world: World, key: str, tmp_path: Path) -> None:
    class Lying(InProcess):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = super().handle_request(request)
            if request.url.path == "/v1/account/orders":
                body = answer.text.replace(answer.json()["job"]["id"], "0x" + "12" * 32)
                return httpx.Response(answer.status_code, content=body)
            return answer

    with Client(CONTEXT, api_key=key, transport=Lying(world.app)) as client:
        quote = quoted(client, tmp_path)
        with pytest.raises(Unavailable, match="signed something else"):
            client.buy(quote)


def test_what_the_account_may_not_do_is_said_in_its_own_words(world: World, key: str, tmp_path: Path) -> None:
    with Client(CONTEXT, api_key=key, transport=InProcess(world.app)) as client:
        quote = quoted(client, tmp_path)
        with pytest.raises(VerificationFailed):
            client.buy(quote.model_copy(update={"total": quote.price.__class__(1)}))
        world.chain.accounts[ADDRESS] = AccountView(0, 0, 0)
        with pytest.raises(InsufficientFunds):
            client.buy(quote)
    with (
        Client(CONTEXT, api_key="pfx_wrong", transport=InProcess(world.app)) as client,
        pytest.raises(Unauthorized) as refused,
    ):
        client.jobs()
    assert "pfx_wrong" not in str(refused.value.to_problem())
