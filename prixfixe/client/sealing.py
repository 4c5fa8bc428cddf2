"""Giving a job its secrets: to the workers that won its deals, checked against the chain, and to no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from prixfixe.chain.client import MarketClient
from prixfixe.client.synchronous import Client
from prixfixe.errors import PrixfixeError, Unavailable, VerificationFailed
from prixfixe.protocol.deals import open_word
from prixfixe.protocol.secrets import Seal, SignedSealingKey, seal
from prixfixe.protocol.typed_data import parse_bytes32

_LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Given:
    """workers: to how many secrets were sealed. fault: why they were not for the first that was passed over;
    VerificationFailed when the service names a deal, a worker or a key that chain and signatures do not bear
    out."""

    workers: int
    fault: PrixfixeError | None


def give_secrets(client: Client, market: MarketClient, job: str, secrets: Mapping[str, bytes]) -> Given:
    """Seal to every worker that runs the job now and has none yet. market: the contract behind a node of the
    customer's choice. job: the customer's own order by its digest, never an id that the service has given.
    One worker that cannot be sealed to keeps no other from its secrets; Unavailable ends it at once."""
    order = parse_bytes32(job, name="job")
    given, fault = 0, None
    for waiting in client.seals(job):
        if waiting.given or waiting.sealing is None:
            continue
        try:
            require_true(waiting, waiting.sealing, market, order)
            public = waiting.sealing.statement.public
            sealed = seal(secrets, public, waiting.deal, waiting.worker, market.domain)
            client.give_seal(job, waiting.attempt, sealed)
        except Unavailable:
            raise
        except PrixfixeError as error:
            fault = fault or error
        else:
            given += 1
    return Given(given, fault)


def require_true(waiting: Seal, sealing: SignedSealingKey, market: MarketClient, order: bytes) -> None:
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
    sealing.verify(waiting.worker, market.domain)


class Giver:
    """Gives in a thread whatever comes to wait, until it is left. say: told of each, and of what fails.
    workers: to how many it has given."""

    def __init__(
        self,
        client: Client,
        market: MarketClient,
        job: str,
        secrets: Mapping[str, bytes],
        say: Callable[[str], None],
    ) -> None:
        self._give = partial(give_secrets, client, market, job, secrets)
        self._say = say
        self.workers = 0
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
                given = self._give()
            except Unavailable:
                continue
            except PrixfixeError as error:
                given = Given(0, error)
            self.workers += given.workers
            if given.workers:
                self._say(f"  secrets sealed to {given.workers} worker(s)")
            if given.fault is not None and str(given.fault) != told:
                told = str(given.fault)
                self._say(f"  secrets were not given: {told}")
