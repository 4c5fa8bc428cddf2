"""A new bundle's folder: a small application that works, to be changed into another."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from prixfixe.errors import Conflict, InvalidInput

_DEFINITION = """\
# What each field means: docs/bundles/kit.md. A change of price, image or limit is a new version.
id = "NAME"
version = "0.1.0"
title = "Count the rows of a table"
summary = "A table goes in, the number of its rows comes out. Change me."
audience = "Whoever is making a bundle"
command = ["python3", "-m", "MODULE"]
replicas = 1
determinism = "exact"
disputable = true
service_level = 600
placement = "public"
rollout = 100

[inputs]
formats = ["csv", "xlsx", "parquet"]
max_bytes = 1_000_000_000
max_files = 1
preflight = "rows"

[[tiers]]
name = "only"
unit = "rows"
up_to = 1_000_000
price = "1.00"
max_cost = "1.00"

[limits]
milli_vcpu = 1000
memory_mib = 1024
disk_mib = 1024
max_seconds = 300

[privacy]
retention_days = 7

[proof]
canonical = "SHA-256 of result.json"
control_totals = "control.json"

[sample]
name = "table.csv"
content = "a,b\\n1,one\\n2,two\\n"

[parameters]
"$schema" = "https://json-schema.org/draft/2020-12/schema"
type = "object"
additionalProperties = false

[parameters.properties.delimiter]
title = "Delimiter"
description = "What separates the cells"
enum = [",", ";", "\\t", "|"]
default = ","
"""
_DOCKERFILE = """\
ARG BASE=prixfixe-base:bookworm
FROM ${BASE}
ENV PYTHONPATH=/app/bundle:/app/kit:/app/site PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 TZ=UTC LANG=C.UTF-8
COPY site/ /app/site/
COPY kit/ /app/kit/
COPY MODULE/ /app/bundle/MODULE/
RUN ["python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/app"]
USER 65532:65532
WORKDIR /job
CMD ["python3", "-m", "MODULE"]
"""
_MAIN = r'''"""The application: reads its tables, writes its outputs, returns sentences for the log."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prixfixe.tables.container import main
from prixfixe.tables.reader import Engine
from prixfixe.tables.source import Source, open_table


def work(
    files: Sequence[Path], parameters: Mapping[str, Any], outputs: Path, engine: Engine, limit: int | None
) -> Sequence[str]:
    with (
        open_table(files[0], Source.from_parameters(parameters), spill=engine.spill) as table,
        engine.connect() as connection,
        table.explained(()),
        table.scan() as scan,
    ):
        (rows,) = connection.execute(f"SELECT count(*) FROM {scan}").fetchone()
    (outputs / "result.json").write_text(json.dumps({"rows": rows}) + "\n")
    (outputs / "control.json").write_text(json.dumps({"sentences": [f"Rows: {rows}."]}) + "\n")
    return [f"Rows: {rows}."]


if __name__ == "__main__":
    sys.exit(main(work))
'''
_TEST = '''"""The same table gives the same bytes on every machine."""

from __future__ import annotations

import json
from pathlib import Path

from prixfixe.testing.determinism import same_bytes

FOLDER = Path(__file__).parents[1]


def test_threads_memory_processor_and_place_change_no_byte(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b\\n" + "".join(f"{n},{n * n}\\n" for n in range(5_000)))
    outputs = same_bytes(FOLDER, [table], {})
    assert json.loads(outputs["result.json"]) == {"rows": 5_000}
'''


def make_bundle(folder: Path) -> list[str]:
    """Write the bundle; returns its files. InvalidInput for a name that no bundle has, Conflict when the
    folder holds something."""
    name = folder.name
    if re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name) is None:
        raise InvalidInput(
            f"{name!r} is no name of a bundle", hint="small letters, digits and dashes, a letter first"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} exists already and is not empty", hint="name a new folder")
    module = name.replace("-", "_")
    files = {
        "bundle.toml": _DEFINITION,
        "Dockerfile": _DOCKERFILE,
        "requirements.txt": _requirements(),
        f"{module}/__init__.py": f'"""The bundle `{name}`."""\n',
        f"{module}/__main__.py": _MAIN,
        "tests/test_bytes.py": _TEST,
    }
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace("NAME", name).replace("MODULE", module), encoding="utf-8")
    return list(files)


def _requirements() -> str:
    """The packages of the table kit, with hashes where `uv` is at hand: a build takes nothing without."""
    from importlib.metadata import version

    wanted = "".join(f"{package}=={version(package)}\n" for package in ("duckdb", "python-calamine"))
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is not None:
        options = ("--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url")
        done = subprocess.run(
            [uv, "pip", "compile", *options, "-"], input=wanted, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return f"# What the image holds beside Python.\n{done.stdout}"
    return f"# Add hashes before building: uv pip compile --generate-hashes\n{wanted}"
