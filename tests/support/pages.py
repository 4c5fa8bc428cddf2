"""A page of docs/ typed as a reader does: in one shell, block by block, and what it says that one sees is
looked for in what came out."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
SAVED = re.compile(r"Save as `([\w.]+)`")
UNTIL = "# until Ctrl-C"
_MARK = "=====block "
# A command that goes on is ready when its log says so; all of them end with the shell.
_BEFORE = r"""
set -euo pipefail
exec 2>&1
own=
trap 'echo "failed: $BASH_COMMAND"' ERR
ends() {
  code=$?; set +e; trap - ERR
  running=$(jobs -p)
  test -z "$running" || kill $running
  for each in $running; do
    wait $each; left=$?
    # In order, or by the signal where it is a reader's own program, which knows no other end.
    [[ $left = 143 && " $own " = *" $each "* ]] && left=0
    if [ $left != 0 ]; then echo "what went on ended with $left"; code=1; fi
  done
  exit $code
}
trap ends EXIT
goes_on() {
  for _ in $(seq 2400); do grep -qE 'ready|listening|http://' "$1" && return; sleep 0.05; done
  cat "$1"; return 1
}
there() {
  for _ in $(seq 2400); do test -e "$1" && return; sleep 0.05; done
  echo "never there: $1"; return 1
}
comes() {
  for _ in $(seq 2400); do cat running-*.log | grep -qE -- "$1" && return; sleep 0.05; done
  echo "never came: $1"; cat running-*.log; return 1
}
"""


@dataclass(frozen=True)
class Typed:
    """seen: what each block of commands printed, both streams. missing: lines that the page says one sees,
    and that were not there."""

    code: int
    output: str
    missing: tuple[str, ...]


def type_page(
    text: str, folder: Path, environment: Mapping[str, str], changes: Mapping[str, str], seconds: float = 600
) -> Typed:
    """Type every command of a page's text in `folder`; `changes` replaces what is another's in a test."""
    for old, new in changes.items():
        text = text.replace(old, new)
    blocks = list(FENCE.finditer(text))
    script = _BEFORE + "\n".join(_script(text, folder))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=seconds,
        check=False,
    )
    parts = done.stdout.split(_MARK)
    seen = {int(part.partition("\n")[0]): part.partition("\n")[2] for part in parts[1:]}
    missing: list[str] = []
    for at, block in enumerate(blocks):
        if block[1] == "text":
            missing += _missing(block[2], seen.get(at - 1, ""))
    return Typed(done.returncode, done.stdout, tuple(missing))


def commands(text: str) -> int:
    """How many lines a reader types."""
    return sum(len(block[2].splitlines()) for block in FENCE.finditer(text) if block[1] == "sh")


def _script(text: str, folder: Path) -> Iterator[str]:
    running = 0
    for at, block in enumerate(FENCE.finditer(text)):
        kind, body = block[1], block[2]
        if kind == "python":
            name = SAVED.findall(text[: block.start()])[-1]
            (folder / name).write_text(body, encoding="utf-8")
        if kind == "until":
            yield from (f"comes '{_pattern(line)}'" for line in body.splitlines())
        if kind != "sh":
            continue
        yield f"echo; echo '{_MARK}{at}'"
        for line in body.splitlines():
            if UNTIL in line:
                running += 1
                yield f"exec_{running}() {{ exec {line.partition('#')[0].strip()}; }}"
                yield f"(exec_{running}) > running-{running}.log 2>&1 &"
                if line.startswith("python "):
                    yield 'own="$own $!"'
                yield f"goes_on running-{running}.log"
                if " worker start " in line:
                    yield "there prixfixe-worker/quoted.json"  # it asks
            else:
                yield line


def _missing(said: str, output: str) -> Iterator[str]:
    """Lines are looked for in their order; spaces count as one, and `...` is anything."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    at = 0
    for line in said.splitlines():
        pattern = re.compile(_pattern(" ".join(line.split())))
        found = next((n for n in range(at, len(lines)) if pattern.search(lines[n])), None)
        if found is None:
            yield line
        else:
            at = found + 1


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("..."))
