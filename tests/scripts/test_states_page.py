"""The page of states is drawn from the code, and says all that it says."""

from __future__ import annotations

from toolchain import docs, docs_states

from marketplace.store.states import MACHINES, TRANSITIONS


def test_the_page_of_states_is_up_to_date_and_names_every_transition() -> None:
    page = docs_states.page()
    assert (docs.ROOT / "docs" / "states.md").read_text(encoding="utf-8") == page, "run scripts/docs"
    for each in TRANSITIONS:
        assert f"| {', '.join(each.sources)} | {each.target} | {each.who} | {each.when} |" in page


def test_every_transition_is_drawn_and_every_state_that_a_row_begins_in() -> None:
    drawings = dict(
        zip((each.noun for each in MACHINES), docs_states.page().split("```mermaid")[1:], strict=True)
    )
    for each in TRANSITIONS:
        name = f"({each.name})" if each.rewinds else each.name
        for source, target in each.pairs:
            (arrow,) = [
                line
                for line in drawings[each.machine.noun].splitlines()
                if line.startswith(f"    {source} --> {target}: ")
            ]
            assert name in arrow.partition(": ")[2].split(", ")
    assert "[*] --> spared\n    [*] --> wanted\n" in drawings["check"]
