"""The image, run as a worker runs it: no network, read-only, no privileges."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from prixfixe.cli.bundle_image import build_image
from prixfixe.protocol.bundle import load
from prixfixe.testing.determinism import MASKED_PROCESSOR, same_bytes

pytestmark = pytest.mark.engine

FOLDER = Path(__file__).parents[1]
PARAMETERS = {"by": "region", "rows": 2}


def test_the_image_gives_the_bytes_that_the_application_gives_here(tmp_path: Path) -> None:
    for name in ("inputs", "outputs"):
        (tmp_path / name).mkdir()
    (tmp_path / "outputs").chmod(0o777)
    table = tmp_path / "inputs" / "table.csv"
    table.write_text("account,region\n00123,EU\n=1+1,\n2,EU\n3,EU\n")
    (tmp_path / "parameters.json").write_text(json.dumps(PARAMETERS))
    (tmp_path / "task.json").write_text('{"index": 0, "count": 1, "limit_units": null}')
    for path in (tmp_path, tmp_path / "inputs"):
        path.chmod(0o755)
    words = ["docker", "run", "--rm", "--network", "none", "--read-only", "--user", "65532:65532"]
    words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp:rw,size=64m"]
    for name, value in MASKED_PROCESSOR.items():
        words += ["--env", f"{name}={value}"]
    for name in ("inputs", "parameters.json", "task.json"):
        words += ["--volume", f"{tmp_path / name}:/job/{name}:ro"]
    words += ["--volume", f"{tmp_path / 'outputs'}:/job/outputs", build_image(FOLDER), *load(FOLDER).command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "Rows of the tables: 4 = rows in the parts: 4."
    found = {path.name: path.read_bytes() for path in sorted((tmp_path / "outputs").iterdir())}
    assert found["part-0001-EU.csv"] == b"account,region\r\n00123,EU\r\n2,EU\r\n"
    here = same_bytes(FOLDER, [table], PARAMETERS)
    assert found.keys() == here.keys()
    # Workbooks are compressed by each machine's zlib; what is in them is compared elsewhere.
    texts = [name for name in found if not name.endswith(".xlsx")]
    assert {name: found[name] for name in texts} == {name: here[name] for name in texts}
