"""Deals as they were parsed: of each many ask, and checking its terms takes longer than finding its row."""

from __future__ import annotations

import threading
from typing import Any, Final

from sqlalchemy.engine import RowMapping

from prixfixe.protocol.deals import Deal

_MOST: Final = 512
_lock = threading.Lock()
_known: dict[str, Deal] = {}


def terms_of(row: RowMapping) -> Deal:
    """The deal of a row of `deals`."""
    return parsed(row["id"], row["deal"])


def parsed(deal: str, terms: dict[str, Any]) -> Deal:
    """A deal's terms by its id, which is the hash of what they hold, so what was parsed once stays right. The
    newest are kept."""
    found = _known.get(deal)
    if found is None:
        found = Deal.from_json(terms)
        with _lock:
            _known[deal] = found
            if len(_known) > _MOST:
                del _known[next(iter(_known))]
    return found
