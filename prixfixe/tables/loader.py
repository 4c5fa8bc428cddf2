"""The process that loads a large sheet: `python -m prixfixe.tables.loader`, an order on stdin, lines of JSON
on stdout.

Once the sheet is loaded the process forks, so that each half of the rows becomes texts on a core of its own;
the second half is then put behind the first.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from shutil import copyfileobj
from typing import Any

import python_calamine as calamine

from prixfixe.errors import PrixfixeError
from prixfixe.tables.progress import unheard
from prixfixe.tables.sheetrows import Layout, SheetRows, workbook_errors

FIRST_SHARE = 0.54
"""Share of the rows in the first half: the second walks over them too, an eighth of the work of texts."""

_PIECE_BYTES = 1 << 20


def main() -> None:
    """Obey the order and end without giving the memory back piece by piece, which takes its time."""
    gc.disable()  # it would walk over rows that live for a moment, and nothing here refers to itself
    answer = _told(lambda: _load(json.load(sys.stdin)))
    _say(answer)
    os._exit(0)


def _say(what: Mapping[str, Any]) -> None:
    try:
        print(json.dumps(what), flush=True)
    except BrokenPipeError:  # whoever asked is gone
        os._exit(1)


def _told(work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What comes of the work, errors included. What is no error of the file or machine is left to Python."""
    try:
        return work()
    except PrixfixeError as error:
        return {"refused": error.to_problem()}
    except OSError as error:
        return {"disk": [error.errno, error.strerror]}
    except MemoryError:
        return {"memory": True}


def _load(order: Mapping[str, Any]) -> Mapping[str, Any]:
    path, target = Path(order["path"]), Path(order["target"])
    wanted = order["wanted"]
    layout = Layout(order["header_row"], order["header_rows"], None if wanted is None else tuple(wanted))
    with workbook_errors(path):
        book = calamine.CalamineWorkbook.from_path(str(path))
        rows = SheetRows(path, book.get_sheet_by_name(order["sheet"]), layout)
    _say({"share": 0.0})
    half = int(rows.left * FIRST_SHARE)
    rest = target.with_name(target.name + ".rest")
    with _Fork(lambda: _write_rest(rows, half, rest)) as second:
        with target.open("w", encoding="utf-8", newline="") as file:
            file.write(rows.header())
            empty = rows.write(file, _Percents(), half)
        found = second.result()
    if "empty" not in found:
        return found
    with target.open("ab") as whole, rest.open("rb") as part:
        copyfileobj(part, whole, _PIECE_BYTES)
    rest.unlink()
    return {"written": [rows.names, rows.indices, empty + found["empty"]]}


def _write_rest(rows: SheetRows, half: int, target: Path) -> Mapping[str, Any]:
    rows.skip(half)
    with target.open("w", encoding="utf-8", newline="") as file:
        return {"empty": rows.write(file, unheard)}


class _Percents:
    """Says each new percent of all rows, of which this process writes the first half."""

    def __init__(self) -> None:
        self._said = 0.0

    def __call__(self, share: float) -> None:
        if share >= self._said + 0.01:
            self._said = share
            _say({"share": share / FIRST_SHARE})


class _Fork:
    """Work in a fork of this process, which has one thread only, and shares what is loaded. It is ended when
    the block ends."""

    def __init__(self, work: Callable[[], Mapping[str, Any]]) -> None:
        self._ended, self._code = False, 0
        read, write = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(write)
            self._answer = os.fdopen(read, "rb")
            return
        os.close(read)
        code = 1
        try:
            # Who waits for the first process must see the end of its output when it ends, whatever runs here.
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            with os.fdopen(write, "wb") as answer:
                answer.write(json.dumps(_told(work)).encode())
            code = 0
        finally:
            os._exit(code)

    def __enter__(self) -> _Fork:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()
        if not self._ended:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._wait()

    def result(self) -> Mapping[str, Any]:
        """What the work gave."""
        data = self._answer.read()
        if data:
            found: Mapping[str, Any] = json.loads(data)
            return found
        code = self._wait()
        if code == -signal.SIGABRT:  # so ends a process of Rust's that gets no memory
            return {"memory": True}
        if code < 0:
            return {"killed": -code}
        raise RuntimeError("the second half of the sheet was not written")

    def _wait(self) -> int:
        if not self._ended:
            # Nobody is told of children where their signal is ignored.
            with suppress(ChildProcessError):
                self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
            self._ended = True
        return self._code


if __name__ == "__main__":
    main()
