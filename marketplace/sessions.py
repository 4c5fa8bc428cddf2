"""Sessions: a key signs the service's nonce (EIP-4361) and gets a token that stands for it for a day."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from sqlalchemy import delete, insert, select

from marketplace.settings import ServiceSettings
from marketplace.store.database import Store
from marketplace.store.tables import nonces, sessions
from marketplace.tokens import digest_of, new_token
from prixfixe.errors import Unauthorized
from prixfixe.protocol import siwe, wire
from prixfixe.protocol.signatures import message_digest, parse_signature, require_signer


class Sessions:
    """Nonces and bearer tokens. A token is stored as its SHA-256 only."""

    def __init__(
        self,
        store: Store,
        settings: ServiceSettings,
        chain_id: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._chain_id = chain_id
        self._clock = clock

    def nonce(self, host: str = "") -> wire.Nonce:
        """A nonce to be signed once, within a few minutes. host: by which name the service was reached; used
        only when it is one of its own."""
        nonce, now = secrets.token_hex(16), int(self._clock())
        with self._store.write() as connection:
            connection.execute(delete(nonces).where(nonces.c.expires_at <= now))
            connection.execute(
                insert(nonces).values(nonce=nonce, expires_at=now + self._settings.nonce_seconds)
            )
        known = host in self._settings.domains
        return wire.Nonce(nonce=nonce, domain=host if known else self._settings.domain)

    def open(self, request: wire.SessionRequest) -> wire.Session:
        """A session for who signed the message. InvalidInput, SignatureError or Unauthorized otherwise."""
        message = siwe.SignIn.parse(request.message)
        now = int(self._clock())
        self._require_ours(message, now)
        digest = message_digest(request.message)
        require_signer(digest, parse_signature(request.signature), message.address)
        token = new_token()
        expires_at = now + self._settings.session_seconds
        with self._store.write() as connection:
            used = connection.execute(
                delete(nonces).where(nonces.c.nonce == message.nonce, nonces.c.expires_at > now)
            )
            if used.rowcount != 1:
                raise Unauthorized(
                    "the nonce of the sign-in was used before, has expired, or is not ours",
                    code="bad-nonce",
                    hint="ask for a new nonce and sign again",
                    retryable=True,
                )
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            connection.execute(
                insert(sessions).values(
                    token_digest=digest_of(token),
                    address=message.address,
                    created_at=now,
                    expires_at=expires_at,
                )
            )
        return wire.Session(token=token, address=message.address, expires_at=expires_at)

    def close(self, token: str) -> None:
        """The end of a session, at once; one that is over already is no error."""
        with self._store.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.token_digest == digest_of(token)))

    def address_of(self, token: str) -> str:
        """Who a token stands for; Unauthorized when nobody, or no longer."""
        # By the digest: what an index lookup's timing could tell is nothing about the token.
        query = select(sessions.c.address).where(
            sessions.c.token_digest == digest_of(token), sessions.c.expires_at > int(self._clock())
        )
        with self._store.read() as connection:
            address = connection.execute(query).scalar_one_or_none()
        if address is None:
            raise Unauthorized("the session is not known or has expired", code="session-expired")
        return str(address)

    def _require_ours(self, message: siwe.SignIn, now: int) -> None:
        """A message made for another site, chain or time must not open a session here."""
        ours = message.domain in self._settings.domains
        if not ours or urlsplit(message.uri).netloc != message.domain:
            raise Unauthorized(
                f"the sign-in is for {message.domain} ({message.uri}), this is {self._settings.domain}",
                code="wrong-domain",
            )
        if message.chain_id != self._chain_id:
            raise Unauthorized(
                f"the sign-in is for chain {message.chain_id}, this market is on {self._chain_id}",
                code="wrong-chain",
            )
        if message.expires is not None and message.expires <= now:
            raise Unauthorized("the sign-in has expired", code="sign-in-expired", retryable=True)
