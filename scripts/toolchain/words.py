"""What must not stand in a tracked file: where packages come from, and where this checkout lies."""

from __future__ import annotations

import subprocess
from pathlib import Path

from toolchain.project import ROOT

# Written in two halves, so that this file does not hold what it looks for.
REGISTRIES = tuple(
    ".".join(halves)
    for halves in (
        ("pypi", "org"),
        ("files.pythonhosted", "org"),
        ("registry.npmjs", "org"),
        ("registry.yarnpkg", "com"),
        ("deb.debian", "org"),
        ("security.debian", "org"),
        ("registry-1.docker", "io"),
        ("index.docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("binaries.soliditylang", "org"),
    )
)


def private_paths() -> list[str]:
    """Where this checkout and this user's files lie, with the slash that makes it a path."""
    places = {ROOT, ROOT.parent, Path.home()}
    # A folder at the top, such as /root or /srv, is too general a word to be private.
    return sorted(f"{place}/" for place in places if len(place.parts) > 2)


def tracked() -> list[Path]:
    """The files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in told.split("\0") if name]


def offences(files: list[Path], unwanted: list[str]) -> list[str]:
    """`file:line: word` for each unwanted word."""
    found = []
    for file in files:
        if not file.is_file() or file.is_symlink():
            continue
        text = file.read_text(errors="replace")
        for word in unwanted:
            if word in text:
                found += [
                    f"{file.relative_to(ROOT)}:{number}: {word}"
                    for number, line in enumerate(text.splitlines(), 1)
                    if word in line
                ]
    return found
