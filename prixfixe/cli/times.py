"""When each step of a command was reached, for whoever measures it: a line a step in the file that
PRIXFIXE_TIMES names. Nothing is written without it."""

from __future__ import annotations

import os
import time

VARIABLE = "PRIXFIXE_TIMES"


def reached(step: str) -> None:
    """Note that `step` begins now: seconds of the system's clock, then its name."""
    path = os.environ.get(VARIABLE)
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{time.time():.3f} {step}\n")
