"""Contexts: one file, and an environment that wins over it field by field."""

from __future__ import annotations

from pathlib import Path

import pytest

from prixfixe.client.contexts import (
    Context,
    load_contexts,
    remove_context,
    resolve_context,
    save_context,
    use_context,
)
from prixfixe.errors import ConfigurationError, InvalidInput, NotFound
from tests.support.service import CONTRACT, STRANGER

DEV = Context("dev", "http://127.0.0.1:8080/", 31337, CONTRACT, rpc="http://127.0.0.1:8545", key="dev:3")
WORK = Context("work", "https://market.example", 8453, CONTRACT)


def test_nothing_is_set_up_at_first_and_the_error_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="no market is set up") as caught:
        resolve_context()
    assert "prixfixe dev" in str(caught.value.hint)


def test_what_is_saved_is_found_again_and_the_newest_is_current() -> None:
    save_context(DEV)
    save_context(WORK)
    assert resolve_context() == WORK
    assert resolve_context("dev") == DEV
    use_context("dev")
    assert load_contexts().current == "dev"
    save_context(WORK, make_current=False)
    assert resolve_context() == DEV
    assert DEV.service == "http://127.0.0.1:8080"


def test_the_environment_wins_field_by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    save_context(DEV)
    save_context(WORK)
    monkeypatch.setenv("PRIXFIXE_CONTEXT", "dev")
    monkeypatch.setenv("PRIXFIXE_KEY", "finance")
    monkeypatch.setenv("PRIXFIXE_CONTRACT", STRANGER.address)
    found = resolve_context()
    assert (found.name, found.key, found.contract) == ("dev", "finance", STRANGER.address)
    assert found.rpc == DEV.rpc


def test_an_environment_that_names_all_needs_no_file(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("PRIXFIXE_SERVICE", "https://market.example")
    monkeypatch.setenv("PRIXFIXE_CHAIN_ID", "8453")
    monkeypatch.setenv("PRIXFIXE_CONTRACT", CONTRACT)
    assert resolve_context().chain_id == 8453
    assert not home.exists()
    monkeypatch.setenv("PRIXFIXE_CHAIN_ID", "mainnet")
    with pytest.raises(ConfigurationError, match="'mainnet', not a number"):
        resolve_context()


def test_a_context_that_is_not_there_is_named_with_those_that_are() -> None:
    save_context(DEV)
    for attempt in (resolve_context, use_context, remove_context):
        with pytest.raises(NotFound, match="no context 'prod'") as caught:
            attempt("prod")
        assert "dev" in str(caught.value.hint)


def test_removing_the_current_context_leaves_none_current() -> None:
    save_context(DEV)
    remove_context("dev")
    assert load_contexts().contexts == {}
    with pytest.raises(ConfigurationError):
        resolve_context()


def test_a_broken_file_is_told_with_its_path(home: Path) -> None:
    home.mkdir()
    (home / "contexts.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"contexts\.json cannot be read"):
        load_contexts()


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../up"},
        {"service": "market.example"},
        {"service": "ftp://market.example"},
        {"rpc": "http://"},
        {"chain_id": 0},
        {"contract": "0x12"},
    ],
    ids=str,
)
def test_a_context_cannot_hold_nonsense(fields: dict[str, object]) -> None:
    good = {"name": "x", "service": "http://h", "chain_id": 1, "contract": CONTRACT}
    with pytest.raises((ConfigurationError, InvalidInput)):
        Context(**{**good, **fields})  # type: ignore[arg-type]
