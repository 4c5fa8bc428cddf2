"""What `scripts/test` can run: its areas, where their tests lie and what they need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.project import ROOT, ScriptError

TESTS = ROOT / "tests"
# The pytest processes that run side by side: what computes, and three times what mostly waits for processes
# and containers. As long as one another, by measurement: two cores have something to do until the end.
LANES = ("pytest", "pytest of markets", "pytest of workers", "pytest of pages")


@dataclass(frozen=True)
class Area:
    """A name to type. `paths` go to pytest; the areas of another runner have none.

    asked: only runs when it is named. lane: which of LANES it runs in.
    """

    name: str
    about: str
    paths: tuple[Path, ...] = ()
    engine: bool = False
    runner: str = "pytest"
    asked: bool = False
    lane: str = LANES[0]


def _folder(name: str, about: str, *, engine: bool = False, lane: int = 0) -> Area:
    return Area(name, about, (TESTS / name,), engine, lane=LANES[lane])


KNOWN = (
    Area("check", "format, lint, strict types, arrows, artefacts, words (scripts/check)", runner="check"),
    Area("house", "import arrows, extras, what is exported", tuple(sorted(TESTS.glob("test_*.py")))),
    _folder("protocol", "money, orders, typed data, manifests, receipts"),
    _folder("ledger", "the ledger in Python and the compiled contract, side by side"),
    Area("contract", "the contract: forge unit, fuzz and invariant tests", runner="forge"),
    _folder("chain", "chain client and deployment, on anvil"),
    _folder("tables", "tables with declared types, preflight", lane=2),
    _folder("client", "the HTTP client", lane=2),
    _folder("cli", "the command prixfixe", engine=True, lane=2),
    _folder("service", "store and API"),
    _folder("scheduler", "matcher, relayer, indexer, reaper"),
    _folder("worker", "the provider's daemon", engine=True, lane=2),
    _folder("cage", "what a job cannot do, in real containers", engine=True, lane=2),
    Area(
        "bundles",
        "the bundles' own tests",
        (TESTS / "bundles", *sorted(ROOT.glob("bundles/*/tests"))),
        engine=True,
        lane=LANES[2],
    ),
    _folder("devnet", "a whole market on this machine", engine=True, lane=1),
    _folder("system", "the main job through every real part and every way to fail", engine=True, lane=1),
    _folder("faults", "everything dies in turn; the full size when it is named", lane=3),
    _folder("compose", "docker-compose.yml brought up, the main job through it", engine=True, lane=3),
    _folder("browser", "every page in Chromium: clean, accessible, nothing from elsewhere", lane=3),
    _folder("office", "the same tables through LibreOffice, installed when this area is named"),
    _folder("scripts", "set-up, lock files, these scripts", lane=2),
    _folder("docs", "documentation that says what is so"),
    Area("ape", "deploy script and console under ape, in its own environment", runner="ape"),
    # Its environment takes as long to set up as many tests take to run, and sources change seldom.
    Area("slither", "slither over the contract, only when asked for by name", runner="slither", asked=True),
    Area("halmos", "proofs by halmos, only when asked for by name", runner="halmos", asked=True),
)


def choose(words: list[str]) -> list[Area]:
    """The areas that words name; for no word all but those that must be asked for. A path under tests/ is an
    area of its own.

    Folders of tests/ that nobody listed above run too: no test may be forgotten. Raises ScriptError for a
    word that is neither.
    """
    named = {area.name: area for area in KNOWN}
    for folder in sorted(TESTS.glob("*")):
        if folder.name not in named and any(folder.rglob("test_*.py")):
            named[folder.name] = Area(folder.name, "", (folder,))
    if not words:
        return [area for area in named.values() if not area.asked]
    chosen = []
    for word in words:
        path = Path(word.partition("::")[0])
        if word in named:
            chosen.append(named[word])
        elif path.exists() and path.suffix in (".py", ""):
            chosen.append(Area(word, "", (Path(word).absolute(),), engine=_in_engine_area(path)))
        else:
            raise ScriptError(f"{word} is neither an area nor a path. Areas: {', '.join(named)}")
    return chosen


def lanes(chosen: Sequence[Area]) -> dict[str, list[Area]]:
    """The pytest processes that run side by side, by name. Always the same areas in the same order, each with
    its own chain, so that a run on two cores is like the run before."""
    parts = {name: [area for area in chosen if area.lane == name] for name in LANES}
    return {name: part for name, part in parts.items() if part}


def _in_engine_area(path: Path) -> bool:
    """Whether a path lies in an area that runs containers."""
    here = path.resolve()
    return any(here.is_relative_to(place) for area in KNOWN if area.engine for place in area.paths)


def needs_engine(area: Area) -> bool:
    """Whether the area runs containers: said above, or by a test's mark `engine`."""
    return area.engine or any(re.search(r"\bmark\.engine\b", file.read_text()) for file in _files(area))


def _files(area: Area) -> list[Path]:
    found: list[Path] = []
    for path in area.paths:
        path = Path(str(path).partition("::")[0])
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.exists() else []
    return found


def has_tests(area: Area) -> bool:
    """Whether there is anything to run yet."""
    return any(file.name.startswith("test_") for file in _files(area))
