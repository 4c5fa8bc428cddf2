"""Being told to stop is an exception, so that `finally` and `with` put everything back."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from toolchain.project import ROOT

GRACE_SECONDS = 30.0


class Stopped(SystemExit):
    """SIGTERM or SIGHUP came; the status is what a shell gives for the signal."""


@contextlib.contextmanager
def as_exceptions() -> Iterator[None]:
    """While inside, SIGTERM and SIGHUP raise Stopped, as Ctrl-C raises KeyboardInterrupt."""

    def stop(number: int, _: FrameType | None) -> None:
        # Once is enough: a second signal must not interrupt the tidying up.
        for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(128 + number)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup asked for it to be ignored
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, stop)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def run(command: Sequence[str | Path], env: Mapping[str, str], *, cwd: Path = ROOT) -> int:
    """Run a program in the foreground and return its status; when this script is stopped, so is the program.

    Ctrl-C reaches the program through the terminal; it gets time to tidy up before it is killed.
    """
    process = subprocess.Popen([str(word) for word in command], env=dict(env), cwd=cwd)
    try:
        return process.wait()
    except KeyboardInterrupt:
        if not sys.stdin.isatty():
            process.send_signal(signal.SIGINT)  # no terminal told it
        _wait(process)
        raise
    except BaseException:
        process.terminate()
        _wait(process)
        raise


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(GRACE_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()
