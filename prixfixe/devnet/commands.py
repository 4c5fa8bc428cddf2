"""`prixfixe dev`: a whole market on this machine, for developers and demonstrations."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import click

from prixfixe.devnet.duration import parse_duration
from prixfixe.devnet.settings import DevnetSettings
from prixfixe.devnet.state import Folder

_DEFAULT_FOLDER = Path(".prixfixe/dev")

folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=_DEFAULT_FOLDER,
    show_default=True,
    help="Where chain, service and workers keep their data.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")


@click.group(invoke_without_command=True)
@folder_option
@click.option(
    "--workers", default=3, show_default=True, help="How many workers, each with its own provider (0 to 6)."
)
@click.option("--slots", default=1, show_default=True, help="Tasks that one worker runs side by side.")
@click.option(
    "--port",
    "service_port",
    default=8080,
    show_default=True,
    help="The service's; another free one if taken.",
)
@click.option("--chain-port", default=8545, show_default=True, help="The chain's; another free one if taken.")
@click.option("--rate", default="0.05", show_default=True, help="What workers ask, dollars per vCPU-hour.")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a bundle to publish; repeatable.  [default: bundles/pivot, here or in the checkout]",
)
@click.option("--no-bundles", is_flag=True, help="Publish nothing.")
@click.option("--detach", is_flag=True, help="Return when it is ready; stop it with: prixfixe dev stop")
@json_option
@click.pass_context
def dev(context: click.Context, /, **options: Any) -> None:
    """Start a whole market on this machine: chain, contract, service, workers, an arbiter, accounts with play
    money.

    It makes itself the current context, so that `prixfixe run` works in another terminal at once. Ctrl-C
    stops everything; what was stored stays, and the next start goes on from there (`dev reset` forgets it).

    \b
      prixfixe dev                        three workers, in this terminal
      prixfixe dev --detach               the same in the background
      prixfixe dev kill worker 2          end a worker without a goodbye
      prixfixe dev start worker 2         bring it back
      prixfixe dev advance 2h             move the chain's clock
      prixfixe dev stop                   from the same folder, or with --folder
    """
    context.obj = Folder(options["folder"].resolve())
    if context.invoked_subcommand is not None:
        return
    _start(options)


def _start(options: dict[str, Any]) -> None:
    from prixfixe.devnet.report import describe, to_json
    from prixfixe.devnet.supervisor import Devnet

    as_json: bool = options["as_json"]
    bundles: tuple[Path, ...] = options["bundles"]
    if not bundles and not options["no_bundles"]:
        bundles = _default_bundles()
    settings = DevnetSettings(
        root=options["folder"],
        workers=options["workers"],
        slots=options["slots"],
        service_port=options["service_port"],
        chain_port=options["chain_port"],
        rate=options["rate"],
        bundles=bundles,
    )
    devnet = Devnet(settings, lambda line: click.echo(line, err=True))
    stopping, devnet_ready = threading.Event(), threading.Event()

    def handle(*_: object) -> None:
        # In a thread: a handler runs between two instructions of the thread that may hold the event's lock.
        threading.Thread(target=stopping.set, daemon=True).start()
        _interrupt(devnet_ready)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    state = devnet.start()
    devnet_ready.set()
    click.echo(json.dumps(to_json(state, settings)) if as_json else describe(state, settings))
    if options["detach"]:
        return
    if not as_json:
        click.echo("\nCtrl-C stops everything.", err=True)
    devnet.watch(stopping.wait)
    click.echo("stopping ...", err=True)
    devnet.stop()


def _default_bundles() -> tuple[Path, ...]:
    """`bundles/pivot` of this folder, else of the checkout that this program was started from, so that the
    folder in which a person keeps tables does as well."""
    for root in (Path(), Path(__file__).resolve().parents[2]):
        if (root / "bundles/pivot/bundle.toml").exists():
            return (root / "bundles/pivot",)
    return ()


def _interrupt(ready: threading.Event) -> None:
    """Before everything is up an interrupt must unwind the start; afterwards `watch` sees the event."""
    if not ready.is_set():
        raise KeyboardInterrupt


@dev.command()
@json_option
@click.pass_obj
def status(folder: Folder, as_json: bool) -> None:
    """What runs, and where."""
    from prixfixe.devnet.processes import alive
    from prixfixe.devnet.state import require

    state = require(folder)
    if as_json:
        processes = [{**p.to_json(), "alive": alive(p)} for p in state.processes]
        click.echo(json.dumps({**state.to_json(), "processes": processes}))
        return
    click.echo(f"chain    {state.rpc}\nservice  {state.service}\ncontract {state.contract}")
    for record in state.processes:
        state_now = "runs" if alive(record) else "has ended"
        click.echo(f"{record.name:<10} pid {record.pid:<8} {state_now:<9}  {record.log}")


@dev.command()
@click.argument("duration")
@json_option
@click.pass_obj
def advance(folder: Folder, duration: str, as_json: bool) -> None:
    """Move the chain's clock forward by DURATION (90s, 15m, 2h, 1d): deadlines pass, windows close."""
    from prixfixe.cli.output import moment
    from prixfixe.devnet.anvil import LocalChain
    from prixfixe.devnet.state import require

    seconds = parse_duration(duration)
    now = LocalChain(require(folder).rpc).advance(seconds)
    click.echo(
        json.dumps({"advanced": seconds, "time": now})
        if as_json
        else f"moved by {duration}: the chain's time is {moment(now)}"
    )


def _process_name(kind: str, number: int | None) -> str:
    if kind.startswith("worker-") and number is None:
        return kind
    if kind == "worker":
        if number is None:
            raise click.UsageError("which worker? for example: worker 2")
        return f"worker-{number}"
    return kind


_KINDS = click.argument("kind", metavar="chain|service|worker|arbiter|inspector")
_NUMBER = click.argument("number", type=int, required=False)


@dev.command()
@_KINDS
@_NUMBER
@click.pass_obj
def kill(folder: Folder, kind: str, number: int | None) -> None:
    """End a process at once, without a goodbye, as a power cut would."""
    from prixfixe.devnet.processes import send, wait_gone
    from prixfixe.devnet.state import require
    from prixfixe.errors import NotFound

    name = _process_name(kind, number)
    record = require(folder).process(name)
    if record is None or not send(record, signal.SIGKILL):
        raise NotFound(f"no {name} runs", hint="see what does: prixfixe dev status")
    wait_gone(record, 5)
    click.echo(f"{name} (pid {record.pid}) was killed. Bring it back: prixfixe dev start {name}")


@dev.command()
@_KINDS
@_NUMBER
@click.pass_obj
def start(folder: Folder, kind: str, number: int | None) -> None:
    """Start a process that has ended, as it was started before; a chain goes on at its own time."""
    from prixfixe.devnet.anvil import going_on
    from prixfixe.devnet.processes import alive, spawn
    from prixfixe.devnet.state import locked, require, save
    from prixfixe.errors import Conflict, NotFound

    name = _process_name(kind, number)
    with locked(folder):
        state = require(folder)
        record = state.process(name)
        if record is None:
            raise NotFound(f"this devnet has no {name}", hint="see what it has: prixfixe dev status")
        if alive(record):
            raise Conflict(f"{name} runs already (pid {record.pid})")
        argv = going_on(record.argv) if name == "chain" else record.argv
        again = spawn(name, argv, Path(record.log))
        save(folder, state.with_process(again))
    click.echo(f"{name} runs again (pid {again.pid})")


@dev.command()
@click.pass_obj
def stop(folder: Folder) -> None:
    """Stop everything; what was stored stays."""
    from prixfixe.devnet.state import require
    from prixfixe.devnet.supervisor import Devnet

    require(folder)
    Devnet(DevnetSettings(root=folder.root), lambda line: click.echo(line, err=True)).stop()
    click.echo("stopped")


@dev.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def reset(folder: Folder, yes: bool) -> None:
    """Stop everything and forget all of it: chain, jobs, files, logs."""
    from prixfixe.devnet.state import load
    from prixfixe.devnet.supervisor import Devnet
    from prixfixe.devnet.supervisor import reset as forget

    if not yes:
        click.confirm(f"Forget everything in {folder.root}?", abort=True)
    state = load(folder)
    if state is not None and state.running:
        Devnet(DevnetSettings(root=folder.root), lambda line: click.echo(line, err=True)).stop()
    forget(folder)
    click.echo(f"{folder.root} is empty")


@dev.command()
@click.option("--rpc", required=True, help="The local chain.")
@click.option(
    "--manifest",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the deployment's addresses are written; an existing one is checked and kept.",
)
@click.option(
    "--workers", default=2, show_default=True, help="Providers to fund, and their worker keys to authorise."
)
def deploy(rpc: str, manifest: Path, workers: int) -> None:
    """Only the contract and the play money, on a chain that runs already (docker-compose.yml uses it)."""
    from prixfixe.devnet.market import deploy_or_find, fund

    deployment, fresh = deploy_or_find(rpc, manifest)
    if fresh:
        fund(rpc, deployment.market, workers)
    click.echo(json.dumps(deployment.to_json()))
