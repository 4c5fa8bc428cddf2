"""Inspections: files that people send from a page, looked at in a cage on a machine of the operator's.

A row waits until an inspector takes it, which is one of the addresses that the operator named. A wallet costs
nothing, so turns go to owners and not to rows (`_Served.turn`), and a step has a time limit of its own. Who
took a row has `leased` seconds; after that another may, once. Its answer is data of a stranger's file that
ran through a reader: what it says is shown, and the file that it names must be in the store. An hour after it
came a row is unknown, and gone with the next sweep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update
from sqlalchemy.engine import RowMapping

from marketplace.accounts.identity import new_id
from marketplace.blobs import grant, known_sizes, owned
from marketplace.bundles import stored_definition
from marketplace.store.account_tables import accounts
from marketplace.store.database import Store
from marketplace.store.inspection_tables import inspections
from marketplace.store.tables import bundles
from prixfixe.errors import Conflict, Forbidden, InvalidInput, NotFound, TooManyRequests
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.inspections import (
    Inspection,
    InspectionAnswer,
    InspectionRequest,
    InspectionState,
    InspectionTask,
    Step,
)
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.wire import Reason

TOPIC: Final = "inspections"
KEPT_SECONDS: Final = 3600
STEP_SECONDS: Final[Mapping[Step, int]] = {"look": 120, "make": 600}
"""Of one run in the cage at most, also where the bundle's own limit is longer."""
TRANSFER_SECONDS: Final = 600
"""For all else that an inspector does: it fetches file and image, and sends what was made."""
MOST_TRIES: Final = 2
MOST_OPEN: Final = 4
"""Of one account or wallet, that are not over."""
MOST_WAITING: Final = 64
"""Of all managed accounts, and of all wallets, that are not over."""


def leased(step: Step) -> int:
    """Seconds after which an inspector that does not answer has lost what it took."""
    return STEP_SECONDS[step] + TRANSFER_SECONDS


def topic(inspection: str) -> str:
    """Told when it is over."""
    return f"inspection:{inspection}"


class Inspections:
    """Both sides: accounts ask, inspectors answer."""

    def __init__(
        self, store: Store, inspectors: tuple[str, ...], clock: Callable[[], float] = time.time
    ) -> None:
        """inspectors: addresses of the operator's; without any there are no inspections."""
        self._store = store
        self._inspectors = frozenset(inspectors)
        self._clock = clock

    @property
    def offered(self) -> bool:
        """Whether somebody could take them."""
        return bool(self._inspectors)

    # ------------------------------------------------------------------------------------------ an account's

    def ask(self, owner: str, request: InspectionRequest) -> Inspection:
        """Have a file looked at that `owner` uploaded. Conflict for one that is not here, TooManyRequests
        when too many wait, InvalidInput for a bundle whose files nobody counts rows of."""
        self._require_offered()
        now = int(self._clock())
        with self._store.write() as connection:
            definition = _definition(connection, request.bundle)
            if request.step == "make":
                definition.validate_parameters(request.parameters)
            size = known_sizes(connection, [request.sha256]).get(request.sha256)
            if size is None or not owned(connection, [request.sha256], owner):
                raise Conflict(
                    f"{request.name} is not uploaded yet",
                    code="inputs-missing",
                    hint="upload it first",
                    retryable=True,
                    missing=[request.sha256],
                )
            if size > definition.inputs.max_bytes:
                raise InvalidInput(
                    f"{request.name} has {size} bytes; {definition.id} takes {definition.inputs.max_bytes}",
                    code="input-too-large",
                )
            _require_room(connection, owner, now)
            identity = new_id()
            file = InputFile(name=request.name, sha256=request.sha256, size=size)
            connection.execute(
                insert(inspections).values(
                    id=identity,
                    owner=owner,
                    bundle=definition.id,
                    version=definition.version,
                    step=request.step,
                    file=file.model_dump(),
                    sha256=request.sha256,
                    parameters=dict(request.parameters),
                    created_at=now,
                    expires_at=now + KEPT_SECONDS,
                    tries=0,
                )
            )
            self._store.notify(connection, TOPIC)
            return _view(_row(connection, identity))

    def get(self, owner: str, identity: str) -> Inspection:
        """One of the account's own, for as long as it is kept."""
        with self._store.read() as connection:
            row = _row(connection, identity)
        if row is None or row["owner"] != owner or row["expires_at"] <= int(self._clock()):
            raise _unknown(identity)
        return _view(row)

    def sweep(self) -> int:
        """Forget those whose time is over; how many."""
        with self._store.write() as connection:
            over = inspections.c.expires_at <= int(self._clock())
            return connection.execute(delete(inspections).where(over)).rowcount

    # --------------------------------------------------------------------------------------- an inspector's

    def next(self, inspector: str) -> InspectionTask | None:
        """The one whose turn it is, of those that wait and those whose inspector is silent, taken by this
        one; None when there is none."""
        self._require_inspector(inspector)
        now = int(self._clock())
        with self._store.read() as connection:  # most looks find nothing, and are no turn at writing
            if not _waiting(connection, now):
                return None
        with self._store.write() as connection:
            while waiting := _waiting(connection, now):
                chosen = min(waiting, key=_served(connection).turn)
                row = _row(connection, chosen["id"])
                if row["tries"] < MOST_TRIES:
                    return self._take(connection, row, inspector, now)
                self._end(connection, row["id"], InspectionAnswer(number=row["tries"], reason=_LOST))
        return None

    def answer(self, inspector: str, identity: str, answer: InspectionAnswer) -> None:
        """The end of one that this inspector has; the same again is no error. Conflict when it was given to
        another meanwhile, or is over."""
        self._require_inspector(inspector)
        with self._store.write() as connection:
            row = _row(connection, identity)
            if row is None:
                raise _unknown(identity)
            if row["answer"] == answer.model_dump(mode="json"):
                return
            if row["answer"] is not None or (row["inspector"], row["tries"]) != (inspector, answer.number):
                raise Conflict("the inspection is another's, or over", code="inspection-over")
            if answer.made is not None:
                made = answer.made.file
                if known_sizes(connection, [made.sha256]).get(made.sha256) != made.size:
                    raise Conflict("the file that was made is not uploaded", code="inputs-missing")
                if made.sha256 != row["sha256"]:
                    # Else whoever answers could name any file of the store.
                    if not owned(connection, [made.sha256], inspector):
                        raise Conflict("the file that was made is not uploaded", code="inputs-missing")
                    grant(connection, [made.sha256], row["owner"])
            self._end(connection, identity, answer)

    def may_read(self, connection: Connection, sha256: str, reader: str) -> bool:
        """Whether a reader is the inspector of a file, or of a bundle's image that looks at one."""
        if reader not in self._inspectors:
            return False
        taken = (
            select(inspections.c.id)
            .outerjoin(
                bundles,
                (bundles.c.id == inspections.c.bundle) & (bundles.c.version == inspections.c.version),
            )
            .where(
                inspections.c.inspector == reader,
                inspections.c.answer.is_(None),
                or_(inspections.c.sha256 == sha256, bundles.c.image_archive == sha256),
            )
        )
        return connection.execute(taken.limit(1)).first() is not None

    def _take(self, connection: Connection, row: RowMapping, inspector: str, now: int) -> InspectionTask:
        tries = row["tries"] + 1
        connection.execute(
            update(inspections)
            .where(inspections.c.id == row["id"])
            .values(inspector=inspector, taken_at=now, tries=tries)
        )
        self._store.notify(connection, topic(row["id"]))
        query = select(bundles).where(bundles.c.id == row["bundle"], bundles.c.version == row["version"])
        bundle = connection.execute(query).mappings().one()
        definition = stored_definition(bundle["definition_digest"], bundle["definition"])
        product = definition.limits.product
        return InspectionTask(
            id=row["id"],
            number=tries,
            step=row["step"],
            file=InputFile.model_validate(row["file"]),
            preflight=definition.inputs.preflight,
            parameters=row["parameters"],
            image=bundle["image"],
            image_archive=bundle["image_archive"],
            product=replace(product, max_seconds=min(product.max_seconds, STEP_SECONDS[row["step"]])),
        )

    def _end(self, connection: Connection, identity: str, answer: InspectionAnswer) -> None:
        connection.execute(
            update(inspections)
            .where(inspections.c.id == identity)
            .values(answer=answer.model_dump(mode="json"))
        )
        self._store.notify(connection, topic(identity))

    def _require_inspector(self, inspector: str) -> None:
        if inspector not in self._inspectors:
            raise Forbidden(
                f"{inspector} is no inspector of this service",
                code="not-an-inspector",
                hint="the operator names them: prixfixe serve --inspector ADDRESS",
            )

    def _require_offered(self) -> None:
        if not self.offered:
            raise NotFound(
                "this service looks at no files", code="no-inspectors", hint="use the command prixfixe run"
            )


_LOST: Final = Reason(
    code="inspection-lost",
    message="the file could not be looked at: the machine that did so fell silent twice",
    hint="nothing was charged; try again, or use the command prixfixe run",
    fault="platform",
)


@dataclass(frozen=True, slots=True)
class _Served:
    """When each owner's newest turn began, of the last hour; who of them has a managed account; and when the
    newest of all wallets (True) and of all accounts (False) began."""

    at: Mapping[str, int]
    managed: frozenset[str]
    newest: Mapping[bool, int]

    def turn(self, row: RowMapping) -> tuple[int, bool, int, int, str]:
        """The least is next. Accounts and wallets take turns, accounts first; among each, one row began to
        wait when it came, or when its owner's last one was taken, whichever was later. So who has one waits
        for no more than one of each other who came before, and for nobody who comes after."""
        owner: str = row["owner"]
        wallet = owner not in self.managed
        began = max(row["created_at"], self.at.get(owner, 0))
        return self.newest[wallet], wallet, began, row["created_at"], row["id"]


def _served(connection: Connection) -> _Served:
    query = (
        select(inspections.c.owner, func.max(inspections.c.taken_at), func.max(accounts.c.number))
        .outerjoin(accounts, accounts.c.address == inspections.c.owner)
        .group_by(inspections.c.owner)
    )
    rows = connection.execute(query).all()
    newest = {True: 0, False: 0}
    for _, at, number in rows:
        newest[number is None] = max(newest[number is None], at or 0)
    return _Served(
        {owner: at for owner, at, _ in rows if at is not None},
        frozenset(owner for owner, _, number in rows if number is not None),
        newest,
    )


def _open(now: int) -> ColumnElement[bool]:
    return and_(inspections.c.answer.is_(None), inspections.c.expires_at > now)


def _waiting(connection: Connection, now: int) -> Sequence[RowMapping]:
    """Those that an inspector may take. There are never more than all may have open."""
    silent = (
        and_(inspections.c.step == step, inspections.c.taken_at <= now - leased(step))
        for step in STEP_SECONDS
    )
    query = select(inspections.c.id, inspections.c.owner, inspections.c.created_at).where(
        _open(now), or_(inspections.c.taken_at.is_(None), *silent)
    )
    return connection.execute(query).mappings().all()


def _require_room(connection: Connection, owner: str, now: int) -> None:
    """TooManyRequests when the owner has as many open as one may, or all of its kind together have."""
    managed = select(accounts.c.number).where(accounts.c.address == inspections.c.owner).exists()
    own = select(accounts.c.number).where(accounts.c.address == owner)
    kind = managed if connection.execute(own).first() is not None else ~managed
    query = select(func.count()).where(_open(now))
    if connection.execute(query.where(inspections.c.owner == owner)).scalar_one() >= MOST_OPEN:
        raise TooManyRequests(
            f"{MOST_OPEN} files of this account are being looked at", hint="wait until one is done"
        )
    if connection.execute(query.where(kind)).scalar_one() >= MOST_WAITING:
        raise TooManyRequests(
            f"{MOST_WAITING} files of others wait to be looked at",
            hint="try again in a minute",
            retry_after=15,
        )


def _definition(connection: Connection, bundle: str) -> BundleDefinition:
    """The newest version that is sold, of a bundle whose files are tables."""
    query = (
        select(bundles)
        .where(bundles.c.id == bundle, bundles.c.retired_at.is_(None))
        .order_by(bundles.c.published_at.desc(), bundles.c.version.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"there is no bundle {bundle!r} for sale", code="bundle-unknown")
    definition = stored_definition(row["definition_digest"], row["definition"])
    if definition.inputs.preflight == "none":
        raise InvalidInput(
            f"files for {bundle} are taken as they are, and each counts as one",
            hint="ask for a quote",
        )
    return definition


def _row(connection: Connection, identity: str) -> Any:
    query = select(inspections).where(inspections.c.id == identity)
    return connection.execute(query).mappings().first()


def _view(row: Mapping[str, Any]) -> Inspection:
    answer = row["answer"] or {}
    state: InspectionState = "waiting" if row["taken_at"] is None else "running"
    if answer:
        state = "failed" if answer.get("reason") else "done"
    return Inspection.model_validate(
        {
            **{name: row[name] for name in ("id", "bundle", "version", "step", "file")},
            **{name: answer.get(name) for name in ("seen", "made", "reason")},
            **{name: row[name] for name in ("created_at", "expires_at")},
            "state": state,
        }
    )


def _unknown(identity: str) -> NotFound:
    return NotFound(f"there is no inspection {identity[:40]!r}", code="inspection-unknown")
