"""`prixfixe submit` and `prixfixe quote`: tasks of any image, at the market's price."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from prixfixe.cli.jobview import past_words
from prixfixe.cli.options import (
    MoneyType,
    chosen_context,
    context_option,
    deadline_option,
    json_option,
    key_option,
    open_client,
    open_market,
    price_option,
    wait_option,
    yes_option,
)
from prixfixe.cli.output import Progress, emit, moment, say, size, table
from prixfixe.cli.secrets import giving, read_secrets, secret_option

if TYPE_CHECKING:
    from prixfixe.client import Client
    from prixfixe.client.wishes import Wish
    from prixfixe.protocol.money import Money
    from prixfixe.protocol.wire import BidQuote, Job

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.argument("image"),
    click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]"),
    click.option(
        "--product",
        default="cpu-1x1/10m",
        show_default=True,
        metavar="PRODUCT",
        help="What a task gets: cpu-VCPUxGIB/TIME; `prixfixe market book` shows prices.",
    ),
    click.option(
        "--tasks",
        type=click.IntRange(1, 65_536),
        default=1,
        show_default=True,
        metavar="N",
        help="So many tasks of the same command.",
    ),
    click.option(
        "--matrix",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="CSV or JSON with a row of parameters for each task; {name} in the command is replaced.",
    ),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A file for every task, at /job/inputs/NAME. May be given often.",
    ),
    click.option(
        "--env", "environment", multiple=True, metavar="NAME=VALUE", help="An environment variable."
    ),
    click.option(
        "--param", "parameters", multiple=True, metavar="NAME=JSON", help="A value in /job/parameters.json."
    ),
    click.option(
        "--auction/--flat",
        default=False,
        help="Wait for the next batch at one price for all; else take the best asks at once.  "
        "[default: flat]",
    ),
    price_option,
    click.option("--budget", type=MoneyType(), help="The most for all of it; above, nothing is ordered."),
    click.option(
        "--replicas", type=click.IntRange(1, 16), default=1, metavar="N", help="So many providers run each."
    ),
    click.option("--exact", is_flag=True, help="The image writes the same bytes each time: replicas agree."),
    click.option("--lot", type=click.IntRange(1, 65_535), metavar="N", help="Tasks that one provider takes."),
    wait_option,
    deadline_option,
    click.option("--whole", is_flag=True, help="In an auction: all tasks at once, or none."),
    click.option(
        "--allow-host",
        "hosts",
        multiple=True,
        metavar="NAME[:PORT]",
        help="A host that tasks may call, by HTTP(S) proxy; else they have no network. May be given often.",
    ),
    click.option("--isolation", type=click.Choice(["gvisor"]), help="Only workers that run it in gVisor."),
    secret_option(),
    click.option("--provider", "providers", multiple=True, metavar="ADDRESS", help="Only these providers."),
    click.option(
        "--placement",
        type=click.Choice(["public", "vetted"]),
        default="public",
        help="vetted: only providers whom the market's operator vouches for.",
    ),
)


def wish_options(command: F) -> F:
    """The arguments and options that say what to run."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@wish_options
@click.option("--out", type=click.Path(path_type=Path), help="A folder for the outputs.  [default: job-ID]")
@click.option("--detach", is_flag=True, help="Order, print the job's id, and leave.")
@yes_option
@context_option
@key_option
@json_option
def submit(
    out: Path | None,
    detach: bool,
    yes: bool,
    context_name: str | None,
    key: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Run any image: IMAGE is one of the local engine, an archive made by `docker save`, or a registry's
    NAME@sha256:... The command is what follows `--`.

    A task reads its inputs at /job/inputs, its parameters in /job/parameters.json and its number in
    /job/task.json, writes to /job/outputs, and has no network. You see the price first. Flat takes the best
    asks at once and never costs more than it says; an auction waits for the next batch, in which everybody
    pays one price.

    A --secret is sealed on this machine to the key of each worker that the contract names for the order, and
    is a file in the task's memory there: it is in no order, log or disk, and the service cannot open it.
    Leave the command running until the job has begun, or give them later: `prixfixe jobs secrets`.

    \b
    Examples:
      prixfixe submit python:3.11-slim -- python3 -c 'print(6 * 7)'
      prixfixe submit model.tar --tasks 100 --product cpu-2x4/10m --budget 5 -- ./simulate
      prixfixe submit model.tar --matrix seeds.csv -- ./simulate --seed {seed}
      prixfixe submit model.tar --auction --price 0.01 --deadline 1h --input data.csv -- ./fit
    """
    from prixfixe.cli import buying

    context = chosen_context(context_name, key)
    secrets = read_secrets(given["secrets"])
    market = open_market(context) if secrets else None  # before anything is ordered
    with open_client(context) as client, tempfile.TemporaryDirectory(prefix="prixfixe-submit-") as scratch:
        wanted = _Wanted.read(given, Path(scratch))
        quote = client.quote_wish(wanted.wish)
        say(offer(quote))
        buying.agree(client, quote, wanted.budget, f"Order for at most {quote.total}?", yes)
        job = buying.buy(client, quote, client.operations.sources(quote), {"result": None, "receipt": None})
        if detach:
            buying.detached(job, as_json, quote.manifest.secrets)
            return
        with giving(context, market, job.id, secrets) if market is not None else nullcontext():
            buying.watch(client, job)
        told = _bring_home(client, client.job(job.id), out)
    if as_json:
        emit(told)
    else:
        say(f"{told['out']}  ({told['money']})")
        say(f"{told['receipt']}  (again: prixfixe verify {told['receipt']})")


@click.command()
@wish_options
@click.option("--explain", is_flag=True, help="Say of every ask that could not run it, why, and what would.")
@context_option
@key_option
@json_option
def quote(
    explain: bool,
    context_name: str | None,
    key: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """What tasks of an image would cost now, without ordering anything. IMAGE and options are those of
    `prixfixe submit`.

    \b
    Examples:
      prixfixe quote model.tar --tasks 100 --product cpu-2x4/10m --explain -- ./simulate
      prixfixe quote model.tar --auction --price 0.001 --explain -- ./simulate
    """
    with (
        open_client(chosen_context(context_name, key)) as client,
        tempfile.TemporaryDirectory(prefix="prixfixe-quote-") as scratch,
    ):
        found = client.quote_wish(_Wanted.read(given, Path(scratch)).wish)
    if as_json:
        emit(found.model_dump(mode="json"))
        return
    click.echo(offer(found, explain=explain))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was typed. budget: for the whole order."""

    wish: Wish
    budget: Money | None

    @staticmethod
    def read(given: Mapping[str, Any], scratch: Path) -> _Wanted:
        from prixfixe.client.wishes import Wish
        from prixfixe.devnet.duration import parse_duration

        deadline = given["deadline"]
        wish = Wish(
            image=_image(given["image"], scratch),
            command=given["command"],
            product=given["product"],
            kind="auction" if given["auction"] else "flat",
            tasks=given["tasks"],
            inputs=given["inputs"],
            environment=pairs("--env", given["environment"]),
            parameters={name: _json(text) for name, text in pairs("--param", given["parameters"]).items()},
            price=given["price"],
            replicas=given["replicas"],
            exact=given["exact"],
            lot=given["lot"],
            wait_seconds=parse_duration(given["wait"]),
            deliver_seconds=None if deadline is None else parse_duration(deadline),
            whole=given["whole"],
            providers=given["providers"] or None,
            placement=given["placement"],
            isolation=given["isolation"],
            hosts=given["hosts"],
            secrets=tuple(pairs("--secret", given["secrets"])),
            matrix=given["matrix"],
        )
        return _Wanted(wish, given["budget"])


def _image(named: str, scratch: Path) -> Path | str:
    """An archive on this machine, a registry's image by its digest, or an image of the local engine, saved
    as an archive."""
    from prixfixe.cli.bundle_image import image_id, save_image
    from prixfixe.errors import InvalidInput

    if "@" in named or Path(named).is_file():
        return named
    found = image_id(named)
    if found is None:
        raise InvalidInput(
            f"{named} is no file, and the local engine has no image of that name",
            code="no-image",
            hint="build or pull it first (`docker pull`), or name an archive or NAME@sha256:...",
        )
    say(f"  saving {named} from the local engine")
    archive = scratch / "image.tar"
    save_image(found, archive)
    return archive


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    from prixfixe.errors import InvalidInput

    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals or name in found:
            problem = "is given twice" if name in found else "is not NAME=VALUE"
            raise InvalidInput(f"{option} {text!r} {problem}", code="bad-option", hint=f"{option} NAME=VALUE")
        found[name] = value
    return found


def _json(text: str) -> Any:
    """A JSON value; what is none is a text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def offer(quote: BidQuote, *, explain: bool = False) -> str:
    """What the person decides on."""
    lots = -(-quote.tasks // quote.lot)
    enough = quote.live_asks >= quote.replicas
    starts = "nobody can tell" if quote.starts_in is None else f"in about {quote.starts_in} s"
    if quote.starts_in == 0:
        starts = "at once" if quote.kind == "flat" else "with the next batch"
    left = f"{quote.balance - quote.total}" if quote.balance >= quote.total else "not enough"
    rows = [
        ("tasks", f"{quote.tasks:,} of {quote.product.name}, in {lots:,} lot(s) of at most {quote.lot:,}"),
        ("image", quote.manifest.image),
        *(("input", f"{file.name}, {size(file.size)}") for file in quote.manifest.inputs),
        ("price", f"at most {quote.price} a task, {quote.total} in all"),
        ("expected", f"{quote.expected}" if quote.expected is not None else "too few ask for that little"),
        ("how", "the best asks at once" if quote.kind == "flat" else "an auction: one price for all"),
        *([("may call", ", ".join(quote.manifest.hosts))] if quote.manifest.hosts else []),
        *([("isolation", quote.manifest.isolation)] if quote.manifest.isolation else []),
        *([("secrets", ", ".join(quote.manifest.secrets))] if quote.manifest.secrets else []),
        *([("replicas", f"{quote.replicas} providers run each")] if quote.replicas > 1 else []),
        ("starts", starts),
        *([("runs", past_words(quote.past, "a lot"))] if quote.past is not None else []),
        ("result by", moment(quote.deliver_by)),
        ("else", "the contract gives back what was not done"),
        ("providers", f"{quote.live_asks or 'none'} can take it" + ("" if enough else "; it waits")),
        ("balance", f"{quote.balance}, then at least {left}"),
    ]
    if explain or not enough:
        rows += [("not", f"{each.asks} ask(s): {each.reason}") for each in quote.excluded]
        rows += [("nearest", quote.nearest)] if quote.nearest else []
    return table(("  " + name, text) for name, text in rows)


def _bring_home(client: Client, job: Job, out: Path | None) -> dict[str, Any]:
    """Receipt first, then every output. NotDelivered when nothing was done."""
    from prixfixe.cli.receipts import receipt_fault, write_receipt
    from prixfixe.client.endings import money_sentence, require_delivered
    from prixfixe.client.files import free_name

    folder = out or free_name(Path(f"job-{job.id[2:10]}"))
    folder.mkdir(parents=True, exist_ok=True)
    receipt = client.receipt(job)
    at = free_name(folder.with_name(f"{folder.name}-receipt.json"))
    write_receipt(receipt, at)
    require_delivered(job)
    progress = Progress()
    files = client.download(job, folder, progress=progress.bytes("downloading"))
    progress.close()
    verification = client.verify(receipt, files[:100])
    if not verification.valid:
        raise receipt_fault(verification, at)
    return {
        "job": job.id,
        "state": job.state,
        "quoted": str(job.quoted.units),
        "charged": str(job.charged.units),
        "money": money_sentence(job),
        "tasks": job.tasks,
        "files": len(files),
        "out": str(folder),
        "receipt": str(at),
        "receipt_valid": verification.valid,
        "receipt_complete": verification.complete,
    }
