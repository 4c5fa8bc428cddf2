"""Secrets on a worker: in memory, read-only, for the length of the attempt."""

from __future__ import annotations

import stat
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prixfixe.errors import EngineError, InvalidInput, PrixfixeError
from prixfixe.protocol.secrets import SealedSecrets, seal
from tests.protocol.test_secrets import DEAL, HERE, WORKER
from worker import sealing
from worker.cage import Mounts
from worker.sealing import Secrets, is_host_memory

ASSIGNMENT: Any = SimpleNamespace(
    attempt="ab12", deal=DEAL, manifest=SimpleNamespace(secrets=("token", "key.pem"))
)
GIVEN = {"token": b"hunter2", "key.pem": b"-----"}


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    (tmp_path / "shm").mkdir()
    found = Secrets(tmp_path, "installation", HERE, tmp_path / "shm")
    found.possible = True  # a folder of a test is on no memory
    return found


def client(secrets: Secrets, given: dict[str, bytes] | None, deal: Any = DEAL) -> Any:
    statement = secrets.statement(WORKER)
    assert statement is not None
    sealed = None
    if given is not None:
        sealed = SealedSecrets(sealed=seal(given, statement.statement.public, deal, WORKER.address, HERE))
    return SimpleNamespace(secrets=lambda attempt, wait: sealed)


def fetch(secrets: Secrets, service: Any, *, stopped: bool = False) -> Path | None:
    until = time.monotonic() + 10
    return secrets.fetch(service, ASSIGNMENT, WORKER.address, until, lambda: stopped)


def test_they_lie_read_only_in_a_folder_that_only_the_worker_may_enter(secrets: Secrets) -> None:
    folder = fetch(secrets, client(secrets, GIVEN))
    assert folder is not None
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == GIVEN
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in folder.iterdir()} == {0o444}
    # A worker that was killed finds them again without asking.
    assert fetch(secrets, client(secrets, None)) == folder
    secrets.forget("ab12")
    assert not folder.exists()


def test_those_of_attempts_that_are_over_are_swept(secrets: Secrets) -> None:
    folder = fetch(secrets, client(secrets, GIVEN))
    assert folder is not None
    secrets.sweep({"ab12"})
    assert folder.exists()
    secrets.sweep(())
    assert not folder.exists()


def test_none_in_time_wrong_ones_or_of_another_deal_are_the_customers(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "WAIT_SECONDS", 0.0)
    from dataclasses import replace

    for service, code in (
        (client(secrets, None), "secrets-missing"),
        (client(secrets, {"token": b"x"}), "wrong-secrets"),
        (client(secrets, GIVEN, replace(DEAL, lot=7)), "secrets-unreadable"),
    ):
        with pytest.raises(InvalidInput) as caught:
            fetch(secrets, service)
        assert (caught.value.code, caught.value.fault) == (code, "customer")


def test_a_worker_that_is_stopped_waits_for_none_and_says_so_of_itself(secrets: Secrets) -> None:
    with pytest.raises(EngineError, match="was stopped") as caught:
        fetch(secrets, client(secrets, None), stopped=True)
    assert caught.value.fault == "provider"


def test_a_worker_without_memory_for_them_offers_no_key_and_takes_none(tmp_path: Path) -> None:
    none = Secrets(tmp_path, "installation", HERE, tmp_path / "missing")
    assert none.statement(WORKER) is None
    with pytest.raises(PrixfixeError, match="cannot keep secrets"):
        fetch(none, None)


@pytest.mark.parametrize(
    ("mounts", "good"),
    [
        ("tmpfs /dev/shm tmpfs rw 0 0", True),
        ("shm /dev/shm tmpfs rw 0 0", False),  # a container's own
        ("shm /dev/shm tmpfs rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0", True),  # the host's, mounted over it
        ("/dev/sda /dev/shm ext4 rw 0 0", False),
        ("", False),
    ],
)
def test_memory_is_that_of_the_engines_host(mounts: str, good: bool) -> None:
    assert is_host_memory(Path("/dev/shm"), mounts) is good


def test_the_sealing_key_is_the_same_after_a_restart_and_the_users_alone(tmp_path: Path) -> None:
    first = Secrets(tmp_path, "i", HERE)
    again = Secrets(tmp_path, "i", HERE)
    first.possible = again.possible = True
    assert first.statement(WORKER) == again.statement(WORKER)
    assert stat.S_IMODE((tmp_path / "sealing.key").stat().st_mode) == 0o600


def test_the_cage_shows_the_folder_read_only(tmp_path: Path) -> None:
    from dataclasses import replace

    from tests.worker.test_cage_value import CAGE

    mounts = Mounts(Path("/j"), Path("/o"), Path("/t"), tmp_path)
    (bind,) = [
        each
        for each in replace(CAGE, mounts=mounts).create_request()["HostConfig"]["Mounts"]
        if each["Target"] == "/run/secrets"
    ]
    assert (bind["Source"], bind["ReadOnly"]) == (str(tmp_path), True)
