"""`scripts/demo`: everything ready, an engine running, then the demo itself; stops what it started."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from toolchain import setup, signals
from toolchain.project import VENV, ScriptError, environment, say


def main() -> int:
    began = time.monotonic()
    try:
        with signals.as_exceptions():
            if {"-h", "--help"} & set(sys.argv[1:]):
                # Teaching needs no engine.
                setup.tools()
                return _demo()
            say("setting up (scripts/setup --plan shows what this does)")
            with setup.ready(with_engine=True, verbose=True):
                say(f"  all ready after {time.monotonic() - began:.1f} s")
                return _demo()
    except ScriptError as error:
        return setup.fail(error)
    except KeyboardInterrupt:
        say("\ninterrupted; everything that was started is stopped")
        return 130


def _demo() -> int:
    command: list[str | Path] = [VENV / "bin" / "python", "-m", "prixfixe.devnet.demo", *sys.argv[1:]]
    return signals.run(command, environment())
