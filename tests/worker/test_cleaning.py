"""What a killed worker left is taken away, and nobody else's things are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from prixfixe.errors import Conflict, NotFound
from worker.cage import LABEL_WORKER
from worker.cleaning import clean
from worker.daemon import installation, only_one

pytestmark = pytest.mark.engine


def _container(label: str) -> str:
    made = subprocess.run(
        ["docker", "create", "--label", f"{LABEL_WORKER}={label}", "prixfixe-base:bookworm", "true"],
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.strip()


def _exists(container: str) -> bool:
    return subprocess.run(["docker", "inspect", container], capture_output=True, check=False).returncode == 0


def test_its_containers_and_disks_go_and_those_of_others_stay(tmp_path: Path) -> None:
    own, other = _container(installation(tmp_path)), _container("somebody-else")
    try:
        (tmp_path / "disks" / "left" / "disk").mkdir(parents=True)
        cleaned = clean(tmp_path)
        assert (cleaned.containers, cleaned.disks) == (1, 1)
        assert not _exists(own)
        assert not (tmp_path / "disks" / "left").exists()
        assert _exists(other)
        assert clean(tmp_path).containers == 0
    finally:
        subprocess.run(["docker", "rm", "--force", own, other], capture_output=True, check=False)


def test_a_worker_that_runs_is_left_alone(tmp_path: Path) -> None:
    installation(tmp_path)
    with only_one(tmp_path), pytest.raises(Conflict, match="another worker runs"):
        clean(tmp_path)


def test_a_folder_that_no_worker_had_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no worker's data folder"):
        clean(tmp_path)
