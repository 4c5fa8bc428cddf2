"""Whether a bundle's application gives the same bytes on every machine, for the bundle's own tests.

The application runs as its container runs it, in a process of its own on a folder laid out like /job, once
for each variation: threads, memory, a processor whose newer instructions are masked, another time zone,
language and hash seed. An image fixes some of these; an application that needs them fixed is found out here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prixfixe.protocol.bundle import load

MASKED_PROCESSOR: Mapping[str, str] = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
}
"""Environment under which the C library, OpenBLAS and numpy compute as on a processor without AVX2 and FMA:
exp, log, pow and matrix products then differ in their last bits from those of a newer one."""

_RUN = """
import sys
from importlib import import_module
from pathlib import Path
from prixfixe.tables.container import main
sys.exit(main(import_module(sys.argv[1]).work, Path(sys.argv[2])))
"""


@dataclass(frozen=True)
class Variation:
    """One way in which machines differ."""

    name: str
    cpus: int = 2
    memory_mib: int = 1024
    environment: Mapping[str, str] = field(default_factory=dict)


VARIATIONS = (
    Variation("one thread", cpus=1),
    Variation("four threads and little memory", cpus=4, memory_mib=512),
    Variation("an older processor", environment=MASKED_PROCESSOR),
    Variation(
        "another time zone, language and hash seed",
        environment={"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "7"},
    ),
)


def same_bytes(
    folder: Path,
    tables: Sequence[Path],
    parameters: Mapping[str, Any],
    *,
    variations: Sequence[Variation] = VARIATIONS,
) -> dict[str, bytes]:
    """Run the bundle in `folder` on `tables` under each variation; returns its outputs by name.

    AssertionError names the first file that differs and the variation, or says why a run failed.
    """
    module = f"{load(folder).command[-1]}.__main__"
    first: dict[str, bytes] = {}
    for variation in variations:
        found = _outputs(folder, module, tables, parameters, variation)
        first = first or found
        odd = next((n for n in sorted({*first, *found}) if first.get(n) != found.get(n)), None)
        if odd is not None:
            raise AssertionError(f"{odd} differs between {variations[0].name} and {variation.name}")
    return first


def _outputs(
    folder: Path, module: str, tables: Sequence[Path], parameters: Mapping[str, Any], variation: Variation
) -> dict[str, bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder.resolve()), *filter(None, sys.path)]),
        "PRIXFIXE_CPUS": str(variation.cpus),
        "PRIXFIXE_MEMORY_MIB": str(variation.memory_mib),
        **variation.environment,
    }
    with tempfile.TemporaryDirectory(prefix="prixfixe-job-") as scratch:
        job = Path(scratch)
        for name in ("inputs", "outputs"):
            (job / name).mkdir()
        for table in tables:
            shutil.copy(table, job / "inputs" / table.name)
        (job / "parameters.json").write_text(json.dumps(parameters))
        (job / "task.json").write_text(json.dumps({"index": 0, "count": 1, "limit_units": None}))
        done = subprocess.run(
            [sys.executable, "-c", _RUN, module, str(job)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"with {variation.name} the run ended with {done.returncode}: {done.stderr}")
        return {path.name: path.read_bytes() for path in sorted((job / "outputs").iterdir())}
