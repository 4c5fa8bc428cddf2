"""`prixfixe worker init`: from nothing to a worker that may sell.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.options import (
    DATA,
    contract_option,
    data_option,
    json_option,
    market_of,
    rpc_option,
    runtime_option,
    scratch_option,
    service_option,
    show_verdict,
    where,
)

if TYPE_CHECKING:
    from prixfixe.chain.client import MarketClient
    from prixfixe.keys import Signer
    from worker.onboarding import Lacking, Onboarding
    from worker.profile import Profile
    from worker.selftest import Verdict

_PROVIDER_KEY = "provider"  # the keystore that is made when none is named


@click.command()
@service_option
@rpc_option
@contract_option
@click.option(
    "--key",
    metavar="KEY",
    default=None,
    help=f"Your own key, made when it is not there.  [default: the keystore {_PROVIDER_KEY!r}]",
)
@click.option(
    "--provider",
    metavar="ADDRESS",
    default=None,
    help="Your account, when your own key is elsewhere, as it should be: says what to type there.",
)
@click.option(
    "--worker-key",
    metavar="KEY",
    default=None,
    help="The worker's key, when it is not to be made in --data; an ADDRESS lets another machine's key sell.",
)
@click.option("--payout", metavar="ADDRESS", default=None, help="Where `worker withdraw` sends your money.")
@click.option(
    "--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="How long the key may sign."
)
@runtime_option
@scratch_option
@click.option("--image", metavar="SHA256", default=None, help="For the try of the cage: see `worker check`.")
@click.option("--no-check", is_flag=True, help="Do not try the cage, nor measure the machine.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@data_option
@json_option
def init(
    service: str | None,
    rpc: str | None,
    contract: str | None,
    key: str | None,
    provider: str | None,
    worker_key: str | None,
    payout: str | None,
    days: int,
    runtime: str,
    scratch: Any,
    image: str | None,
    no_check: bool,
    dry_run: bool,
    yes: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Set up this machine as a worker, from nothing.

    Tries the cage, measures the machine (some seconds), makes the keys that are missing, puts up the surety,
    lets the worker's key sell for you, and writes down in --data what the other commands then need not be
    told. Asks before anything is made or moved; run again it changes nothing that is as it should be. On a
    local chain the surety is play money.

    The worker's key can sign asks and results until its time is over, and can never move money; the surety
    stays yours. Your own key should not be where strangers' jobs run: give --provider ADDRESS on the worker
    machine, and where your key is type the command that it prints (--key and --worker-key ADDRESS).

    \b
    Examples:
      prixfixe worker init                                   all on this machine: a local chain, a first try
      prixfixe worker init --provider 0x... --payout 0x...   on a worker machine; your key is elsewhere
      prixfixe worker init --key provider --worker-key 0x... where your key is
    """
    from worker.onboarding import lacking, onboard
    from worker.profile import Profile

    if key is not None and provider is not None:
        raise click.UsageError("--key or --provider, not both: is your own key here or elsewhere?")
    known = Profile.find(data)
    service, rpc, contract = where(service, rpc, contract, data)
    _, market = market_of(service, rpc, contract)
    parties = _parties(known, key, provider, worker_key, data)
    verdicts = _verdicts(no_check or not parties.here or dry_run, data, scratch, runtime, image, as_json)
    found = lacking(market, parties.provider, parties.worker, days * 86400)
    steps = _steps(parties, found, data)
    if dry_run:
        _tell(steps, as_json, dry_run=True)
        return
    if steps and not (as_json and yes):
        _tell(steps, as_json=False)
    if steps and not yes:
        click.confirm("Do this?", abort=True, err=True)
    parties, signer = _make_keys(parties, market, data)
    assert parties.provider is not None  # made just now, if it was not there
    assert parties.worker is not None
    profile = Profile(
        service=service,
        rpc=rpc,
        contract=market.contract,
        chain_id=market.chain_id,
        provider=parties.provider,
        key=parties.worker_spec,
        payout=payout or (known.payout if known is not None and known.provider == parties.provider else None)
        or parties.provider,
        provider_key=parties.provider_spec,
    )  # fmt: skip
    if parties.here:
        profile.save(data)
        if not no_check:
            _measure(profile, market, data, as_json)
    if signer is None:
        _report_elsewhere(profile, parties.worker, found, days, as_json)
        return
    done = onboard(market, signer, parties.worker, days * 86400)
    _report(done, profile, verdicts, parties.here, data, as_json)


@dataclass(frozen=True)
class _Parties:
    """Who is who. provider, worker: addresses, None for a key that is not made yet. provider_spec: None when
    the provider's key is elsewhere. here: the worker is this machine."""

    provider: str | None
    provider_spec: str | None
    worker: str | None
    worker_spec: str
    here: bool


def _parties(
    known: Profile | None, key: str | None, provider: str | None, worker_key: str | None, data: Path
) -> _Parties:
    from prixfixe.client.setup import address_of_spec
    from prixfixe.protocol.addresses import parse_address
    from worker.machine_key import key_spec

    spec = worker_key or (known.key if known is not None else key_spec(data))
    here = not spec.startswith("0x")
    worker = _address_if_there(spec) if here else parse_address(spec, name="worker key")
    if provider is None and key is None and known is not None and known.provider_key is None:
        provider = known.provider
    if provider is not None:
        return _Parties(address_of_spec(provider) or parse_address(provider), None, worker, spec, here)
    owner = key or (known.provider_key if known is not None else None) or _PROVIDER_KEY
    return _Parties(_address_if_there(owner), owner, worker, spec, here)


def _address_if_there(spec: str) -> str | None:
    """The address of a key; None for a keystore that does not exist yet."""
    from prixfixe.client.setup import address_of_spec
    from prixfixe.keys import keystore_address, keystore_path

    if (known := address_of_spec(spec)) is not None:
        return known
    if spec.startswith("command:"):
        from prixfixe.keys import load_signer

        return load_signer(spec, chain_id=1).address
    name = spec.removeprefix("keystore:")
    return keystore_address(name) if keystore_path(name).exists() else None


def _verdicts(
    skip: bool, data: Path, scratch: Any, runtime: str, image: str | None, as_json: bool
) -> list[Verdict]:
    """Try the cage before any money moves: a machine that does not hold strangers' jobs needs none."""
    if skip:
        return []
    from worker.selftest import check

    found = []
    for verdict in check(data.absolute(), scratch, runtime, image):
        found.append(verdict)
        if not as_json:
            show_verdict(verdict)
    if any(verdict.level == "bad" for verdict in found):
        click.echo("the cage does not hold on this machine; nothing was made or moved", err=True)
        raise click.exceptions.Exit(9)
    return found


def _measure(profile: Profile, market: MarketClient, data: Path, as_json: bool) -> None:
    """How fast this machine is: written down signed, for the market to be told at every start."""
    from worker.benchmarking import keep_benchmark, run_measurement, sign_benchmark
    from worker.machine_key import open_key
    from worker.options import figures_in_words

    figures = run_measurement(data)
    if figures is None:
        click.echo("this machine could not be measured", err=True)
        return
    signer = open_key(data, profile.key, market.chain_id)
    keep_benchmark(data, sign_benchmark(figures, signer, market.domain, int(time.time())))
    if not as_json:
        click.echo(f"measured: {figures_in_words(figures)}")


def _steps(parties: _Parties, found: Lacking, data: Path) -> list[str]:
    """What is to be done, in order, in words."""
    steps = []
    if parties.worker is None:
        steps.append(f"make the worker's key in {data}")
    if parties.provider_spec is None:
        return steps
    if parties.provider is None:
        from prixfixe.keys import keystore_path

        steps.append(f"make your own key {keystore_path(parties.provider_spec)}; keep a copy of it")
    if found.play:
        steps.append(f"make {found.play} of this local chain's play money")
    if found.deposit:
        steps.append(f"move {found.deposit} from your wallet to your account: the surety, it stays yours")
    if found.authorise:
        until = time.strftime("%Y-%m-%d", time.gmtime(found.until))
        whose = f"the worker's key {parties.worker}" if parties.worker else "the worker's key"
        steps.append(f"let {whose} sell for you until {until}")
    return steps


def _make_keys(parties: _Parties, market: MarketClient, data: Path) -> tuple[_Parties, Signer | None]:
    """Make what is missing, open the provider's key if it is here."""
    from prixfixe.cli.keys import make_keystore
    from prixfixe.keys import load_signer
    from worker.machine_key import key_spec, make_key

    if parties.worker is None:
        if parties.worker_spec == key_spec(data):
            parties = replace(parties, worker=make_key(data))
        else:
            parties = replace(parties, worker=make_keystore(parties.worker_spec)[1])
    if parties.provider_spec is None:
        return parties, None
    spec = parties.provider_spec
    if parties.provider is None:
        parties = replace(parties, provider=make_keystore(spec)[1])
    return parties, load_signer(spec, chain_id=market.chain_id)


def _tell(steps: list[str], as_json: bool, *, dry_run: bool = False) -> None:
    if as_json:
        click.echo(json.dumps({"dry_run": True, "steps": steps}))
        return
    for number, step in enumerate(steps, 1):
        click.echo(f"{number}. {step}", err=not dry_run)
    if not steps:
        click.echo("nothing is to be done", err=not dry_run)


def _report_elsewhere(profile: Profile, worker: str, found: Lacking, days: int, as_json: bool) -> None:
    """The provider's key is on another machine: what to type there, if anything."""
    words = (
        f"prixfixe worker init --key KEY --worker-key {worker} --days {days}"
        f" --service {profile.service} --contract {profile.contract} --rpc URL"
    )
    if as_json:
        facts = {
            "provider": profile.provider,
            "key": worker,
            "payout": profile.payout,
            "ready": not found,
            "elsewhere": words if found else None,
        }
        click.echo(json.dumps(facts))
        return
    click.echo(f"this worker's key is {worker}; it sells for {profile.provider}")
    if found:
        click.echo(f"next, where the key of {profile.provider} is:\n  {words}")
        click.echo("then, here:\n  prixfixe worker start")
    else:
        click.echo("next: prixfixe worker start")


def _report(
    done: Onboarding, profile: Profile, verdicts: list[Verdict], here: bool, data: Path, as_json: bool
) -> None:
    if as_json:
        facts = {
            "provider": done.provider,
            "key": done.key,
            "until": done.until,
            "free": str(done.free.units),
            "surety": str(done.surety.units),
            "deposited": str(done.deposited.units),
            "payout": profile.payout,
            "transactions": [found for found in (done.deposited_in, done.authorised_in) if found],
            "verdicts": [verdict.to_json() for verdict in verdicts],
        }
        click.echo(json.dumps(facts))
        return
    until = time.strftime("%Y-%m-%d", time.gmtime(done.until))
    click.echo(f"provider {done.provider}: {done.free} free, surety {done.surety}"
               + (f" ({done.deposited} deposited now)" if done.deposited else ""))  # fmt: skip
    click.echo(
        f"worker key {done.key} may sign until {until}" + ("" if done.authorised_in else " (as before)")
    )
    if not here:
        click.echo(f"next, on the worker machine: prixfixe worker init --provider {done.provider}")
        return
    click.echo(f"money is paid out to {profile.payout}: prixfixe worker withdraw")
    click.echo("next: prixfixe worker start" + ("" if data == DATA else f" --data {data}"))
