"""Money out of a managed account: to one address that its owner fixed, and to no other.

Another address counts only after a delay, so that whoever gets into an account takes nothing before its owner
notices. The standing withdrawal needs no operator at all: it is signed withdrawals of 1, 2, 4, ... units to
that address, of which some together are any balance.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.engine import RowMapping

from marketplace.accounts.balances import Balances, address_at, leaving
from marketplace.accounts.identity import Identity, new_id
from marketplace.accounts.traces import has_past
from marketplace.chain import AccountView, ChainReader
from marketplace.paging import dated
from marketplace.store import outbox
from marketplace.store.account_tables import accounts, top_ups, withdrawals
from marketplace.store.database import Store
from prixfixe.errors import Conflict, InsufficientFunds, InvalidInput
from prixfixe.keys import sign_typed
from prixfixe.protocol import accounts as wire
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Withdraw
from prixfixe.protocol.signed_calls import SignedCall
from prixfixe.protocol.typed_data import Domain
from prixfixe.seeds import Seed

# 2^42 - 1 units, $4.4 million, in 42 steps.
STEPS: Final = 42
LEAST: Final = Money(1_000_000)  # $1: the operator pays the gas of each
_STANDING_SECONDS: Final = 2 * 365 * 86_400
_GOOD_SECONDS: Final = 86_400  # a withdrawal that is not mined by then is asked for anew


class Withdrawals:
    """Of managed accounts. delay: seconds of the chain's clock until another address counts."""

    def __init__(
        self,
        store: Store,
        chain: ChainReader,
        domain: Domain,
        seed: Seed,
        balances: Balances,
        delay: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._chain = chain
        self._domain = domain
        self._seed = seed
        self._balances = balances
        self.delay = delay
        self._clock = clock

    def fix(self, identity: Identity, address: str) -> wire.WithdrawalAddress:
        """Where money may leave to: at once for an account that never had any, however it would have come,
        and names its first, else after the delay. Naming the present address again takes a change back."""
        identity.require("manage")
        if address == identity.address:
            raise InvalidInput("money does not leave an account to the account itself", code="own-address")
        look = self._chain.look(accounts=(identity.address,))
        now = look.time
        with self._store.write() as connection:
            found = _current(connection, identity, now)
            if found.address == address:
                changes: dict[str, object] = {"next": None, "next_at": None}
            elif found.address is None and not _had_money(
                connection, identity, look.accounts[identity.address]
            ):
                changes = {"address": address}
            else:
                changes = {"next": address, "next_at": now + self.delay}
            fixed = found.model_copy(update=changes)
            values = {
                "withdraw_to": fixed.address,
                "next_withdraw_to": fixed.next,
                "next_withdraw_at": fixed.next_at,
            }
            connection.execute(update(accounts).where(accounts.c.number == identity.account).values(values))
            return fixed

    def address(self, identity: Identity) -> wire.WithdrawalAddress:
        """Where money may leave to now, and what takes its place."""
        return self.address_now(identity)[0]

    def address_now(self, identity: Identity) -> tuple[wire.WithdrawalAddress, int]:
        """`address`, and the second of the chain's clock that it is true of."""
        identity.require("read")
        now = self._chain.look().time
        with self._store.read() as connection:
            return _current(connection, identity, now), now

    def standing(self, identity: Identity) -> wire.StandingWithdrawal:
        """For the owner to keep: the same one for as long as the address is, within a month. Conflict while
        there is no address."""
        identity.require("manage")
        now = self._chain.look().time
        with self._store.read() as connection:
            to = _to(connection, identity, now)
        month = 30 * 86_400
        deadline = now // month * month + _STANDING_SECONDS
        signer = self._seed.signer(identity.account)
        start = hashlib.sha256(f"standing {to} {deadline}".encode()).digest()
        calls = []
        for step in range(STEPS):
            order = Withdraw(
                account=identity.address,
                to=to,
                amount=1 << step,
                fee=0,
                nonce=int.from_bytes(start[:8], "big"),
                deadline=deadline,
            )
            calls.append(SignedCall(self._domain, order, sign_typed(signer, order, self._domain)).to_json())
        return wire.StandingWithdrawal(account=identity.address, to=to, deadline=deadline, calls=tuple(calls))

    def allowed(self, identity: Identity, amount: Money) -> tuple[str, int]:
        """Where a withdrawal of so much would go, and the chain's second; raises as `withdraw`, and sends
        nothing."""
        identity.require("manage")
        if amount.require_uint64() == 0:
            raise InvalidInput("a withdrawal of nothing", code="invalid-request")
        now = self._chain.look().time
        with self._store.read() as connection:
            to = _to(connection, identity, now)
            _require_none_under_way(connection, identity)
        spendable = self._balances.of(identity).spendable
        if amount > spendable:
            raise InsufficientFunds(
                f"{amount} is more than the {spendable} that the account can spend",
                hint="what is promised to orders comes back when they are cancelled",
                balance=str(spendable.units),
            )
        if amount < min(LEAST, spendable):
            raise InvalidInput(
                f"a withdrawal is {LEAST} at least, or all of the {spendable} that the account can spend",
                code="withdrawal-too-small",
            )
        return to, now

    def withdraw(self, identity: Identity, amount: Money, key: str) -> wire.Withdrawal:
        """Send money to the fixed address; the same key is the same withdrawal. Conflict while there is no
        address or another one is on its way, InsufficientFunds for more than is spendable, InvalidInput for
        less than `LEAST` that is not all of it."""
        identity.require("manage")
        if amount.require_uint64() == 0:
            raise InvalidInput("a withdrawal of nothing", code="invalid-request")
        with self._store.read() as connection:
            known = self._known(connection, identity, key, amount)
        if known is not None:
            return known
        to, now = self.allowed(identity, amount)
        order = Withdraw(
            account=identity.address,
            to=to,
            amount=amount.units,
            fee=0,
            nonce=secrets.randbits(64),
            deadline=now + _GOOD_SECONDS,
        )
        signature = sign_typed(self._seed.signer(identity.account), order, self._domain)
        with self._store.write() as connection:
            known = self._known(connection, identity, key, amount)
            if known is not None:
                return known
            _require_none_under_way(connection, identity)
            if _to(connection, identity, now) != to:
                raise Conflict("the withdrawal address changed meanwhile", retryable=True)
            name = new_id()
            connection.execute(
                insert(withdrawals).values(
                    id=name,
                    account=identity.account,
                    key=key,
                    to=to,
                    amount=amount.units,
                    asked_by=identity.name,
                    created_at=int(self._clock()),
                )
            )
            outbox.queue_withdraw(connection, name, order, signature)
            made = self._known(connection, identity, key, amount)
            assert made is not None  # just stored
            return made

    def page(
        self, identity: Identity, cursor: str | None, limit: int
    ) -> tuple[tuple[wire.Withdrawal, ...], str | None]:
        """Newest first, and the cursor of the next page."""
        identity.require("read")
        query = (
            select(withdrawals)
            .where(withdrawals.c.account == identity.account)
            .order_by(withdrawals.c.created_at.desc(), withdrawals.c.id)
        )
        with self._store.read() as connection:
            rows, following = dated(
                connection, query, withdrawals.c.created_at, withdrawals.c.id, cursor, limit
            )
            sent = outbox.newest(connection, "withdraw", [row["id"] for row in rows])
        return tuple(_shown(row, sent.get(row["id"])) for row in rows), following

    def _known(
        self, connection: Connection, identity: Identity, key: str, amount: Money
    ) -> wire.Withdrawal | None:
        query = select(withdrawals).where(withdrawals.c.account == identity.account, withdrawals.c.key == key)
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        if row["amount"] != amount.units:
            raise Conflict(
                "the idempotency key was used for another withdrawal",
                code="idempotency-key-reused",
                hint="use a new key for a new withdrawal",
            )
        return _shown(row, outbox.last_withdraw(connection, row["id"]))


def _to(connection: Connection, identity: Identity, now: int) -> str:
    to = _current(connection, identity, now).address
    if to is None:
        raise Conflict(
            "the account has no withdrawal address",
            code="no-withdrawal-address",
            hint="fix one: PUT /v1/account/withdrawal-address",
        )
    return to


def _current(connection: Connection, identity: Identity, now: int) -> wire.WithdrawalAddress:
    query = select(accounts).where(accounts.c.number == identity.account)
    return address_at(connection.execute(query).mappings().one(), now)


def _require_none_under_way(connection: Connection, identity: Identity) -> None:
    if leaving(connection, identity.account).units:
        raise Conflict(
            "another withdrawal of the account is on its way",
            code="withdrawal-under-way",
            hint="wait until it is confirmed: GET /v1/account/withdrawals",
            retryable=True,
        )


def _had_money(connection: Connection, identity: Identity, account: AccountView) -> bool:
    """Or will: a top-up may be on its way."""
    credited = select(top_ups.c.invoice).where(top_ups.c.account == identity.account).limit(1)
    if connection.execute(credited).first() is not None:
        return True
    return has_past(connection, identity.address, account)


def _shown(row: RowMapping, sent: RowMapping | None) -> wire.Withdrawal:
    """row: of `withdrawals`. sent: its newest row in the outbox."""
    return wire.Withdrawal(
        id=row["id"],
        to=row["to"],
        amount=Money(row["amount"]),
        at=row["created_at"],
        state="pending" if sent is None else sent["state"],
        transaction=None if sent is None else sent["hash"],
    )
