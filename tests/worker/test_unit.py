"""Units that systemd takes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from prixfixe.errors import InvalidInput
from worker.commands import worker
from worker.unit import unit


def printed(tmp_path: Path, *words: str) -> str:
    done = CliRunner().invoke(worker, ["unit", "--data", str(tmp_path), *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(
    ("user", "more"), [((), ()), (("--user", "daemon"), ()), ((), ("--egress",))], ids=str
)
def test_systemd_finds_nothing_wrong_with_it(
    tmp_path: Path, user: tuple[str, ...], more: tuple[str, ...]
) -> None:
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("systemd-analyze is not here")
    text = printed(tmp_path, *user, "--", "--slots", "2", *more)
    # What it needs of another package is not on every machine that runs this test.
    place = tmp_path / "prixfixe-worker.service"
    place.write_text(text.replace("Requires=docker.service\n", ""))
    done = subprocess.run([checker, "verify", str(place)], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "prixfixe-worker" in line]
    assert said == []


def test_a_worker_that_mounts_keeps_the_hosts_mounts_and_another_sees_hardly_anything(tmp_path: Path) -> None:
    root, other = printed(tmp_path), printed(tmp_path, "--user", "prixfixe", "--drain", "600")
    for directive in ("ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ReadWritePaths"):
        assert directive not in root
        assert directive in other
    assert "--scratch watched" in other
    assert "TimeoutStopSec=630" in other
    assert "User=" not in root


def test_a_worker_whose_jobs_may_call_hosts_may_enter_their_network(tmp_path: Path) -> None:
    calling, plain = printed(tmp_path, "--", "--egress"), printed(tmp_path)
    other = printed(tmp_path, "--user", "prixfixe", "--", "--egress")
    assert "RestrictNamespaces=net\n" in calling
    assert "CapabilityBoundingSet=CAP_SYS_PTRACE\n" in calling
    for text in (plain, other):
        assert "RestrictNamespaces=yes\n" in text
        assert "CAP_SYS_PTRACE" not in text


def test_a_line_cannot_be_smuggled_in() -> None:
    for words, user in ((("a\nExecStartPre=/bin/false",), None), (("a",), "root\nUser=root")):
        with pytest.raises(InvalidInput):
            unit(Path("/var/lib/worker"), words, user=user, drain=1)
