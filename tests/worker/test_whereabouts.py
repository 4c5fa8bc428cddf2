"""Where an engine is, whether it is safe to speak to it, and whether it can hold a task."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from prixfixe.errors import ConfigurationError, EngineError
from worker.whereabouts import (
    _peer,
    address,
    is_far,
    require_keeper,
    require_limits,
    require_room,
    require_shared,
    require_usable,
    shares_our_mounts,
)

ABLE = {"MemoryLimit": True, "PidsLimit": True, "CpuCfsQuota": True, "CgroupVersion": "2"}
# As an engine describes itself without root: on control groups of version 1, and of 2 without delegation.
ROOTLESS = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]}
VERSION_1 = {**ROOTLESS, "CgroupVersion": "1", "CgroupDriver": "none"}
NOT_DELEGATED = {**ROOTLESS, **ABLE, "CpuCfsQuota": False}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"DOCKER_HOST": "ssh://me@elsewhere"}, "engine-elsewhere"),
        ({"DOCKER_HOST": "10.0.0.9:2375"}, "engine-elsewhere"),
        ({"DOCKER_HOST": "elsewhere:2375"}, "engine-elsewhere"),
        ({"DOCKER_HOST": "http://10.0.0.9:2375"}, "engine-elsewhere"),
        ({"DOCKER_HOST": "tcp://10.0.0.9:2375"}, "engine-without-tls"),
        ({"DOCKER_HOST": "tcp://10.0.0.9:2376", "DOCKER_CERT_PATH": "/certs"}, "engine-without-tls"),
    ],
)
def test_one_that_anybody_could_stand_between_is_refused(given: dict[str, str], code: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_usable(given)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"DOCKER_HOST": ""},
        {"DOCKER_HOST": "unix:///run/user/1000/docker.sock"},
        {"DOCKER_HOST": "tcp://127.0.0.1:2375"},
        {"DOCKER_HOST": "tcp://10.0.0.9:2376", "DOCKER_TLS_VERIFY": "1"},
    ],
)
def test_the_rest_is_taken(given: dict[str, str]) -> None:
    require_usable(given)


def test_an_address_is_far_and_a_socket_of_root_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_far("tcp://127.0.0.1:2375")
    assert address({}) == "unix:///var/run/docker.sock"
    place = f"unix://{tmp_path}/s"
    assert not is_far(place), "nobody listens"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        assert _peer(place) == (os.getpid(), os.getuid())
    monkeypatch.setattr("worker.whereabouts._peer", lambda where: (1, 0))
    assert not is_far(place)
    monkeypatch.setattr("worker.whereabouts._peer", lambda where: (1, 1000))
    assert is_far(place), "a rootless engine, which is another user to our folders"
    assert not shares_our_mounts(place)


@pytest.mark.parametrize(
    ("told", "hint"),
    [
        (VERSION_1, "systemd.unified_cgroup_hierarchy=1"),
        (NOT_DELEGATED, "Delegate=cpu"),
        ({**ABLE, "PidsLimit": False}, "enable its control group"),
    ],
    ids=["rootless on version 1", "rootless, not delegated", "no limit of processes"],
)
def test_one_that_cannot_limit_a_task_is_refused_with_what_to_do(told: dict[str, Any], hint: str) -> None:
    with pytest.raises(EngineError, match="cannot limit") as caught:
        require_limits(told)
    assert caught.value.code == "engine-no-limits"
    assert hint in str(caught.value.hint)


def test_a_rootless_one_that_can_is_taken() -> None:
    require_limits({**ROOTLESS, **ABLE})


def test_a_folder_is_not_mounted_by_its_path_on_another_machine() -> None:
    for kind in ("loop", "watched"):
        with pytest.raises(ConfigurationError, match="elsewhere"):
            require_shared(kind, "tcp://10.0.0.9:2376")
        require_shared(kind, "tcp://127.0.0.1:2375")
        require_shared(kind, address({}))
    require_shared("carried", "tcp://10.0.0.9:2376")


def test_what_keeps_a_tasks_files_needs_its_processor() -> None:
    require_keeper({"Architecture": "x86_64"})
    with pytest.raises(EngineError, match="aarch64"):
        require_keeper({"Architecture": "aarch64"})


def test_no_more_is_offered_than_its_machine_has_where_disks_are_memory() -> None:
    require_room(1000, 24, 1024)
    with pytest.raises(ConfigurationError, match="1024 MiB") as caught:
        require_room(1000, 25, 1024)
    assert caught.value.code == "engine-too-small"
