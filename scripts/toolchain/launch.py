"""Running a part of the scripts inside the project's environment, set up first if need be."""

from __future__ import annotations

import sys

from toolchain import setup, signals
from toolchain.project import ROOT, VENV, ScriptError, environment, say


def in_environment(module: str) -> int:
    """Set up what is missing (no engine), then run `module` with our arguments under .venv's Python."""
    try:
        with signals.as_exceptions():
            if "--help" not in sys.argv and "-h" not in sys.argv:
                setup.tools()
            python = VENV / "bin" / "python"
            interpreter = python if python.exists() else sys.executable
            env = environment({"PYTHONPATH": str(ROOT / "scripts")})
            return signals.run([interpreter, "-m", module, *sys.argv[1:]], env)
    except ScriptError as error:
        return setup.fail(error)
    except KeyboardInterrupt:
        say("\ninterrupted")
        return 130
