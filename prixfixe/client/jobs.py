"""Jobs that were bought: what became of them, their outputs, their proof, and their money when late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote as url_quote

from prixfixe.client.calls import Download, Follow, Operation, Progress, Request, Work
from prixfixe.client.conversation import Conversation, items_of, parsed
from prixfixe.client.dispute import Verdict
from prixfixe.client.files import is_there, require_free_target
from prixfixe.client.refund import Returned, expire_late, lot_states
from prixfixe.errors import ConfigurationError, Conflict, Unavailable
from prixfixe.protocol import wire
from prixfixe.protocol.outputs import require_output_path
from prixfixe.protocol.receipt import Receipt
from prixfixe.protocol.secrets import Seal, SealedSecrets
from prixfixe.protocol.typed_data import parse_bytes32

if TYPE_CHECKING:
    from prixfixe.client.checks import Verification
    from prixfixe.protocol.certificate import Certificate


class Jobs(Conversation):
    """A customer's jobs. Wherever a job is asked for, its id is enough."""

    def job(self, job: str | wire.Job) -> Operation[wire.Job]:
        """A job as it is now: its state, its price, what was charged, its first outputs."""
        found = yield from self.ask_signed_in(wire.Job, Request("GET", _path(job)))
        require_named(id_of(job), found)
        return found

    def jobs(self, limit: int | None = None) -> Operation[tuple[wire.Job, ...]]:
        """The customer's jobs, newest first. limit: at most so many; all when None."""
        return (yield from self.every(wire.Job, "/v1/jobs", limit=limit))

    def logs(self, job: str | wire.Job, *, task: int | None = None) -> Operation[str]:
        """What the job has printed so far; `events` gives it as it comes. task: of this one only."""
        query = {} if task is None else {"task": str(task)}
        answer = yield from self.send_signed_in(Request("GET", f"{_path(job)}/log", query=query))
        return str(answer.body.decode("utf-8", "replace"))

    def cancel(self, job: str | wire.Job) -> Operation[wire.Job]:
        """Take back whatever of a job no worker has started: its money is free at once; what is started goes
        on. Conflict when nothing can be taken back."""
        found = yield from self.ask_signed_in(wire.Job, Request("POST", f"{_path(job)}/cancel"))
        require_named(id_of(job), found)
        return found

    def seals(self, job: str | wire.Job) -> Operation[tuple[Seal, ...]]:
        """Attempts that run now and to whom the job's secrets are to be sealed: as the service says, so check
        them first, as `prixfixe.client.sealing` does."""
        answer = yield from self.send_signed_in(Request("GET", f"{_path(job)}/seals"))
        return tuple(parsed(Seal, item) for item in items_of(answer.json()))

    def give_seal(self, job: str | wire.Job, attempt: str, sealed: str) -> Operation[None]:
        """Hand in secrets that were sealed to the worker of an attempt."""
        body = SealedSecrets(sealed=sealed).model_dump(mode="json")
        yield from self.send_signed_in(Request("PUT", f"{_path(job)}/seals/{attempt}", body=body))

    def receipt(self, job: str | wire.Job) -> Operation[Receipt]:
        """The receipt of a job that has ended: what `verify` checks, now or in years."""
        return (yield from self.ask_signed_in(Receipt, Request("GET", f"{_path(job)}/receipt")))

    def certificate(self, job: str | wire.Job) -> Operation[Certificate]:
        """What the service checked of a job that has ended, and what it did not, for people."""
        from prixfixe.protocol.certificate import Certificate  # late: few ask for one

        return (yield from self.ask_signed_in(Certificate, Request("GET", f"{_path(job)}/certificate.json")))

    def certificate_pdf(self, job: str | wire.Job, language: str = "en") -> Operation[bytes]:
        """The same as a PDF, in English ("en") or Chinese ("zh")."""
        request = Request("GET", f"{_path(job)}/certificate.pdf", query={"language": language})
        return (yield from self.send_signed_in(request)).body

    def deletions(self, job: str | wire.Job) -> Operation[wire.Deletions]:
        """What the market deleted of a job by its policy, signed by the operator."""
        return (yield from self.ask_signed_in(wire.Deletions, Request("GET", f"{_path(job)}/deletions")))

    def forget(self, job: str | wire.Job) -> Operation[wire.Forgotten]:
        """Have the market delete inputs, outputs and logs of a job that is over, before their time: for good.
        What other orders name stays, and is named. Conflict while its results can be disputed
        (`window-open` says until when in `until`)."""
        found = yield from self.ask_signed_in(wire.Forgotten, Request("POST", f"{_path(job)}/forget"))
        return found

    def outputs(
        self, job: str | wire.Job, *, task: int | None = None
    ) -> Operation[tuple[wire.OutputFileInfo, ...]]:
        """Every output file; of a job of several tasks as `<index>/<path>`. task: of this one only."""
        query = {} if task is None else {"task": str(task)}
        return (yield from self.every(wire.OutputFileInfo, f"{_path(job)}/outputs", query))

    def download(
        self,
        job: str | wire.Job,
        folder: Path | str,
        *,
        task: int | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Operation[tuple[Path, ...]]:
        """Fetch every output into a folder; each file appears whole and checked, or not at all. What is there
        already, to the byte, is not fetched again. task: only this one's; of several tasks each has a folder
        named by its index."""
        known = yield from self.outputs(job, task=task)
        targets = [Path(folder).joinpath(*require_output_path(file.path).split("/")) for file in known]
        pairs = list(zip(known, targets, strict=True))
        missing = yield Work(lambda: [pair for pair in pairs if not is_there(*pair)])
        for _, target in missing:
            require_free_target(target, overwrite=overwrite)
        for file, target in missing:
            yield from self._fetch(job, file, target, progress)
        return tuple(targets)

    def download_file(
        self,
        job: str | wire.Job,
        path: str,
        target: Path | str,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Operation[Path]:
        """Fetch one output to a file of your choice: whole and with the digest that the worker signed, or not
        at all. Of a job that was asked for before, its outputs are not asked for again."""
        place = Path(target)
        require_free_target(place, overwrite=overwrite)
        known = () if isinstance(job, str) else job.outputs
        info = next((file for file in known if file.path == path), None)
        if info is None:
            known = yield from self.outputs(job)
            info = next((file for file in known if file.path == path), None)
        if info is None:
            names = ", ".join(file.path for file in known) or "none"
            raise Conflict(f"job {id_of(job)} has no output {path!r}", hint=f"its outputs: {names}")
        return (yield from self._fetch(job, info, place, progress))

    def _fetch(
        self, job: str | wire.Job, file: wire.OutputFileInfo, target: Path, progress: Progress | None
    ) -> Operation[Path]:
        url = f"{_path(job)}/outputs/{url_quote(file.path)}"
        yield from self.send_signed_in(Download(url, target, file.sha256, file.size, progress=progress))
        return target

    def refund(self, job: str | wire.Job) -> Operation[tuple[Returned, ...]]:
        """Send back what is late of a job, over the context's chain node; the service is not asked."""
        name = parse_bytes32(id_of(job), name="job")
        url = self._node()
        signer = yield from self.signer()

        def send() -> tuple[Returned, ...]:
            # Late: a client that never needs it does not load the chain's part.
            from prixfixe.client.onchain_reader import NodeEvidence

            chain = NodeEvidence(url, self.context.contract)
            states = lot_states(chain, name)
            return expire_late(chain.market, signer, states, chain.now())

        returned: tuple[Returned, ...] = yield Work(send)
        return returned

    def challenge(
        self, job: str | wire.Job, *, task: int = 0, ground: str = "wrong", receipt: Receipt | None = None
    ) -> Operation[Verdict]:
        """Dispute a task's result for a bond, and wait for the arbiter. ground: wrong, missing or count. With
        a receipt the service is not asked."""
        url = self._node()
        if receipt is None:
            receipt = yield from self.receipt(job)
        signer = yield from self.signer()
        known = receipt

        def send() -> Verdict:
            from prixfixe.client import dispute
            from prixfixe.client.onchain_reader import NodeEvidence

            chain = NodeEvidence(url, self.context.contract)
            market = chain.market
            planned = dispute.prepare(market, chain, known, signer.address, task=task, ground=ground)
            return dispute.wait(market, signer, dispute.send(market, signer, planned))

        verdict: Verdict = yield Work(send)
        return verdict

    def verify(
        self, receipt: Receipt | Path | str, files: Sequence[Path | str] = (), *, offline: bool = False
    ) -> Operation[Verification]:
        """Check a receipt, or the file of one, and that `files` are outputs that it proves; the service is
        not asked. Chain, contract and node are the context's, never the receipt's; without a node, or
        offline, what only the chain proves is left out (`complete` is then False). A bad receipt is an answer
        with `valid` False, not an error; VerificationFailed when the file is no receipt at all."""
        context = self.context

        def check() -> Verification:
            from prixfixe.client.verification import read_receipt, verify

            found = receipt if isinstance(receipt, Receipt) else read_receipt(Path(receipt))
            chain = None
            if context.rpc is not None and not offline:
                from prixfixe.client.onchain_reader import NodeEvidence

                chain = NodeEvidence(context.rpc, context.contract)
            paths = tuple(Path(file) for file in files)
            return verify(found, paths, chain_id=context.chain_id, contract=context.contract, chain=chain)

        checked: Verification = yield Work(check)
        return checked

    def wait(
        self, job: str | wire.Job, *, hear: Callable[[wire.JobEvent], None] | None = None
    ) -> Operation[wire.Job]:
        """The job once it has ended, settled or refunded, across lost connections. hear: called with each
        event of it. Unavailable when the service stays silent for a minute and a half; the job goes on."""
        yield Follow(id_of(job), hear)
        return (yield from self.job(job))

    def _node(self) -> str:
        if self.context.rpc is None:
            raise ConfigurationError(
                f"the context {self.context.name!r} names no chain node",
                code="no-rpc",
                hint="PRIXFIXE_RPC names one",
            )
        return self.context.rpc


def id_of(job: str | wire.Job) -> str:
    """A job's id, of itself or of its id."""
    return job if isinstance(job, str) else job.id


def _path(job: str | wire.Job) -> str:
    return f"/v1/jobs/{id_of(job)}"


def require_named(wanted: str, job: wire.Job) -> None:
    """An answer is of the job that was asked for, which is called by its order's digest."""
    if job.id != wanted:
        raise Unavailable(
            f"the service calls order {wanted} job {job.id}", code="bad-answer", retryable=False
        )
