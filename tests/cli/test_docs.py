"""Every command has its section; that the generated pages say what the code says, `scripts/check` proves."""

from __future__ import annotations

from pathlib import Path

from prixfixe.cli import HELP_LINES

ROOT = Path(__file__).parents[2]


def test_every_command_has_its_section() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name in HELP_LINES:
        assert f"### prixfixe {name}\n" in page
