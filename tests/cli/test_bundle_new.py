"""A new bundle works before anything in it is changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prixfixe.cli.bundle_new import make_bundle
from prixfixe.errors import Conflict, InvalidInput
from prixfixe.protocol.bundle import load


def test_a_new_bundle_is_valid_and_its_own_tests_pass(tmp_path: Path) -> None:
    folder = tmp_path / "row-count"
    make_bundle(folder)
    definition = load(folder)
    assert (definition.id, definition.command) == ("row-count", ("python3", "-m", "row_count"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis"]
    command.append(str(folder / "tests"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes").write_text("keep")
    with pytest.raises(Conflict):
        make_bundle(folder)
    with pytest.raises(InvalidInput, match="is no name of a bundle"):
        make_bundle(tmp_path / "Not A Name")
