"""`scripts/setup --plan` tells all that a run would do, and does nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toolchain import setup, system
from toolchain.project import ScriptError
from toolchain.system import Package

ROOT = Path(__file__).parents[2]


def script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts" / name), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_plan_lists_every_system_package_and_every_step() -> None:
    told = json.loads(script("setup", "--plan", "--json", "--with", "ape", "--with", "compose").stdout)
    names = [package["name"] for package in told["packages"]]
    assert names == [
        "docker.io",
        "runsc",
        "mmdebstrap",
        "nodejs",
        "npm",
        "busybox-static",
        "postgresql",
        "python3-venv",
        "docker-compose",
    ]
    assert all(package["purpose"] and isinstance(package["install"], bool) for package in told["packages"])
    assert [step["name"] for step in told["steps"]] == ["packages", "venv", "node", "chain", "image", "ape"]
    assert all(step["needed"] == (step["reason"] is not None) for step in told["steps"])


def test_the_plan_for_a_reader_names_the_same_packages() -> None:
    told = script("setup", "--plan").stdout
    for package in setup.packages():
        assert package.name in told
        assert package.purpose in told


def test_a_finished_set_up_runs_nothing_and_takes_less_than_two_seconds() -> None:
    # The tests run in what the set-up made, so here it is finished. Seconds of processor time: it waits for
    # nothing, and other programs run beside the tests.
    before = os.times()
    done = script("setup")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < 2
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "..." not in done.stderr


def test_json_without_plan_is_refused_with_a_hint() -> None:
    done = script("setup", "--json")
    assert done.returncode == 2
    assert "--plan" in done.stderr


def test_whoever_may_not_install_is_told_the_two_lines_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "can_install", lambda: False)
    wanted = [Package("docker.io", "runs jobs", lambda: False), Package("npm", "tools", lambda: True)]
    with pytest.raises(ScriptError, match=r"docker\.io \(runs jobs\)") as caught:
        system.install(wanted)
    assert caught.value.lines == (
        "sudo apt-get update",
        "sudo apt-get install --no-install-recommends docker.io",
    )


@pytest.mark.parametrize("name", ["setup", "test", "check", "lock", "contracts"])
def test_every_script_explains_itself(name: str) -> None:
    done = script(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    assert len(done.stdout.splitlines()) > 5


def test_the_scripts_need_nothing_but_the_standard_library() -> None:
    # -I -S: no environment variable, no site-packages.
    place = str(ROOT / "scripts")
    probe = f"import sys; sys.path.insert(0, {place!r})\nimport toolchain.setup, toolchain.testing"
    subprocess.run([sys.executable, "-I", "-S", "-c", probe], check=True, timeout=30)
