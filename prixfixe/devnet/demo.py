"""The demonstration behind `scripts/demo`: the main job, a customer's mistake, and a worker that dies.

It does what a person would do, with the commands that a person types, against a devnet of its own in a
folder of its own; nothing of the user's is touched. What it tells goes to standard error; the last line on
standard output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from prixfixe.devnet.demo_data import DemoTable, flights, order_lines
from prixfixe.devnet.supervisor import prixfixe_command
from prixfixe.errors import PrixfixeError

if TYPE_CHECKING:
    from prixfixe.client import Client

_DEFAULT_ROWS = 336_776
_BLOWS = 6  # a short run may end before the blow lands; then the next one is hit


class DemoFailed(Exception):
    """A step did not do what it promises; the message says which."""


def say(text: str = "") -> None:
    print(text, file=sys.stderr, flush=True)


class Person:
    """Types `prixfixe` commands in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.environment = {**os.environ, "PRIXFIXE_HOME": str(home)}

    def types(self, *arguments: str, expect: int | None = 0) -> tuple[int, dict[str, Any]]:
        """Run one command with --json; its progress is shown. The exit code, and what it printed."""
        shown = " ".join(a if " " not in a else repr(a) for a in arguments)
        say(f"$ prixfixe {shown}")
        done = subprocess.run(
            [*prixfixe_command(), *arguments, "--json"],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if expect is not None and done.returncode != expect:
            raise DemoFailed(f"`prixfixe {shown}` ended with {done.returncode}, not {expect}: {done.stdout}")
        lines = done.stdout.strip().splitlines()
        return done.returncode, json.loads(lines[-1]) if lines else {}

    @contextmanager
    def begun(self, *arguments: str) -> Iterator[str]:
        """The id of the job that a command leaves behind, as soon as it is told: the command may still be
        leaving. Waits for its end afterwards."""
        say(f"$ prixfixe {' '.join(arguments)}")
        with subprocess.Popen(
            [*prixfixe_command(), *arguments, "--json"],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as running:
            assert running.stdout is not None
            line = running.stdout.readline()
            if not line:
                raise DemoFailed(f"`prixfixe {arguments[0]}` ended with {running.wait()} and bought nothing")
            yield json.loads(line)["job"]

    def devnet(self, folder: Path, *arguments: str) -> None:
        """Run one `prixfixe dev` command on the devnet in `folder`."""
        say(f"$ prixfixe dev {' '.join(arguments)}")
        command = [*prixfixe_command(), "dev", "--folder", str(folder), *arguments]
        subprocess.run(command, env=self.environment, stdout=sys.stderr, check=True)

    def balance(self) -> int:
        return int(self.types("account", "show")[1]["free"])


@contextmanager
def devnet(person: Person, folder: Path, *, keep: bool) -> Iterator[None]:
    """A devnet of three workers; stopped at the end whatever happens, and gone with all it left unless
    kept."""
    options = ["--folder", str(folder)]
    say("$ prixfixe dev --detach")
    started = subprocess.run(
        [*prixfixe_command(), "dev", *options, "--port", "0", "--chain-port", "0", "--detach", "--json"],
        env=person.environment,
        stdout=subprocess.PIPE,
        check=False,
    )
    if started.returncode:
        raise DemoFailed("the devnet did not start")
    try:
        yield
    finally:
        subprocess.run(
            [*prixfixe_command(), "dev", *options, *(["stop"] if keep else ["reset", "--yes"])],
            env=person.environment,
            stdout=subprocess.DEVNULL,
            check=False,
        )


def main_job(person: Person, table: DemoTable, results: Path) -> dict[str, Any]:
    say(f"\n--- 1. The main job: {table.title}")
    before = person.balance()
    began = time.monotonic()
    workbook, receipt = results / "result.xlsx", results / "receipt.json"
    _, run = person.types(
        *("run", "pivot", str(table.path), *table.arguments, "--yes"),
        *("--out", str(workbook), "--receipt", str(receipt), "--force"),
    )
    seconds = time.monotonic() - began
    code, verified = person.types("verify", str(receipt), str(workbook), expect=None)
    spent = before - person.balance()
    if spent != int(run["charged"]):
        raise DemoFailed(f"the account went down by {spent}, the receipt says {run['charged']}")
    say(
        f"{run['input_rows']:,} rows in, {run['output_rows']:,} out, {_dollars(spent)} charged,"
        f" in {seconds:.1f} s: {workbook}"
    )
    return {
        "job": run["job"],
        "bundle": run["bundle"],
        "quoted": int(run["quoted"]),
        "charged": int(run["charged"]),
        "settled": run["state"] == "settled",
        "receipt_valid": code == 0 and bool(verified.get("valid")),
        "input_rows": run["input_rows"],
        "output_rows": run["output_rows"],
        "seconds": round(seconds, 2),
    }


def mistake(person: Person, table: DemoTable, results: Path) -> None:
    say("\n--- 2. A customer's mistake: a column that is not there")
    before = person.balance()
    wrong = f"{table.measured_column}_typo"
    arguments = [a.replace(table.measured_column, wrong) for a in table.arguments]
    never = results / "never" / "result.xlsx"
    never.parent.mkdir(exist_ok=True)
    code, refused = person.types(
        "run", "pivot", str(table.path), *arguments, "--yes", "--out", str(never), expect=None
    )
    if code == 0 or person.balance() != before or wrong not in json.dumps(refused):
        raise DemoFailed(f"a missing column was not refused before payment: {refused}")
    say("Refused before anything was uploaded or paid; the balance is what it was.")


def death(person: Person, table: DemoTable, folder: Path, results: Path) -> None:
    from prixfixe.client import Client

    say("\n--- 3. A worker is killed in the middle")
    before = person.balance()
    os.environ["PRIXFIXE_HOME"] = person.environment["PRIXFIXE_HOME"]
    with Client() as client:
        client.jobs(1)  # signed in before it is needed: a short run does not wait for that
        for _ in range(_BLOWS):
            typed = ("run", "pivot", str(table.path), *table.arguments, "--yes", "--detach")
            with person.begun(*typed) as bought:
                victim = _kill_its_worker(client, person, folder, bought)
            if victim is None:
                say("It had finished already; again.")
                continue
            out = results / "after-the-blow"
            _, job = person.types("jobs", "watch", bought)
            person.types("jobs", "download", bought, "--out", str(out), "--force")
            if job["state"] != "settled":
                raise DemoFailed(f"the job ended {job['state']} after its worker was killed")
            person.devnet(folder, "start", victim)
            if job["attempts"] > 1:
                break
            say("Its result was out already; again.")
        else:
            raise DemoFailed("no run could be hit in the middle")
    say(
        f"{victim} died; its deal was brought to an end, the {_dollars(int(job['quoted']))} went back,"
        f" another worker ran it, and it was paid once:"
        f" {_dollars(before - person.balance())} left the account in all."
    )


def _kill_its_worker(client: Client, person: Person, folder: Path, job: str) -> str | None:
    """Wait until the job runs, then end the process of the worker that runs it. Its devnet name; None when
    the job was over sooner."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = client.job(job)
        if found.stage.startswith("running on w"):
            victim = f"worker-{found.stage.removeprefix('running on w').split()[0]}"
            person.devnet(folder, "kill", victim)
            return victim
        if found.ended_at is not None:
            return None
        time.sleep(0.02)
    raise DemoFailed(f"job {job} did not start within 30 s")


def _dollars(units: int) -> str:
    from prixfixe.protocol.money import Money

    return str(Money(units))


def _terminated(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="The main job from nothing: a market on this machine, a table pivoted for a flat price,"
        " paid on chain, with a receipt that is checked; then a customer's mistake and a worker that dies.",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=_DEFAULT_ROWS,
        help="other than 336,776: so many generated order lines (12000000 is 1.5 GB)",
    )
    parser.add_argument("--keep", type=Path, help="keep results and the devnet's data in this folder")
    parser.add_argument(
        "--only-main", action="store_true", help="leave out the mistake and the killed worker"
    )
    options = parser.parse_args(arguments)
    if options.rows < 1:
        parser.error("--rows is at least 1")
    signal.signal(signal.SIGTERM, _terminated)

    root = options.keep or Path(tempfile.mkdtemp(prefix="prixfixe-demo-"))
    root.mkdir(parents=True, exist_ok=True)
    results = root / "results"
    results.mkdir(exist_ok=True)
    person = Person(root / "home")
    try:
        table = flights(root) if options.rows == _DEFAULT_ROWS else order_lines(root, options.rows)
        with devnet(person, root / "devnet", keep=options.keep is not None):
            summary = main_job(person, table, results)
            if not options.only_main:
                mistake(person, table, results)
                death(person, table, root / "devnet", results)
    except (DemoFailed, PrixfixeError) as error:
        say(f"\nThe demonstration failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped; everything that it started has ended.")
        return 130
    finally:
        if options.keep is None:
            shutil.rmtree(root, ignore_errors=True)
    say(
        "\nNow with a table of your own:\n"
        "  .venv/bin/prixfixe dev --detach\n"
        "  .venv/bin/prixfixe run pivot docs/samples/sales.csv --rows region --columns month"
        " --values amount:sum --out sales.xlsx\n"
        "  docs/start-customer.md goes on from there, the other docs/start-*.md for other users"
    )
    print(json.dumps(summary))
    return 0 if summary["settled"] and summary["receipt_valid"] else 1


if __name__ == "__main__":
    sys.exit(main())
