"""Every operation is written once, and both clients offer it."""

from __future__ import annotations

import inspect

import pytest

from prixfixe.client import AsyncClient, Client
from prixfixe.client.operations import Operations
from prixfixe.client.surface import Offered, Surface

OFFERED = {name: value for name, value in vars(Surface).items() if isinstance(value, Offered)}
# What other operations are made of, and what the pricing commands perform by themselves.
INSIDE = {
    "address", "ask", "ask_signed_in", "authorization", "buy_managed", "close", "desk_inputs", "every",
    "exchange", "exposure", "managed_order", "price_history", "quote_replacement", "quote_request",
    "quote_rest", "scratch", "send", "send_inputs", "send_signed_in", "signer", "sources",
}  # fmt: skip


def test_every_operation_is_offered_or_known_to_be_inside() -> None:
    public = {
        name for name, value in inspect.getmembers(Operations, inspect.isfunction) if not name.startswith("_")
    }
    assert public - set(OFFERED) == INSIDE


@pytest.mark.parametrize("name", OFFERED)
def test_an_offered_method_says_what_it_does(name: str) -> None:
    method = OFFERED[name]
    assert method.__name__ == name
    assert method.__doc__
    assert method.operation is getattr(Operations, name)


def test_a_method_has_the_signature_of_its_operation_without_itself(client: Client) -> None:
    expected = list(inspect.signature(Operations.quote).parameters)[1:]
    assert list(inspect.signature(client.quote).parameters) == expected
    assert client.quote.__doc__ == Operations.quote.__doc__


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(Client) == public(AsyncClient)
