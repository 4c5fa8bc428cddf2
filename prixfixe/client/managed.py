"""A customer with an API key: the service signs its orders (docs/accounts.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.client.calls import Operation, Request
from prixfixe.client.conversation import Conversation
from prixfixe.errors import Unavailable
from prixfixe.protocol import wire
from prixfixe.protocol.quotes import nonce_of, order_of
from prixfixe.protocol.typed_data import format_bytes32

if TYPE_CHECKING:
    from prixfixe.protocol import accounts


class ManagedAccount(Conversation):
    """What is asked of a managed account. NotFound where the service keeps none."""

    def account(self) -> Operation[accounts.Account]:
        """The managed account of an API key: its balance, its limits, and where its money may leave to."""
        from prixfixe.protocol import accounts  # late, as all of these: few customers have an account

        return (yield from self.ask_signed_in(accounts.Account, Request("GET", "/v1/account")))

    def statement(self, since: int | None = None, until: int | None = None) -> Operation[accounts.Statement]:
        """Every movement of a managed account on the chain, between these seconds of its clock."""
        from prixfixe.protocol import accounts

        given = {"since": since, "until": until}
        query = {name: str(value) for name, value in given.items() if value is not None}
        request = Request("GET", "/v1/account/statement", query=query)
        return (yield from self.ask_signed_in(accounts.Statement, request))

    def buy_managed(self, quote: wire.Quote | wire.BidQuote) -> Operation[wire.Job]:
        """Have the service sign for a quote, and no more than it says. A quote is bought once, so it is sent
        again after a lost answer; a job that is not that quote's order is refused."""
        from prixfixe.protocol import accounts

        body = accounts.ManagedOrder(quote=quote.id, most=quote.total).model_dump(
            mode="json", exclude_none=True
        )
        request = Request("POST", "/v1/account/orders", body=body)
        ordered = yield from self.ask_signed_in(accounts.Ordered, request)
        expected = order_of(
            quote, self.domain.verifying_contract, expiry=quote.order_expiry, nonce=nonce_of(quote)
        )
        if ordered.job.id != format_bytes32(expected.digest(self.domain)):
            raise Unavailable(
                f"the service signed something else than quote {quote.id}",
                code="bad-answer",
                retryable=False,
            )
        return ordered.job
