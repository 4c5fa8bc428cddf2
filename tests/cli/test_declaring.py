"""A guess is shown and confirmed, never silent; what travels is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prixfixe.cli import running
from prixfixe.cli.declaring import Travel, confirm_guesses, pseudonym_key
from prixfixe.cli.failures import Interrupted
from prixfixe.cli.form import Typed
from prixfixe.cli.output import Progress
from prixfixe.errors import InvalidInput
from prixfixe.protocol.bundle import load
from tests.cli.conftest import Terminal
from tests.support.service import World

PIVOT = load(Path(__file__).parents[2] / "bundles" / "pivot")
OPTIONS = ["--rows", "account", "--values", "amount:sum"]


@pytest.fixture
def german(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(
        "account;amount;other\n" + "a;1.234,50;xxxxxxxxxxxxxxxxxxxxxxxx\n" * 40_000, encoding="utf-8"
    )
    return path


def read(path: Path, *options: str) -> Typed:
    return running.read(PIVOT, [str(path), *OPTIONS, *options])


def test_yes_accepts_only_what_is_declared(german: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        confirm_guesses(PIVOT, read(german), yes=True, accept=False)
    assert refused.value.code == "undeclared"
    assert "--delimiter ';' --decimal ',' --thousands ." in str(refused.value.hint)


def test_what_the_hint_says_to_declare_needs_no_guess(german: Path) -> None:
    typed = read(german, "--delimiter", ";", "--decimal", ",", "--thousands", ".")
    assert confirm_guesses(PIVOT, typed, yes=True, accept=False) is typed


def test_accepted_guesses_are_declared_in_the_order(german: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = confirm_guesses(PIVOT, read(german), yes=True, accept=True)
    assert [typed.parameters[name] for name in ("delimiter", "decimal", "thousands")] == [";", ",", "."]
    shown = capsys.readouterr().err
    assert "cuts each of the first 1,001 lines into 3 cells" in shown
    assert "amount has '1.234,50'" in shown


def test_a_person_is_asked_and_a_no_ends_it(german: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def confirm(question: str, **_: Any) -> bool:
        asked.append(question)
        return len(asked) > 1

    monkeypatch.setattr("click.confirm", confirm)
    with pytest.raises(Interrupted):
        confirm_guesses(PIVOT, read(german), yes=False, accept=False)
    assert confirm_guesses(PIVOT, read(german), yes=False, accept=False).parameters["decimal"] == ","
    assert asked == ["Read the table so?"] * 2


def test_a_table_travels_as_what_is_used_of_it_and_that_is_said(german: Path, tmp_path: Path) -> None:
    typed = read(german, "--delimiter", ";", "--decimal", ",", "--thousands", ".")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    order = running.prepare(PIVOT, typed, Progress(), Travel(scratch))
    assert order.units == 40_000
    assert [file.name for file, _ in order.inputs] == ["table.parquet"]
    assert order.saved[0].endswith("2 of 3 columns, as Parquet")
    as_is = running.prepare(PIVOT, typed, Progress(), Travel(scratch, as_is=True))
    assert [file.name for file, _ in as_is.inputs] == ["table.csv"]
    assert as_is.units == 40_000


def test_the_key_of_pseudonyms_is_made_once_and_is_its_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIXFIXE_HOME", str(tmp_path / "home"))
    key = pseudonym_key()
    assert len(key) == 32
    assert pseudonym_key() == key
    assert (tmp_path / "home" / "pseudonym.key").stat().st_mode & 0o777 == 0o600


def test_what_the_beginning_does_not_show_is_asked_about_after_all(
    types: Terminal, world: World, tmp_path: Path
) -> None:
    world.publish(**PIVOT.with_image("sha256:" + "ab" * 32).to_json())
    late = tmp_path / "late.csv"
    late.write_bytes(b"account,amount,other\n" + b"a,1,xxxxxxxxxxxxxxxxxxxxxxxxx\n" * 40_000 + b"b,1,\xe9\n")
    asked = types("run", "pivot", "late.csv", *OPTIONS, "--yes")
    assert asked.code == 3
    assert "would be guessed: --encoding cp1252" in asked.err
    shown = types("run", "pivot", "late.csv", *OPTIONS, "--yes", "--accept-guesses", "--detach")
    assert shown.code == 0, shown.err
    assert "line 40002 is not UTF-8 (byte 0xe9)" in shown.err
