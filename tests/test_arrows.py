"""Imports run one way: prixfixe <- marketplace <- scheduler, and prixfixe <- worker."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.timing import timed

ROOT = Path(__file__).parents[1]
OURS = ("prixfixe", "marketplace", "scheduler", "worker")
# Packages that take a second to import: a command that needs no chain must not pay for them.
HEAVY = ("web3", "eth_account", "eth_abi")


@dataclass(frozen=True)
class Import:
    """One import statement: where it stands, what it names, whether it runs when its module is imported."""

    module: str
    line: int
    names: tuple[str, ...]
    at_import: bool

    def reaches(self, *packages: str) -> bool:
        return any(
            name == package or name.startswith(f"{package}.") for name in self.names for package in packages
        )

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {', '.join(self.names)}"


def imports_in(module: str, source: str, *, is_package: bool = False) -> Iterator[Import]:
    """Every import of a module: `from a import b` names both a and a.b, since b may be a module."""

    def visit(node: ast.AST, at_import: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield Import(module, child.lineno, tuple(alias.name for alias in child.names), at_import)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    parts = module.split(".")
                    parts = parts[: len(parts) - child.level + (1 if is_package else 0)]
                    base = ".".join([*parts, base] if base else parts)
                names = (base, *(f"{base}.{alias.name}" for alias in child.names))
                yield Import(module, child.lineno, names, at_import)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                yield from visit(child, False)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for statement in child.body:
                    yield from visit(ast.Module([statement], []), False)
                for statement in child.orelse:
                    yield from visit(ast.Module([statement], []), at_import)
            else:
                yield from visit(child, at_import)

    yield from visit(ast.parse(source), True)


def _all_imports() -> list[Import]:
    found = []
    for package in OURS:
        for file in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            is_package = name.endswith(".__init__")
            name = name.removesuffix(".__init__")
            found += list(imports_in(name, file.read_text(), is_package=is_package))
    return found


ALL = _all_imports()


def within(*packages: str) -> list[Import]:
    return [each for each in ALL if any(f"{each.module}.".startswith(f"{package}.") for package in packages)]


def said(offences: list[Import]) -> str:
    return "\n" + "\n".join(map(str, offences))


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("prixfixe", ("marketplace", "scheduler", "worker")),
        ("marketplace", ("scheduler", "worker")),
        ("scheduler", ("worker",)),
        ("worker", ("marketplace", "scheduler")),
    ],
)
def test_no_package_imports_one_that_rests_on_it(package: str, forbidden: tuple[str, ...]) -> None:
    offences = [each for each in within(package) if each.reaches(*forbidden)]
    assert not offences, said(offences)


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("prixfixe", ("fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "docker")),
        ("worker", ("fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "duckdb", "xlsxwriter")),
        ("marketplace", ("docker", "duckdb", "xlsxwriter")),
        ("scheduler", ("docker", "duckdb", "xlsxwriter")),
    ],
)
def test_a_package_uses_only_what_its_extra_installs(package: str, forbidden: tuple[str, ...]) -> None:
    offences = [each for each in within(package) if each.reaches(*forbidden)]
    assert not offences, said(offences)


def test_only_serve_puts_the_api_and_the_duties_together() -> None:
    offences = [
        each
        for each in within("scheduler")
        if each.reaches("marketplace.api", "marketplace.console") and each.module != "scheduler.serve"
    ]
    assert not offences, said(offences)


def test_the_store_and_the_use_cases_know_nothing_of_http() -> None:
    web = ("fastapi", "starlette", "uvicorn", "marketplace.api", "marketplace.console")
    offences = [
        each
        for each in within("marketplace")
        if not each.module.startswith(("marketplace.api", "marketplace.console")) and each.reaches(*web)
    ]
    assert not offences, said(offences)


def test_the_leaf_imports_chain_libraries_only_inside_functions() -> None:
    offences = [each for each in within("prixfixe") if each.at_import and each.reaches(*HEAVY)]
    assert not offences, said(offences)


def test_hostile_tables_are_read_in_one_place() -> None:
    offences = [
        each
        for each in within("prixfixe")
        if each.reaches("duckdb", "xlsxwriter") and not each.module.startswith("prixfixe.tables")
    ]
    assert not offences, said(offences)


def test_help_loads_no_chain_library_and_no_models() -> None:
    probe = (
        "import sys\n"
        "from prixfixe.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'web3', 'eth_account', 'eth_abi', 'pydantic', 'httpx', 'duckdb', 'fastapi', 'sqlalchemy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"
    assert "Usage" in done.stdout


def test_help_answers_in_less_than_0_4_seconds() -> None:
    """Of processor time: it waits for nothing, and what else the machine does is not its own."""
    command = Path(sys.executable).parent / "prixfixe"
    # One in ten is enough: another program may slow a run down, none can speed it up.
    times: list[float] = []
    while len(times) < 10 and (not times or times[-1] >= 0.4):
        times.append(timed(command, "--help")[1])
    assert times[-1] < 0.4, times


class TestTheReaderOfImports:
    """What these tests rest on."""

    def read(
        self, source: str, module: str = "scheduler.matcher", *, is_package: bool = False
    ) -> list[Import]:
        return list(imports_in(module, source, is_package=is_package))

    def test_a_module_imported_from_its_package_is_seen(self) -> None:
        assert self.read("from marketplace import api")[0].reaches("marketplace.api")

    def test_a_relative_import_is_resolved(self) -> None:
        assert self.read("from .serve import x")[0].reaches("scheduler.serve")
        assert self.read("from . import serve", "scheduler", is_package=True)[0].reaches("scheduler.serve")
        assert self.read("from ..api import x", "marketplace.store.tables")[0].reaches("marketplace.api")

    def test_a_longer_name_is_another_package(self) -> None:
        assert not self.read("import workerpool")[0].reaches("worker")

    def test_imports_in_functions_and_for_types_do_not_run_at_import(self) -> None:
        late = "def f():\n    import web3\n"
        for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import web3\n"
        assert [each.at_import for each in self.read(late)] == [False]
        assert [each.at_import for each in self.read(for_types)] == [True, False]

    def test_imports_in_a_class_or_a_try_run_at_import(self) -> None:
        assert self.read("class A:\n    import web3\n")[0].at_import
        assert self.read("try:\n    import web3\nexcept ImportError:\n    pass\n")[0].at_import
