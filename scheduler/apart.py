"""What fails by itself, and holds up nothing else."""

from __future__ import annotations

import logging
from types import TracebackType

from prixfixe.errors import Unavailable

log = logging.getLogger(__name__)


class Apart:
    """A run of a duty over things that have nothing to do with each other, each in a `with`: when one fails,
    the others are done, and `tell` raises the first failure at the end, so that the duty is seen to fail and
    tries again. What is out of reach is out of reach for all: Unavailable is raised at once."""

    def __init__(self) -> None:
        self._first: Exception | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or isinstance(error, Unavailable):
            return False
        if self._first is None:
            self._first = error
        else:
            log.error("one more that failed in this run: %s: %s", type(error).__name__, error)
        return True

    def tell(self) -> None:
        if self._first is not None:
            raise self._first
