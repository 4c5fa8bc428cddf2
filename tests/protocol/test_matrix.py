"""Parameters of each task: what a table may say, and what a task's command becomes."""

from __future__ import annotations

import re

import pytest

from prixfixe.errors import InvalidInput
from prixfixe.protocol import matrix
from prixfixe.protocol.manifest import InputFile, JobManifest
from prixfixe.protocol.matrix import fill, for_task, from_lines, read, require_matrix, to_lines

ROWS = ({"city": "Bern", "seed": 1}, {"city": "Lyon", "seed": 2})


def manifest(**changes: object) -> JobManifest:
    fields = {
        "image": "sha256:" + "ab" * 32,
        "command": ("run", "--city={city}", "{{{seed}}}"),
        "environment": {"SEED": "{seed}"},
        "parameters": {"depth": 3, "city": "nowhere"},
        "inputs": (),
        "tasks": 2,
        "determinism": "none",
        **changes,
    }
    return JobManifest.model_validate(fields)


def test_each_task_gets_its_row_over_the_jobs_parameters_and_its_command_filled_in() -> None:
    second = for_task(manifest(), ROWS[1])
    assert second.command == ("run", "--city=Lyon", "{2}")
    assert second.environment == {"SEED": "2"}
    assert second.parameters == {"depth": 3, "city": "Lyon", "seed": 2}


def test_a_csv_and_a_json_file_say_the_same_but_for_types() -> None:
    assert read(b"\xef\xbb\xbfcity,seed\r\nBern,1\r\nLyon,2\r\n", name="m.csv") == (
        {"city": "Bern", "seed": "1"},
        {"city": "Lyon", "seed": "2"},
    )
    assert read(b'[{"city": "Bern", "seed": 1}, {"city": "Lyon", "seed": 2}]', name="m.JSON") == ROWS
    assert from_lines(to_lines(ROWS), 2) == ROWS


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("m.csv", b"a,b\n1,2\n3,\n", "row 2 of the matrix: column 'b' is empty"),
        ("m.csv", b"a,b\n1\n", "row 1 of m.csv has 1 cells, the header 2"),
        ("m.csv", b"a,a\n1,2\n", "the column 'a' twice"),
        ("m.csv", b"a b\n1\n", "column 'a b' is no parameter's name"),
        ("m.csv", b"a\n", "no rows"),
        ("m.csv", b"", "no rows"),
        ("m.csv", b"a\n\xff\n", "not UTF-8 (byte 2)"),
        ("m.csv", b'a\n"1\n', "is no CSV"),
        ("m.json", b'[{"a": 1}, {"b": 1}]', "row 2 of the matrix: column 'a' is empty"),
        ("m.json", b'[{"a": 1}, {"a": 1, "b": 2}]', "row 2 of the matrix: column 'b' is in no row before"),
        ("m.json", b'[{"a": 1, "a": 2}]', "'a' twice"),
        ("m.json", b'[{"a": 0.5}]', "row 1 of the matrix: column 'a' is no text, whole number or truth"),
        ("m.json", b'[{"a": null}]', "row 1 of the matrix: column 'a' is empty"),
        ("m.json", b"[1]", "row 1 of m.json is no object"),
        ("m.json", b"{}", "is no list of objects"),
        ("m.json", b"[", "is not JSON"),
    ],
)
def test_a_table_that_is_no_matrix_is_refused_with_row_and_column(name: str, data: bytes, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(data, name=name)
    assert words in str(caught.value)
    assert caught.value.code == "bad-matrix"


def test_as_many_rows_as_tasks() -> None:
    for refuse in (
        lambda: require_matrix(manifest(tasks=3), ROWS),
        lambda: from_lines(to_lines(ROWS), 3),
    ):
        with pytest.raises(InvalidInput, match="2 rows, and the job 3 tasks"):
            refuse()


@pytest.mark.parametrize("text", ["{other}", "{}", "{", "a}b", "{a.b}", "{deep}"])
def test_braces_that_name_no_parameter_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"single|names"):
        fill(text, {"a": 1, "deep": [1]})


def test_truth_values_and_braces_are_written_as_a_shell_would_expect() -> None:
    assert fill("{a} {b} {{x}}", {"a": True, "b": "-"}) == "true - {x}"


def test_a_job_without_a_matrix_has_the_digest_that_it_always_had() -> None:
    plain = manifest()
    assert b"matrix" not in plain.canonical()
    assert plain.files == ()
    table = InputFile(name="matrix.jsonl", sha256="ab" * 32, size=1)
    varied = manifest(matrix=table)
    assert varied.digest() != plain.digest()
    assert varied.files == (table,)
    assert JobManifest.model_validate_json(varied.canonical()) == varied


def test_the_largest_job_is_read_and_filled_in_seconds() -> None:
    rows = tuple({"seed": at, "city": "Bern"} for at in range(65_536))
    assert len(from_lines(to_lines(rows), 65_536)) == 65_536
    assert matrix.for_task(manifest(), rows[-1]).command[-1] == "{65535}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"environment": {"PRIXFIXE_TASK=7": ""}}, "'PRIXFIXE_TASK=7' is no name"),
        ({"environment": {"": "1"}}, "'' is no name"),
        ({"environment": {"A\0": "1"}}, "is no name"),
        ({"environment": {"A": "1\0"}}, "'A' has a zero byte"),
        ({"command": ("run", "a\0b")}, "the command has a zero byte"),
        ({"command": ("", "b")}, "first word is empty"),
        ({"command": ("run", "x" * 20_000)}, "at most 16,384"),
        ({"environment": {str(number): "\u65e5" for number in range(2000)}}, "at most 16,384"),
    ],
)
def test_what_no_engine_starts_is_refused_where_it_is_written_down(change: object, words: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(words)) as refused:
        manifest(**change)  # type: ignore[arg-type]
    assert refused.value.code == "bad-command"


def test_a_row_cannot_make_a_command_that_no_engine_starts() -> None:
    given = manifest(command=("{city}",), environment={})
    for city in ("", "a\0", "x" * 20_000):
        with pytest.raises(InvalidInput):
            for_task(given, {"city": city, "seed": 1})


def test_infinity_among_the_parameters_is_refused_and_never_null() -> None:
    with pytest.raises(InvalidInput, match="floating-point number inf"):
        manifest(parameters={"a": float("inf")}).digest()


def test_rows_that_nest_too_deep_are_a_bad_matrix_like_any_other() -> None:
    with pytest.raises(InvalidInput, match="row 1 of the matrix") as refused:
        from_lines(b"[" * 1000 + b"\n", 1)
    assert refused.value.code == "bad-matrix"
