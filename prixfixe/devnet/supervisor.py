"""Starts a devnet in the right order, keeps it, and stops it in the reverse order.

Chain state is written to disk every second and at the end, so a devnet that was stopped goes on where it
was; `reset` forgets it. Every process is one that a real deployment has, with the same command line.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from prixfixe.chain.rpc import Rpc
from prixfixe.connections import connection_options
from prixfixe.devnet import settings as numbers
from prixfixe.devnet.accounts import development_address
from prixfixe.devnet.anvil import anvil_command, going_on
from prixfixe.devnet.market import account_index, deploy_or_find, fund
from prixfixe.devnet.processes import ProcessRecord, alive, spawn, stop, wait_ready
from prixfixe.devnet.settings import DevnetSettings, arbiter_key, inspector_key, provider_key, worker_key
from prixfixe.devnet.state import DevnetState, Folder, load, locked, save
from prixfixe.errors import ChainError, ConfigurationError, Conflict, Unavailable

Say = Callable[[str], None]
_HOST = "127.0.0.1"
_START_SECONDS = 90.0  # for what takes three on an idle machine


class Devnet:
    """One devnet in one folder. `start()` brings it up, `watch()` keeps it, `stop()` ends it."""

    def __init__(self, settings: DevnetSettings, say: Say) -> None:
        if not 0 <= settings.workers <= numbers.MOST_WORKERS:
            raise ConfigurationError(
                f"{settings.workers} workers asked for", hint=f"a devnet has 0 to {numbers.MOST_WORKERS}"
            )
        self.settings = settings
        self.folder = Folder(settings.root.resolve())
        self._say = say
        self._began = time.monotonic()

    # ------------------------------------------------------------------------------------------------- start

    def start(self) -> DevnetState:
        """Bring everything up; on any failure what was started is stopped again."""
        with locked(self.folder):
            before = load(self.folder)
            if before is not None and before.running:
                names = ", ".join(p.name for p in before.running)
                raise Conflict(
                    f"a devnet runs in {self.folder.root} already ({names})",
                    hint="stop it first: prixfixe dev stop",
                )
            started: list[ProcessRecord] = []
            try:
                return self._start(started)
            except BaseException:
                for record in reversed(started):
                    stop(record)
                raise

    def _start(self, started: list[ProcessRecord]) -> DevnetState:
        chain_port = _free_port(self.settings.chain_port)
        service_port = _free_port(self.settings.service_port)
        rpc = f"http://{_HOST}:{chain_port}"
        service = f"http://{_HOST}:{service_port}"

        self.folder.chain.mkdir(parents=True, exist_ok=True)
        chain = spawn(
            "chain",
            going_on(anvil_command(chain_port, state=self.folder.chain / "state.json", accounts=20)),
            self.folder.logs / "chain.log",
        )
        started.append(chain)
        wait_ready(chain, lambda: _answers(rpc), _START_SECONDS)
        self._step(f"chain at {rpc}")

        deployment, fresh = deploy_or_find(rpc, self.folder.manifest)
        self._step(f"contract at {deployment.market}{'' if fresh else ', as it was left'}")
        state = DevnetState(
            rpc=rpc,
            service=service,
            contract=deployment.market,
            token=deployment.token,
            chain_id=deployment.chain_id,
            context=numbers.CONTEXT,
            processes=(chain,),
        )
        server = self._spawn_service(state, service_port)
        started.append(server)
        state = state.with_process(server)
        save(self.folder, state)

        if fresh:  # money moves while the service starts
            fund(rpc, state.contract, self.settings.workers)
            self._step("accounts funded, worker keys authorised")
        wait_ready(server, lambda: _answers_http(f"{service}/v1/health"), _START_SECONDS)
        self._step(f"service at {service}")
        judge = self._spawn_arbiter(state, deployment.block)
        started.append(judge)
        state = state.with_process(judge)
        looking = self._spawn_inspector(state)
        started.append(looking)
        state = state.with_process(looking)
        for number in range(1, self.settings.workers + 1):
            record = self.spawn_worker(state, number)
            started.append(record)
            state = state.with_process(record)
            save(self.folder, state)
        self._write_context(state)
        for bundle in self.settings.bundles:
            self._publish(state, bundle)
        return state

    def _spawn_service(self, state: DevnetState, port: int) -> ProcessRecord:
        argv = [
            *prixfixe_command(),
            "serve",
            *("--data", str(self.folder.service), "--rpc", state.rpc),
            *("--deployment", str(self.folder.manifest)),
            *("--key", f"dev:{numbers.OPERATOR}", "--host", _HOST, "--port", str(port)),
            *("--heartbeat", str(numbers.HEARTBEAT_SECONDS), "--accounts", "dev"),
            *("--play-money", numbers.PLAY_MONEY.plain),
            *("--cool-down", str(numbers.COOL_DOWN_SECONDS)),
            *("--inspector", development_address(numbers.INSPECTOR)),
        ]
        return spawn("service", argv, self.folder.logs / "service.log")

    def _spawn_arbiter(self, state: DevnetState, block: int) -> ProcessRecord:
        argv = [
            *prixfixe_command(),
            "arbiter",
            "start",
            *("--service", state.service, "--rpc", state.rpc, "--contract", state.contract),
            *("--key", arbiter_key(), "--data", str(self.folder.arbiter), "--from-block", str(block)),
        ]
        return spawn("arbiter", argv, self.folder.logs / "arbiter.log")

    def _spawn_inspector(self, state: DevnetState) -> ProcessRecord:
        argv = [
            *prixfixe_command(),
            *("worker", "inspect", "--service", state.service),
            *("--key", inspector_key(), "--data", str(self.folder.inspector)),
        ]
        return spawn("inspector", argv, self.folder.logs / "inspector.log")

    def spawn_worker(self, state: DevnetState, number: int) -> ProcessRecord:
        """Start worker `number` (1, 2, ...) with its own key, provider and folder."""
        provider = development_address(account_index(provider_key(number)))
        argv = [
            *prixfixe_command(),
            "worker",
            "start",
            *("--service", state.service, "--rpc", state.rpc, "--contract", state.contract),
            *("--provider", provider, "--key", worker_key(number), "--name", f"w{number}"),
            *("--slots", str(self.settings.slots), "--vcpu", str(self.settings.vcpu)),
            *("--memory", str(self.settings.memory_mib), "--rate", self.settings.rate),
            *("--data", str(self.folder.worker(number))),
        ]
        return spawn(f"worker-{number}", argv, self.folder.logs / f"worker-{number}.log")

    def _publish(self, state: DevnetState, bundle: Path) -> None:
        """Build the bundle's image if it is not there and publish its prices, as the pricing desk would."""
        from prixfixe.cli.publishing import publish_bundle

        try:
            published = publish_bundle(
                bundle,
                service=state.service,
                rpc=state.rpc,
                contract=state.contract,
                key=f"dev:{numbers.PRICING}",
                say=lambda line: self._say(f"         {line}"),
            )
        except Conflict as error:
            # A kept devnet still sells what this folder was before; the market is up, so it stays up.
            if error.code != "version-published":
                raise
            self._step(f"{bundle} is not published: {error}")
            self._say("         raise its version, or forget the old one: prixfixe dev reset")
            return
        self._step(f"bundle {published.id} {published.version} at a flat price")

    def _write_context(self, state: DevnetState) -> None:
        from prixfixe.client.contexts import Context, save_context

        save_context(
            Context(
                name=state.context,
                service=state.service,
                chain_id=state.chain_id,
                contract=state.contract,
                rpc=state.rpc,
                key=f"dev:{numbers.CUSTOMER}",
            )
        )

    def _step(self, text: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {text}")

    # -------------------------------------------------------------------------------------------------- keep

    def watch(self, stopping: Callable[[float], bool]) -> None:
        """Say when a process ends by itself; until `stopping(seconds)` (a wait) answers True."""
        gone: set[int] = set()
        while not stopping(0.5):
            state = load(self.folder)
            if state is None:
                return
            for record in state.processes:
                if record.pid not in gone and not alive(record):
                    gone.add(record.pid)
                    self._say(
                        f"{record.name} has ended (log: {record.log});"
                        f" again: prixfixe dev start {record.name}"
                    )
            if not state.running:
                return

    def stop(self) -> None:
        """End everything that runs, workers and arbiter first, so that they can say goodbye."""
        with locked(self.folder):
            state = load(self.folder)
            if state is None:
                return
            last = [p for name in ("service", "chain") for p in state.running if p.name == name]
            first = [p for p in state.running if p not in last]
            with ThreadPoolExecutor(max(1, len(first))) as together:
                list(together.map(stop, first))
            for record in last:
                stop(record)


def reset(folder: Folder) -> None:
    """Forget chain, service and workers of a stopped devnet. Only folders that a devnet made are touched."""
    with locked(folder):
        state = load(folder)
        if state is not None and state.running:
            raise Conflict("the devnet runs", hint="stop it first: prixfixe dev stop")
        runners = [
            *folder.root.glob("worker-*"),
            *folder.root.glob("arbiter"),
            *folder.root.glob("inspector"),
        ]
        # What killed ones left on the engine and among the mounts; without an engine there is nothing.
        clean = [*prixfixe_command(), "worker", "clean", "--data"]
        with ThreadPoolExecutor(max(1, len(runners))) as together:
            list(
                together.map(
                    lambda data: subprocess.run([*clean, str(data)], capture_output=True, check=False),
                    runners,
                )
            )
        for part in (folder.chain, folder.service, folder.logs, *runners):
            shutil.rmtree(part, ignore_errors=True)
        for file in (folder.state, folder.manifest):
            file.unlink(missing_ok=True)


def prixfixe_command() -> list[str]:
    """The command line that runs `prixfixe` with this very interpreter."""
    return [sys.executable, "-m", "prixfixe"]


def _free_port(wanted: int) -> int:
    """`wanted` if nobody listens there, else any free port of the loopback."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
            return int(probe.getsockname()[1])
    raise ConfigurationError("no port is free on the loopback")


def _answers(rpc: str) -> bool:
    try:
        Rpc(rpc).call("eth_chainId")
    except (Unavailable, ChainError):
        return False
    return True


def _answers_http(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, **connection_options(url)).status_code == 200
    except httpx.HTTPError:
        return False
