"""`prixfixe worker`: sell this machine's time.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import os
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from prixfixe.cli.options import log_format_option
from prixfixe.late import uncollected
from prixfixe.logs import LogFormat
from worker import duty_commands, income_commands, log_commands
from worker.init_command import init
from worker.inspect_command import inspect
from worker.options import (
    SizeType,
    address_of,
    contract_option,
    data_option,
    emitter,
    json_option,
    log_to_stderr,
    rpc_option,
    runtime_option,
    scratch_option,
    service_option,
    show_verdict,
    where,
)
from worker.status_commands import status, withdraw
from worker.unit_command import unit

_WORDS = {
    "ready": "worker {name} ready: key {key}, provider {provider}, {slots} slot(s), runtime {runtime}, "
    "disks {scratch}"
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def worker() -> None:
    """Sell this machine's time.

    \b
      prixfixe worker init          keys, surety, a try of the cage: once
      prixfixe worker start         takes work until it is stopped
      prixfixe worker earnings      what it brought

    What `init` found is written down in the worker's folder (--data), so that no other command need be told.
    Service and node are those of the current context when they are not given; `prixfixe dev` makes one.

    Jobs run in containers without network, root or capabilities, within limits of memory, processor, disk,
    time and log. You are paid the price that the worker asks, for tasks that succeed.
    """


worker.add_command(init)
worker.add_command(withdraw)
worker.add_command(status)
for command in (duty_commands.pause, duty_commands.resume, duty_commands.drain, duty_commands.schedule):
    worker.add_command(command)
worker.add_command(log_commands.logs)
worker.add_command(unit)
worker.add_command(inspect)
worker.add_command(log_commands.news)
worker.add_command(income_commands.price)
worker.add_command(income_commands.earnings)
worker.add_command(income_commands.why)


@worker.command()
@service_option
@rpc_option
@contract_option
@click.option(
    "--provider",
    metavar="ADDRESS",
    default=None,
    help="The account that is paid, or the name of its keystore; else that of `worker init`.",
)
@click.option(
    "--key",
    metavar="KEY",
    default=None,
    help="The worker's key: keystore name or file, command:PROGRAM, or dev:N; else that of `worker init`.",
)
@click.option("--name", default="w1", show_default=True, help="What the market's pages call this worker.")
@click.option(
    "--slots", type=int, default=1, show_default=True, help="Tasks at once; the machine is shared evenly."
)
@click.option(
    "--vcpu", type=float, default=None, metavar="N", help="Processors to offer in all.  [default: all]"
)
@click.option(
    "--memory", type=int, default=None, metavar="MIB", help="Memory to offer in all.  [default: 3/4 of it]"
)
@click.option(
    "--disk", type=int, default=None, metavar="MIB", help="Disk to offer in all.  [default: half of the free]"
)
@click.option(
    "--rate", default="0.05", show_default=True, metavar="DOLLARS", help="What an hour of one vCPU costs."
)
@click.option(
    "--minimum", default="0.001", show_default=True, metavar="DOLLARS", help="Least price of a task."
)
@click.option(
    "--sells",
    type=click.Choice(["both", "bundles", "bids"]),
    default="both",
    show_default=True,
    help="To whom. Pay for bundles waits one dispute window; pay for bids is there at once.",
)
@runtime_option
@click.option(
    "--egress",
    is_flag=True,
    help="Run also jobs that call hosts which they name, from this machine's address (root only).",
)
@scratch_option
@click.option("--drain", type=float, default=120.0, show_default=True, metavar="SECONDS",
              help="How long a stop waits for running tasks.")  # fmt: skip
@click.option(
    "--gpu",
    "gpus",
    metavar="MODEL=DEVICE",
    multiple=True,
    help="Offer this GPU, such as a100-80g=GPU-8d1f...; each is one task's at a time. Repeatable. Untested on"
    " real ones.",
)
@click.option(
    "--image-quota",
    type=SizeType(),
    default="20GiB",
    show_default=True,
    help="What images may take on the engine that this worker brought; the least recently used go.",
)
@click.option(
    "--input-cache",
    type=SizeType(),
    default="8GiB",
    show_default=True,
    help="What jobs' inputs may take that are kept for the next one; the least recently used go.",
)
@click.option("--metrics", metavar="HOST:PORT", default=None,
              help="Serve figures for Prometheus there, at /metrics: to whoever can reach it.")  # fmt: skip
@log_format_option
@data_option
@json_option
def start(
    service: str | None,
    rpc: str | None,
    contract: str | None,
    provider: str | None,
    key: str | None,
    name: str,
    slots: int,
    vcpu: float | None,
    memory: int | None,
    disk: int | None,
    rate: str,
    minimum: str,
    sells: Any,
    runtime: str,
    egress: bool,
    scratch: Any,
    drain: float,
    gpus: tuple[str, ...],
    image_quota: int,
    input_cache: int,
    metrics: str | None,
    log_format: LogFormat,
    data: Path,
    as_json: bool,
) -> None:
    """Run a worker until SIGTERM or Ctrl-C.

    The first signal takes no more work and lets running tasks end (at most --drain seconds, then they are
    refused and the customers have their money back at once); the second stops at once. A worker that was
    killed takes up where it was when it starts again.

    A price is rate x vCPU x hours of the product's time limit (or what its memory would cost, 4 GiB
    counting as one vCPU, if that is more), at least the minimum. For example 2 vCPU for 10 minutes at 0.05:
    $0.016667.
    """
    with uncollected():
        from prixfixe.protocol.money import Money
        from worker.daemon import Daemon
        from worker.gpus import Gpu
        from worker.hiding import hide_memory
        from worker.ownlog import log_to_folder
        from worker.profile import Profile
        from worker.settings import Limits, WorkerSettings, free_disk_mib
        from worker.stopping import on_signals

    log_to_stderr(as_json, log_format)
    log_to_folder(data.absolute(), log_format)
    service, rpc, contract = where(service, rpc, contract, data)
    settings = WorkerSettings(
        service=service,
        rpc=rpc,
        contract=contract,
        provider=address_of(provider, "provider") if provider else Profile.of(data).provider,
        key=key or Profile.of(data).key,
        data=data.absolute(),
        name=name,
        slots=slots,
        milli_vcpu=int(vcpu * 1000) if vcpu is not None else (os.cpu_count() or 1) * 1000,
        memory_mib=memory if memory is not None else _memory_mib() * 3 // 4,
        disk_mib=disk if disk is not None else max(1, free_disk_mib(data.absolute())),
        rate=_dollars(rate),
        minimum=Money.parse(minimum),
        sells=sells,
        runtime=runtime,
        egress=egress,
        scratch=scratch,
        drain_seconds=drain,
        metrics=metrics,
        gpus=tuple(Gpu.parse(text) for text in gpus),
        limits=Limits(image_quota_mib=image_quota, input_cache_mib=input_cache),
    )
    hide_memory()  # before the key is read
    daemon = Daemon(settings, emitter(as_json, _WORDS))
    on_signals(daemon.stop)
    daemon.run()


@worker.command()
@click.option(
    "--image",
    metavar="SHA256",
    default=None,
    help="Id of an image with /bin/sh for the probe; else the bundles' base image, if it is here.",
)
@runtime_option
@scratch_option
@data_option
@json_option
def check(image: str | None, runtime: str, scratch: Any, data: Path, as_json: bool) -> None:
    """Try the cage on this machine: a verdict a line.

    ok: holds. weak: works with less protection. bad: do not run strangers' jobs here (exit code 9).
    """
    from worker.selftest import check as run_checks

    worst = False
    for verdict in run_checks(data.absolute(), scratch, runtime, image):
        worst = worst or verdict.level == "bad"
        if as_json:
            click.echo(json.dumps(verdict.to_json()))
        else:
            show_verdict(verdict)
    if worst:
        raise click.exceptions.Exit(9)


def _dollars(text: str) -> Decimal:
    try:
        return Decimal(text.removeprefix("$"))
    except InvalidOperation:
        raise click.BadParameter(f"{text!r} is not dollars such as 0.05", param_hint="--rate") from None


def _memory_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


@worker.command()
@data_option
@json_option
def clean(data: Path, as_json: bool) -> None:
    """Remove what a killed worker left: its containers and task disks.

    A worker that starts again on the same folder does this by itself and goes on with what it can; this is
    for one that will not come back. The journal and the input cache stay.
    """
    from worker.cleaning import clean as remove

    cleaned = remove(data)
    if as_json:
        click.echo(json.dumps({"containers": cleaned.containers, "disks": cleaned.disks}))
    else:
        click.echo(f"removed {cleaned.containers} container(s) and {cleaned.disks} disk(s)")
