"""What a script starts, it stops; what it found, it leaves. On a real dockerd of the test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toolchain import engine, image, system
from toolchain.docker_api import Engine, EngineError
from toolchain.project import ROOT, ScriptError

from tests.support.own_bridge import own_bridge

# A run under nohup, or in a shell's background, hands ignored signals down; these tests are about heard ones.
HEARD = (
    "import signal\n"
    "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
)

needs_dockerd = pytest.mark.skipif(
    os.geteuid() != 0 or not system.on_path("dockerd"), reason="only root can start a Docker engine"
)


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engine.Host]:
    """An engine that touches nothing of the machine's own: other folders, another bridge."""
    folder = tmp_path_factory.mktemp("e")
    # A file of its own: dockerd refuses an option that the machine's own file gives too.
    (folder / "daemon.json").write_text("{}")
    with own_bridge() as bridge:
        options = (
            f"--config-file={folder}/daemon.json",
            f"--host=unix://{folder}/s",
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid",
            *(f"--bridge={bridge}", "--iptables=false", "--ip-forward=false"),
        )
        made = engine.Host(folder, f"unix://{folder}/s", options)
        yield made
        engine.stop(made)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@needs_dockerd
def test_an_engine_is_started_used_by_two_and_stopped_by_the_last(host: engine.Host) -> None:
    with engine.running(host) as first:
        assert first.version()
        with engine.running(host):
            pid = host.ours()
        assert host.ours() == pid is not None
        assert first.answers()
    assert not first.answers()
    assert host.ours() is None


def test_an_engine_that_is_started_here_has_gvisor_unless_the_machine_says_what_its_engines_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "runsc"
    monkeypatch.setattr(engine.system, "find", lambda program: str(place))
    monkeypatch.setattr(engine, "CONFIGURATION", tmp_path / "none.json")
    host = engine.Host(tmp_path, f"unix://{tmp_path}/s")
    word, file = engine.gvisor_options(host)
    told = json.loads(Path(file).read_text())["runtimes"]["runsc"]
    assert (word, told["path"]) == ("--config-file", str(place))
    assert "--network=none" in told["runtimeArgs"]
    assert engine.gvisor_options(engine.Host(tmp_path, host.address, (f"--config-file={file}",))) == ()
    (tmp_path / "none.json").write_text("{}")
    assert engine.gvisor_options(host) == ()


@needs_dockerd
def test_an_engine_that_is_to_stay_stays_until_it_is_stopped(host: engine.Host) -> None:
    with engine.running(host, keep=True):
        pass
    assert host.engine.answers()
    with engine.running(host):
        pass
    assert host.engine.answers()
    engine.stop(host)
    assert not host.engine.answers()


@needs_dockerd
def test_an_engine_that_was_found_running_is_left_running(host: engine.Host, tmp_path: Path) -> None:
    visitor = engine.Host(tmp_path, host.address)
    with engine.running(host):
        with engine.running(visitor):
            assert visitor.ours() is None
        assert host.engine.answers()


@needs_dockerd
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_script_that_is_told_to_stop_stops_its_engine(host: engine.Host, number: signal.Signals) -> None:
    code = (
        f"{HEARD}import time\nfrom pathlib import Path\nfrom toolchain import engine, signals\n"
        f"host = engine.Host(Path({str(host.folder)!r}), {host.address!r}, {host.options!r})\n"
        "with signals.as_exceptions(), engine.running(host):\n"
        "    print('up', flush=True)\n"
        "    time.sleep(600)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert not host.engine.answers()
    assert host.ours() is None


@needs_dockerd
def test_the_next_user_stops_what_a_killed_script_left_running(host: engine.Host) -> None:
    code = (
        "import os\nfrom pathlib import Path\nfrom toolchain import engine\n"
        f"host = engine.Host(Path({str(host.folder)!r}), {host.address!r}, {host.options!r})\n"
        "with engine.running(host):\n    os.kill(os.getpid(), 9)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    subprocess.run([sys.executable, "-c", code], env=env, check=False, timeout=60)
    assert host.engine.answers()
    with engine.running(host):
        pass
    until(lambda: not host.engine.answers())


def test_an_address_that_the_user_named_is_never_replaced(tmp_path: Path) -> None:
    host = engine.Host(tmp_path, f"unix://{tmp_path}/nobody", fixed=True)
    with pytest.raises(ScriptError, match="no engine answers") as caught, engine.running(host):
        pass
    assert caught.value.lines == ("unset DOCKER_HOST",)


def test_a_user_without_an_engine_gets_two_lines_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "find", lambda program: None)
    with (
        pytest.raises(ScriptError, match="no Docker engine runs") as caught,
        engine.running(engine.Host(tmp_path, f"unix://{tmp_path}/nobody")),
    ):
        pass
    assert len(caught.value.lines) == 2
    assert "docker.io" in caught.value.lines[0]


def test_a_silent_address_is_no_engine(tmp_path: Path) -> None:
    assert not Engine(f"unix://{tmp_path}/nobody").answers()
    with pytest.raises(EngineError, match="not understood"):
        Engine("ftp://here").version()


@pytest.mark.engine
def test_half_an_archive_never_becomes_an_image(tmp_path: Path) -> None:
    with engine.running() as found:
        half = tmp_path / "half.tar"
        # A header that promises more than follows.
        subprocess.run(["tar", "-cf", half, "-C", ROOT, "LICENSE"], check=True)
        half.write_bytes(half.read_bytes()[:2048])
        with pytest.raises(EngineError):
            found.import_archive(half, "prixfixe-half", "test", ())
        assert found.image("prixfixe-half:test") is None


@pytest.mark.engine
def test_the_base_image_is_there_and_not_made_again() -> None:
    with engine.running() as found:
        assert image.missing_in(found) is None
        assert found.image("prixfixe-base:never") is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_script_that_is_told_to_stop_lets_its_program_tidy_up(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The program writes a file at its end; the script ends after it, with its own status."""
    program = tmp_path / "program.py"
    program.write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "try:\n    print('up', flush=True)\n    time.sleep(600)\n"
        f"finally:\n    open({str(tmp_path / 'tidy')!r}, 'w').close()\n"
    )
    code = (
        f"{HEARD}import os, sys\nfrom toolchain import signals\n"
        f"with signals.as_exceptions():\n    signals.run([sys.executable, {str(program)!r}], os.environ)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.wait(30) != 0
    assert (tmp_path / "tidy").exists()
