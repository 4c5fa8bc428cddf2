"""What a test needs of this machine, and what becomes of the test where it is not there."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(missing: str) -> NoReturn:
    """Skip the test, and say what is missing; fail it where set-up was to install all that tests need."""
    if "PRIXFIXE_TEST_WHOLE" in os.environ:
        pytest.fail(missing)
    pytest.skip(missing)
