"""Deals as they were parsed: of each many ask, and checking its terms takes longer than finding its row."""

from __future__ import annotations

import threading
from typing import Final

from sqlalchemy.engine import RowMapping

from prixfixe.protocol.deals import Deal

_MOST: Final = 10_000
_lock = threading.Lock()
_known: dict[str, Deal] = {}


def terms_of(row: RowMapping) -> Deal:
    """The deal of a row of `deals`: `id` is the hash of what `deal` holds, so what was parsed once stays
    right. The newest are kept."""
    found = _known.get(row["id"])
    if found is None:
        found = Deal.from_json(row["deal"])
        with _lock:
            _known[row["id"]] = found
            if len(_known) > _MOST:
                del _known[next(iter(_known))]
    return found
