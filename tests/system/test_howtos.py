"""The pages of docs/howto, as a reader types them, and what they say that one sees."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import docker
import pytest

from tests.cage.conftest import engine, image
from tests.support.devnet import ROOT, Devnet, rested
from tests.support.pages import Typed, commands, type_page
from tests.support.ports import lasting_ports
from tests.support.postgres import PostgresServer
from tests.support.s3 import KEY, S3Server

__all__ = ["engine", "image"]

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

FOLDER = ROOT / "docs" / "howto"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "README")
# Ends every order that its customer has signed, so it is typed after the others.
ALONE = "leave"
AT_ONCE = 3


def test_every_page_is_listed() -> None:
    listed = re.findall(r"\]\(([\w-]+)\.md\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == PAGES


@pytest.fixture(scope="module")
def typed(
    shared_devnet: Devnet,
    image: str,
    postgres_server: PostgresServer,
    s3_server: S3Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, Future[Typed]]]:
    """What came of typing each page; they are typed some at a time, as they mostly wait."""
    rested(shared_devnet)
    with closing(docker.from_env()) as local:
        tiny = str(local.images.get(image).tags[0])
    hook, first, second = lasting_ports(3)
    changes = {
        "prixfixe-base:bookworm": tiny,  # which takes seconds to save
        "http://127.0.0.1:8545": shared_devnet.state.rpc,
        "9321": str(hook),
        "8601": str(first),
        "8602": str(second),
        "postgresql+psycopg://prixfixe@db.internal/prixfixe": postgres_server.empty_database("howto"),
        "s3://my-bucket/market": s3_server.address(),
        "my-key": KEY,
        "my-secret": KEY,
        "https://s3.internal": s3_server.url,
    }

    def typing(page: str) -> Typed:
        folder = tmp_path_factory.mktemp(page)
        text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
        return type_page(text, folder, _reader(shared_devnet, folder), changes)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = {page: pool.submit(typing, page) for page in PAGES if page != ALONE}
        for each in found.values():
            each.exception()
        found[ALONE] = pool.submit(typing, ALONE)
        yield found
    shared_devnet.heal()


def _reader(devnet: Devnet, folder: Path) -> dict[str, str]:
    """What the environment of a reader says, whose folder is like a checkout with a running market, and whose
    keys are their own."""
    for name in ("docs", "bundles"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".prixfixe").mkdir()
    (folder / ".prixfixe" / "dev").symlink_to(devnet.folder.root)
    home = folder / "home"
    home.mkdir()
    shutil.copy(devnet.home / "contexts.json", home)
    password = folder / "password"
    password.write_text("of the reader's own keys\n")
    return {
        **devnet.environment,
        "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
        "PRIXFIXE_HOME": str(home),
        "PRIXFIXE_PASSWORD_FILE": str(password),
        "COLUMNS": "100",
    }


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(typed: Mapping[str, Future[Typed]], page: str) -> None:
    done = typed[page].result()
    assert done.code == 0, done.output
    assert done.missing == (), done.output
    assert commands((FOLDER / f"{page}.md").read_text(encoding="utf-8")) >= 3
