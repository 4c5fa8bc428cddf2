"""The arbiter of a market, as one process with one key: it watches the court, runs what was challenged again
and judges.

All that it knows it reads from the chain, anew at each start, so a case that was open when it died is judged
after its restart. What it cannot decide it leaves: after the case's time anyone may end it, and nobody is
punished for its silence.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from prixfixe.chain.client import MarketClient
from prixfixe.chain.events import Challenged, DealOpened, Judged, Lapsed, MarketEvent, Settled
from prixfixe.errors import ChainError, ConfigurationError, NotFound, PrixfixeError, Unavailable
from prixfixe.keys import Signer
from prixfixe.protocol.deals import Fact
from prixfixe.protocol.disputes import Case, Claim, Ground
from prixfixe.protocol.typed_data import Domain, format_bytes32
from prixfixe.protocol.wire import CaseFile, Market
from worker.client import ServiceClient, require_market
from worker.daemon import only_one
from worker.judging import Finding, Rerun, judge_count, judge_missing, judge_wrong
from worker.operating import LateBench, operate
from worker.rerun import Bench, BenchSettings
from worker.voice import Emit

log = logging.getLogger("prixfixe.worker")

_AGAIN: Final = 64  # blocks that are read again at each look, so that a short re-organisation is followed
_CHUNK: Final = 5000
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_TRIES_IN_A_WINDOW: Final = 120  # at least, so that a short window is not slept through


@dataclass(frozen=True, slots=True)
class ArbiterSettings:
    """bench: where tasks run. from_block: nothing of the market lies before it. poll_seconds: between looks
    at the chain. missing_after: seconds, on the chain's clock, in which a missing output may still be handed
    in; at most half of the case's time."""

    bench: BenchSettings
    from_block: int = 0
    poll_seconds: float = 1.0
    missing_after: int = 86_400


class Runs(Protocol):
    """What the arbiter needs of `worker.rerun.Bench`."""

    def run(self, file: CaseFile, task: int, name: str) -> Rerun: ...

    def stop(self) -> None: ...


@dataclass(slots=True)
class _Open:
    """A case that waits. not_before, pause: host's monotonic seconds, when to try again."""

    case: Case
    claim: Claim
    runs: list[Rerun] = field(default_factory=list)
    not_before: float = 0.0
    pause: float = _FIRST_PAUSE


class Arbiter:
    """Judges a market's cases until it is told to stop."""

    def __init__(
        self,
        settings: ArbiterSettings,
        market: MarketClient,
        client: ServiceClient,
        signer: Signer,
        emit: Emit = lambda event, facts: None,
        open_bench: Callable[[], AbstractContextManager[Runs]] | None = None,
    ) -> None:
        """open_bench: where tasks are run; by default on this machine's engine."""
        self._settings = settings
        self._market = market
        self._client = client
        self._signer = signer
        self._emit = emit
        self._stopping = threading.Event()
        self._read_to = settings.from_block - 1
        self._cases: dict[bytes, _Open] = {}
        self._bench = LateBench[Runs](open_bench or (lambda: Bench.open(settings.bench, client)))
        self._window = 0

    def stop(self) -> None:
        """End soon; a case that is being looked at is taken up again by the next start."""
        self._stopping.set()
        self._bench.stop()

    def run(self) -> None:
        """Until stopped. ConfigurationError when the key is not the market's arbiter."""
        data = self._settings.bench.data
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with only_one(data), self._bench:
            if not self._ready():
                return
            self._emit("ready", {"arbiter": self._signer.address, "market": self._market.contract})
            while not self._stopping.is_set():
                self._turn()
                self._stopping.wait(self._settings.poll_seconds)

    def _ready(self) -> bool:
        """Chain and service know us; waited for while they are silent. False when told to stop."""
        while not self._stopping.is_set():
            try:
                _ = self._market.chain_id  # refused here when the node serves another chain
                policy = self._market.policy()
                if policy.arbiter != self._signer.address:
                    raise ConfigurationError(
                        f"the key given is {self._signer.address}, the market's arbiter is {policy.arbiter}",
                        code="not-the-arbiter",
                        hint="start with the arbiter's key; another arbiter is another contract",
                    )
                self._window = policy.window
                self._client.sign_in(self._signer)
                return True
            except Unavailable as error:
                log.warning("waiting: %s", error)
                self._stopping.wait(self._settings.poll_seconds)
        return False

    def _turn(self) -> None:
        try:
            self._follow()
            for opened in list(self._cases.values()):
                if self._stopping.is_set():
                    return
                if time.monotonic() >= opened.not_before:
                    self._consider(opened)
        except PrixfixeError as error:
            log.warning("not now: %s", error)
        except Exception:
            log.exception("looking at the cases failed")

    # ------------------------------------------------------------------------------------------- the chain

    def _follow(self) -> None:
        """Know the cases that are open now."""
        head = self._market.block().number
        if head == self._read_to:
            return
        first = max(self._settings.from_block, self._read_to + 1 - _AGAIN)
        for event in self._events(first, head, (Challenged, Judged, Lapsed)):
            if not isinstance(event, Challenged):
                self._cases.pop(event.deal, None)  # type: ignore[attr-defined]
            elif (found := self._case_of(event)) is not None:
                known = self._cases.get(event.deal)
                if known is None or known.case != found.case:
                    self._cases[event.deal] = found
        self._read_to = head

    def _case_of(self, event: Challenged) -> _Open | None:
        """The case that a challenge opened, when the lot's word says that it is open still."""
        head = self._market.block().number
        history = list(
            self._events(self._settings.from_block, head, (DealOpened, Settled, Judged, Lapsed), event.deal)
        )
        deal = next((each.data for each in history if isinstance(each, DealOpened)), None)
        paid = next((each for each in history if isinstance(each, Settled)), None)
        if deal is None or paid is None:
            return None
        before = [each for each in history if _place(each) < _place(event)]
        facts = [each.fact for each in before if isinstance(each, Settled | Judged | Lapsed)]
        fees = tuple(fee.units for fee in event.fees)
        case = Case(deal, paid.root, facts[-1], event.challenger, event.until, event.claim.hash, fees)
        if self._market.lot(deal.order, deal.lot) != case.word:
            return None
        return _Open(case, event.claim)

    def _events(
        self, first: int, last: int, of: tuple[type[MarketEvent], ...], deal: bytes | None = None
    ) -> Iterator[MarketEvent]:
        for start in range(first, last + 1, _CHUNK):
            yield from self._market.events(start, min(last, start + _CHUNK - 1), of=of, id=deal)

    # ------------------------------------------------------------------------------------------ a judgement

    def _consider(self, opened: _Open) -> None:
        """Look into a case, and judge when it can be judged."""
        case, deal = opened.case, format_bytes32(opened.case.deal.id)
        now = self._market.time()
        if now > case.until:
            log.info("case of deal %s: its time is over, undecided", deal)
            self._cases.pop(case.deal.id, None)
            return
        try:
            finding = self._find(opened, now)
        except PrixfixeError as error:
            finding = Finding(None, f"it could not be looked at: {error}")
        if finding.guilty is None:
            log.info("case of deal %s: no judgement yet: %s", deal, finding.why)
            opened.not_before = time.monotonic() + opened.pause
            longest = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, self._window / _TRIES_IN_A_WINDOW))
            opened.pause = min(2 * opened.pause, longest)
            return
        self._judge(opened, finding)

    def _judge(self, opened: _Open, finding: Finding) -> None:
        case = opened.case
        assert finding.guilty is not None
        try:
            outcome = self._market.judge(self._signer, case, guilty=finding.guilty)
        except ChainError as error:
            if error.revert not in ("MarketNoCase", "MarketTooLate"):
                raise
            self._cases.pop(case.deal.id, None)
            return
        self._cases.pop(case.deal.id, None)
        facts: dict[str, Any] = {
            "deal": format_bytes32(case.deal.id),
            "guilty": finding.guilty,
            "why": finding.why,
            "transaction": outcome.transaction_hash,
        }
        log.info("deal %s: %s: %s", facts["deal"], "guilty" if finding.guilty else "not guilty", finding.why)
        self._emit("judged", facts)

    def _find(self, opened: _Open, now: int) -> Finding:
        case, claim = opened.case, opened.claim
        file = self._file(case)
        if claim.ground == Ground.COUNT:
            leaves = [(task.status, task.outputs.digest) for task in file.tasks]
            return judge_count(leaves, case.root, Fact.unpack(case.fact).done)
        if claim.ground == Ground.MISSING:
            patience = min(self._settings.missing_after, self._window // 2)
            waited = now - (case.until - self._window)
            return judge_missing(self._undelivered(file, claim), waited, patience)
        return self._find_wrong(opened, file)

    def _file(self, case: Case) -> CaseFile:
        """The job as it was sold: what the customer signed, whatever the service says."""
        file = self._client.case(format_bytes32(case.deal.id))
        domain = Domain(self._market.chain_id, self._market.contract)
        if file.purchase.digest(domain) != case.deal.order or file.manifest.digest() != file.purchase.job:
            raise NotFound(
                "the service gives another job than the one that was challenged", code="not-the-case"
            )
        return file

    def _find_wrong(self, opened: _Open, file: CaseFile) -> Finding:
        """Run the task, and once more when the first run disagrees with the leaf."""
        case, claim = opened.case, opened.claim
        task = case.deal.lot * file.purchase.lot + claim.index
        while True:
            name = hashlib.sha256(case.word + bytes([len(opened.runs)])).hexdigest()[:32]
            opened.runs.append(self._bench.get().run(file, task, name))
            if self._stopping.is_set():
                opened.runs.clear()
                return Finding(None, "the arbiter is stopping")
            finding = judge_wrong(claim, opened.runs)
            if finding.guilty is not None or len(opened.runs) > 1:
                if finding.guilty is None:
                    opened.runs.clear()
                return finding

    def _undelivered(self, file: CaseFile, claim: Claim) -> list[str]:
        """Paths of the output that the service does not give, whole and as the leaf names it."""
        manifest = next((task.outputs for task in file.tasks if task.outputs.digest == claim.digest), None)
        if manifest is None:
            return ["its list of files"]
        return [each.path for each in manifest.files if not self._delivered(each.sha256, each.size)]

    def _delivered(self, sha256: str, size: int) -> bool:
        digest, seen = hashlib.sha256(), 0
        try:
            with self._client.download(sha256) as chunks:
                for chunk in chunks:
                    digest.update(chunk)
                    seen += len(chunk)
        except NotFound:
            return False
        return digest.hexdigest() == sha256 and seen == size


def _place(event: MarketEvent) -> tuple[int, int]:
    return event.at.block_number, event.at.log_index


def serve(
    settings: ArbiterSettings,
    where: tuple[str, str, str | None],
    signer_for: Callable[[int], Signer],
    emit: Emit,
    handle: Callable[[Callable[[], None]], None],
) -> None:
    """Run an arbiter for the market of a service. where: service, chain node, contract that is meant.
    signer_for: the key for a chain. handle: is given what stops it, before it begins."""
    service, rpc, contract = where

    @contextmanager
    def made(client: ServiceClient, market: Market) -> Iterator[Arbiter]:
        require_market(market, contract)
        with closing(MarketClient(rpc, market.contract, chain_id=market.chain_id)) as node:
            yield Arbiter(settings, node, client, signer_for(market.chain_id), emit)

    operate(service, handle, made)
