"""Where a managed account's API key lies. Like a key spec (`prixfixe.keys`), a short text that names the key
and never is one:

    file:PATH               a file that only this user may read; its first line is the key
    command:PROGRAM ARGS    a program, such as a password manager's, that prints the key
    env:NAME                an environment variable
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Final

from prixfixe.errors import ConfigurationError, Unavailable
from prixfixe.keys import command_words

VARIABLE: Final = "PRIXFIXE_API_KEY"
FROM_ENVIRONMENT: Final = f"env:{VARIABLE}"
_SPEC = re.compile(r"(?:file|command|env):.*\S.*")
# What a header can carry. The service knows its keys; here only nonsense is told from a key.
_KEY = re.compile(r"pfx_[A-Za-z0-9_-]{1,200}", re.ASCII)
_TIMEOUT_SECONDS: Final = 120  # a person may have to unlock something
_HINT: Final = "file:PATH, command:PROGRAM or env:NAME says where the key lies"


def require_spec(text: object) -> str:
    """The spec; ConfigurationError for anything else, which is not repeated: it may be a key, or have one
    where the name belongs."""
    if type(text) is not str or not _SPEC.fullmatch(text):
        raise ConfigurationError("api_key does not say where the key lies", code="bad-key-spec", hint=_HINT)
    if "pfx_" in text:
        raise ConfigurationError(
            "api_key has what looks like a key where the name of its place belongs",
            code="bad-key-spec",
            hint=_HINT,
        )
    return text


def open_api_key(spec: str) -> str:
    """The key. ConfigurationError when there is none; no error repeats what was found."""
    kind, _, rest = require_spec(spec).partition(":")
    if kind == "env":
        found = os.environ.get(rest, "")
    elif kind == "file":
        found = _read(Path(rest).expanduser())
    else:
        found = _ask(command_words(rest))
    key = found.strip().split("\n", 1)[0].strip()
    if not _KEY.fullmatch(key):
        raise ConfigurationError(
            f"{spec} holds no API key",
            code="bad-api-key",
            hint="a key begins with pfx_; an owner or member of the account makes one on its page",
        )
    return key


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            found = stream.read(4096)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(
            f"the API key's file {path} cannot be read: {why}", code="no-api-key", hint=_HINT
        ) from None
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
        raise ConfigurationError(
            f"others may read {path}, and who reads an API key can spend with it",
            code="open-api-key",
            hint=f"make it yours alone: chmod 600 {path}",
        )
    return found


def _ask(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} did not give the API key in time") from None
    except OSError as error:
        raise ConfigurationError(
            f"{command[0]}, which is to give the API key, does not run: {error.strerror}", code="no-api-key"
        ) from None
    # What the program printed is not repeated: it may hold the key.
    if done.returncode != 0:
        raise ConfigurationError(
            f"{command[0]} gave no API key (exit {done.returncode})",
            code="no-api-key",
            hint="run it by hand to see why",
        )
    return done.stdout.decode("utf-8", "replace")
