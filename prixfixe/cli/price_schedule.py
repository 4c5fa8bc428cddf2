"""What the pricing desk will do at a time: kept on its own machine, beside its keys."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prixfixe.cli.options import open_client, open_market, open_signer
from prixfixe.cli.price_plan import PricePlan, carry_out
from prixfixe.client.contexts import Context
from prixfixe.errors import InvalidInput, NotFound
from prixfixe.keys import home


@dataclass(frozen=True, slots=True)
class Entry:
    """Something to do at `at` (unix seconds, this machine's clock): publish a plan, or retire a version.
    done: when it was; None while it waits."""

    id: str
    at: int
    plan: dict[str, Any] | None
    retire: dict[str, str] | None
    done: int | None = None

    @property
    def words(self) -> str:
        if self.plan is not None:
            definition = self.plan["definition"]
            return f"publish {definition['id']} {definition['version']}"
        assert self.retire is not None
        return f"retire {self.retire['bundle']} {self.retire['version']}"

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "at": self.at, "plan": self.plan, "retire": self.retire, "done": self.done}


class Schedule:
    """The entries of one market, a file each."""

    def __init__(self, context: Context) -> None:
        self._folder = home() / "pricing" / f"{context.chain_id}-{context.contract}"

    def entries(self) -> list[Entry]:
        """All of them, by time."""
        found = [Entry(**json.loads(path.read_text(encoding="utf-8"))) for path in self._files()]
        return sorted(found, key=lambda entry: (entry.at, entry.id))

    def put(self, entry: Entry) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._folder / f"{entry.id}.part"
        part.write_text(json.dumps(entry.to_json()), encoding="utf-8")
        part.replace(self._folder / f"{entry.id}.json")

    def remove(self, identity: str) -> None:
        """NotFound when there is none that waits."""
        for entry in self.entries():
            if entry.id == identity and entry.done is None:
                (self._folder / f"{identity}.json").unlink()
                return
        raise NotFound(f"nothing with the id {identity} waits", hint="list them: prixfixe pricing schedule")

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))


def execute(entry: Entry, context: Context, rpc: str | None) -> None:
    """Do it now, without asking."""
    from prixfixe.cli import publishing

    if entry.plan is not None:
        carry_out(PricePlan.of_json(entry.plan, f"schedule entry {entry.id}"), context, rpc, ask=False)
        return
    assert entry.retire is not None
    market, signer = open_market(context, rpc), open_signer(context)
    with open_client(context) as client:
        listing = publishing.listed(client, entry.retire["bundle"], entry.retire["version"])
        publishing.retire(client, market, signer, listing, note=entry.retire["note"])


def parse_moment(text: str, now: float) -> int:
    """Unix seconds of "2026-12-01T08:00" (UTC unless it names a zone) or "+2h"."""
    from prixfixe.devnet.duration import parse_duration

    if text.startswith("+"):
        return int(now) + parse_duration(text[1:])
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is no time", hint="write 2026-12-01T08:00 (UTC) or +2h") from error
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
