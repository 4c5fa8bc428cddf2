"""A customer with an API key: the service signs its orders (docs/accounts.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prixfixe.client.calls import Operation, Request
from prixfixe.client.conversation import Conversation
from prixfixe.client.keeping import KeptOrder
from prixfixe.errors import ConfigurationError, Conflict, Unavailable
from prixfixe.protocol import wire
from prixfixe.protocol.quotes import nonce_of, order_of
from prixfixe.protocol.typed_data import format_bytes32

if TYPE_CHECKING:
    from prixfixe.protocol import accounts
    from prixfixe.protocol.money import Money


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

    def statement_pdf(
        self, since: int | None = None, until: int | None = None, language: str = "en"
    ) -> Operation[bytes]:
        """The same as a PDF, in English ("en") or Chinese ("zh")."""
        given = {"since": since, "until": until, "language": language}
        query = {name: str(value) for name, value in given.items() if value is not None}
        answer = yield from self.send_signed_in(Request("GET", "/v1/account/statement.pdf", query=query))
        return answer.body

    def withdraw(self, amount: Money, idempotency_key: str) -> Operation[accounts.Withdrawal]:
        """Send money to the account's withdrawal address. The same idempotency key is the same withdrawal."""
        from prixfixe.protocol import accounts

        request = Request(
            "POST",
            "/v1/account/withdrawals",
            body={"amount": str(amount.units)},
            headers={"Idempotency-Key": idempotency_key},
        )
        return (yield from self.ask_signed_in(accounts.Withdrawal, request))

    def top_ups(self) -> Operation[tuple[accounts.TopUp, ...]]:
        """What the operator received for the account, newest first."""
        from prixfixe.protocol import accounts

        return (yield from self.every(accounts.TopUp, "/v1/account/top-ups", {"limit": "200"}))

    def set_limits(self, limits: accounts.Limits) -> Operation[accounts.Limits]:
        """What the service signs for the account from now on."""
        from prixfixe.protocol import accounts

        request = Request("PUT", "/v1/account/limits", body=limits.model_dump(mode="json"))
        return (yield from self.ask_signed_in(accounts.Limits, request))

    def fix_withdrawal_address(self, address: str) -> Operation[accounts.WithdrawalAddress]:
        """Where money may leave to from now on, or after the service's delay."""
        from prixfixe.protocol import accounts

        request = Request("PUT", "/v1/account/withdrawal-address", body={"address": address})
        return (yield from self.ask_signed_in(accounts.WithdrawalAddress, request))

    def standing_withdrawal(self) -> Operation[accounts.StandingWithdrawal]:
        """Signed withdrawals that bring everything to the withdrawal address without the operator."""
        from prixfixe.protocol import accounts

        request = Request("GET", "/v1/account/standing-withdrawal")
        return (yield from self.ask_signed_in(accounts.StandingWithdrawal, request))

    @property
    def is_managed(self) -> bool:
        """Whether the service signs for this customer."""
        return self._api_key is not None

    def managed_order(
        self,
        quote: wire.Quote | wire.BidQuote,
        *,
        result: str | None = None,
        receipt: str | None = None,
        replaces: str | None = None,
    ) -> KeptOrder:
        """The order that the service signs for a quote: which one that is, is known before."""
        if replaces is not None:
            raise Conflict(
                "the service replaces no bid that it signed itself; nothing was changed",
                code="managed-replace",
                hint=f"cancel it (`prixfixe jobs cancel {replaces[:12]}`), then submit it anew",
            )
        contract = self.domain.verifying_contract
        order = order_of(quote, contract, expiry=quote.order_expiry, nonce=nonce_of(quote))
        return KeptOrder(
            job=format_bytes32(order.digest(self.domain)),
            context=self.context.name,
            chain_id=self.domain.chain_id,
            contract=contract,
            quote=quote,
            request=None,
            result=result,
            receipt=receipt,
        )

    def buy_managed(self, order: KeptOrder) -> Operation[wire.Job]:
        """Have the service sign for a quote, and no more than it says. A quote is bought once, so it is sent
        again after a lost answer; a job that is not that quote's order is refused."""
        from prixfixe.protocol import accounts

        quote = order.quote
        if not self.is_managed:
            raise ConfigurationError(
                f"order {order.job} is of a managed account, and no API key is set",
                code="no-api-key",
                hint="put the account's key into PRIXFIXE_API_KEY",
            )
        body = accounts.ManagedOrder(quote=quote.id, most=quote.total).model_dump(
            mode="json", exclude_none=True
        )
        request = Request("POST", "/v1/account/orders", body=body)
        ordered = yield from self.ask_signed_in(accounts.Ordered, request)
        if ordered.job.id != order.job:
            raise Unavailable(
                f"the service signed something else than quote {quote.id}",
                code="bad-answer",
                retryable=False,
            )
        return ordered.job
