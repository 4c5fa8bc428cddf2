"""What a worker must not forget: its attempts, and the one result that it may sign for a deal.

One SQLite file. Every write is on disk before the call returns, since the next step (a container started, a
signature given away) cannot be taken back.

    taken     -> running, finished, dropped   accepted from the market; nothing runs yet
    running   -> finished, dropped            the first container was started
    finished  -> finished, reported, dropped  report and signature are final; outputs lie where `tasks`
                                              says; of several replicas it commits, opens and waits for a
                                              quorum (a refusal is signed anew when its deal is hastened)
    reported  end                             the service has it
    dropped   end                             given up: the market stopped it, or its deal is over

A row of `tasks` is there from the start of the task's container, and has its report once it is over: a
worker that was killed runs again only what had not ended.

A row of `results` is written before its signature exists. A second, different success for the same deal is
never signed, whatever happened in between: that would be two answers to one question.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from prixfixe.errors import Conflict
from prixfixe.protocol.orders import Result
from prixfixe.protocol.replicas import new_salt

AttemptState = Literal["taken", "running", "finished", "reported", "dropped"]

_NEXT: Final[dict[str, tuple[str, ...]]] = {
    "running": ("taken", "running"),
    "finished": ("taken", "running", "finished"),
    "reported": ("finished",),
    "dropped": ("taken", "running", "finished"),
}
_UNFINISHED: Final = "('taken', 'running', 'finished')"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS attempts (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('taken', 'running', 'finished', 'reported', 'dropped')),
    assignment TEXT NOT NULL,           -- wire.Assignment, JSON
    report TEXT,                        -- reports.LotReport, JSON, from 'finished' on
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS tasks (
    attempt TEXT NOT NULL,
    task INTEGER NOT NULL,              -- index in the job
    container TEXT NOT NULL,            -- the engine's id
    disk TEXT,                          -- folder of its disk, while it has one
    report TEXT,                        -- reports.TaskReport, JSON, once it is over
    outputs TEXT,                       -- folder in which its output files lie then
    PRIMARY KEY (attempt, task)
);
CREATE INDEX IF NOT EXISTS attempts_state ON attempts (state);
CREATE TABLE IF NOT EXISTS rounds (     -- of an attempt that is one of several replicas
    attempt TEXT PRIMARY KEY,
    salt TEXT NOT NULL,                 -- of its commitment, 0x-hex
    signatures TEXT                     -- JSON, one a leg: the quorum that pays it, before outputs are given
);
CREATE TABLE IF NOT EXISTS settlements (    -- how results fared on the chain
    attempt TEXT PRIMARY KEY,
    delivered INTEGER,                  -- 1: the service has the outputs
    sent TEXT,                          -- hash of this worker's own transaction, before it is sent
    how TEXT                            -- 'settled', 'refused', 'expired' or 'unknown', once it is over
);
CREATE TABLE IF NOT EXISTS results (
    deal TEXT NOT NULL,                 -- id of the deal
    due INTEGER NOT NULL,               -- of a refusal: its due, part of what is signed; of a success: 0
    root TEXT NOT NULL,
    done INTEGER NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (deal, due)
);
"""


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt as the journal has it; `assignment` and `report` are the JSON texts of their wire
    models."""

    id: str
    state: AttemptState
    assignment: str
    report: str | None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task of an attempt: its container was started. report: JSON of its report, once it is over; then
    `outputs` is where its files lie. disk: None once it was given back."""

    task: int
    container: str
    disk: Path | None
    report: str | None
    outputs: Path | None


class Journal:
    """Safe for many threads. One process a file: `worker.daemon` holds a lock on the folder."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def take(self, attempt: str, assignment: str) -> bool:
        """Remember a new attempt. False when it is known already: the market repeats what it is not sure
        of."""
        now = time.time()
        with self._write() as cursor:
            cursor.execute(
                "INSERT INTO attempts (id, state, assignment, created_at, updated_at)"
                " VALUES (?, 'taken', ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                (attempt, assignment, now, now),
            )
            return cursor.rowcount == 1

    def running(self, attempt: str, task: int, container: str, disk: Path) -> None:
        """A task's container is made and about to start on this disk."""
        with self._write() as cursor:
            self._change(cursor, attempt, "running")
            cursor.execute(
                "INSERT OR REPLACE INTO tasks (attempt, task, container, disk) VALUES (?, ?, ?, ?)",
                (attempt, task, container, str(disk)),
            )

    def ended(self, attempt: str, task: int, report: str, outputs: Path | None) -> None:
        """A task is over; its files, when it has any, lie in this folder."""
        with self._write() as cursor:
            cursor.execute(
                "UPDATE tasks SET report = ?, outputs = ? WHERE attempt = ? AND task = ?",
                (report, None if outputs is None else str(outputs), attempt, task),
            )

    def released(self, attempt: str, task: int) -> None:
        """A task's disk was given back."""
        with self._write() as cursor:
            cursor.execute("UPDATE tasks SET disk = NULL WHERE attempt = ? AND task = ?", (attempt, task))

    def tasks(self, attempt: str) -> dict[int, TaskRow]:
        """The tasks of an attempt that were started, by their index in the job."""
        rows = self._read("SELECT * FROM tasks WHERE attempt = ?", attempt)
        return {row["task"]: _task(row) for row in rows}

    def disks(self) -> set[Path]:
        """The disks of attempts that a restart takes up."""
        query = (
            "SELECT disk FROM tasks JOIN attempts ON attempts.id = tasks.attempt"
            f" WHERE disk IS NOT NULL AND state IN {_UNFINISHED}"
        )
        return {Path(row["disk"]) for row in self._read(query)}

    def finished(self, attempt: str, report: str) -> None:
        """Its report, signature included, is final."""
        self._move(attempt, "finished", report=report)

    def reported(self, attempt: str) -> None:
        """The service has the report."""
        self._move(attempt, "reported")

    def dropped(self, attempt: str) -> None:
        """Given up."""
        self._move(attempt, "dropped")

    def attempt(self, attempt: str) -> AttemptRow | None:
        rows = self._read("SELECT * FROM attempts WHERE id = ?", attempt)
        return _row(rows[0]) if rows else None

    def unfinished(self) -> list[AttemptRow]:
        """Everything that a restart must take up, oldest first."""
        query = f"SELECT * FROM attempts WHERE state IN {_UNFINISHED} ORDER BY created_at, id"
        return [_row(row) for row in self._read(query)]

    def promise(self, result: Result, due: int) -> None:
        """Write down what is about to be signed. Conflict when another success was promised for this deal, or
        this deal succeeded and now a refusal of the same opening is wanted."""
        key = 0 if result.done else due
        root, deal = "0x" + result.root.hex(), "0x" + result.deal.hex()
        with self._write() as cursor:
            cursor.execute(
                "INSERT INTO results (deal, due, root, done, created_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (deal, due) DO NOTHING",
                (deal, key, root, result.done, time.time()),
            )
            known = cursor.execute(
                "SELECT root, done FROM results WHERE deal = ? AND due = ?", (deal, key)
            ).fetchone()
        if (known["root"], known["done"]) != (root, result.done):
            raise Conflict(
                f"a result with root {known['root']} was promised for deal {deal}; {root} is not signed",
                code="result-promised",
                fault="provider",
            )

    def salt(self, attempt: str) -> bytes:
        """The salt of an attempt's commitment: made once, and on disk before anybody sees a hash of it."""
        with self._write() as cursor:
            cursor.execute(
                "INSERT INTO rounds (attempt, salt) VALUES (?, ?) ON CONFLICT (attempt) DO NOTHING",
                (attempt, "0x" + new_salt().hex()),
            )
            known = cursor.execute("SELECT salt FROM rounds WHERE attempt = ?", (attempt,)).fetchone()
        return bytes.fromhex(known["salt"][2:])

    def agreed(self, attempt: str, signatures: Sequence[str]) -> None:
        """Keep the quorum's signatures: with them anyone can settle the deal, in its last seconds."""
        with self._write() as cursor:
            cursor.execute(
                "UPDATE rounds SET signatures = ? WHERE attempt = ?", (json.dumps(list(signatures)), attempt)
            )

    def quorum(self, attempt: str) -> tuple[str, ...] | None:
        """What `agreed` kept."""
        rows = self._read("SELECT signatures FROM rounds WHERE attempt = ?", attempt)
        return tuple(json.loads(rows[0]["signatures"])) if rows and rows[0]["signatures"] else None

    def delivered(self, attempt: str) -> None:
        """The service has every output of this result."""
        with self._write() as cursor:
            cursor.execute(
                "INSERT INTO settlements (attempt, delivered) VALUES (?, 1)"
                " ON CONFLICT (attempt) DO UPDATE SET delivered = 1",
                (attempt,),
            )

    def is_delivered(self, attempt: str) -> bool:
        """What `delivered` kept."""
        rows = self._read("SELECT delivered FROM settlements WHERE attempt = ?", attempt)
        return bool(rows and rows[0]["delivered"])

    def sending(self, attempt: str, transaction: str) -> None:
        """This worker is about to send its own transaction for this result."""
        with self._write() as cursor:
            cursor.execute(
                "INSERT INTO settlements (attempt, sent) VALUES (?, ?)"
                " ON CONFLICT (attempt) DO UPDATE SET sent = coalesce(sent || ' ', '') || excluded.sent",
                (attempt, transaction),
            )

    def sent(self, attempt: str) -> tuple[str, ...]:
        """What `sending` kept, oldest first: one with higher fees does not always win over the one before."""
        rows = self._read("SELECT sent FROM settlements WHERE attempt = ?", attempt)
        return tuple((rows[0]["sent"] or "").split()) if rows else ()

    def settled(self, attempt: str, how: str) -> None:
        """The chain has decided: "settled", "refused", "expired", or "unknown" when it was too long ago."""
        with self._write() as cursor:
            cursor.execute(
                "INSERT INTO settlements (attempt, how) VALUES (?, ?)"
                " ON CONFLICT (attempt) DO UPDATE SET how = excluded.how",
                (attempt, how),
            )

    def how_settled(self, attempt: str) -> str | None:
        """What `settled` kept."""
        rows = self._read("SELECT how FROM settlements WHERE attempt = ?", attempt)
        return rows[0]["how"] if rows else None

    def unsettled(self) -> list[AttemptRow]:
        """Results of which it is not known yet how they fared on the chain."""
        query = (
            "SELECT * FROM attempts WHERE state IN ('finished', 'reported') AND report IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM settlements WHERE attempt = attempts.id AND how IS NOT NULL)"
            " ORDER BY created_at, id"
        )
        return [_row(row) for row in self._read(query)]

    def counts(self) -> dict[str, int]:
        """Attempts by state."""
        return {
            row["state"]: row["n"]
            for row in self._read("SELECT state, count(*) n FROM attempts GROUP BY state")
        }

    def outcomes(self) -> dict[int, int]:
        """Tasks that have ended, by status (`outputs.TaskStatus`)."""
        query = (
            "SELECT json_extract(report, '$.status') status, count(*) n FROM tasks"
            " WHERE report IS NOT NULL GROUP BY 1"
        )
        return {int(row["status"]): row["n"] for row in self._read(query)}

    def forget_before(self, moment: float) -> None:
        """Delete ended attempts that were last touched before `moment` (seconds). Results stay for ever."""
        with self._write() as cursor:
            cursor.execute(
                "DELETE FROM attempts WHERE state IN ('reported', 'dropped') AND updated_at < ?", (moment,)
            )
            for table in ("rounds", "tasks", "settlements"):
                cursor.execute(f"DELETE FROM {table} WHERE attempt NOT IN (SELECT id FROM attempts)")

    def _move(self, attempt: str, state: str, **columns: str) -> None:
        with self._write() as cursor:
            self._change(cursor, attempt, state, **columns)

    @staticmethod
    def _change(cursor: sqlite3.Cursor, attempt: str, state: str, **columns: str) -> None:
        sets = "".join(f", {name} = :{name}" for name in columns)
        allowed = ", ".join(f"'{before}'" for before in _NEXT[state])
        cursor.execute(
            f"UPDATE attempts SET state = :state, updated_at = :now{sets}"
            f" WHERE id = :id AND state IN ({allowed})",
            {"state": state, "now": time.time(), "id": attempt, **columns},
        )
        if cursor.rowcount != 1:
            raise Conflict(
                f"attempt {attempt} cannot become {state} from where it is", code="journal", fault="provider"
            )

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Cursor]:
        with self._lock, closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock, closing(self._connection.cursor()) as cursor:
            return cursor.execute(query, values).fetchall()


def _row(row: sqlite3.Row) -> AttemptRow:
    return AttemptRow(
        id=row["id"],
        state=row["state"],
        assignment=row["assignment"],
        report=row["report"],
    )


def _task(row: sqlite3.Row) -> TaskRow:
    return TaskRow(
        task=row["task"],
        container=row["container"],
        disk=Path(row["disk"]) if row["disk"] else None,
        report=row["report"],
        outputs=Path(row["outputs"]) if row["outputs"] else None,
    )
