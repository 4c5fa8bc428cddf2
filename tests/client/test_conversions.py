"""A conversion is kept until it is bought, and used only for exactly what it was made of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from prixfixe.client.conversions import Conversions, Converted
from prixfixe.protocol.hashing import sha256_file
from prixfixe.tables import Engine, PivotRequest
from prixfixe.tables.convert import convert
from prixfixe.tables.form import pivot_parameters

PARAMETERS = pivot_parameters(["name"], values=["amount:sum"])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    path.write_text("name,amount,other\nAda,1.50,x\nBob,2,y\n")
    return path


@pytest.fixture
def kept(tmp_path: Path) -> Conversions:
    return Conversions(tmp_path / "conversions", most_bytes=10_000)


def made(kept: Conversions, source: Path, parameters: dict[str, Any] = PARAMETERS) -> Converted:
    room = kept.room()
    assert room is not None
    target = room / "sales.parquet"
    done = convert(source, PivotRequest.from_parameters(parameters), target, engine=Engine(threads=1))
    return kept.keep(target, source, parameters, done)


def test_the_same_file_and_parameters_give_what_was_made(kept: Conversions, source: Path) -> None:
    done = made(kept, source)
    assert done.sha256 == sha256_file(done.path)[0]
    copy = source.with_name("copy.csv")
    copy.write_bytes(source.read_bytes())
    assert kept.find(source, PARAMETERS) == done
    assert kept.find(copy, PARAMETERS) == done, "it goes by what is in the file"


def test_another_file_or_other_parameters_give_nothing(kept: Conversions, source: Path) -> None:
    made(kept, source)
    assert kept.find(source, {**PARAMETERS, "null_values": ["Bob"]}) is None
    source.write_text(source.read_text().replace("Bob", "Eve"))
    assert kept.find(source, PARAMETERS) is None


def test_one_that_was_damaged_is_not_used(kept: Conversions, source: Path) -> None:
    path = made(kept, source).path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert kept.find(source, PARAMETERS) is None


def test_what_was_bought_is_forgotten_and_nothing_else(kept: Conversions, source: Path) -> None:
    path = made(kept, source).path
    kept.forget(source)
    assert source.exists()
    kept.forget(path)
    assert not path.exists()
    assert kept.find(source, PARAMETERS) is None


def test_beyond_the_bound_the_one_unused_for_longest_goes(kept: Conversions, source: Path) -> None:
    others = [{**PARAMETERS, "null_values": [str(number)]} for number in range(12)]
    for age, parameters in enumerate(others):
        path = made(kept, source, parameters).path
        os.utime(path.parent, (age, age))
    found = [kept.find(source, parameters) is not None for parameters in others]
    assert found == sorted(found), "the oldest went first"
    assert (found[0], found[-1]) == (False, True)


def test_it_is_for_its_owner_only(kept: Conversions, source: Path) -> None:
    path = made(kept, source).path
    assert path.parent.parent.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert Conversions(tmp_path / "file").room() is None
