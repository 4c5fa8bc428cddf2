"""Lock files: every file that may be installed is named by its hash, and none says where it comes from."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from toolchain import words

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(ROOT.glob("bundles/*/requirements.txt"))
PROJECT = sorted((ROOT / "requirements").glob("*.txt"))
LOCKS = [*PROJECT, *BUNDLES]


def entries(lock: Path) -> dict[str, tuple[str, int]]:
    """Package -> (version, number of hashes)."""
    found = {}
    logical = lock.read_text().replace("\\\n", " ")
    for line in logical.splitlines():
        if line and not line.lstrip().startswith("#"):
            requirement = Requirement(line.split("--hash")[0].strip())
            (version,) = (specifier.version for specifier in requirement.specifier)
            hashes = len(re.findall(r"--hash=sha256:[0-9a-f]{64}", line))
            found[canonicalize_name(requirement.name)] = (version, hashes)
    return found


def test_there_is_a_lock_for_each_way_to_install() -> None:
    names = {lock.stem for lock in PROJECT}
    extras = {"service", "worker", "tables", "postgres", "s3"}
    assert names == {"uv", "runtime", *extras, "image", "dev", "ape", "analysis", "celery"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: f"{lock.parent.name}-{lock.stem}")
def test_every_locked_package_has_hashes(lock: Path) -> None:
    found = entries(lock)
    assert found
    assert {name for name, (_, hashes) in found.items() if not hashes} == set()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: f"{lock.parent.name}-{lock.stem}")
def test_no_lock_names_a_place(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text


def test_all_locks_of_the_project_agree_on_versions() -> None:
    dev = entries(ROOT / "requirements" / "dev.txt")
    for name in ("runtime", "service", "worker", "tables", "image"):
        for package, (version, _) in entries(ROOT / "requirements" / f"{name}.txt").items():
            assert dev[package][0] == version, f"{package} in {name}.txt"


def test_every_bundle_asks_for_packages_and_its_lock_holds_them() -> None:
    assert [lock.parent for lock in BUNDLES] == sorted(
        path.parent for path in ROOT.glob("bundles/*/Dockerfile")
    )
    for lock in BUNDLES:
        wanted = {canonicalize_name(line) for line in lock.with_suffix(".in").read_text().split()}
        assert wanted <= entries(lock).keys(), f"{lock}: run scripts/lock"


@pytest.mark.parametrize("lock", BUNDLES, ids=lambda lock: lock.parent.name)
def test_a_bundles_image_holds_what_its_tests_run_with(lock: Path) -> None:
    dev = entries(ROOT / "requirements" / "dev.txt")
    assert {name: dev[name] for name in entries(lock)} == entries(lock)


@pytest.mark.parametrize("extra", ["runtime", "service", "worker", "tables", "dev"])
def test_the_locks_hold_what_the_project_asks_for(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"].get(extra, [])]
    locked = entries(ROOT / "requirements" / f"{extra}.txt")
    for line in wanted:
        requirement = Requirement(line)
        if requirement.name != "prixfixe":
            version = locked[canonicalize_name(requirement.name)][0]
            assert requirement.specifier.contains(version), f"{line}: {version} is locked; run scripts/lock"


def test_the_runtime_holds_no_tools() -> None:
    for name in ("runtime", "service", "worker", "tables", "image"):
        tools = {"eth-ape", "py-solc-x", "pytest", "mypy", "ruff", "hatchling", "uv", "pyrevm", "hypothesis"}
        assert not tools & entries(ROOT / "requirements" / f"{name}.txt").keys()


def test_ape_has_an_older_web3_of_its_own() -> None:
    locked = entries(ROOT / "requirements" / "ape.txt")
    assert locked["eth-ape"][0] == "0.8.51"
    assert locked["ape-foundry"][0] == "0.8.12"
    assert locked["ape-solidity"][0] == "0.8.6"
    assert int(locked["web3"][0].split(".")[0]) < 8


def test_the_npm_lock_has_hashes_and_no_places() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert len(packages) > 4
    for name, entry in packages.items():
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry, name


def test_no_tracked_file_names_a_registry_or_a_place_on_this_machine() -> None:
    found = words.offences(words.tracked(), [*words.REGISTRIES, *words.private_paths()])
    assert found == []


def test_an_unwanted_word_is_found_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "ROOT", tmp_path)
    (tmp_path / "lock.txt").write_text("a==1\nfrom " + words.REGISTRIES[0] + "\n")
    assert words.offences([tmp_path / "lock.txt"], list(words.REGISTRIES)) == [
        f"lock.txt:2: {words.REGISTRIES[0]}"
    ]
