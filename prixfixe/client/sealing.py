"""Giving a job its secrets: to the workers that won its deals, checked against the chain, and to no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from prixfixe.chain.client import MarketClient
from prixfixe.client.synchronous import Client
from prixfixe.errors import PrixfixeError, Unavailable, VerificationFailed
from prixfixe.protocol.deals import open_word
from prixfixe.protocol.secrets import Seal, seal

_LOOK_SECONDS: Final = 0.5


def give_secrets(
    client: Client, market: MarketClient, job: str, order: bytes, secrets: Mapping[str, bytes]
) -> int:
    """Seal to every worker that runs the job now and has none yet; how many were given. market: the contract
    behind a node of the customer's choice. order: digest of the customer's own order. VerificationFailed when
    the service names a deal, a worker or a key that chain and signatures do not bear out: nothing is sealed
    to it."""
    given = 0
    for waiting in client.seals(job):
        if waiting.given or waiting.sealing is None:
            continue
        require_true(waiting, market, order)
        sealed = seal(secrets, waiting.sealing.statement.public, waiting.deal, waiting.worker, market.domain)
        client.give_seal(job, waiting.attempt, sealed)
        given += 1
    return given


def require_true(waiting: Seal, market: MarketClient, order: bytes) -> None:
    """VerificationFailed unless the deal is of this order, open on the chain, and names the worker, who has
    signed the sealing key."""
    deal = waiting.deal
    if deal.order != order or all(leg.key != waiting.worker for leg in deal.legs):
        raise VerificationFailed(
            f"the service names worker {waiting.worker}, whom no deal of this order names", code="seal-deal"
        )
    if market.lot(order, deal.lot) != open_word(deal.id, waiting.due):
        raise VerificationFailed(
            f"the deal of worker {waiting.worker} is not open on the chain", code="seal-not-open"
        )
    assert waiting.sealing is not None
    waiting.sealing.verify(waiting.worker, market.domain)


class Giver:
    """Gives in a thread whatever comes to wait, until it is left. say: told of each, and of what fails."""

    def __init__(
        self,
        client: Client,
        market: MarketClient,
        job: str,
        order: bytes,
        secrets: Mapping[str, bytes],
        say: Callable[[str], None],
    ) -> None:
        self._give = partial(give_secrets, client, market, job, order, secrets)
        self._say = say
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="secrets", daemon=True)

    def __enter__(self) -> Giver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        told = ""
        while not self._over.wait(_LOOK_SECONDS):
            try:
                if given := self._give():
                    self._say(f"  secrets sealed to {given} worker(s)")
            except Unavailable:
                continue
            except PrixfixeError as error:
                if str(error) != told:
                    self._say(f"  secrets were not given: {error}")
                told = str(error)
