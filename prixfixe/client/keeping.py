"""What the client keeps on the customer's machine, below PRIXFIXE_HOME: signed orders, runs that are not
over, and sessions.

Orders are kept from before they are sent: after a lost answer or a crash the very same order is sent again,
never a second one, and with it the customer can check and get back its money when the service is gone.
Sessions save a signature (and a password) per command; they are tokens, so only this user may read them.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from prixfixe.client.files import unwritable
from prixfixe.errors import ConfigurationError, NotFound
from prixfixe.keys import home
from prixfixe.protocol.orders import Order
from prixfixe.protocol.quotes import nonce_of, order_of
from prixfixe.protocol.wire import AnyQuote, BidQuote, JobRequest, Quote, Session

_QUOTE: TypeAdapter[Quote | BidQuote] = TypeAdapter(AnyQuote, config=ConfigDict(defer_build=True))


@dataclass(frozen=True, slots=True)
class KeptOrder:
    """An order as it was sent. job: its digest, the job's id. request: as it was signed; None when the
    service signs it, for a managed account. result: where its owner wanted the result."""

    job: str
    context: str
    chain_id: int
    contract: str
    quote: Quote | BidQuote
    request: JobRequest | None
    result: str | None = None
    receipt: str | None = None

    @property
    def order(self) -> Order:
        if self.request is not None:
            return self.request.order
        return order_of(self.quote, self.contract, expiry=self.quote.order_expiry, nonce=nonce_of(self.quote))

    def to_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "job": self.job,
            "context": self.context,
            "chain_id": self.chain_id,
            "contract": self.contract,
            "quote": self.quote.model_dump(mode="json"),
            "request": None if self.request is None else self.request.model_dump(mode="json"),
            "result": self.result,
            "receipt": self.receipt,
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> KeptOrder:
        return KeptOrder(
            job=data["job"],
            context=data["context"],
            chain_id=data["chain_id"],
            contract=data["contract"],
            quote=_QUOTE.validate_python(data["quote"]),
            request=None if data["request"] is None else JobRequest.model_validate(data["request"]),
            result=data.get("result"),
            receipt=data.get("receipt"),
        )


def keep_order(order: KeptOrder) -> None:
    """Write it, whole and flushed to the disk: it must be there before the service can have it."""
    write_private(_order_path(order.job), json.dumps(order.to_json(), indent=1))


def kept_order(job: str) -> KeptOrder | None:
    """The order of a job that was bought from this machine, None when it was not."""
    path = _order_path(job)
    try:
        return KeptOrder.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def kept_jobs() -> list[str]:
    """Ids of all jobs bought from this machine."""
    return [path.stem for path in sorted((home() / "orders").glob("0x*.json"))]


def keep_run(key: str, order: KeptOrder | Quote) -> None:
    """Remember, before it is sent, what a request (`prixfixe.client.runs`) is bought with: a kept order, or
    the quote that the service signs for."""
    known = {"job": order.job} if isinstance(order, KeptOrder) else {"quote": order.model_dump(mode="json")}
    write_private(_run_path(key), json.dumps({"version": 1, **known}))


def kept_run(key: str) -> str | Quote | None:
    """What a request is being bought with: the job of a kept order, or a quote; None when it is not."""
    path = _run_path(key)
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return str(known["job"]) if "job" in known else Quote.model_validate(known["quote"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}",
            hint="see in `client.jobs()` whether its job was bought, then delete the file",
        ) from error


def forget_run(key: str) -> None:
    """The request is over: asked for again, it is bought again."""
    _run_path(key).unlink(missing_ok=True)


def complete_job_id(given: str) -> str:
    """The whole id of a job that was given by its beginning, as far as this machine knows it."""
    if len(given) == 66:
        return given
    near = [job for job in kept_jobs() if job.startswith(given)] if given.startswith("0x") else []
    if len(near) == 1:
        return near[0]
    if near:
        raise NotFound(f"{given} begins the ids of {len(near)} jobs", hint="give more digits of the job's id")
    raise NotFound(
        f"no job with an id that begins with {given} was bought from this machine",
        hint="give the whole id: `prixfixe jobs list --ids` shows them",
    )


class SessionFile:
    """Sessions by service and address, until they end."""

    def __init__(self, service: str) -> None:
        self._service = service

    def get(self, address: str) -> Session | None:
        stored = _read_sessions().get(self._key(address))
        try:
            return None if stored is None else Session.model_validate(stored)
        except ValueError:
            return None

    def put(self, address: str, session: Session | None) -> None:
        """Keep the session, or forget the one that was kept."""
        sessions = _read_sessions()
        if session is None:
            sessions.pop(self._key(address), None)
        else:
            sessions[self._key(address)] = session.model_dump(mode="json")
        write_private(_sessions_path(), json.dumps(sessions, indent=1))

    def _key(self, address: str) -> str:
        return f"{self._service} {address}"


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user may read, in one step."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file(path, text.encode("utf-8"), mode=0o600)


def write_file(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file whole and flushed to the disk, or not at all. mode: its rights, less the user's mask."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with _removed_on_failure(temporary):
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error


@contextlib.contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _order_path(job: str) -> Path:
    # A job id comes from the command line: nothing but hexadecimal digits may become part of a path.
    if not job.startswith("0x") or not all(char in "0123456789abcdef" for char in job[2:]):
        raise NotFound(f"{job[:70]!r} is not a job's id", hint="an id is 0x and 64 hexadecimal digits")
    return home() / "orders" / f"{job}.json"


def _run_path(key: str) -> Path:
    return home() / "runs" / f"{key}.json"


def _sessions_path() -> Path:
    return home() / "sessions.json"


def _read_sessions() -> dict[str, Any]:
    try:
        data = json.loads(_sessions_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # a lost session costs one signature
    return data if isinstance(data, dict) else {}
