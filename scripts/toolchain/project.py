"""Where the checkout keeps things, and how scripts run programs in it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
LOGS = TOOLS / "logs"
VENV = ROOT / ".venv"
APE_VENV = ROOT / ".venv-ape"
ANALYSIS_VENV = ROOT / ".venv-analysis"
CELERY_VENV = ROOT / ".venv-celery"
NODE_MODULES = ROOT / "node_modules"
REQUIREMENTS = ROOT / "requirements"
ARTEFACTS = ROOT / "prixfixe" / "chain" / "artefacts"


class ScriptError(Exception):
    """A step cannot go on. The message says what is wrong; `lines` are what the reader should type."""

    def __init__(self, message: str, lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.lines = tuple(lines)


def say(text: str) -> None:
    """Tell the reader something. Always standard error: standard output belongs to a script's result."""
    print(text, file=sys.stderr, flush=True)


def fingerprint(*parts: Path | str) -> str:
    """A short hash over texts and the content of files: what a finished step is remembered by."""
    total = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part.encode()
        total.update(len(content).to_bytes(8, "big") + content)
    return total.hexdigest()[:32]


def write_last(path: Path, text: str) -> None:
    """Write a file whole or not at all, so that an interrupted step never looks finished."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text)
    part.replace(path)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the programs that scripts start: the checkout's own tools come first on PATH."""
    env = dict(os.environ)
    env["PATH"] = os.pathsep.join([str(VENV / "bin"), str(TOOLS / "bin"), env.get("PATH", os.defpath)])
    env["VIRTUAL_ENV"] = str(VENV)
    env.pop("PYTHONHOME", None)
    # Without compiled modules on disk every start of `prixfixe` compiles its imports anew, for seconds.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env.update(extra or {})
    return env


def run_logged(name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
    """Run one command of a set-up step with its output in a log; its last lines are shown only on failure.

    Raises ScriptError when the command cannot be found or ends with another status than 0.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}.log"
    words = [str(word) for word in command]
    with log.open("ab") as output:
        output.write(f"\n$ {' '.join(words)}\n".encode())
        output.flush()
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=dict(env) if env is not None else dict(os.environ),
                check=False,
            )
        except FileNotFoundError as error:
            raise ScriptError(f"{words[0]} was not found") from error
    if done.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        shown = log.relative_to(ROOT)
        raise ScriptError(f"{words[0]} ended with status {done.returncode}; the end of {shown}:\n{tail}")
