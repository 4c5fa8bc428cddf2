"""Each extra, installed alone from its own lock, imports all that it is for and brings nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).parent / "uv"

# Extra -> the packages that it makes importable. Modules of the leaf that need another extra are left out.
BRINGS = {
    "runtime": ("prixfixe",),
    "service": ("prixfixe", "marketplace", "scheduler"),
    "worker": ("prixfixe", "worker"),
    "tables": ("prixfixe", "prixfixe.tables"),
}
NEVER = {
    "runtime": ("fastapi", "sqlalchemy", "docker", "duckdb", "pytest"),
    "service": ("docker", "duckdb", "psycopg", "pytest"),
    "worker": ("fastapi", "sqlalchemy", "duckdb", "pytest"),
    "tables": ("fastapi", "sqlalchemy", "docker", "pytest"),
}
IMPORT_ALL = """
import importlib, importlib.util, pkgutil, sys
roots, never = sys.argv[1].split(","), sys.argv[2].split(",")
for root in roots:
    package = importlib.import_module(root)
    for module in pkgutil.walk_packages(package.__path__, root + "."):
        foreign = module.name.startswith("prixfixe.tables") and "prixfixe.tables" not in roots
        # Migrations run under Alembic only; the pytest plugin is for those who have pytest.
        if foreign or ".migrations." in module.name or module.name.startswith("prixfixe.testing"):
            continue
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
            print(module.name)
present = [name for name in never if importlib.util.find_spec(name)]
assert not present, present
"""


def run(*command: str | Path) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution as users get it."""
    folder = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder)
    return next(folder.glob("*.whl"))


@pytest.mark.parametrize("extra", BRINGS)
def test_an_extra_alone_imports_its_packages(extra: str, wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, venv)
    install = (UV, "pip", "install", "--quiet", "--python", python)
    run(*install, "--require-hashes", "-r", ROOT / "requirements" / f"{extra}.txt")
    run(*install, "--no-deps", wheel)
    run(UV, "pip", "check", "--quiet", "--python", python)
    # -I: neither this folder nor an environment variable may lend a module.
    told = run(python, "-I", "-W", "error", "-c", IMPORT_ALL, ",".join(BRINGS[extra]), ",".join(NEVER[extra]))
    assert told.count("\n") >= len(BRINGS[extra])


def test_the_wheel_holds_types_and_contracts(wheel: Path) -> None:
    names = run(sys.executable, "-m", "zipfile", "--list", wheel)
    assert "prixfixe/py.typed" in names
    assert "prixfixe/chain/artefacts/Market.json" in names
    assert "tests/" not in names
