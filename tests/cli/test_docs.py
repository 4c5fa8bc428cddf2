"""The generated pages say what the code says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from prixfixe.cli import HELP_LINES

ROOT = Path(__file__).parents[2]


def test_the_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toolchain.docs", "--check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_has_its_section() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name in HELP_LINES:
        assert f"### prixfixe {name}\n" in page
