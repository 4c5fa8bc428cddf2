"""What many late imports do to the interpreter is undone."""

from __future__ import annotations

import gc

import pytest

from prixfixe.late import uncollected


def test_garbage_is_collected_again_after_the_imports_also_when_one_fails() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), uncollected():
        raise ImportError("no such module")
    assert gc.isenabled()


def test_who_collects_no_garbage_is_left_alone() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
