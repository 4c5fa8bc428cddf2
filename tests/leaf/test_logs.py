"""Lines of the log: bound by ids, readable by programs, without secrets."""

from __future__ import annotations

import json
import logging
from io import StringIO
from typing import Any

import pytest

from prixfixe.logs import LogFormat, about, formatter, hide, ids, without_secrets

FORM = "%(levelname)s %(name)s: %(message)s"


class Written:
    """A logger of its own in both formats."""

    def __init__(self, form: LogFormat) -> None:
        self._stream = StringIO()
        handler = logging.StreamHandler(self._stream)
        handler.setFormatter(formatter(form, FORM))
        self.log = logging.getLogger(f"test-of-logs-{form}")
        self.log.handlers[:] = [handler]
        self.log.propagate = False
        self.log.setLevel(logging.INFO)

    @property
    def lines(self) -> list[str]:
        return self._stream.getvalue().splitlines()

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.lines[-1])
        return found


@pytest.fixture
def text() -> Written:
    return Written("text")


@pytest.fixture
def jsonl() -> Written:
    return Written("json")


def test_ids_are_bound_to_all_that_is_said_within_and_to_nothing_after(jsonl: Written) -> None:
    with about(job="0xab", lot=None):
        with about(attempt="cd"):
            jsonl.log.info("running", extra=ids(task=3))
        jsonl.log.info("over")
    jsonl.log.info("alone")
    said = [json.loads(line) for line in jsonl.lines]
    known = ("job", "lot", "attempt", "task")
    assert [{name: line[name] for name in known if name in line} for line in said] == [
        {"job": "0xab", "attempt": "cd", "task": 3},
        {"job": "0xab"},
        {},
    ]


def test_a_line_for_people_has_the_index_of_its_task_whatever_else_it_counts(text: Written) -> None:
    with about(attempt="cd0123"):
        text.log.info("3 files, running cd0123", extra=ids(task=3))
    assert text.lines[-1].endswith("3 files, running cd0123 [task=3]")


def test_a_line_for_programs_says_when_how_grave_who_and_why(jsonl: Written) -> None:
    try:
        raise ValueError("no such thing")
    except ValueError:
        jsonl.log.exception("it failed on %d", 7)
    line = jsonl.last
    assert (line["level"], line["message"]) == ("error", "it failed on 7")
    assert line["time"].endswith("+00:00")
    assert line["error"].splitlines()[-1] == "ValueError: no such thing"
    assert len(jsonl.lines) == 1


def test_a_line_for_people_ends_with_the_ids_that_it_does_not_name(text: Written) -> None:
    with about(job="0xab", attempt="cd"):
        text.log.info("attempt %s: reported", "cd")
    assert text.lines == ["INFO test-of-logs-text: attempt cd: reported [job=0xab]"]


def test_a_strangers_text_cannot_look_like_a_line_of_its_own(text: Written) -> None:
    text.log.info("worker %s is away", "w1\nERROR root: all is lost\x1b[2J")
    assert text.lines == ["INFO test-of-logs-text: worker w1\\x0aERROR root: all is lost\\x1b[2J is away"]


@pytest.mark.parametrize(
    ("said", "written"),
    [
        (
            "postgresql+psycopg://prixfixe:hunter22@db/prixfixe",
            "postgresql+psycopg://prixfixe:***@db/prixfixe",
        ),
        ("Authorization: Bearer abcdef0123456789", "Authorization: ***"),
        ("header was Bearer abcdef0123456789 and wrong", "header was Bearer *** and wrong"),
        ('{"password": "hunter22", "name": "x"}', '{"password": "***", "name": "x"}'),
        ("AWS_SECRET_ACCESS_KEY=abc123 set", "AWS_SECRET_ACCESS_KEY=*** set"),
        (
            "the token 0x5FbDB2315678afecb367f032d93F642f64180aa3",
            "the token 0x5FbDB2315678afecb367f032d93F642f64180aa3",
        ),
        ("http://127.0.0.1:8545 answers", "http://127.0.0.1:8545 answers"),
    ],
)
def test_what_is_secret_by_its_place_is_not_written(said: str, written: str) -> None:
    assert without_secrets(said).replace("*** ***", "***") == written


def test_what_is_named_as_secret_is_in_no_line_nor_traceback(text: Written, jsonl: Written) -> None:
    hide("correct")  # the beginning of another
    hide("correct-horse")
    hide("short")  # would blot out a word that means nothing
    for written in (text, jsonl):
        try:
            raise ValueError("with correct-horse")
        except ValueError:
            written.log.exception("a short story of %s", "correct-horse")
        told = "\n".join(written.lines)
        assert "correct-horse" not in told
        assert "a short story of ***" in told
        assert "with ***" in told
