"""The methods that `Client` and `AsyncClient` have in common, each written once, as an operation.

A client performs operations: the one blocks, the other is awaited. `Offered` makes a method of an operation,
so that signature and docstring are the operation's own, and a type checker sees for `Client` what it
returns and for `AsyncClient` what is awaited.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from prixfixe.client.calls import Operation
from prixfixe.client.operations import Operations

if TYPE_CHECKING:
    from prixfixe.client.asynchronous import AsyncClient
    from prixfixe.client.contexts import Context
    from prixfixe.client.synchronous import Client

P = ParamSpec("P")
T = TypeVar("T")


class Offered(Generic[P, T]):
    """An operation as a method: it returns on a `Client` what it is awaited for on an `AsyncClient`."""

    def __init__(self, operation: Callable[Concatenate[Operations, P], Operation[T]]) -> None:
        self.operation = operation
        update_wrapper(self, operation)

    def __call__(self, client: Any, *given: P.args, **named: P.kwargs) -> Any:
        return client.perform(self.operation(client.operations, *given, **named))

    @overload
    def __get__(self, client: None, kind: type) -> Self: ...
    @overload
    def __get__(self, client: Client, kind: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncClient, kind: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, kind: type) -> Any:
        return self if client is None else MethodType(self, client)


class Surface:
    """What a customer of one market can do. An argument `progress` is called with the bytes done and the
    bytes in all, and `prixfixe.client.progress` has ready-made ones."""

    operations: Operations

    @property
    def context(self) -> Context:
        """The market that it talks to."""
        return self.operations.context

    # The market.
    market = Offered(Operations.market)
    health = Offered(Operations.health)
    bundles = Offered(Operations.bundles)
    bundle = Offered(Operations.bundle)
    products = Offered(Operations.products)
    terms = Offered(Operations.terms)
    book = Offered(Operations.book)
    trades = Offered(Operations.trades)
    index = Offered(Operations.index)
    indexes = Offered(Operations.indexes)
    reputation = Offered(Operations.reputation)
    batches = Offered(Operations.batches)
    batch_digest = Offered(Operations.batch_digest)
    publication = Offered(Operations.publication)

    # Buying.
    run = Offered(Operations.run)
    quote = Offered(Operations.quote)
    quote_wish = Offered(Operations.quote_wish)
    upload = Offered(Operations.upload)
    order = Offered(Operations.order)
    buy = Offered(Operations.buy)
    buy_many = Offered(Operations.buy_many)
    submit = Offered(Operations.submit)
    map = Offered(Operations.map)
    again = Offered(Operations.again)
    replace = Offered(Operations.replace)
    own_orders = Offered(Operations.own_orders)
    cancel_order = Offered(Operations.cancel_order)

    # Jobs.
    job = Offered(Operations.job)
    jobs = Offered(Operations.jobs)
    wait = Offered(Operations.wait)
    logs = Offered(Operations.logs)
    outputs = Offered(Operations.outputs)
    download = Offered(Operations.download)
    download_file = Offered(Operations.download_file)
    receipt = Offered(Operations.receipt)
    certificate = Offered(Operations.certificate)
    certificate_pdf = Offered(Operations.certificate_pdf)
    verify = Offered(Operations.verify)
    cancel = Offered(Operations.cancel)
    refund = Offered(Operations.refund)
    challenge = Offered(Operations.challenge)
    seals = Offered(Operations.seals)
    give_seal = Offered(Operations.give_seal)
    deletions = Offered(Operations.deletions)
    forget = Offered(Operations.forget)

    # A managed account.
    account = Offered(Operations.account)
    statement = Offered(Operations.statement)
    statement_pdf = Offered(Operations.statement_pdf)
    top_ups = Offered(Operations.top_ups)
    set_limits = Offered(Operations.set_limits)
    withdraw = Offered(Operations.withdraw)
    fix_withdrawal_address = Offered(Operations.fix_withdrawal_address)
    standing_withdrawal = Offered(Operations.standing_withdrawal)

    # The pricing desk.
    publish_bundle = Offered(Operations.publish_bundle)
    retire_bundle = Offered(Operations.retire_bundle)
    change_terms = Offered(Operations.change_terms)
