"""The cage as a value: what the engine is told, flag by flag."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prixfixe.errors import ConfigurationError
from worker.cage import Cage, Mounts

CAGE = Cage(
    attempt="a",
    worker="w",
    image="sha256:" + "0a" * 32,
    command=("/bin/app", "--go"),
    environment={"APP": "1", "TZ": "Mars", "PRIXFIXE_CPUS": "64"},
    milli_vcpu=1500,
    memory_mib=512,
    disk_mib=100,
    seconds=60,
    mounts=Mounts(Path("/data/job"), Path("/data/outputs"), Path("/data/tmp")),
)


def test_every_protection_is_asked_for_by_name() -> None:
    told = CAGE.create_request()
    host = told["HostConfig"]
    assert told["Image"] == "sha256:" + "0a" * 32
    assert (told["Entrypoint"], told["Cmd"]) == (["/bin/app"], ["--go"])
    assert (told["User"], told["Hostname"], told["NetworkDisabled"]) == ("65532:65532", "task", True)
    assert told["Healthcheck"] == {"Test": ["NONE"]}
    assert (host["NetworkMode"], host["IpcMode"], host["ReadonlyRootfs"]) == ("none", "private", True)
    assert (host["CapDrop"], host["CapAdd"], host["Privileged"], host["Devices"]) == (["ALL"], [], False, [])
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Memory"] == host["MemorySwap"] == 512 << 20
    assert (host["NanoCpus"], host["PidsLimit"], host["Init"]) == (1_500_000_000, 256, True)
    assert {limit["Name"]: limit["Hard"] for limit in host["Ulimits"]} == {
        "core": 0,
        "fsize": 100 << 20,
        "nofile": 4096,
    }
    assert host["LogConfig"]["Config"]["max-size"] == "2m"


def test_gvisor_gets_what_its_kernel_takes_beside_what_was_bought() -> None:
    told = replace(CAGE, runtime="runsc")
    host = told.create_request()["HostConfig"]
    assert (host["Runtime"], host["PidsLimit"]) == ("runsc", 64 + 10 * 256)
    assert host["Memory"] == host["MemorySwap"] == (512 + 32) << 20
    assert told.describe()["overhead"] == {"memory_mib": 32, "threads": 64, "threads_each": 10}
    assert told.fixed_environment == CAGE.fixed_environment, "the task sees what was bought"
    assert told.digest != CAGE.digest


def test_what_is_shown_is_every_limit_and_no_path_of_the_host() -> None:
    shown = CAGE.describe()
    assert (shown["seconds"], shown["log_bytes"], shown["output_files"]) == (60, 1 << 20, 4096)
    assert (shown["disk_mib"], shown["memory_mib"], shown["swap"], shown["network"]) == (
        100, 512, "none", "none")  # fmt: skip
    assert shown["fixed_environment"]["PYTHONHASHSEED"] == "0"
    assert "/data" not in str(shown)


def test_only_three_folders_are_seen_and_the_first_is_read_only() -> None:
    mounts = CAGE.create_request()["HostConfig"]["Mounts"]
    assert [(each["Target"], each["ReadOnly"]) for each in mounts] == [
        ("/job", True),
        ("/job/outputs", False),
        ("/tmp", False),
    ]
    assert all(each["BindOptions"]["NonRecursive"] for each in mounts)


def test_a_job_cannot_change_what_the_market_fixes() -> None:
    environment = dict(entry.split("=", 1) for entry in CAGE.create_request()["Env"])
    assert (environment["APP"], environment["TZ"], environment["PRIXFIXE_CPUS"]) == ("1", "UTC", "2")
    assert environment["PRIXFIXE_MEMORY_MIB"] == "512"


@pytest.mark.parametrize(
    "change",
    [
        {"image": "python:3.11"},
        {"network": "bridge"},
        {"user": "0:0"},
        {"user": "root"},
        {"memory_mib": 0},
        {"processes": 0},
    ],
)
def test_a_cage_that_does_not_hold_cannot_be_made(change: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        replace(CAGE, **change)  # type: ignore[arg-type]


def test_the_same_cage_on_another_machine_has_the_same_digest() -> None:
    other = replace(CAGE, attempt="b", worker="v", mounts=Mounts(Path("/x"), Path("/y"), Path("/z")))
    assert other.digest == CAGE.digest
    assert replace(CAGE, memory_mib=513).digest != CAGE.digest
    assert "/data" not in str(CAGE.describe())
