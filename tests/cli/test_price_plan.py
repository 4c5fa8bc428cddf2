"""Plans of publications and the schedule: what was looked at is what is done, and once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from prixfixe.cli.price_plan import PricePlan
from prixfixe.cli.price_schedule import parse_moment
from prixfixe.client.contexts import Context, save_context
from prixfixe.errors import ConfigurationError, Conflict, InvalidInput
from prixfixe.protocol.bundle import BundleDefinition
from prixfixe.protocol.money import Money
from tests.cli.conftest import Terminal
from tests.support.service import CHAIN_ID, CONTRACT, DEFINITION

PLAN = PricePlan(
    chain_id=CHAIN_ID,
    contract=CONTRACT,
    definition=BundleDefinition.model_validate(DEFINITION),
    seconds=86_400,
    float_=Money(7),
    note="winter",
    inputs={"index": "live"},
)
HERE = Context("here", "http://127.0.0.1:9", CHAIN_ID, CONTRACT, rpc="http://127.0.0.1:9", key="dev:1")


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    PLAN.save(tmp_path / "plan.json")
    assert PricePlan.load(tmp_path / "plan.json") == PLAN
    assert replace(PLAN, override="why").digest != PLAN.digest


@pytest.mark.parametrize("change", [{"float": "8"}, {"note": "spring"}, {"seconds": 1}])
def test_a_plan_that_was_changed_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "plan.json"
    PLAN.save(path)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    with pytest.raises(ConfigurationError, match="was changed") as caught:
        PricePlan.load(path)
    assert caught.value.code == "plan-changed"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "another"}'])
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        PricePlan.load(tmp_path / "plan.json")
    assert caught.value.code == "bad-plan"


def test_a_plan_of_another_market_is_refused() -> None:
    with pytest.raises(Conflict, match="on chain 1"):
        replace(PLAN, chain_id=1).require_here(HERE)


def test_times_are_utc_or_from_now() -> None:
    assert parse_moment("1970-01-02T00:00", 0) == 86_400
    assert parse_moment("1970-01-02T01:00+01:00", 0) == 86_400
    assert parse_moment("+2h", 10.5) == 7210
    with pytest.raises(InvalidInput):
        parse_moment("soon", 0)


def test_what_fails_stays_due_and_can_be_cancelled(
    types: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prixfixe.client.conversation.BACKOFF", ())
    save_context(HERE)
    PLAN.save(tmp_path / "plan.json")
    later = types("pricing", "schedule", "--plan", "plan.json", "--at", "+2h", "--json").json["schedule"]
    assert [(entry["plan"]["note"], entry["done"]) for entry in later] == [("winter", None)]
    assert types("pricing", "run-schedule", "--json").json == {"done": [], "failed": []}
    types("pricing", "schedule", "--retire", "echo", "--version", "1.0.0", "--at", "+0s")
    ran = types("pricing", "run-schedule", "--json")  # nobody answers there
    assert (ran.code, len(ran.json["failed"]), ran.json["done"]) == (1, 1, [])
    assert [entry["done"] for entry in types("pricing", "schedule", "--json").json["schedule"]] == [None] * 2
    left = types("pricing", "schedule", "--cancel", later[0]["id"], "--json").json["schedule"]
    assert [entry["plan"] for entry in left] == [None]
    assert types("pricing", "schedule", "--cancel", later[0]["id"]).code != 0


def test_a_schedule_names_a_time_and_one_thing(types: Terminal) -> None:
    save_context(HERE)
    for words in (("--at", "+1h"), ("--retire", "echo"), ("--retire", "echo", "--at", "+1h")):
        assert types("pricing", "schedule", *words).code == 2


def test_a_bundles_folder_that_is_not_here_is_told_with_what_to_name_instead() -> None:
    from prixfixe.cli.pricing_desk import _meant

    with pytest.raises(InvalidInput, match="'bundles/nowhere' is no product") as caught:
        _meant(None, "bundles/nowhere")  # type: ignore[arg-type]
    assert "(`nowhere`)" in (caught.value.hint or "")
