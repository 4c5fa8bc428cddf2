"""docs/errors.md: the tree of errors, and every code that some place in the code gives to one."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.project import ROOT

if TYPE_CHECKING:
    from prixfixe.errors import PrixfixeError

PACKAGES = ("prixfixe", "marketplace", "scheduler", "worker")
# What stands for a part of the market in tests: it says less than the part itself.
STAND_INS = (
    "prixfixe/testing/chain.py",
    "prixfixe/testing/transactions.py",
    "prixfixe/testing/work.py",
    "scheduler/stepping.py",
    "scheduler/striking.py",
)
# What a job's end says: not raised, but read by people all the same.
REASON = "Reason"

_HEAD = """\
# Errors

Every error has a stable `code`, a sentence that names the value at fault, a hint that says what to do,
whether a retry helps, and whose fault it is. This page is generated from the code: `scripts/docs` writes it
again, and `scripts/check` fails when it differs.

A command prints sentence and hint on standard error and ends with the class's exit code; with `--json` it
prints `{"error": {...}}` on standard output. The service answers with the same object as RFC 9457 problem
details (`application/problem+json`), and the client gives the same class back.

| field | meaning |
|---|---|
| `code` | what happened; programs look at this |
| `detail` | the sentence |
| `hint` | what to do, or null when nothing helps |
| `retryable` | whether the same call may succeed later |
| `fault` | `customer`, `provider` or `platform` |
| others | the values, such as `row`, `column`, `value` |

Exit codes: 0 done; 1 a fault of ours; 2 wrong usage or configuration; 3 input; 4 price or money, or no
result: nothing was charged; 5 not allowed; 6 not found or wrong state; 7 out of reach; 8 refused by the
contract; 9 container engine; 10 proof failed; 130 stopped by you.
"""


@dataclass(frozen=True, slots=True)
class Site:
    """One place that makes an error with a code of its own. `...` stands for values."""

    kind: str
    code: str
    message: str
    hint: str
    fault: str


def page() -> str:
    """The whole page."""
    classes = error_classes()
    sites = collect({cls.__name__ for cls in classes})
    parts = [_HEAD, "## Classes\n", _class_table(classes)]
    for cls in classes:
        found = _by_code(site for site in sites if site.kind == cls.__name__)
        if found:
            parts.append(f"## {cls.__name__}\n\n{_first_line(cls)}\n")
            parts.append(_code_table(found, cls.default_fault, cls.default_hint or ""))
    reasons = _by_code(site for site in sites if site.kind == REASON)
    if reasons:
        parts.append(
            "## Why a job ended\n\n"
            "The `reason` of a job without a result, for which nothing was charged; and of\n"
            "a lot, deal, attempt or task that ended without one ([states](states.md#reasons)).\n"
        )
        parts.append(_code_table(reasons, "", ""))
    parts.append("## How tasks ended\n\nIn the `ends` of a job, beside the codes above.\n")
    parts.append(_ends_table())
    parts.append(
        "## What the contract refuses\n\nA `chain-error` names the contract's own error as `revert`; "
        "contracts/src/interfaces/IMarket.sol says when each comes.\n"
    )
    parts.append(_revert_table())
    return "\n".join(parts)


def _ends_table() -> str:
    from marketplace.ends import TOLD

    return _table(("code", "says", "fault"), [(f"`{code}`", says, fault) for code, says, fault in TOLD])


def _revert_table() -> str:
    from prixfixe.chain.sentences import SENTENCES

    rows = [
        (f"`{name}`", sentence, fault, hint or "") for name, (sentence, fault, hint, _) in SENTENCES.items()
    ]
    return _table(("revert", "says", "fault", "what to do"), rows)


def error_classes() -> list[type[PrixfixeError]]:
    """Every class of the tree, in all packages, parents before children, by name."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for found in pkgutil.walk_packages(module.__path__, f"{package}."):
            if not found.name.endswith("__main__") and ".migrations" not in found.name:
                importlib.import_module(found.name)
    from prixfixe.errors import PrixfixeError

    def below(cls: type[PrixfixeError]) -> Iterator[type[PrixfixeError]]:
        yield cls
        for child in sorted(cls.__subclasses__(), key=lambda each: each.__name__):
            yield from below(child)

    ours = tuple(f"{package}." for package in PACKAGES)
    return [
        cls
        for cls in below(PrixfixeError)
        if cls.__module__.startswith(ours) and not cls.__name__.startswith("_")
    ]


def collect(kinds: set[str]) -> list[Site]:
    """Every call of an error's class (or of Reason) that names a code, but for the stand-ins'."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.relative_to(ROOT).as_posix() not in STAND_INS:
                found += list(_sites(path, kinds | {REASON}))
    return found


def _sites(path: Path, kinds: set[str]) -> Iterator[Site]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in kinds:
            continue
        given = {word.arg: word.value for word in node.keywords if word.arg}
        code = given.get("code")
        if not isinstance(code, ast.Constant) or not isinstance(code.value, str):
            continue
        message = node.args[0] if node.args else given.get("message")
        yield Site(
            name,
            code.value,
            _text(message),
            _text(given.get("hint")),
            _text(given.get("fault")),
        )


def _text(node: ast.expr | None) -> str:
    """A string of the source, with `...` for what is filled in at run time; empty when it is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "..." for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + (_text(node.right) or "...")
    return ""


def _by_code(sites: Iterator[Site]) -> list[Site]:
    """One site a code: the one that says most."""
    chosen: dict[str, Site] = {}
    for site in sites:
        known = chosen.get(site.code)
        if known is None or (len(site.message), len(site.hint)) > (len(known.message), len(known.hint)):
            chosen[site.code] = site
    return [chosen[code] for code in sorted(chosen)]


def _class_table(classes: list[type[PrixfixeError]]) -> str:
    rows = [
        (
            f"`{cls.default_code}`",
            cls.__name__,
            str(cls.exit_code),
            str(cls.status),
            cls.default_fault,
            "yes" if cls.default_retryable else "no",
            _first_line(cls),
            cls.default_hint or "",
        )
        for cls in classes
    ]
    head = ("code", "class", "exit", "HTTP", "fault", "retry", "when", "what to do")
    return _table(head, rows)


def _code_table(sites: list[Site], fault: str, hint: str) -> str:
    rows = [(f"`{site.code}`", site.message, site.fault or fault, site.hint or hint) for site in sites]
    return _table(("code", "says", "fault", "what to do"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _first_line(cls: type[object]) -> str:
    return (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")
