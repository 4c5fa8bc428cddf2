"""Errors cross HTTP whole: the same class, code, hint, fault and values come back."""

from __future__ import annotations

import json
import pickle

import pytest

from prixfixe import errors
from prixfixe.errors import ChainError, InvalidInput, NotFound, PrixfixeError, Unavailable


def classes() -> list[type[PrixfixeError]]:
    return [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, PrixfixeError)]


@pytest.mark.parametrize("cls", classes())
def test_an_error_comes_back_from_its_problem(cls: type[PrixfixeError]) -> None:
    error = cls("the sentence", code="special", hint="do this", retryable=True, fault="provider", amount=5)
    back = PrixfixeError.from_problem(json.loads(json.dumps(error.to_problem())))
    assert type(back) is cls
    assert back.to_problem() == error.to_problem()


@pytest.mark.parametrize("cls", classes())
def test_every_class_stands_in_the_drawn_tree_with_its_exit_code_and_status(cls: type[PrixfixeError]) -> None:
    drawn = next(
        line for line in str(errors.__doc__).splitlines() if cls.__name__ in line.split("─ ")[-1].split()
    )
    if cls is not PrixfixeError:
        assert [int(word) for word in drawn.split() if word.isdigit()][:2] == [cls.exit_code, cls.status]


def test_codes_and_exit_codes_are_stable() -> None:
    assert {cls.default_code: (cls.exit_code, cls.status) for cls in classes()} == {
        "error": (1, 500),
        "invalid-input": (3, 422),
        "above-tier": (4, 422),
        "too-large": (3, 413),
        "bad-signature": (5, 401),
        "insufficient-funds": (4, 402),
        "quote-expired": (4, 410),
        "price-changed": (4, 409),
        "not-found": (6, 404),
        "conflict": (6, 409),
        "unauthorized": (5, 401),
        "forbidden": (5, 403),
        "development-key-refused": (5, 403),
        "unavailable": (7, 503),
        "storage-full": (7, 507),
        "too-many-requests": (7, 429),
        "chain-error": (8, 502),
        "engine-error": (9, 500),
        "verification-failed": (10, 422),
        "configuration": (2, 500),
    }


def test_bad_input_names_file_row_column_and_value() -> None:
    error = InvalidInput("no number", file="a.csv", row=7, column="amount", value="1,5")
    assert (error.file, error.row, error.column, error.value) == ("a.csv", 7, "amount", "1,5")
    assert error.fault == "customer"
    back = PrixfixeError.from_problem(error.to_problem())
    assert isinstance(back, InvalidInput)
    assert (back.file, back.row, back.column, back.value) == ("a.csv", 7, "amount", "1,5")


def test_large_numbers_and_bytes_survive_json() -> None:
    error = ChainError("x", revert="MarketFundsShort", arguments={"free": 2**64, "id": b"\x01\x02"})
    problem = json.loads(json.dumps(error.to_problem()))
    assert problem["arguments"] == {"free": str(2**64), "id": "0x0102"}


@pytest.mark.parametrize(
    ("problem", "cls"),
    [
        ({"status": 404, "title": "Not Found"}, NotFound),
        ({"status": 503}, Unavailable),
        ({"type": "about:blank", "status": 418}, PrixfixeError),
        ({}, PrixfixeError),
        ({"code": "not-found", "status": 500}, NotFound),
    ],
)
def test_a_strangers_problem_becomes_an_error_by_code_or_status(
    problem: dict[str, object], cls: type[PrixfixeError]
) -> None:
    assert type(PrixfixeError.from_problem(problem)) is cls


def test_a_problem_cannot_replace_what_is_ours() -> None:
    error = PrixfixeError.from_problem(
        {"detail": "x", "fault": "nobody", "retryable": "yes", "hint": 5, "args": [1]}
    )
    assert (error.fault, error.retryable, error.hint, error.args) == ("platform", False, None, ("x",))


def test_errors_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(InvalidInput("no number", row=3, code="special")))
    assert (error.row, error.code, str(error)) == (3, "special", "no number")
