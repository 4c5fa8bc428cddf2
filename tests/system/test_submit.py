"""Any image, typed as a customer types it: flat and by auction, one task and many, and what cannot be run."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from prixfixe.client.verification import read_receipt
from prixfixe.client.wishes import Wish
from prixfixe.protocol.money import Money
from tests.cage.conftest import engine, image
from tests.support.devnet import Devnet
from tests.support.registry import serving_image

__all__ = ["engine", "image"]

SHELL = ("/bin/sh", "-c")
INDEX = """sed 's/.*"index": *\\([0-9]*\\).*/\\1/' /job/task.json"""
SQUARE = f"n=$({INDEX}); printf %s $((n * n)) > /job/outputs/n"
# With the number as $0: the shell names it in "0: divide by zero".
DIVIDE = "echo n is $0; q=$((100 / $0)); echo $q > /job/outputs/n"

Submit = Callable[..., dict[str, object]]


@pytest.fixture(scope="module")
def tiny(image: str) -> str:
    """The tiny image by a name, as a person types it."""
    with contextlib.closing(docker.from_env()) as local:
        return str(local.images.get(image).tags[0])


@pytest.fixture
def submitted(devnet: Devnet, tiny: str, tmp_path: Path) -> Submit:
    """Types `prixfixe submit` for the tiny image; what it says as JSON."""

    def typed(*words: str, expect: int = 0) -> dict[str, object]:
        options = ("--product", "cpu-0.5x0.5/1m", "--out", str(tmp_path / "out"), "--yes", "--json")
        told = json.loads(devnet.types("submit", tiny, *options, *words, expect=expect).stdout)
        assert isinstance(told, dict)
        return told.get("error", told)

    return typed


@pytest.mark.parametrize("way", ["--flat", "--auction"])
def test_many_tasks_of_an_image_are_run_paid_and_proven(
    devnet: Devnet, submitted: Submit, tmp_path: Path, way: str
) -> None:
    before = devnet.account().free
    told = submitted(way, "--tasks", "5", "--lot", "2", "--", *SHELL, SQUARE)
    assert (told["state"], told["tasks"], told["receipt_complete"]) == ("settled", 5, True)
    squares = {path.parent.name: path.read_text() for path in (tmp_path / "out").rglob("n")}
    assert squares == {str(index): str(index**2) for index in range(5)}
    charged = Money(int(str(told["charged"])))
    assert Money(0) < charged <= Money(int(str(told["quoted"])))
    assert before - devnet.account().free == charged
    devnet.types("verify", str(told["receipt"]), str(tmp_path / "out" / "3" / "n"))
    left = devnet.types("jobs", "again", str(told["job"]), "--json", expect=6)
    assert json.loads(left.stdout)["error"]["code"] == "nothing-left"


def test_a_row_of_a_matrix_is_a_task_and_one_that_fails_is_not_paid(
    devnet: Devnet, image: str, tmp_path: Path
) -> None:
    archive = tmp_path / "image.tar"
    subprocess.run(["docker", "save", "-o", str(archive), image], check=True)
    wish = Wish(archive, (*SHELL, DIVIDE, "{n}"), product="cpu-0.5x0.5/1m", lot=2)
    before = devnet.account().free
    with devnet.client() as client:
        found = client.map(wish, [{"n": 4}, {"n": 0}, {"n": 5}], tmp_path / "out")
    assert [(task.index, task.succeeded) for task in found] == [(0, True), (1, False), (2, True)]
    assert [(found[at].folder / "n").read_text() for at in (0, 2)] == ["25\n", "20\n"]
    assert "divide by zero" in str(found[1].reason)
    receipt = read_receipt(tmp_path / "out" / "receipt.json")
    assert receipt.quoted.units * 2 == receipt.charged.units * 3, "two of three equal tasks are paid"
    assert before - devnet.account().free == receipt.charged


def test_a_matrix_with_a_hole_is_refused_before_anything_is_asked(submitted: Submit, tmp_path: Path) -> None:
    matrix = tmp_path / "m.csv"
    matrix.write_text("seed,name\n1,a\n,b\n")
    told = submitted("--matrix", str(matrix), "--", "echo", "{seed}", expect=3)
    assert (told["code"], told["row"], told["column"]) == ("bad-matrix", 2, "seed")
    matrix.write_text("seed\n1\n")
    told = submitted("--matrix", str(matrix), "--", "echo", "{sede}", expect=3)
    assert "{sede}" in str(told["detail"])


def test_a_quote_costs_nothing_and_says_why_others_cannot(devnet: Devnet, tiny: str) -> None:
    words = ("quote", tiny, "--auction", "--price", "0.000001", "--explain", "--", "true")
    told = devnet.types(*words).stdout
    assert "above the price" in told
    assert "nearest" in told


def test_what_is_above_the_budget_is_not_ordered(devnet: Devnet, submitted: Submit) -> None:
    before = devnet.account().free
    told = submitted("--budget", "0.000001", "--", "true", expect=4)
    assert told["code"] == "insufficient-funds"
    assert devnet.account().free == before


def test_a_command_that_cannot_start_says_so_and_its_money_is_back(devnet: Devnet, submitted: Submit) -> None:
    before = devnet.account().free
    told = submitted("--", "no-such-program", expect=4)
    assert "no-such-program" in str(told["detail"])
    assert devnet.account().free == before


def test_an_image_that_is_not_here_is_refused_before_a_price(devnet: Devnet) -> None:
    refused = devnet.types("submit", "no-such-image:1", "--yes", "--json", expect=3)
    assert json.loads(refused.stdout)["error"]["code"] == "no-image"


def test_what_was_not_done_is_ordered_again_with_its_rows_and_its_log_is_followed(
    devnet: Devnet, submitted: Submit, tmp_path: Path
) -> None:
    matrix = tmp_path / "m.csv"
    matrix.write_text("n\n4\n0\n5\n")
    words = ("--matrix", str(matrix), "--lot", "2", "--", *SHELL, DIVIDE, "{n}")
    told = submitted(*words)
    job = str(told["job"])
    before = devnet.account().free
    rest = json.loads(devnet.types("jobs", "again", job, "--yes", "--json").stdout)
    assert (rest["again"], rest["indexes"], rest["tasks"]) == (job, [1], 1)
    followed = devnet.types("jobs", "log", rest["job"], "-f")
    assert "n is 0\n" in followed.stdout
    assert "divide by zero" in followed.stdout
    assert "nothing was charged" in followed.stderr
    assert devnet.account().free == before
    one = devnet.types("jobs", "log", job, "--task", "2").stdout
    assert "n is 5" in one
    assert "n is 4" not in one


def test_a_bid_that_waits_is_off_the_book_at_once_and_its_lots_are_closed_for_good(
    devnet: Devnet, submitted: Submit
) -> None:
    words = ("--auction", "--price", "0.000001", "--tasks", "3", "--lot", "2", "--detach", "--", "true")
    job = str(submitted(*words)["job"])
    done = json.loads(devnet.types("jobs", "cancel", job, "--on-chain", "--yes", "--json").stdout)
    assert (done["state"], [each["lot"] for each in done["transactions"]]) == ("refunded", [0, 1])
    again = json.loads(devnet.types("jobs", "cancel", job, "--on-chain", "--yes", "--json").stdout)
    assert again["transactions"] == []
    same = json.loads(devnet.types("jobs", "again", job, "--yes", "--json").stdout)
    assert (same["indexes"], same["quoted"]) == ([0, 1, 2], done["quoted"])
    devnet.types("jobs", "cancel", same["job"])


def test_an_image_of_a_registry_is_run_by_its_digest_and_one_that_it_lacks_costs_nothing(
    devnet: Devnet, image: str, tmp_path: Path
) -> None:
    local = docker.from_env()
    options = ("--product", "cpu-0.5x0.5/1m", "--out", str(tmp_path / "out"), "--yes", "--json")
    with serving_image(b"".join(local.images.get(image).save())) as registry:
        script = "echo 42 > /job/outputs/answer"
        done = devnet.types("submit", registry.image, *options, "--", "/bin/sh", "-c", script)
        assert json.loads(done.stdout)["state"] == "settled"
        assert (tmp_path / "out" / "answer").read_text() == "42\n"
        assert any("/manifests/sha256:" in path for path in registry.asked)
        local.images.remove(registry.image)

        before = devnet.account().free
        wrong = registry.image.partition("@")[0] + "@sha256:" + "0" * 64
        refused = devnet.types("submit", wrong, *options, "--", "true", expect=3)
        assert json.loads(refused.stdout)["error"]["code"] == "image-not-pulled"
        assert devnet.account().free == before


def test_a_secret_is_a_file_of_the_task_and_is_found_nowhere_else(
    devnet: Devnet, submitted: Submit, tmp_path: Path
) -> None:
    word = f"secret-{os.urandom(16).hex()}"
    (tmp_path / "token").write_text(word)
    read = "sha256sum /run/secrets/token > /job/outputs/digest; ! echo no > /run/secrets/token"
    told = submitted("--secret", f"token={tmp_path / 'token'}", "--", *SHELL, read)
    assert told["state"] == "settled"
    (found,) = (tmp_path / "out").rglob("digest")
    assert found.read_text().split()[0] == hashlib.sha256(word.encode()).hexdigest()
    drawn = (tmp_path / "token").stat().st_ctime_ns  # what was not changed since does not hold it
    assert _holds(tmp_path / "token", word.encode(), drawn)
    for place in (devnet.folder.root, devnet.home, Path("/dev/shm")):
        paths = (Path(folder, name) for folder, _, names in os.walk(place) for name in names)
        assert [path for path in paths if _holds(path, word.encode(), drawn)] == []


def _holds(path: Path, word: bytes, since: int) -> bool:
    try:
        if not path.is_file() or path.stat().st_ctime_ns < since:
            return False
        with path.open("rb") as file:
            return any(word in piece for piece in _written(file.fileno()))
    except FileNotFoundError:  # of the running market: files come and go
        return False


def _written(file: int) -> Iterator[bytes]:
    """All of a file but its holes: a task's disk has gigabytes of them."""
    end = 0
    while True:
        try:
            begin = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # there is nothing more
                return
            raise
        end = os.lseek(file, begin, os.SEEK_HOLE)
        yield os.pread(file, end - begin, begin)
