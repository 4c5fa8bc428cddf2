"""A worker that is `prixfixe worker start` in all but one thing: what its tasks wrote is replaced by a lie
before it is hashed. Takes the arguments of `prixfixe`."""

from __future__ import annotations

from pathlib import Path

from prixfixe.cli import main
from prixfixe.protocol.outputs import OutputManifest
from worker.hands import Hands
from worker.outputs import OutputLimits

LIE = "ok 7 12\n"
_honest = Hands.collect


def _lie(hands: Hands, folder: Path, limits: OutputLimits) -> OutputManifest:
    (folder / "result.txt").write_text(LIE)
    return _honest(hands, folder, limits)


if __name__ == "__main__":  # only here: whoever imports this for the lie must not become a liar
    Hands.collect = _lie  # type: ignore[method-assign]
    main()
