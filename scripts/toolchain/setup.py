"""`scripts/setup`: everything that the project needs, step by step."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolchain import engine, image, node, signals, system, venv
from toolchain.project import ScriptError, say
from toolchain.steps import Step, run_all
from toolchain.system import Package

ABOUT = """\
Makes this checkout ready to use: system packages, Python packages, npm tools, Docker engine, base image,
local chain. Each step says what it does, is skipped when it is done, and may be interrupted and run again.

scripts/demo and scripts/test call this themselves; run it alone to prepare a machine, or to see with
--plan what it would do to one.
"""
NOTES = """\
what it touches: system packages (only as root on Debian; otherwise it stops with the lines to type), the
folders .venv, node_modules and .tools in this checkout, and one image in the Docker engine. Delete the
folders to start anew. Logs are in .tools/logs.
examples:
  scripts/setup --plan           what would be installed and done here
  scripts/setup --keep-engine    leave the Docker engine running (scripts/setup --stop-engine ends it)
  scripts/setup --with ape       also the environment of its own in which ape runs
  scripts/setup --with analysis  the same for slither and halmos
  scripts/setup --with celery    the same for Celery, and Redis: what `scripts/bench throughput` compares with
"""
OPTIONAL = ("ape", "compose", "browser", "analysis", "office", "celery")
ON_REQUEST = ("office", "celery")
"""What `scripts/test` sets up only when the area is named: large, and its tests skip themselves without."""


def packages(extras: Sequence[str] = ()) -> list[Package]:
    """Every system package that any step may need; what the machine has from elsewhere counts as present."""
    wanted = [
        Package("docker.io", "Docker engine, in which jobs run", engine.available),
        Package("runsc", "gVisor, a second cage for jobs", engine.has_gvisor),
        Package("mmdebstrap", "makes the base image from Debian packages", _can_make_image),
        Package("nodejs", "runs the Solidity compiler", lambda: system.on_path("node")),
        Package("npm", "installs the compiler, anvil and forge", lambda: system.on_path("npm")),
        Package("busybox-static", "the tiny image that tests cage", lambda: system.on_path("busybox")),
        Package("postgresql", "the database server that tests start", _has_postgresql),
        Package("python3-venv", "makes virtual environments", system.has_venv),
    ]
    if "compose" in extras:
        wanted.append(Package("docker-compose", "brings up docker-compose.yml", _has_compose))
    if "browser" in extras:
        wanted.append(Package("chromium", "opens every page", lambda: system.on_path("chromium")))
    if "office" in extras:
        wanted.append(
            Package(
                "libreoffice-calc-nogui", "adds up the tests' tables too", lambda: system.on_path("soffice")
            )
        )
    if "celery" in extras:
        wanted.append(
            Package(
                "redis-server", "Celery's broker, for a benchmark", lambda: system.on_path("redis-server")
            )
        )
    return wanted


def _can_make_image() -> bool:
    return system.on_path("mmdebstrap") or image.missing() is None


def _has_postgresql() -> bool:
    return system.on_path("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def _has_compose() -> bool:
    return system.on_path("docker-compose")


def steps(extras: Sequence[str] = ()) -> list[Step]:
    """The steps in their order."""
    wanted = packages(extras)

    def missing_packages() -> str | None:
        names = [package.name for package in system.missing_packages(wanted)]
        return ", ".join(names) or None

    listed = [
        Step("packages", "installing system packages", missing_packages, lambda: system.install(wanted)),
        Step("venv", "making .venv from requirements/dev.txt", venv.main_missing, venv.make_main),
        Step("node", "installing package-lock.json's tools", node.packages_missing, node.install_packages),
        Step("chain", "placing anvil, forge and the Solidity compiler", node.chain_missing, node.link_chain),
        Step("image", f"making the base image {image.NAME}:{image.TAG}", image.missing, image.make),
    ]
    if "ape" in extras:
        listed.append(
            Step("ape", "making .venv-ape from requirements/ape.txt", venv.ape_missing, venv.make_ape)
        )
    if "analysis" in extras:
        does = "making .venv-analysis from requirements/analysis.txt"
        listed.append(Step("analysis", does, venv.analysis_missing, venv.make_analysis))
    if "celery" in extras:
        does = "making .venv-celery from requirements/celery.txt"
        listed.append(Step("celery", does, venv.celery_missing, venv.make_celery))
    return listed


def plan(extras: Sequence[str] = ()) -> dict[str, object]:
    """What a run would do here, as plain data."""
    missing = {package.name for package in system.missing_packages(packages(extras))}
    host = engine.here()
    return {
        "packages": [
            {"name": package.name, "purpose": package.purpose, "install": package.name in missing}
            for package in packages(extras)
        ],
        "may_install_packages": system.can_install(),
        "engine": {
            "running": host.engine.answers(),
            "address": host.address,
            "started_here": host.ours() is not None,
        },
        "steps": [
            {"name": step.name, "does": step.does, "needed": reason is not None, "reason": reason}
            for step in steps(extras)
            for reason in [step.missing()]
        ],
    }


def show(told: dict[str, object]) -> None:
    """The plan for a reader."""
    print("system packages:")
    rows = told["packages"]
    assert isinstance(rows, list)
    for row in rows:
        print(f"  {'install' if row['install'] else 'present':<8} {row['name']:<14} {row['purpose']}")
    if any(row["install"] for row in rows) and not told["may_install_packages"]:
        print("  (this user may not install them: the set-up would stop and say what to type)")
    found = told["engine"]
    assert isinstance(found, dict)
    print(f"docker engine: {'running' if found['running'] else 'not running'} at {found['address']}")
    print("steps:")
    rows = told["steps"]
    assert isinstance(rows, list)
    for row in rows:
        verb, state = ("run", row["reason"]) if row["needed"] else ("skip", "done")
        print(f"  {verb:<8} {row['name']:<14} {row['does']}: {state}")


@contextlib.contextmanager
def ready(
    extras: Sequence[str] = (), *, with_engine: bool, keep: bool = False, verbose: bool = False
) -> Iterator[None]:
    """Everything ready for the time of the block, the engine too if asked for. For all scripts.

    The engine is started right after the packages that bring it, so that no step starts it a second time.
    """
    first, *others = steps(extras)
    run_all([first], verbose=verbose)
    with engine.running(keep=keep) if with_engine else contextlib.nullcontext():
        run_all(others, verbose=verbose)
        yield


def tools() -> None:
    """Only what needs no engine: packages for Python and Node, the compiler and the chain's programs."""
    wanted = [package for package in packages() if package.name in ("nodejs", "npm", "python3-venv")]
    system.install(wanted)
    run_all([step for step in steps() if step.name in ("venv", "node", "chain")], verbose=False)


def fail(error: ScriptError) -> int:
    """Say what went wrong and what to type. Returns the script's status."""
    say(f"\n{error.message}")
    if error.lines:
        say(
            "\nType this, then run the same command again:\n" + "".join(f"  {line}\n" for line in error.lines)
        )
    return 1


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/setup",
        description=ABOUT,
        epilog=NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--plan", action="store_true", help="list packages and steps, do nothing")
    parser.add_argument("--json", action="store_true", help="with --plan: the same as one JSON object")
    parser.add_argument(
        "--with", dest="extras", action="append", choices=OPTIONAL, default=[], help="also set up this"
    )
    parser.add_argument(
        "--keep-engine", action="store_true", help="start the Docker engine and leave it running"
    )
    parser.add_argument(
        "--stop-engine", action="store_true", help="stop an engine that was left running, do no more"
    )
    chosen = parser.parse_args(words)
    if chosen.json and not chosen.plan:
        parser.error("--json goes with --plan")
    began = time.monotonic()
    try:
        with signals.as_exceptions():
            if chosen.plan:
                told = plan(chosen.extras)
                if chosen.json:
                    print(json.dumps(told, indent=2))
                else:
                    show(told)
                return 0
            if chosen.stop_engine:
                engine.stop()
                return 0
            keep = chosen.keep_engine
            with ready(chosen.extras, with_engine=keep, keep=keep, verbose=True):
                pass
            say(f"  all ready after {time.monotonic() - began:.1f} s")
    except ScriptError as error:
        return fail(error)
    except KeyboardInterrupt:
        say("\ninterrupted; run the same command again to go on")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
