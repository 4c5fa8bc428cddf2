"""One conversation with a service: who speaks, on which market, and what happens to an answer that gets
lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from prixfixe.client.calls import Answer, Exchange, Operation, Pause, Request, Work
from prixfixe.client.contexts import Context
from prixfixe.client.keeping import SessionFile
from prixfixe.errors import ConfigurationError, PrixfixeError, Unavailable
from prixfixe.keys import Signer
from prixfixe.protocol import wire
from prixfixe.protocol.signatures import message_digest
from prixfixe.protocol.siwe import SignIn
from prixfixe.protocol.typed_data import Domain

M = TypeVar("M", bound=BaseModel)

# Seconds before the second, third ... try. Sums to about 12 s: a restart of the service is ridden out.
BACKOFF = (0.2, 0.5, 1.0, 2.0, 3.0, 5.0)
# Statuses that say "not now" about a call that has changed nothing yet.
TRY_AGAIN = frozenset({429, 502, 503, 504})
# A service that is asked too often says when to come back; a person waits no longer than this for it.
_LONGEST_TOLD_PAUSE = 20.0
# A session is renewed when it has less left than this, so that none ends in the middle of an upload.
_SESSION_MARGIN_SECONDS = 120


class Conversation:
    """One customer on one market.

    signer: called at most once, when something must be signed; it may ask for a password. address: who the
    customer is, when that is known without the signer. api_key: of a managed account, for which the service
    signs; there is no signer then.
    """

    def __init__(
        self,
        context: Context,
        signer: Callable[[], Signer] | None,
        address: str | None = None,
        sessions: SessionFile | None = None,
        api_key: str | None = None,
    ) -> None:
        self._api_key = api_key
        self.context = context
        self.domain = Domain(context.chain_id, context.contract)
        self._open_signer = signer
        self._signer: Signer | None = None
        self._address = address
        self._sessions = sessions
        self._session: wire.Session | None = None
        self._market: wire.Market | None = None

    # ------------------------------------------------------------------------------------------- the market

    def market(self) -> Operation[wire.Market]:
        """The market's numbers and addresses, asked once; refused when they are not the context's."""
        if self._market is None:
            market = yield from self.ask(wire.Market, Request("GET", "/v1/market"))
            if (market.chain_id, market.contract) != (self.context.chain_id, self.context.contract):
                raise ConfigurationError(
                    f"{self.context.service} serves contract {market.contract} on chain "
                    f"{market.chain_id}, and the context {self.context.name!r} expects "
                    f"{self.context.contract} on chain {self.context.chain_id}",
                    code="wrong-market",
                    hint="nothing was sent; find out which of the two is right before you sign anything",
                )
            self._market = market
        return self._market

    # --------------------------------------------------------------------------------------------- identity

    @property
    def managed(self) -> bool:
        """Whether the service signs for this customer."""
        return self._api_key is not None

    def address(self) -> Operation[str]:
        """The customer's address."""
        if self._address is None and self._api_key is not None:
            from prixfixe.protocol import accounts  # late: few customers have one

            account = yield from self.ask_signed_in(accounts.Account, Request("GET", "/v1/account"))
            self._address = account.address
        if self._address is None:
            self._address = (yield from self.signer()).address
        return self._address

    def signer(self) -> Operation[Signer]:
        """The key, opened once."""
        if self._signer is None:
            if self._open_signer is None:
                raise ConfigurationError(
                    f"the context {self.context.name!r} names no key",
                    code="no-key",
                    hint="name one: --key KEY, PRIXFIXE_KEY, or `prixfixe context add` with --key",
                )
            self._signer = yield Work(self._open_signer)
        return self._signer

    def authorization(self) -> Operation[dict[str, str]]:
        """The header of a session that has time left; signs in when there is none."""
        # First of all: a key signs nothing for a market that is not the expected one.
        market = yield from self.market()
        if self._api_key is not None:
            return {"Authorization": f"Bearer {self._api_key}"}
        address = yield from self.address()
        if self._session is None and self._sessions is not None:
            self._session = self._sessions.get(address)
        if self._session is None or self._session.expires_at - _SESSION_MARGIN_SECONDS < time.time():
            self._session = yield from self._sign_in(address, market)
            if self._sessions is not None:
                self._sessions.put(address, self._session)
        return {"Authorization": f"Bearer {self._session.token}"}

    def _sign_in(self, address: str, market: wire.Market) -> Operation[wire.Session]:
        nonce = yield from self.ask(wire.Nonce, Request("GET", "/v1/sessions/nonce"))
        host = urlsplit(self.context.service).netloc
        # The domain is what keeps a session for one site from being opened at another: it is the one that
        # this client talks to, whatever the service calls itself. A service that has another name refuses
        # it.
        text = SignIn.now(host, address, self.context.service, market.chain_id, nonce.nonce).compose()
        signer = yield from self.signer()
        signature: bytes = yield Work(lambda: signer.sign_digest(message_digest(text)))
        body = {"message": text, "signature": "0x" + signature.hex()}
        # Not repeatable: the nonce is used up. A lost answer costs one more sign-in, made by the caller's
        # retry.
        return (
            yield from self.ask(wire.Session, Request("POST", "/v1/sessions", body=body, repeatable=False))
        )

    # ---------------------------------------------------------------------------------------------- sending

    def ask(self, model: type[M], request: Request) -> Operation[M]:
        return parsed(model, (yield from self.send(request)).json())

    def ask_signed_in(self, model: type[M], request: Request) -> Operation[M]:
        return parsed(model, (yield from self.send_signed_in(request)).json())

    def every(
        self,
        model: type[M],
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        limit: int | None = None,
        anyone: bool = False,
    ) -> Operation[tuple[M, ...]]:
        """The entries of a list, page after page. limit: at most so many; all when None. anyone: without a
        session."""
        send = self.send if anyone else self.send_signed_in
        asked, found = dict(query or {}), list[M]()
        while True:
            page = (yield from send(Request("GET", path, query=asked))).json()
            found += [parsed(model, item) for item in items_of(page)]
            cursor = page.get("next") if isinstance(page, dict) else None
            if cursor is None or (limit is not None and len(found) >= limit):
                return tuple(found[:limit])
            asked["cursor"] = str(cursor)

    def send(self, call: Exchange) -> Operation[Answer]:
        return (yield from self.exchange(call)).require_success()

    def send_signed_in(self, call: Exchange, accept: frozenset[int] = frozenset()) -> Operation[Answer]:
        """With the session's header; a session that the service has forgotten is opened anew, once."""
        for attempt in (1, 2):
            header = yield from self.authorization()
            answer: Answer = yield from self.exchange(_with_headers(call, header))
            if answer.status != 401 or attempt == 2 or self._api_key is not None:
                break
            self._session = None
            if self._sessions is not None:
                self._sessions.put((yield from self.address()), None)
        return answer if answer.status in accept else answer.require_success()

    def exchange(self, call: Exchange, give_up_on: frozenset[int] = frozenset()) -> Operation[Answer]:
        """Perform a call, again with growing pauses while that is safe and may help; the last answer or
        error."""
        for pause in (*BACKOFF, None):
            try:
                answer: Answer = yield call
            except Unavailable as lost:
                if pause is None or not call.repeatable or not lost.retryable:
                    raise
            else:
                # Who has asked too often was turned away before anything happened.
                again = answer.status == 429 or (call.repeatable and answer.status in TRY_AGAIN)
                if pause is None or not again or answer.status in give_up_on:
                    return answer
                pause = told_pause(answer, pause)
            yield Pause(pause)
        raise AssertionError("the last try returns or raises")


def told_pause(answer: Answer, least: float) -> float:
    """Seconds to wait before trying again: as long as the service says (Retry-After), within reason."""
    told = answer.headers.get("retry-after", "")
    seconds = float(told) if answer.status == 429 and told.isascii() and told.isdigit() else 0.0
    return max(least, min(seconds, _LONGEST_TOLD_PAUSE))


def _with_headers(call: Exchange, headers: Mapping[str, str]) -> Exchange:
    return replace(call, headers={**call.headers, **headers})


def items_of(page: Any) -> list[Any]:
    """The entries of a page: `{"items": [...], "next": cursor}`, or a plain list."""
    items = page.get("items") if isinstance(page, dict) else page
    if not isinstance(items, list):
        raise Unavailable("the service answered no list", code="bad-answer", retryable=False)
    return items


def parsed(model: type[M], value: Any) -> M:
    try:
        return model.model_validate(value)
    except (ValidationError, PrixfixeError) as error:
        raise Unavailable(
            f"the service's answer is no {model.__name__} as this version knows it",
            code="bad-answer",
            hint="service and client may be of different versions: update the older one",
            retryable=False,
            details=str(error)[:500],
        ) from error
