"""The image, run as a worker runs it: no network, read-only, no privileges."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from prixfixe.cli.bundle_image import build_image
from prixfixe.protocol.bundle import load
from prixfixe.protocol.inspections import COMMAND
from prixfixe.tables.looked import FOUND
from prixfixe.testing.determinism import MASKED_PROCESSOR, same_bytes

pytestmark = pytest.mark.engine

FOLDER = Path(__file__).parents[1]
PARAMETERS = {"by": "region", "rows": 2}


@pytest.fixture(scope="module")
def image() -> str:
    return build_image(FOLDER)


def ran(
    image: str, job: Path, table: str, parameters: Mapping[str, Any], command: Sequence[str]
) -> tuple[str, dict[str, bytes]]:
    """What the command prints, and its outputs by name. The table is `inputs/table.csv` of the folder."""
    for name in ("inputs", "outputs"):
        (job / name).mkdir(parents=True)
    (job / "outputs").chmod(0o777)
    (job / "inputs" / "table.csv").write_text(table)
    (job / "parameters.json").write_text(json.dumps(parameters))
    (job / "task.json").write_text('{"index": 0, "count": 1, "limit_units": null}')
    for path in (job.parent, job, job / "inputs"):
        path.chmod(0o755)
    words = ["docker", "run", "--rm", "--network", "none", "--read-only", "--user", "65532:65532"]
    words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp:rw,size=64m"]
    for name, value in MASKED_PROCESSOR.items():
        words += ["--env", f"{name}={value}"]
    for name in ("inputs", "parameters.json", "task.json"):
        words += ["--volume", f"{job / name}:/job/{name}:ro"]
    words += ["--volume", f"{job / 'outputs'}:/job/outputs", image, *command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, {path.name: path.read_bytes() for path in sorted((job / "outputs").iterdir())}


def test_the_image_gives_the_bytes_that_the_application_gives_here(image: str, tmp_path: Path) -> None:
    job = tmp_path / "job"
    text = "account,region\n00123,EU\n=1+1,\n2,EU\n3,EU\n"
    printed, found = ran(image, job, text, PARAMETERS, load(FOLDER).command)
    assert printed.splitlines()[0] == "Rows of the tables: 4 = rows in the parts: 4."
    assert found["part-0001-EU.csv"] == b"account,region\r\n00123,EU\r\n2,EU\r\n"
    here = same_bytes(FOLDER, [job / "inputs" / "table.csv"], PARAMETERS)
    assert found.keys() == here.keys()
    # Workbooks are compressed by each machine's zlib; what is in them is compared elsewhere.
    texts = [name for name in found if not name.endswith(".xlsx")]
    assert {name: found[name] for name in texts} == {name: here[name] for name in texts}


def test_the_image_looks_at_the_sample_and_counts_its_rows(image: str, tmp_path: Path) -> None:
    sample = load(FOLDER).sample
    assert sample is not None
    rows = sample.content.count("\n") - 1
    asked = {"step": "look", "preflight": "rows", "parameters": {}}
    _, seen = ran(image, tmp_path / "look", sample.content, asked, COMMAND)
    found = json.loads(seen[FOUND])
    assert (found["rows"], found["columns"][0]["name"]) == (rows, "invoice")
    made = {"step": "make", "preflight": "rows", "parameters": load(FOLDER).validate_parameters({})}
    _, counted = ran(image, tmp_path / "make", sample.content, made, COMMAND)
    assert json.loads(counted[FOUND]) == {"units": rows, "converted": False}
