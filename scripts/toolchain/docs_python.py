"""docs/python.md: the Python client, from its signatures and docstrings."""

from __future__ import annotations

import inspect
import re

from toolchain.project import ROOT

_HEAD = """\
# The Python client

`pip install prixfixe`; checking tables on your machine and frames also take `pip install 'prixfixe[tables]'
pyarrow`. This page is generated from the code by `scripts/docs`. From nothing to a result in ten minutes:
[for developers](start-developer.md).

```python
from prixfixe import Client

with Client() as client:  # the current context and its key; api_key="pfx_..." for an account of the service
    result = client.run("pivot", "sales.csv", parameters={"rows": ["region"], "values": [...]})
    print(result.pandas())
```

`AsyncClient` has the same methods with the same arguments, awaited; its `events` is an async iterator and its
`address()` is awaited too. Every error is one of [these](errors.md): `.code`, `.hint`, `.retryable` and
`.fault` say what to do. What is asked of the service is sent again when a connection breaks, wherever sending
twice does what sending once does; an order qualifies, because its digest is the job's id.
"""


def page() -> str:
    """Clients, methods by group in the order of `Surface`, then the values that they give."""
    from prixfixe.client import Client
    from prixfixe.client.surface import Offered, Surface

    parts = [_HEAD, _class("Client", Client)]
    source = (ROOT / "prixfixe" / "client" / "surface.py").read_text(encoding="utf-8")
    body = source[source.index("class Surface") :]
    for line in body.splitlines():
        if line.startswith("    # "):
            parts.append(f"## {line[6:].rstrip('.')}\n")
        elif found := re.match(r"    (\w+) = Offered\(", line):
            method = vars(Surface)[found[1]]
            assert isinstance(method, Offered)
            parts.append(_method(f"client.{found[1]}", method.operation))
    parts.append("## Events and the rest\n")
    for name in ("events", "perform", "close"):
        parts.append(_method(f"client.{name}", vars(Client)[name]))
    parts += _values()
    return "\n".join(parts)


def _values() -> list[str]:
    from prixfixe.client import progress
    from prixfixe.client.checks import Verification
    from prixfixe.client.results import Result
    from prixfixe.client.wishes import TaskResult, Wish

    parts = ["## What goes in and comes out\n"]
    for kind in (Result, Verification, Wish, TaskResult):
        parts.append(_class(kind.__name__, kind, level=3))
        for name, member in vars(kind).items():
            if inspect.isfunction(member) and not name.startswith("_") and member.__doc__:
                parts.append(_method(f"{kind.__name__.lower()}.{name}", member, level=4))
    parts.append("## Progress: `prixfixe.client.progress`\n")
    parts.append(_text(progress.__doc__ or "") + "\n")
    for name in ("rich", "tqdm"):
        parts.append(_method(f"progress.{name}", getattr(progress, name)))
    parts.append(_class("progress.Step", progress.Step, level=3))
    return parts


def _class(name: str, kind: type, level: int = 2) -> str:
    return (
        f"{'#' * level} {name}\n\n```python\n{name}{_signature(kind)}\n```\n\n{_text(kind.__doc__ or '')}\n"
    )


def _method(name: str, function: object, level: int = 3) -> str:
    assert callable(function)
    return (
        f"{'#' * level} {name}\n\n```python\n{name}{_signature(function)}\n```\n\n"
        f"{_text(function.__doc__ or '')}\n"
    )


def _signature(function: object) -> str:
    """Arguments a line each when they are many, without `self` and without what is the transport's."""
    assert callable(function)
    found = inspect.signature(function)
    given = [each for name, each in found.parameters.items() if name not in ("self", "transport")]
    returns = _returned(found.return_annotation)
    text = str(inspect.Signature(given))
    text = re.sub(r": '([^']*)'", r": \1", text) + returns
    if len(text) <= 90:
        return text
    lines, star = [], False
    for each in given:
        if each.kind is inspect.Parameter.KEYWORD_ONLY and not star:
            star = True
            lines.append("    *,")
        lines.append("    " + re.sub(r": '([^']*)'", r": \1", str(each)) + ",")
    return "(\n" + "\n".join(lines) + "\n)" + returns


def _returned(annotation: object) -> str:
    """What a caller gets: of an operation, what it ends with."""
    if annotation in (inspect.Signature.empty, None, "None", "Self"):
        return ""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    inner = re.fullmatch(r"Operation\[(.*)\]", text)
    return f" -> {inner[1] if inner else text}"


def _text(docstring: str) -> str:
    """A docstring as it stands; its indented examples are code."""
    out: list[str] = []
    code = False
    for line in inspect.cleandoc(docstring).splitlines():
        indented = line.startswith("    ")
        if indented and not code:
            out.append("```python")
            code = True
        elif code and line.strip() and not indented:
            while out[-1] == "":
                out.pop()
            out += ["```", ""]
            code = False
        out.append(line[4:] if indented else line)
    if code:
        out.append("```")
    return "\n".join(out)
