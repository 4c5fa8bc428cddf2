"""The page of states is drawn from the code, and says all that it says."""

from __future__ import annotations

from toolchain import docs, docs_states

from marketplace.store.states import TRANSITIONS


def test_the_page_of_states_is_up_to_date_and_names_every_transition() -> None:
    page = docs_states.page()
    assert (docs.ROOT / "docs" / "states.md").read_text(encoding="utf-8") == page, "run scripts/docs"
    for each in TRANSITIONS:
        assert f"| {', '.join(each.sources)} | {each.target} | {each.who} | {each.when} |" in page
