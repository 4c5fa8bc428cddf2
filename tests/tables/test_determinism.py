"""The kit's test of determinism finds out an application that rests on its machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prixfixe.cli.bundle_new import make_bundle
from prixfixe.testing.determinism import MASKED_PROCESSOR, same_bytes

FLOATS = "import math; print(sum(hash(math.exp(n / 7e3)) for n in range(60_000)))"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "careless"
    make_bundle(folder)
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text("a\n1\n")
    return path


def careless(folder: Path, value: str) -> None:
    """Let the application write `value`, an expression of `math`."""
    main = folder / "careless" / "__main__.py"
    text = main.read_text().replace('{"rows": rows}', f'{{"rows": {value}}}')
    main.write_text(text.replace("import json\n", "import json\nimport math\n", 1))


def test_a_careful_application_passes_with_its_outputs(bundle: Path, table: Path) -> None:
    assert same_bytes(bundle, [table], {})["result.json"] == b'{"rows": 1}\n'


def test_floating_point_of_the_processor_is_found_out(bundle: Path, table: Path) -> None:
    masked = {**os.environ, **MASKED_PROCESSOR}
    answers = {
        subprocess.run(
            [sys.executable, "-c", FLOATS], env=environment, capture_output=True, check=True
        ).stdout
        for environment in (dict(os.environ), masked)
    }
    if len(answers) == 1:
        pytest.skip("this processor has no FMA to mask, or its C library takes no tunables")
    careless(bundle, "sum(hash(math.exp(n / 7e3)) for n in range(60_000))")
    with pytest.raises(
        AssertionError, match=r"result\.json differs between one thread and an older processor"
    ):
        same_bytes(bundle, [table], {})


def test_an_order_of_hashes_is_found_out(bundle: Path, table: Path) -> None:
    careless(bundle, "list(set('abcdefghijklmnop'))")
    with pytest.raises(AssertionError, match=r"result\.json differs between one thread and"):
        same_bytes(bundle, [table], {})


def test_a_run_that_fails_says_why(bundle: Path, table: Path) -> None:
    careless(bundle, "math.sqrt(-1)")
    with pytest.raises(
        AssertionError, match=r"(?s)with one thread the run ended with 1: .*math domain error"
    ):
        same_bytes(bundle, [table], {})
