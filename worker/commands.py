"""`prixfixe worker`: sell this machine's time.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import os
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click

from worker import income_commands
from worker.options import (
    contract_option,
    data_option,
    emitter,
    json_option,
    log_to_stderr,
    market_of,
    rpc_option,
    service_option,
    where,
)

_WORDS = {
    "ready": "worker {name} ready: key {key}, provider {provider}, {slots} slot(s), runtime {runtime}, "
    "disks {scratch}"
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def worker() -> None:
    """Sell this machine's time.

    \b
    Once, with the provider's key, on any machine:
      prixfixe worker init --key provider --worker-key 0x... --service URL --rpc URL
    Then on each worker machine, with the worker's key only:
      prixfixe worker check
      prixfixe worker start --key machine --provider 0x... --service URL --rpc URL

    `prixfixe keys new NAME` makes a key and prints its address. Service and node are those of the current
    context when they are not given; `prixfixe dev` makes one.

    Jobs run in containers without network, root or capabilities, within limits of memory, processor, disk,
    time and log. You are paid the price that the worker asks, for tasks that succeed.
    """


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
    required=True,
    help="The account that is paid, or the name of its keystore; its key is not needed.",
)
@click.option(
    "--key",
    metavar="KEY",
    required=True,
    help="The worker's key: keystore name or file, command:PROGRAM, or dev:N on a local chain.",
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
@click.option("--runtime", default="runc", show_default=True, help="Container runtime; runsc is gVisor.")
@click.option(
    "--scratch",
    type=click.Choice(["auto", "loop", "watched"]),
    default="auto",
    show_default=True,
    help="How a task's disk is bounded: a file system of its own (root), or a watched folder.",
)
@click.option("--drain", type=float, default=120.0, show_default=True, metavar="SECONDS",
              help="How long a stop waits for running tasks.")  # fmt: skip
@data_option
@json_option
def start(
    service: str | None,
    rpc: str | None,
    contract: str | None,
    provider: str,
    key: str,
    name: str,
    slots: int,
    vcpu: float | None,
    memory: int | None,
    disk: int | None,
    rate: str,
    minimum: str,
    sells: Any,
    runtime: str,
    scratch: Any,
    drain: float,
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
    from prixfixe.protocol.money import Money
    from worker.daemon import Daemon
    from worker.settings import WorkerSettings, free_disk_mib

    log_to_stderr(as_json)
    service, rpc, contract = where(service, rpc, contract)
    settings = WorkerSettings(
        service=service,
        rpc=rpc,
        contract=contract,
        provider=_address(provider, "provider"),
        key=key,
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
        scratch=scratch,
        drain_seconds=drain,
    )
    daemon = Daemon(settings, emitter(as_json, _WORDS))
    daemon.handle_signals()
    daemon.run()


@worker.command()
@service_option
@rpc_option
@contract_option
@click.option("--key", metavar="KEY", required=True, help="The provider's own key (not a worker's).")
@click.option(
    "--worker-key",
    metavar="ADDRESS",
    required=True,
    help="Address of the worker's key, or the name of its keystore if it is here.",
)
@click.option(
    "--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="How long it may sign."
)
@json_option
def init(
    service: str | None,
    rpc: str | None,
    contract: str | None,
    key: str,
    worker_key: str,
    days: int,
    as_json: bool,
) -> None:
    """Let a worker key sell for you, and put up the surety.

    The only step that needs the provider's key: do it where that key is, not on the worker machine. The
    worker key can sign asks and results until its time is over, and can never move money. The surety is a
    deposit of yours that stays in your account, and is needed to be given work. Running it again changes
    nothing that is as it should be.
    """
    from prixfixe.keys import load_signer
    from worker.onboarding import onboard

    address = _address(worker_key, "worker key")
    _, client = market_of(*where(service, rpc, contract))
    done = onboard(client, load_signer(key, chain_id=client.chain_id), address, days * 86400)
    facts = {
        "provider": done.provider,
        "key": done.key,
        "until": done.until,
        "free": str(done.free.units),
        "surety": str(done.surety.units),
        "deposited": str(done.deposited.units),
        "transactions": [found for found in (done.deposited_in, done.authorised_in) if found],
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    until = time.strftime("%Y-%m-%d", time.gmtime(done.until))
    click.echo(f"provider {done.provider}: {done.free} free, surety {done.surety}"
               + (f" ({done.deposited} deposited now)" if done.deposited else ""))  # fmt: skip
    click.echo(
        f"worker key {done.key} may sign until {until}" + ("" if done.authorised_in else " (as before)")
    )
    click.echo(f"next, on the worker machine: prixfixe worker start --provider {done.provider} --key KEY")


@worker.command()
@service_option
@rpc_option
@contract_option
@click.option("--key", metavar="KEY", required=True, help="The worker's key.")
@json_option
def status(service: str | None, rpc: str | None, contract: str | None, key: str, as_json: bool) -> None:
    """Show what the market knows of a worker: whether it lives, what it did, what it earned."""
    from prixfixe.keys import load_signer
    from worker.client import ServiceClient

    service, rpc, contract = where(service, rpc, contract)
    market, _ = market_of(service, rpc, contract)
    signer = load_signer(key, chain_id=market.chain_id)
    client = ServiceClient(service)
    try:
        client.sign_in(signer)
        found = client.status(signer.address)
    finally:
        client.close()
    if as_json:
        click.echo(found.model_dump_json())
        return
    state = "silent" if not found.alive else "alive, takes no work" if found.draining else "alive"
    click.echo(f"{found.name} ({found.key}): {state}")
    if found.trouble is not None:
        click.echo(f"  {found.trouble}", err=True)
    click.echo(f"  provider {found.provider}: {found.free} free, {found.held} in dispute windows,"
               f" surety {found.surety}")  # fmt: skip
    click.echo(f"  deals: {found.running} running, {found.settled} settled, {found.failed} failed,"
               f" {found.lost} lost; earned {found.earned}")  # fmt: skip
    if found.free < found.surety:
        click.echo("  no work comes while free money is below the surety: prixfixe worker init", err=True)


@worker.command()
@click.option(
    "--image",
    metavar="SHA256",
    default=None,
    help="Id of an image with /bin/sh for the probe; else the bundles' base image, if it is here.",
)
@click.option("--runtime", default="runc", show_default=True)
@click.option("--scratch", type=click.Choice(["auto", "loop", "watched"]), default="auto", show_default=True)
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
            click.echo(f"{verdict.level:4}  {verdict.name:18} {verdict.message}")
            if verdict.hint:
                click.echo(f"      {'':18} -> {verdict.hint}")
    if worst:
        raise click.exceptions.Exit(9)


def _address(text: str, name: str) -> str:
    """The address itself, or that of a key whose address is known here."""
    from prixfixe.client.setup import address_of_spec
    from prixfixe.protocol.addresses import parse_address

    return address_of_spec(text) or parse_address(text, name=name)


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
