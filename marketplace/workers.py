"""Workers: who sells, what they ask, and whether they are alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, delete, func, select, union, update

from marketplace.benchmarks import keep_newest, newest, require_own
from marketplace.chain import ChainReader, ChainView
from marketplace.earnings import worker_of
from marketplace.sealing_keys import keep_sealing_key
from marketplace.settings import ServiceSettings
from marketplace.store.attempting import ALIVE
from marketplace.store.database import Store
from marketplace.store.moments import ask_placed, beat_noted
from marketplace.store.notices import stop_announced
from marketplace.store.tables import asks, attempts, deals, jobs, offers, workers
from marketplace.store.upsert import put
from prixfixe.errors import Forbidden, NotFound, PrixfixeError
from prixfixe.protocol import wire
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.benchmarks import SignedBenchmark
from prixfixe.protocol.deals import Deal, Fact
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Ask
from prixfixe.protocol.product import Product
from prixfixe.protocol.signatures import parse_signature, recover
from prixfixe.protocol.typed_data import Domain, format_bytes32

# Beats in which a running attempt is not mentioned before it is offered to its worker again.
_MISSED_BEATS: Final = 3
_LARGEST_PRICE: Final = 2**62  # of a task: beyond it nobody's account pays one, and no table holds the sum
_ENDED_DEALS: Final = ("refused", "expired")


class Workers:
    """Registration, heartbeats and resting asks."""

    def __init__(
        self,
        store: Store,
        settings: ServiceSettings,
        chain: ChainReader,
        domain: Domain,
        surety: Money,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._chain = chain
        self._domain = domain
        self._surety = surety
        self._clock = clock
        self._missed: dict[str, dict[str, int]] = {}
        # Said anew with every beat, so nothing is lost with this process.
        self._trouble: dict[str, str | None] = {}
        self._announced: dict[str, set[str]] = {}  # attempts whose customers know that their worker stops

    def register(self, key: str, registration: wire.WorkerRegistration) -> wire.WorkerStatus:
        """A worker, new or come back. Forbidden unless the contract lets `key` sign for the provider."""
        provider = registration.provider
        view = self._chain.look(accounts=(provider,), workers=((provider, key),))
        _require_authorised(view, provider, key)
        if registration.sealing is not None:
            registration.sealing.verify(key, self._domain)
        now = self._clock()
        row = {
            "key": key,
            "provider": provider,
            "name": registration.name,
            "resources": registration.resources.model_dump(),
            "version": registration.version,
            "registered_at": int(now),
            "heartbeat_at": now,
            "draining": False,
            "cool_until": 0.0,
        }
        with self._store.write() as connection:
            was = connection.execute(select(workers).where(workers.c.key == key)).mappings().one_or_none()
            if was is not None:
                silence = self._settings.silence_seconds
                beat_noted(connection, was, now, draining=False, silence_seconds=silence)
            if was is not None:
                row["cool_until"] = was["cool_until"]  # a restart is no way around a pause
            put(connection, workers, row)
            keep_sealing_key(connection, key, registration.sealing)
            if was is None or was["provider"] != provider:
                connection.execute(delete(asks).where(asks.c.worker == key))
            self._store.notify(connection, "asks")
        return self._status(key, view)

    def beat(self, key: str, heartbeat: wire.Heartbeat) -> wire.HeartbeatAnswer:
        """A sign of life. Gives what the worker should stop, what is worth quoting, and which asks were
        refused."""
        with self._store.read() as connection:
            row = _registered(connection, key)
            new = _changed(connection, key, heartbeat.asks)
        refused: list[wire.Reason] = []
        taken: list[wire.SignedAsk] = []
        if new and not heartbeat.draining:
            view = self._chain.look(accounts=(row["provider"],), workers=((row["provider"], key),))
            _require_authorised(view, row["provider"], key)
            for signed in new:
                try:
                    self._require_good(
                        signed, _recovered(signed, self._domain), row["provider"], key, row["resources"], view
                    )
                    taken.append(signed)
                except PrixfixeError as error:
                    refused.append(_reason(error))
        now = self._clock()
        with self._store.write() as connection:
            was = _registered(connection, key)
            beat_noted(
                connection,
                was,
                now,
                draining=heartbeat.draining,
                silence_seconds=self._settings.silence_seconds,
            )
            connection.execute(
                update(workers)
                .where(workers.c.key == key)
                .values(
                    heartbeat_at=now,
                    draining=heartbeat.draining,
                    cached=was["cached"] if heartbeat.cached is None else list(heartbeat.cached),
                )
            )
            if heartbeat.draining:
                connection.execute(delete(asks).where(asks.c.worker == key))
            for signed in taken:
                ask_placed(connection, _row(key, signed, int(now)), now)
            self._trouble[key] = heartbeat.trouble
            told = self._announce(connection, was, heartbeat)
            silent = now - was["heartbeat_at"] > self._settings.silence_seconds
            if taken or silent or was["draining"] != heartbeat.draining:
                self._store.notify(connection, "asks")
            stop = _given_up(connection, key, heartbeat.running)
            self._count_missed(connection, key, set(heartbeat.running))
            products = _wanted(connection, int(now), self._settings.catalogue)
        self._announced[key] = told  # not before it is committed: who was not told is told with the next beat
        return wire.HeartbeatAnswer(
            stop=stop,
            products=products,
            refused=tuple(refused),
            lease_seconds=self._settings.silence_seconds,
        )

    def place(self, given: Sequence[wire.SignedAsk]) -> list[wire.Reason | None]:
        """Asks outside of a heartbeat, each by its signature alone; for each None when it rests now, or why
        it was refused. They live as long as their workers' heartbeats do."""
        keys = [_signer(signed, self._domain) for signed in given]
        with self._store.read() as connection:
            known = {
                row["key"]: row
                for row in connection.execute(
                    select(workers).where(workers.c.key.in_({key for key in keys if isinstance(key, str)}))
                ).mappings()
            }
        providers = sorted({row["provider"] for row in known.values()})
        pairs = sorted((row["provider"], key) for key, row in known.items())
        view = self._chain.look(accounts=providers, workers=pairs)
        answers: list[wire.Reason | None] = []
        taken: list[tuple[str, wire.SignedAsk]] = []
        for signed, key in zip(given, keys, strict=True):
            try:
                if isinstance(key, PrixfixeError):
                    raise key
                if key not in known:
                    raise _stranger(signed, key, self._domain)
                row = known[key]
                _require_authorised(view, row["provider"], key)
                self._require_good(signed, key, row["provider"], key, row["resources"], view)
                taken.append((key, signed))
                answers.append(None)
            except PrixfixeError as error:
                answers.append(_reason(error))
        if taken:
            now = self._clock()

            def keep(connection: Connection) -> None:
                for key, signed in taken:
                    ask_placed(connection, _row(key, signed, int(now)), now)
                self._store.notify(connection, "asks")

            self._store.together(keep)
        return answers

    def benchmark(self, key: str, signed: SignedBenchmark) -> None:
        """What a worker says of its machine, kept until it says something newer."""
        now = self._clock()
        require_own(signed, key, self._domain, now)
        with self._store.write() as connection:
            _registered(connection, key)
            keep_newest(connection, signed, now)

    def status(self, key: str, asker: str) -> wire.WorkerStatus:
        """A worker as its key and its provider see it."""
        with self._store.read() as connection:
            row = worker_of(connection, key, asker)
        return self._status(key, self._chain.look(accounts=(row["provider"],)))

    def forgotten(self, key: str) -> set[str]:
        """Running attempts that the worker has not mentioned for some beats: it lost them."""
        return {each for each, beats in self._missed.get(key, {}).items() if beats >= _MISSED_BEATS}

    def _announce(self, connection: Connection, row: RowMapping, heartbeat: wire.Heartbeat) -> set[str]:
        """The attempts whose customers know, this beat's included."""
        if heartbeat.stops_at is None:
            return set()
        told = self._announced.get(row["key"], set())
        new = sorted(set(heartbeat.running) - told)
        return told | set(stop_announced(connection, row["key"], row["name"], new, heartbeat.stops_at))

    def _count_missed(self, connection: Connection, key: str, running: set[str]) -> None:
        query = select(attempts.c.id).where(attempts.c.worker == key, attempts.c.state == "running")
        before = self._missed.get(key, {})
        absent = set(connection.execute(query).scalars()) - running
        self._missed[key] = {each: before.get(each, 0) + 1 for each in absent}
        if self.forgotten(key):
            self._store.notify(connection, f"worker:{key}")

    def _require_good(
        self,
        signed: wire.SignedAsk,
        signer: str,
        provider: str,
        key: str,
        resources: dict[str, Any],
        view: ChainView,
    ) -> None:
        """Refuse at the door what could never be matched, with what to do about it."""
        ask, product = signed.ask, Product.from_bytes(signed.ask.product)
        era = view.accounts[provider].era
        if ask.provider != provider:
            raise _refused("ask-provider", f"the ask is of {ask.provider}, this worker sells for {provider}")
        if signer != key:
            raise _refused("ask-signature", f"the ask was signed by {signer}, not by this worker's key {key}")
        if ask.era != era:
            raise _refused("ask-era", f"the ask is of era {ask.era}, the provider's is {era}", "sign anew")
        if ask.expiry <= view.time:
            raise _refused("ask-expired", f"the ask ended at {ask.expiry}, it is {view.time}", "sign anew")
        if ask.matcher not in (ZERO_ADDRESS, self._domain.verifying_contract):
            raise _refused("ask-matcher", f"only {ask.matcher} could match it, not this market's scheduler")
        if ask.price == 0:
            raise _refused(
                "ask-price", "an ask at no price has nothing to lose", "ask for at least $0.000001"
            )
        if ask.price > _LARGEST_PRICE:
            raise _refused(
                "ask-price",
                f"no account could pay {Money(ask.price)} a task",
                f"ask for at most {Money(_LARGEST_PRICE)}",
            )
        _require_fits(product, ask, resources)

    def _status(self, key: str, view: ChainView) -> wire.WorkerStatus:
        with self._store.read() as connection:
            row = _registered(connection, key)
            counted = select(attempts.c.state, func.count()).where(attempts.c.worker == key)
            rows = connection.execute(counted.group_by(attempts.c.state)).all()
            counts: dict[str, int] = {row[0]: row[1] for row in rows}
            earned = _earned(connection, key)
            benchmark = newest(connection, key)
        account = view.accounts[row["provider"]]
        return wire.WorkerStatus(
            key=key,
            provider=row["provider"],
            name=row["name"],
            alive=self._clock() - row["heartbeat_at"] <= self._settings.silence_seconds,
            free=Money(account.free),
            held=Money(account.held),
            surety=self._surety,
            running=sum(counts.get(state, 0) for state in ALIVE),
            settled=counts.get("succeeded", 0),
            failed=counts.get("failed", 0),
            lost=counts.get("lost", 0),
            earned=earned,
            benchmark=benchmark,
            draining=row["draining"],
            trouble=self._trouble.get(key),
        )


def _signer(signed: wire.SignedAsk, domain: Domain) -> str | PrixfixeError:
    """Whose signature it is; the error when it is nobody's."""
    try:
        return _recovered(signed, domain)
    except PrixfixeError as error:
        return error


def _recovered(signed: wire.SignedAsk, domain: Domain) -> str:
    return recover(signed.ask.digest(domain), parse_signature(signed.signature))


def _stranger(signed: wire.SignedAsk, signer: str, domain: Domain) -> Forbidden:
    """The signature is by no worker that is known here: often over other values, chain or contract."""
    digest = format_bytes32(signed.ask.digest(domain))
    return Forbidden(
        f"the ask's hash is {digest}, and {signer} signed it, which is no worker that is registered here",
        code="ask-signature",
        hint=f"sign for chain {domain.chain_id} and contract {domain.verifying_contract} with the key of a "
        "registered worker",
        fault="provider",
        digest=digest,
        signer=signer,
    )


def _require_authorised(view: ChainView, provider: str, key: str) -> None:
    until = view.workers[(provider, key)]
    if key != provider and until < view.time:
        raise Forbidden(
            f"{key} may not sign for {provider}: the contract says "
            + (f"its time ended at {until}" if until else "it was never authorised"),
            code="worker-not-authorised",
            hint="the provider authorises it: `prixfixe worker init`",
            fault="provider",
        )


def _require_fits(product: Product, ask: Ask, resources: dict[str, Any]) -> None:
    """One task must fit what the worker said it has; its slots bound how many it runs at once."""
    for name in ("milli_vcpu", "memory_mib", "disk_mib"):
        if getattr(product, name) > resources[name]:
            raise _refused(
                "ask-resources",
                f"{product.name} needs {name} {getattr(product, name)}, this worker has {resources[name]}",
                "quote smaller products, or register with more",
            )
    gpus = resources.get("gpus", {}).get(product.gpu_model, 0)
    if product.gpu_count * ask.slots > gpus:
        raise _refused(
            "ask-resources",
            f"{ask.slots} tasks of {product.name} at once need {product.gpu_count * ask.slots} GPU"
            f" {product.gpu_model}, this worker has {gpus}",
            "quote fewer slots, or register with more",
        )
    if ask.slots > resources["slots"]:
        raise _refused("ask-slots", f"the ask has {ask.slots} slots, this worker {resources['slots']}")


def _registered(connection: Connection, key: str) -> Any:
    row = connection.execute(select(workers).where(workers.c.key == key)).mappings().one_or_none()
    if row is None:
        raise NotFound(
            f"no worker with the key {key} is registered",
            code="worker-unknown",
            hint="register it again (POST /v1/workers)",
            fault="provider",
        )
    return row


def _changed(connection: Connection, key: str, given: tuple[wire.SignedAsk, ...]) -> list[wire.SignedAsk]:
    """Asks that do not rest in just this form already: a repeated beat costs no look at the chain."""
    if not given:
        return []
    query = select(asks.c.product, asks.c.ask, asks.c.signature).where(asks.c.worker == key)
    resting = {row.product: (row.ask, row.signature) for row in connection.execute(query)}
    return [
        signed
        for signed in given
        if resting.get(format_bytes32(signed.ask.product)) != (signed.ask.to_json(), signed.signature)
    ]


def _row(key: str, signed: wire.SignedAsk, now: int) -> dict[str, Any]:
    ask = signed.ask
    return {
        "worker": key,
        "product": format_bytes32(ask.product),
        "provider": ask.provider,
        "price": ask.price,
        "slots": ask.slots,
        "expiry": ask.expiry,
        "ask": ask.to_json(),
        "signature": signed.signature,
        "placed_at": now,
    }


def _given_up(connection: Connection, key: str, running: tuple[str, ...]) -> tuple[str, ...]:
    """Attempts that the worker runs for nothing: unknown here, or their deal ended without them.

    A deal that is settled is left alone: its worker settled it and is about to deliver; unless it was one of
    several replicas and is not paid.
    """
    if not running:
        return ()
    query = (
        select(attempts.c.id, attempts.c.result, deals.c.state, deals.c.root, deals.c.deal)
        .join(deals, (deals.c.id == attempts.c.deal) & (deals.c.opening == attempts.c.opening))
        .where(attempts.c.id.in_(running), attempts.c.worker == key)
    )
    rows = {row.id: row for row in connection.execute(query)}
    return tuple(each for each in running if each not in rows or _is_for_nothing(rows[each]))


def _is_for_nothing(row: Any) -> bool:
    unpaid = row.result is None or row.result["root"] != row.root
    without_it = row.state == "settled" and len(row.deal["legs"]) > 1 and unpaid
    return row.state in _ENDED_DEALS or without_it


def _wanted(connection: Connection, now: int, catalogue: Iterable[str]) -> tuple[Product, ...]:
    """Products of offers that live, of bids that wait, and of the operator's catalogue. By the service's
    clock: a worker that quotes in vain loses nothing."""
    sold = select(offers.c.product).where(offers.c.until >= now)
    bids = select(jobs.c.product).where(
        jobs.c.kind != "bundle", jobs.c.state.in_(("queued", "running")), jobs.c.expiry >= now
    )
    codes = set(connection.execute(union(sold, bids)).scalars())
    codes |= {"0x" + Product.parse(name).to_bytes().hex() for name in catalogue}
    return tuple(Product.from_bytes(bytes.fromhex(code[2:])) for code in sorted(codes))


def _earned(connection: Connection, key: str) -> Money:
    query = (
        select(deals.c.deal, deals.c.done, deals.c.fact)
        .join(attempts, (deals.c.id == attempts.c.deal) & (deals.c.opening == attempts.c.opening))
        .where(attempts.c.worker == key, deals.c.state.in_(("settled", "disputed")))
    )
    paid = 0
    for row in connection.execute(query):
        signed = Fact.unpack(int(row.fact)).signed
        legs = enumerate(Deal.from_json(row.deal).legs)
        paid += sum(leg.pay for at, leg in legs if leg.key == key and signed >> at & 1) * row.done
    return Money(paid)


def _refused(code: str, message: str, hint: str = "") -> Forbidden:
    return Forbidden(message, code=code, hint=hint, fault="provider")


def _reason(error: PrixfixeError) -> wire.Reason:
    return wire.Reason(
        code=error.code, message=error.message, hint=error.hint or "", fault=error.fault, details=error.values
    )
