"""The page of errors is read from the code of the product."""

from __future__ import annotations

from toolchain import docs, docs_errors


def test_the_page_of_errors_is_up_to_date() -> None:
    page = (docs.ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert docs_errors.page() == page, "run scripts/docs"


def test_what_stands_for_a_part_in_tests_does_not_speak_for_it() -> None:
    said = {site.message for site in docs_errors.collect({"Unavailable"}) if site.code == "service-silent"}
    assert said == {"the service at ... does not answer (...)"}


def test_every_file_that_is_left_out_is_there() -> None:
    assert all((docs.ROOT / name).exists() for name in docs_errors.STAND_INS)
