"""The parts of `prixfixe run`: checking before the price, and bringing home what was bought."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prixfixe.cli.declaring import Outgoing, Travel, outgoing
from prixfixe.cli.form import Typed, read_arguments
from prixfixe.cli.output import Progress
from prixfixe.client.endings import NotDelivered, money_sentence, require_delivered
from prixfixe.client.files import (
    FileChanged,
    describe_input,
    free_name,
    require_free_target,
    require_writable,
)
from prixfixe.client.preparing import count_units, needing_tables, require_files
from prixfixe.errors import (
    Conflict,
    InvalidInput,
    PrixfixeError,
    Unavailable,
)
from prixfixe.protocol.bundle import BundleDefinition, parse
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.money import ZERO
from prixfixe.protocol.wire import BundleListing, Job, OutputFileInfo

if TYPE_CHECKING:
    from prixfixe.client import Client
    from prixfixe.client.checks import Verification

# What a person most wants to open, best first, when no name was given.
_FAVOURITES = (".xlsx", ".csv", ".parquet", ".pdf", ".json")

_LONG_BYTES = 100 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be quoted: files as they were when they were checked, parameters, units counted."""

    bundle: str
    inputs: tuple[tuple[InputFile, Path], ...]
    parameters: Mapping[str, Any]
    units: int
    saved: tuple[str, ...] = ()
    """A sentence for each file that was made smaller before it travels."""

    @property
    def bytes(self) -> int:
        return sum(file.size for file, _ in self.inputs)

    def described(self) -> str:
        names = [path.name for _, path in self.inputs]
        return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


@dataclass(frozen=True, slots=True)
class Places:
    """Where results go. result: None to leave them with the service."""

    result: Path | None
    receipt: Path | None
    named: bool
    force: bool

    def kept(self) -> dict[str, str | None]:
        """What is remembered with the order."""
        return {
            "result": None if self.result is None else str(self.result.absolute()),
            "receipt": None if self.receipt is None else str(self.receipt.absolute()),
        }


def definition_of(listing: BundleListing) -> BundleDefinition:
    """The definition that a listing shows."""
    return parse(listing.definition, f"the service's bundle {listing.id}")


def not_for_sale(listing: BundleListing) -> Conflict:
    """Told before the files are looked at."""
    return Conflict(
        f"bundle {listing.id} {listing.version} is no longer for sale",
        code="bundle-retired",
        hint="`prixfixe pricing list` shows what is",
    )


def read(definition: BundleDefinition, arguments: Sequence[str]) -> Typed:
    """Options and files as they were typed, completed and checked against the definition; no file is
    opened."""
    typed = read_arguments(definition.parameters, arguments, definition.id)
    require_files(definition, typed.files)
    return Typed(typed.files, definition.validate_parameters(typed.parameters), typed.parameters)


def takes_long(typed: Typed) -> bool:
    """Whether checking the files leaves the interpreter idle for long enough to do something else."""
    return sum(path.stat().st_size for path in typed.files) >= _LONG_BYTES


def prepare(
    definition: BundleDefinition, typed: Typed, progress: Progress, travel: Travel | None = None
) -> Order:
    """Check and count the files: all that can be wrong on this side, before a price is asked for. `travel`
    says what may be made of them before they are uploaded."""
    parameters = typed.parameters
    inputs, units, saved = [], 0, []
    for path in typed.files:
        label = f"checking {path.name} on this machine"
        progress.show(label)
        before = path.stat()
        sent = Outgoing(path)
        if travel is not None:
            with needing_tables():
                sent = outgoing(definition, path, parameters, travel, progress)
        if sent.sentence is not None:
            saved.append(sent.sentence)
        if sent.units is None:
            units += count_units(definition, sent.path, parameters, partial(progress.show, label))
        else:
            units += sent.units
        inputs.append((describe_input(sent.path, sent.sha256), sent.path))
        after = path.stat()
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise FileChanged(f"{path} was changed while it was being checked", file=str(path))
    progress.close()
    definition.tier_for(units)
    return Order(definition.id, tuple(inputs), parameters, units, tuple(saved))


def places(
    bundle: str, files: Sequence[Path], out: Path | None, receipt: Path | None, *, force: bool, detach: bool
) -> Places:
    """Where results will go. Conflict or ConfigurationError now rather than after the payment.

    A name that nobody gave is one that is free, so that a second run in a folder needs no option.
    """
    if detach and out is None:
        return Places(None, receipt, False, force)
    unnamed = (lambda path: path) if force else free_name
    result = out or unnamed(files[0].with_name(f"{files[0].stem}-{bundle}{_FAVOURITES[0]}"))
    receipt = receipt or unnamed(result.with_name("receipt.json"))
    if result.absolute() == receipt.absolute():
        raise InvalidInput(
            f"result and receipt would both be {result}", hint="name another file with --receipt"
        )
    for path in files:
        if path.absolute() in (result.absolute(), receipt.absolute()):
            raise InvalidInput(
                f"{path} is the input and would be replaced", hint="name another file with --out"
            )
    for target, option in ((result, "--out"), (receipt, "--receipt")):
        require_free_target(target, overwrite=force, option=option)
        require_writable(target)
    return Places(result, receipt, out is not None, force)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A finished job with what was brought home."""

    job: Job
    result: Path | None
    receipt: Path | None
    others: tuple[OutputFileInfo, ...]
    verification: Verification
    control: Mapping[str, Any]

    @property
    def output_rows(self) -> int | None:
        """Rows of the result, as the control totals count them."""
        rows = (
            self.control.get("result", {}).get("rows")
            if isinstance(self.control.get("result"), dict)
            else None
        )
        return rows if isinstance(rows, int) else None

    def to_json(self, order: Order) -> dict[str, Any]:
        return {
            "job": self.job.id,
            "state": self.job.state,
            "bundle": f"{self.job.bundle} {self.job.version}",
            "tier": self.job.tier,
            "quoted": str(self.job.quoted.units),
            "charged": str(self.job.charged.units),
            "input_rows": order.units,
            "output_rows": self.output_rows,
            "attempts": self.job.attempts,
            "result": None if self.result is None else str(self.result),
            "receipt": None if self.receipt is None else str(self.receipt),
            "receipt_valid": self.verification.valid,
            "receipt_complete": self.verification.complete,
        }

    def lines(self, logged: Collection[str] = ()) -> list[str]:
        """What a person reads at the end; control totals that the log has `logged` are not said again."""
        from prixfixe.cli.output import clean

        told = [clean(text) for text in self.control.get("sentences", ()) if isinstance(text, str)]
        lines = [f"  {text}" for text in told if text not in logged]
        lines.append(f"{self.result}  ({money_sentence(self.job)})")
        proof = "checked, on chain too" if self.verification.complete else "checked; not on chain"
        lines.append(f"{self.receipt}  ({proof}; again: prixfixe verify {self.receipt} {self.result})")
        if self.others:
            names = ", ".join(file.path for file in self.others)
            lines.append(f"also made: {names}  (prixfixe jobs download {self.job.id[:12]})")
        return lines


def deliver(client: Client, bought: Job, where: Places, progress: Progress) -> Delivery:
    """Receipt, then result and proof side by side. NotDelivered when the job ended without a result."""
    from concurrent.futures import ThreadPoolExecutor

    from prixfixe.cli.receipts import receipt_fault, write_receipt
    from prixfixe.client.checks import Verification
    from prixfixe.client.verification import verify_files

    assert where.receipt is not None
    with ThreadPoolExecutor(2, "delivery") as beside:
        asked = beside.submit(client.job, bought)
        receipt = client.receipt(bought)
        write_receipt(receipt, where.receipt)
        job = asked.result()
        require_delivered(job)
        assert where.result is not None
        chosen = _choose(job.outputs, where)
        target = where.result if where.named else where.result.with_suffix(Path(chosen.path).suffix)
        proof = beside.submit(client.verify, receipt)
        told = beside.submit(_control, client, job, receipt.definition or {})
        client.download_file(
            job, chosen.path, target, overwrite=where.force, progress=progress.bytes("downloading")
        )
        progress.close()
        control, papers = told.result(), proof.result()
    verification = Verification((*papers.checks, *verify_files(receipt, (target,)).checks))
    if not verification.valid:
        raise receipt_fault(verification, where.receipt)
    others = tuple(file for file in job.outputs if file.path != chosen.path)
    return Delivery(job, target, where.receipt, others, verification, control)


def left_alone(client: Client, job: Job, silent: Unavailable) -> PrixfixeError:
    """What to tell when the service stays silent. A late deal is sent back here and now, by the customer's
    own key."""
    short = job.id[:12]
    if client.operations.is_managed:
        return Unavailable(
            f"{silent.message}; the job goes on without being watched, and nothing changes for its money",
            hint=f"prixfixe jobs watch {short}; what is late comes back by anybody's transaction, also of a "
            f"key of your own: prixfixe jobs refund {short} --key KEY",
        )
    try:
        returned = client.refund(job)
    except PrixfixeError as error:
        return Unavailable(
            f"{silent.message}; the job goes on without being watched",
            hint=f"after its deadline the price comes back with: prixfixe jobs refund {short} ({error})",
        )
    if not returned:
        return Unavailable(
            f"{silent.message}; the job goes on without being watched, and nothing of it is late",
            hint=f"prixfixe jobs watch {short}; after its deadline: prixfixe jobs refund {short}",
        )
    total = sum((each.amount for each in returned), start=ZERO)
    return NotDelivered(
        f"{silent.message}; the job was late, so its {total} were sent back to your account",
        hint="order again, here or at another service",
        job=job.id,
        transactions=[each.transaction for each in returned],
    )


def _choose(outputs: Sequence[OutputFileInfo], where: Places) -> OutputFileInfo:
    """The output that a person means: by the ending of the name that was given, else the favourite."""
    if not outputs:
        raise PrixfixeError("the job has no output files", code="no-outputs", fault="provider")
    if where.named and where.result is not None:
        wanted = where.result.suffix.lower()
        for file in outputs:
            if Path(file.path).suffix.lower() == wanted:
                return file

    def rank(file: OutputFileInfo) -> tuple[int, int]:
        suffix = Path(file.path).suffix.lower()
        return (_FAVOURITES.index(suffix) if suffix in _FAVOURITES else len(_FAVOURITES), -file.size)

    return min(outputs, key=rank)


def _control(client: Client, job: Job, definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """The control totals that the definition promises; empty when they are not there or no JSON."""
    name = definition.get("proof", {}).get("control_totals")
    if not any(file.path == name and file.size < 10_000_000 for file in job.outputs):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = client.download_file(job, str(name), Path(folder) / "control.json")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            return {}
    return found if isinstance(found, dict) else {}
