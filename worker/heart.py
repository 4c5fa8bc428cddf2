"""The heartbeat: tells the market that the worker lives, what it runs and what it asks; hears what to
stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from prixfixe.errors import EngineError, Forbidden, NotFound, PrixfixeError, Unavailable
from prixfixe.keys import sign_typed
from prixfixe.protocol.orders import Ask
from prixfixe.protocol.product import Product
from prixfixe.protocol.wire import MOST_CACHED, Heartbeat, HeartbeatAnswer, Market, SignedAsk
from worker.client import Stopped
from worker.pricing import Pricing
from worker.quoting import Standing, due_asks, slot_fits
from worker.registering import registration
from worker.room import Room

log = logging.getLogger("prixfixe.worker")

# How often era and chain time are read again when nothing else asks for it.
_STANDING_SECONDS: Final = 5.0
_QUIET_BEATS: Final = 3  # before a drained worker ends


class Heart:
    """One thread that beats every `heartbeat_seconds`, and at once when it has a new ask to place.

    running: the attempts that run now. give_up: called with those that the market no longer wants. end:
    called once when the provider ordered a drain and nothing runs any more.
    """

    def __init__(
        self,
        room: Room,
        market: Market,
        running: Callable[[], tuple[str, ...]],
        give_up: Callable[[tuple[str, ...]], None],
        end: Callable[[], None],
    ) -> None:
        self._room = room
        self._market = market
        self._running = running
        self._give_up = give_up
        self._end = end
        self._quiet_beats = 0
        self._heard: float | None = None
        self._lease: float | None = None
        self._cached: tuple[str, ...] | None = None  # as the market was told; None: it was not
        self._pricing = Pricing(room.settings, room.client.index, room.pool)
        self._wake = threading.Event()
        self._over = threading.Event()
        self._draining = False
        self._stops_at: int | None = None
        self._resting: dict[bytes, Ask] = {}
        self._wanted: tuple[Product, ...] = ()
        self._standing: Standing | None = None
        self._standing_read = 0.0
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._beat_on, name="heart", daemon=True)

    @property
    def heard(self) -> float | None:
        """When the market last answered, seconds of the monotonic clock."""
        return self._heard

    def start(self) -> None:
        self._thread.start()

    def drain(self, stops_at: float) -> None:
        """Tell the market at once that no more work is taken, and when what still runs is ended."""
        self._stops_at = int(stops_at)
        self._draining = True
        self._wake.set()

    def stop(self) -> None:
        self._over.set()
        self._wake.set()
        self._thread.join(5.0)

    def _beat_on(self) -> None:
        silent = False
        while not self._over.is_set():
            self._wake.clear()
            again = False
            try:
                again = self._beat()
                self._room.states.leave("service-away")
                silent = False
            except Stopped:
                return
            except (NotFound, Forbidden) as error:
                log.warning("the market does not know this worker (%s): registering again", error)
                self._register_again()
                silent = True
            except Unavailable as error:
                self._room.states.enter(
                    "service-away", f"the market's service does not answer; results are kept for it ({error})"
                )
                silent = True
                self._resting.clear()
                self._mind_lease()
            except PrixfixeError as error:
                if not silent:
                    log.warning("heartbeat: %s", error)
                silent = True
                self._resting.clear()  # a market that was away may have dropped them
            except Exception:
                log.exception("heartbeat: unexpected")
                silent = True
            if not again:
                self._wake.wait(self._market.heartbeat_seconds)
        if self._draining:
            with suppress(PrixfixeError):
                self._beat()  # the last word: nothing is asked and nothing runs

    def _beat(self) -> bool:
        """One beat. True when its answer calls for another at once: there is something new to ask."""
        trouble = self._room.states.trouble()  # its states say themselves when they come and go
        rest = trouble or self._room.duty.rest(self._sold())
        if trouble is not None:
            self._resting.clear()
        else:
            self._heed(rest)
        draining = self._draining or rest is not None
        running = self._running()
        asks = [] if draining else self._asks()
        cached = self._room.at_hand(MOST_CACHED)
        answer = self._room.client.heartbeat(
            Heartbeat(
                asks=tuple(self._signed(ask) for ask in asks),
                running=running,
                draining=draining,
                trouble=rest,
                stops_at=self._stops_at,
                cached=None if cached == self._cached else cached,
            )
        )
        self._heard, self._lease, self._cached = time.monotonic(), answer.lease_seconds, cached
        self._told.discard("lease")
        self._end_drained(quiet=draining and not running)
        if answer.stop:
            self._give_up(answer.stop)
        self._explain(answer)
        if not answer.refused:
            self._resting.update({ask.product: ask for ask in asks})
        return self._take_wanted(answer.products)

    def _mind_lease(self) -> None:
        """Say once that what runs may be given to another: the market has not heard this worker for as long
        as it said that it waits. It is delivered all the same while its deal is open."""
        if self._heard is None or self._lease is None or not self._running():
            return
        if time.monotonic() - self._heard > self._lease:
            self._say_once("lease", f"the lease of {self._lease:.0f} s ran out: what runs may go to another")

    def _heed(self, reason: str | None) -> None:
        """A reason to rest ends the asking, and is said once; the market has dropped what rested by then."""
        if reason is not None:
            self._say_once("rest", reason)
            self._resting.clear()
        elif "rest" in self._told:
            self._told.discard("rest")
            log.info("work is taken again")

    def _end_drained(self, *, quiet: bool) -> None:
        """End once a drain was ordered and nothing has run for some beats: what was matched when the market
        heard of it has come by then."""
        self._quiet_beats = self._quiet_beats + 1 if quiet and self._room.duty.draining else 0
        if self._quiet_beats == _QUIET_BEATS:
            self._end()

    def _sold(self) -> tuple[Product, ...]:
        """What the market wants, one slot can run, and the worker's hours have time for."""
        settings, duty = self._room.settings, self._room.duty
        return tuple(each for each in self._wanted if slot_fits(settings, each) is None and duty.admits(each))

    def _take_wanted(self, products: tuple[Product, ...]) -> bool:
        fresh = tuple(product for product in products if product not in self._wanted)
        if set(products) == set(self._wanted):
            return False
        self._wanted = products
        for product in fresh:
            reason = slot_fits(self._room.settings, product)
            if reason is not None:
                log.info("not quoting %s: %s", product.name, reason)
                continue
            with suppress(EngineError):
                self._room.hands.prepare(max(product.disk_mib, 1))
        return not self._draining

    def _asks(self) -> list[Ask]:
        if not self._wanted:
            return []
        try:
            standing = self._read_standing()
        except PrixfixeError as error:
            # Beats go on: what runs must not be lost because a node is away.
            self._say_once("standing", f"no new asks while the chain is silent: {error}")
            return []
        self._told.discard("standing")
        self._pricing.refresh()
        return due_asks(self._room.settings, self._sold(), standing, self._resting, self._pricing.of)

    def _read_standing(self) -> Standing:
        if self._standing is None or time.monotonic() - self._standing_read > _STANDING_SECONDS:
            era = self._room.chain.account(self._room.settings.provider).era
            now, key = self._room.chain.now(), self._room.signer.address
            self._standing = Standing(self._market.contract, era, now, key)
            self._standing_read = time.monotonic()
        return self._standing

    def _signed(self, ask: Ask) -> SignedAsk:
        signature = sign_typed(self._room.signer, ask, self._room.domain)
        return SignedAsk(ask=ask, signature="0x" + signature.hex())

    def _explain(self, answer: HeartbeatAnswer) -> None:
        """Say why asks were refused: once for each reason until it goes away."""
        refused = {reason.code for reason in answer.refused}
        for reason in answer.refused:
            self._say_once(reason.code, f"an ask was refused: {reason.message}. {reason.hint}".rstrip(". "))
        self._told &= refused | {"standing", "rest", "lease"}
        if refused:
            self._standing = None  # era or time may be what was wrong

    def _say_once(self, key: str, message: str) -> None:
        if key not in self._told:
            self._told.add(key)
            log.warning("%s", message)

    def _register_again(self) -> None:
        self._resting.clear()
        self._cached = None
        room = self._room
        introduction = registration(room.settings, room.capabilities, room.secrets.statement(room.signer))
        with suppress(PrixfixeError):
            room.client.register(introduction)
