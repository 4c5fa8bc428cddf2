"""anvil, the local chain: found, started, waited for, stopped, and its clock moved."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from prixfixe.chain.rpc import Rpc
from prixfixe.errors import ChainError, ConfigurationError, Unavailable

ANVIL_VARIABLE: Final = "PRIXFIXE_ANVIL"
CHAIN_ID: Final = 31337
_DRAINED: Final = 65_536  # characters at once of what nobody reads
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_LISTENING: Final = "Listening on "


def find_anvil() -> Path:
    """The program: PRIXFIXE_ANVIL, beside this Python, on PATH, or in a node_modules folder here or above.

    ConfigurationError says how to get it.
    """
    if chosen := os.environ.get(ANVIL_VARIABLE):
        if not os.access(chosen, os.X_OK):
            raise ConfigurationError(f"{ANVIL_VARIABLE} is {chosen}, which is no program", code="no-anvil")
        return Path(chosen)
    beside = Path(sys.executable).parent / "anvil"
    if os.access(beside, os.X_OK):
        return beside
    if found := shutil.which("anvil"):
        return Path(found)
    machine = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine().lower()
    )
    inside = Path("node_modules", "@foundry-rs", f"anvil-{sys.platform}-{machine}", "bin", "anvil")
    for folder in (*_upwards(Path.cwd()), *_upwards(Path(__file__).resolve().parent)):
        if os.access(folder / inside, os.X_OK):
            return folder / inside
    raise ConfigurationError(
        "anvil, the local chain, is not installed",
        code="no-anvil",
        hint=f"run scripts/setup, or `npm install @foundry-rs/anvil`, or set {ANVIL_VARIABLE} to the program",
    )


def anvil_command(
    port: int,
    *,
    state: Path | None = None,
    accounts: int = 20,
    host: str = "127.0.0.1",
    chain_id: int = CHAIN_ID,
) -> list[str]:
    """The command line of a chain that makes a block for each transaction.

    port: 0 takes a free one and prints it. state: a file that it reads at the start and writes every second
    and at the end, so that a chain that was killed goes on.
    """
    command = [str(find_anvil()), "--host", host, "--port", str(port), "--chain-id", str(chain_id)]
    command += ["--accounts", str(accounts)]
    if state is not None:
        command += ["--state", str(state), "--state-interval", "1"]
    return command


def going_on(command: Sequence[str]) -> list[str]:
    """The command line as it is to be started now: when the last block of its state lies ahead of the
    machine's time, because the clock had been moved, the chain's clock begins there. By itself it would begin
    at the machine's time, with blocks before its own last ones."""
    kept = list(command)
    if "--timestamp" in kept:  # of an earlier start
        at = kept.index("--timestamp")
        del kept[at : at + 2]
    if "--state" not in kept:
        return kept
    last = _last_time(Path(kept[kept.index("--state") + 1]))
    return [*kept, "--timestamp", str(last)] if last > time.time() else kept


def _last_time(state: Path) -> int:
    """Of the latest block in a chain's state; 0 without one. What is wrong with a file anvil says itself."""
    try:
        return int(json.loads(state.read_bytes())["block"]["timestamp"], 16)
    except (OSError, ValueError, LookupError, TypeError):
        return 0


class LocalChain:
    """A running local chain, with the things that only a local chain can do."""

    def __init__(self, url: str, pid: int | None = None) -> None:
        """pid: of its process, where it is known."""
        self.url = url
        self.pid = pid
        self.rpc = Rpc(url)

    @property
    def time(self) -> int:
        """Unix seconds of the latest block: the clock of every deadline."""
        return int(self.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def advance(self, seconds: int) -> int:
        """Moves the clock and makes a block; the new time."""
        self.rpc.call("evm_increaseTime", hex(seconds))
        self.rpc.call("evm_mine")
        return self.time

    def move_to(self, time: int) -> None:
        """Makes a block at exactly this time, which must lie ahead."""
        self.rpc.call("evm_setNextBlockTimestamp", hex(time))
        self.rpc.call("evm_mine")

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """Whatever happens inside is undone at the end, the clock too. It begins at the latest block's time,
        however long ago that was made: who looks at the clock would be told of a past that the next block is
        not in."""
        self.rpc.call("evm_revert", self.rpc.call("evm_snapshot"))  # which sets the clock back
        snapshot = self.rpc.call("evm_snapshot")
        try:
            yield
        finally:
            self.rpc.call("evm_revert", snapshot)

    def close(self) -> None:
        self.rpc.close()


@contextmanager
def running_anvil(*, state: Path | None = None, port: int = 0) -> Iterator[LocalChain]:
    """A chain on a free loopback port for the length of a block; its process is gone at the end."""
    process = subprocess.Popen(
        going_on(anvil_command(port, state=state)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # the terminal's Ctrl-C is for who started it, which then stops it in order
    )
    assert process.stdout is not None
    chain: LocalChain | None = None
    reader: threading.Thread | None = None
    try:
        chain = LocalChain(f"http://{_await_listening(process, process.stdout)}", process.pid)
        reader = _drain(process.stdout)
        _await_answer(chain)
        if state is not None:
            _await_heed(process.pid)
        yield chain
    finally:
        if chain is not None:
            chain.close()
        _stop(process)
        if reader is not None:
            reader.join()  # it reads to the end, which nobody may close under it
        process.stdout.close()


def _upwards(folder: Path) -> tuple[Path, ...]:
    return (folder, *folder.parents)


def _await_listening(process: subprocess.Popen[str], output: IO[str]) -> str:
    """HOST:PORT that anvil prints once its port is open."""
    lines: deque[str] = deque(maxlen=20)
    for line in output:
        lines.append(line.strip())
        if line.startswith(_LISTENING):
            return line.removeprefix(_LISTENING).strip()
    last = " / ".join(line for line in lines if line)[-500:]
    raise ConfigurationError(
        f"anvil ended with {process.wait()} before it listened: {last}",
        code="no-anvil",
    )


def _drain(output: IO[str]) -> threading.Thread:
    """Reads on until the program ends, because a full pipe would stop the chain."""

    def read() -> None:
        while output.read(_DRAINED):
            pass

    thread = threading.Thread(target=read, name="anvil-output", daemon=True)
    thread.start()
    return thread


def _await_answer(chain: LocalChain) -> None:
    deadline, pause = time.monotonic() + _START_SECONDS, 0.01
    while True:
        try:
            chain.rpc.call("eth_chainId")
            return
        except (Unavailable, ChainError):
            if time.monotonic() > deadline:
                raise
            time.sleep(pause)
            pause = min(2 * pause, 0.2)


def _await_heed(process: int) -> None:
    """Until it has a handler of SIGTERM, where the system tells: it answers before that, and would end
    without writing its state."""
    status, heeded = Path(f"/proc/{process}/status"), 1 << (signal.SIGTERM - 1)
    deadline = time.monotonic() + _START_SECONDS
    while status.exists() and time.monotonic() < deadline:
        if int(status.read_text().partition("SigCgt:")[2].split()[0], 16) & heeded:
            return
        time.sleep(0.005)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
