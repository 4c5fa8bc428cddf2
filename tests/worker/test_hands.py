"""The daemon's runner as a process: what it cannot know, and what becomes of its calls when it dies."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from prixfixe.errors import EngineError
from prixfixe.keys import load_signer
from tests.support.devnet import wait_for
from tests.worker.conftest import Stage
from worker import calls
from worker.hands import Hands
from worker.outputs import OutputLimits, OutputRefused

SECRET = "correct horse battery staple"


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hands]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRIXFIXE_PASSPHRASE", SECRET)
        with closing(Hands(tmp_path_factory.mktemp("hands"), "watched", 4)) as hands:
            yield hands


def kill(hands: Hands) -> None:
    """End the runner, and wait until another is in its place."""
    before = hands.pid
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: hands.pid != before, 60, "the start of a new runner")


def memory(pid: int) -> Iterator[bytes]:
    """Everything that a process has written to, in pieces."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as content:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if found is None or "[vvar]" in line:
                continue
            first, last = int(found[1], 16), int(found[2], 16)
            content.seek(first)
            try:
                yield content.read(last - first)
            except OSError:  # unmapped meanwhile
                continue


class TestWhatItKnows:
    def test_its_environment_has_nothing_of_the_daemons_secrets(self, hands: Hands) -> None:
        environment = Path(f"/proc/{hands.pid}/environ").read_bytes()
        assert b"PATH=" in environment
        assert b"PRIXFIXE" not in environment
        assert SECRET.encode() not in environment
        assert SECRET.encode() not in Path(f"/proc/{hands.pid}/cmdline").read_bytes()

    def test_it_has_a_session_of_its_own_and_inherits_one_socket(self, hands: Hands) -> None:
        assert os.getsid(hands.pid) == hands.pid != os.getsid(0)
        inherited = os.open("/etc/hostname", os.O_RDONLY)  # what the daemon happens to have open
        os.set_inheritable(inherited, True)
        try:
            kill(hands)
            hands.sweep(set())
            opened = []
            for name in os.listdir(f"/proc/{hands.pid}/fd"):
                with suppress(FileNotFoundError):  # closed meanwhile
                    opened.append(os.readlink(f"/proc/{hands.pid}/fd/{name}"))
        finally:
            os.close(inherited)
        assert "/etc/hostname" not in opened
        assert not any(place.endswith((".json", ".db", ".key")) for place in opened)

    @pytest.mark.engine
    @pytest.mark.chain
    def test_the_key_is_nowhere_in_its_memory_while_a_task_runs(self, stage: Stage) -> None:
        if os.geteuid() != 0:
            pytest.skip("reading another process's memory needs root")
        signer = load_signer(stage.settings.key, chain_id=31337)
        secret = signer._LocalSigner__key  # type: ignore[attr-defined]
        with stage.worker() as daemon:
            given = stage.assign("sleep 60", max_seconds=60)
            stage.service.until(lambda: any(given.attempt in beat.running for beat in stage.service.beats))
            assert daemon.runner_pid is not None
            assert any(secret in piece for piece in memory(os.getpid())), "the search finds nothing anywhere"
            assert not any(secret in piece for piece in memory(daemon.runner_pid))
            assert not any(secret.hex().encode() in piece for piece in memory(daemon.runner_pid))
            daemon.stop()
            daemon.stop()

    def test_the_daemon_is_hidden_from_its_own_user(self) -> None:
        program = (
            "import ctypes; from worker.hiding import hide_memory; hide_memory();"
            " print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"  # PR_GET_DUMPABLE
        )
        assert subprocess.check_output([sys.executable, "-c", program]) == b"0\n"


class TestWhenItDies:
    def test_a_call_is_answered_by_the_next_one(self, hands: Hands) -> None:
        disk = hands.take(8)
        os.kill(hands.pid, signal.SIGKILL)
        assert hands.adopt(disk.folder, 8) == disk
        hands.release(disk.folder)
        assert not disk.folder.exists()

    def test_what_it_had_ready_is_removed_and_what_a_task_holds_is_not(self, hands: Hands) -> None:
        held = hands.take(8)
        hands.prepare(9)
        folder = held.folder.parent
        assert len(list(folder.iterdir())) == 2
        kill(hands)
        wait_for(lambda: list(folder.iterdir()) == [held.folder], 60, "the sweep")
        hands.release(held.folder)

    def test_an_output_that_is_being_read_is_read_on_where_it_was(self, hands: Hands, tmp_path: Path) -> None:
        content = os.urandom(8 << 20)
        (tmp_path / "large").write_bytes(content)
        reading = hands.read(tmp_path, "large", 100, len(content) - 100)
        first = next(reading)
        os.kill(hands.pid, signal.SIGKILL)
        assert first + b"".join(reading) == content[100:]

    @pytest.mark.engine
    @pytest.mark.chain
    def test_a_task_that_it_followed_runs_on_and_its_log_is_whole(self, stage: Stage) -> None:
        with stage.worker() as daemon:
            given = stage.assign("echo before; sleep 2; echo after; echo x > /job/outputs/x", max_seconds=60)
            stage.service.until(lambda: stage.service.logs.get(given.attempt, b"").startswith(b"before\n"))
            assert daemon.runner_pid is not None
            os.kill(daemon.runner_pid, signal.SIGKILL)
            report = stage.report_of(given)
        assert report.status == 0
        assert stage.service.logs[given.attempt] == b"before\nafter\n"
        assert [file.path for file in report.tasks[0].outputs.files] == ["x"]


class TestCalls:
    def test_an_error_keeps_its_class_and_its_code(self, hands: Hands, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("/etc/shadow")
        with pytest.raises(OutputRefused, match="symbolic link") as caught:
            hands.collect(tmp_path, OutputLimits(10, 100))
        assert caught.value.code == "output-not-plain"

    def test_outputs_are_listed_read_in_part_and_kept(self, hands: Hands, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "a").write_bytes(bytes(range(256)) * 8192)
        found = hands.collect(tmp_path / "out", OutputLimits(10, 1 << 30))
        assert [(file.path, file.size) for file in found.files] == [("a", 2 << 20)]
        read = b"".join(hands.read(tmp_path / "out", "a", 255, (1 << 20) + 3))
        assert (len(read), read[:2], read[-1]) == ((1 << 20) + 3, b"\xff\x00", 1)
        hands.keep(tmp_path / "out", found.files, tmp_path / "kept")
        assert (tmp_path / "kept" / "a").stat().st_size == 2 << 20
        hands.delete(tmp_path / "kept")
        assert not (tmp_path / "kept").exists()

    def test_why_an_archive_was_turned_down_is_heard_while_it_is_still_sent(
        self, hands: Hands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours, theirs = (calls.Channel(each) for each in socket.socketpair())

        @contextmanager
        def opened(request: calls.Request) -> Iterator[calls.Channel]:
            yield ours

        def archive() -> Iterator[bytes]:
            yield b"x"
            theirs.receive()
            theirs.fail(EngineError("no space left for the image"))
            theirs.close()
            yield from [b"y" * 1000] * 1000

        monkeypatch.setattr(hands, "_open", opened)
        with closing(ours), pytest.raises(EngineError, match="no space left"):
            hands.load_image(archive())

    def test_frames_of_several_threads_do_not_mix(self) -> None:
        ours, theirs = (calls.Channel(each) for each in socket.socketpair())
        with closing(ours), closing(theirs):
            senders = [
                threading.Thread(target=ours.send, args=(calls.DATA, bytes([n]) * 500_000)) for n in range(4)
            ]
            for each in senders:
                each.start()
            found = sorted(theirs.receive()[1] for _ in senders)
            for each in senders:
                each.join()
        assert found == [bytes([n]) * 500_000 for n in range(4)]

    def test_what_no_call_is_is_refused(self) -> None:
        with pytest.raises(EngineError, match="does not know"):
            calls.decode_request(b'["Quit", "{}"]')
        with pytest.raises(EngineError, match="do not understand"):
            calls.decode_request(b'["TakeDisk", "{}"]')
