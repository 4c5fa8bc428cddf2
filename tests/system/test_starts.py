"""The ten-minute starts in docs/, as a reader types them: every command and every program of them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import docker
import pytest

from tests.cage.conftest import engine, image
from tests.support.devnet import ROOT, Devnet, rested
from tests.support.pages import FENCE, commands, type_page

__all__ = ["engine", "image"]

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

PAGES = sorted(path.stem for path in (ROOT / "docs").glob("start-*.md"))
# What the fixtures have done, with the same command, and will do.
DONE = ("scripts/setup --keep-engine", ".venv/bin/prixfixe dev --detach", ".venv/bin/prixfixe dev stop")


def test_there_is_a_start_for_each_kind_of_user() -> None:
    assert PAGES == ["start-customer", "start-developer", "start-market", "start-pricing", "start-provider"]


@pytest.fixture
def folder(shared_devnet: Devnet, tmp_path: Path) -> Path:
    """Like a checkout in which everything is set up and the market runs."""
    for name in (".venv", "docs", "bundles"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".prixfixe").mkdir()
    (tmp_path / ".prixfixe" / "dev").symlink_to(shared_devnet.folder.root)
    password = tmp_path / "password"
    password.write_text("of the reader's own keys\n")
    return tmp_path


@pytest.fixture
def tiny(image: str) -> str:
    """A small image in the place of the base image, which takes seconds to save."""
    with contextlib.closing(docker.from_env()) as local:
        return str(local.images.get(image).tags[0])


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_start_works(shared_devnet: Devnet, folder: Path, tiny: str, page: str) -> None:
    rested(shared_devnet)
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    environment = {**shared_devnet.environment, "PRIXFIXE_PASSWORD_FILE": str(folder / "password")}
    environment["COLUMNS"] = "100"
    changes = {"prixfixe-base:bookworm": tiny, **dict.fromkeys(DONE, ":")}
    done = type_page(text, folder, environment, changes)
    assert (done.code, done.missing) == (0, ()), done.output
    assert commands(text) - len(DONE) >= 5
    shared_devnet.heal()
    LOOKED_AT[page](shared_devnet, folder)


def _customer(_: Devnet, folder: Path) -> None:
    assert (folder / "sales.xlsx").read_bytes()[:2] == b"PK"


def _developer(_: Devnet, folder: Path) -> None:
    assert [(folder / "sevens" / str(at) / "n").read_text() for at in range(3)] == ["0\n", "7\n", "14\n"]


def _provider(devnet: Devnet, folder: Path) -> None:
    assert (folder / "region.xlsx").exists()
    total = json.loads(devnet.types("worker", "earnings", "--json", cwd=folder).stdout)["total"]
    assert (total["lots"], total["tasks"], int(total["earned"]) > 0) == (1, 1, True)


def _pricing(_: Devnet, folder: Path) -> None:
    assert (folder / "plan.json").exists()


def _market(_: Devnet, folder: Path) -> None:
    assert (folder / "doubled" / "doubled.txt").read_text() == "77"


LOOKED_AT = {
    "start-customer": _customer,
    "start-developer": _developer,
    "start-provider": _provider,
    "start-pricing": _pricing,
    "start-market": _market,
}


def test_the_first_result_takes_three_commands() -> None:
    """Counted where it is promised: the first block of the customer's start ends with the result."""
    text = (ROOT / "docs" / "start-customer.md").read_text(encoding="utf-8")
    first = next(FENCE.finditer(text))
    lines = first[2].splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith(".venv/bin/prixfixe run pivot ")
    assert "three commands" in text
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert first[2] in readme
