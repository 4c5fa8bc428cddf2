"""The worker's own log in its data folder, and what its tasks print while they run."""

from __future__ import annotations

import logging
import logging.handlers
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from prixfixe.cli.output import clean
from prixfixe.errors import NotFound
from prixfixe.logs import LogFormat, formatter

if TYPE_CHECKING:  # the commands that only read a log need none of the protocol
    from prixfixe.protocol.wire import Assignment

LOG_FILE: Final = "worker.log"
_BYTES: Final = 5 << 20
_OLDER: Final = 3
_LOOK_SECONDS: Final = 0.25


def log_to_folder(data: Path, form: LogFormat = "text") -> None:
    """Write the worker's log into its folder too, bounded."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        data / LOG_FILE, maxBytes=_BYTES, backupCount=_OLDER, encoding="utf-8", delay=True
    )
    handler.setFormatter(formatter(form, "%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    handler.setLevel(logging.INFO)
    logging.getLogger("prixfixe.worker").addHandler(handler)


def ids_of(assignment: Assignment) -> dict[str, str]:
    """What the log's lines about an assignment carry; the job's id is the one that customer and market
    use."""
    return {"job": "0x" + assignment.deal.order.hex(), "attempt": assignment.attempt}


def own_lines(data: Path, lines: int, *, follow: bool, about: str = "") -> Iterator[str]:
    """The newest lines that contain `about`, oldest first; then what comes. NotFound when it never ran."""
    place = data / LOG_FILE
    try:
        stream = place.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise NotFound(
            f"no worker has written a log in {data}",
            hint="name its folder with --data",
            fault="provider",
        ) from None
    with stream:
        yield from deque((clean(line.rstrip("\n")) for line in stream if about in line), maxlen=lines)
        if not follow:
            return
        while True:
            for line in stream:
                yield clean(line.rstrip("\n"))
            if _replaced(stream, place):
                yield from own_lines(data, 1 << 20, follow=True)
                return
            time.sleep(_LOOK_SECONDS)


def task_lines(data: Path, attempt: str, *, follow: bool) -> Iterator[str]:
    """What the tasks of a running attempt have printed, one container after the other."""
    from worker.cage import LABEL_ATTEMPT, LABEL_WORKER
    from worker.daemon import installation
    from worker.engine import Engine

    with closing(Engine()) as engine:
        for container, labels in engine.labelled(LABEL_WORKER, installation(data)).items():
            if not labels.get(LABEL_ATTEMPT, "").startswith(attempt):
                continue
            left = b""
            with closing(engine.follow(container, to_end=follow)) as stream:
                for _, piece in stream:
                    *whole, left = (left + piece).split(b"\n")
                    yield from (clean(line.decode("utf-8", "replace")) for line in whole)
            if left:
                yield clean(left.decode("utf-8", "replace"))


def _replaced(stream: IO[str], place: Path) -> bool:
    """Whether the log was rotated away under a reader."""
    try:
        return place.stat().st_ino != os.fstat(stream.fileno()).st_ino
    except FileNotFoundError:
        return False
