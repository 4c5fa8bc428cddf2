"""`scripts/contracts`: compiled contracts as artefacts, and the proof that they come from the sources.

Runs in the project's environment (py-solc-x). The settings are forge's: contracts/foundry.toml is the one
place for them, so that what the forge tests run is what is deployed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolchain import node
from toolchain.project import ARTEFACTS, NODE_MODULES, ROOT, TOOLS, ScriptError, fingerprint, say, write_last

CONTRACTS = ROOT / "contracts"
COMPILER = ROOT / "scripts" / "solc"
INPUT = "input.json"
# The state in which a fresh compile was last found to give the committed artefacts.
PROVEN = TOOLS / "artefacts-proven"
IMPORT = re.compile(r'^\s*import\s+(?:[^"\';]*?\s+from\s+)?["\']([^"\']+)["\']', re.MULTILINE)
# Contracts whose fallback is another's code: callers need the functions of both.
BEHIND = {"Market": "Desk"}
# Where a deployed contract's code must fit (EIP-170).
LARGEST_CODE = 24_576

ABOUT = """\
Compiles contracts/src with py-solc-x and refreshes the artefacts in prixfixe/chain/artefacts: for each
contract its ABI, bytecode, compiler and settings, and beside them the compiler's whole standard JSON input,
with which anyone can compile the same bytes again.
"""


def settings() -> tuple[dict[str, Any], list[str]]:
    """The compiler's settings and the remappings, as forge would pass them."""
    profile = tomllib.loads((CONTRACTS / "foundry.toml").read_text())["profile"]["default"]
    remappings: list[str] = profile["remappings"]
    told: dict[str, Any] = {
        "remappings": remappings,
        "optimizer": {"enabled": profile["optimizer"], "runs": profile["optimizer_runs"]},
        "metadata": {"bytecodeHash": profile["bytecode_hash"], "appendCBOR": profile["cbor_metadata"]},
        "evmVersion": profile["evm_version"],
        "viaIR": profile["via_ir"],
        "outputSelection": {
            "*": {
                "*": [
                    "abi",
                    "evm.bytecode",
                    "evm.deployedBytecode.object",
                    "evm.deployedBytecode.immutableReferences",
                ]
            }
        },
    }
    return told, remappings


def sources(remappings: Sequence[str]) -> dict[str, str]:
    """Every source that contracts/src needs, by the compiler's name for it: its path in contracts/."""
    waiting = [path.relative_to(CONTRACTS).as_posix() for path in sorted((CONTRACTS / "src").rglob("*.sol"))]
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = (CONTRACTS / name).read_text()
        except OSError as error:
            raise ScriptError(
                f"{name} is imported but cannot be read ({error.strerror})", ["scripts/setup"]
            ) from error
        waiting += [_resolve(name, told, remappings) for told in IMPORT.findall(found[name])]
    return dict(sorted(found.items()))


def _resolve(importer: str, told: str, remappings: Sequence[str]) -> str:
    if told.startswith("."):
        return os.path.normpath(Path(importer).parent / told)
    for remapping in remappings:
        prefix, _, target = remapping.partition("=")
        if told.startswith(prefix):
            return target + told[len(prefix) :]
    return told


def compiler_input() -> dict[str, Any]:
    """The standard JSON that is compiled. Raises ScriptError for a source that cannot be read."""
    told, remappings = settings()
    found = {name: {"content": text} for name, text in sources(remappings).items()}
    return {"language": "Solidity", "sources": found, "settings": told}


def state(given: dict[str, Any]) -> str:
    """All that decides whether a compile gives the committed artefacts: input, compiler, this and them."""
    compiler = [COMPILER, Path(__file__), *sorted((NODE_MODULES / "solc").glob("*.js*"))]
    committed = sorted(ARTEFACTS.glob("*.json"))
    return fingerprint(_text(given), *compiler, *(path.name for path in committed), *committed)


def compile_all(given: dict[str, Any]) -> dict[str, str]:
    """Compile; returns the artefact files' texts by name. Raises ScriptError with the compiler's errors."""
    # Found only in the project's environment, to which the script has switched by now.
    import solcx

    try:
        output = solcx.compile_standard(given, solc_binary=COMPILER)
    except solcx.exceptions.SolcError as error:
        raise ScriptError(str(error.message)) from error
    version = _version()
    files = {INPUT: _text(given)}
    for source, contracts in sorted(output["contracts"].items()):
        for name, contract in sorted(contracts.items()):
            if source.startswith("src/") and contract["evm"]["bytecode"]["object"] and contract["abi"]:
                if f"{name}.json" in files:
                    raise ScriptError(f"two contracts are called {name}: artefacts go by name")
                contract["abi"] = _whole_abi(name, output["contracts"])
                files[f"{name}.json"] = _artefact(name, source, contract, version, given)
    return files


def _whole_abi(name: str, compiled: dict[str, Any]) -> list[dict[str, Any]]:
    """A contract's interface, with what it answers by the code behind its fallback."""
    found = {each: contract["abi"] for contracts in compiled.values() for each, contract in contracts.items()}
    own: list[dict[str, Any]] = found[name]
    if name not in BEHIND:
        return own
    own = [entry for entry in own if entry["type"] != "fallback"]
    # `begin` answers only while the contract is made.
    beyond = [entry for entry in found[BEHIND[name]] if entry.get("name", "begin") != "begin"]
    return own + [entry for entry in beyond if entry not in own]


def _artefact(name: str, source: str, contract: dict[str, Any], version: str, given: dict[str, Any]) -> str:
    evm = contract["evm"]
    if evm["bytecode"]["linkReferences"]:
        raise ScriptError(f"{name} needs a linked library: artefacts are whole")
    size = len(evm["deployedBytecode"]["object"]) // 2
    if size > LARGEST_CODE:
        raise ScriptError(f"{name} has {size} bytes of code, more than the {LARGEST_CODE} that a chain takes")
    return _text(
        {
            "contractName": name,
            "sourceName": source,
            "sourceHash": hashlib.sha256(given["sources"][source]["content"].encode()).hexdigest(),
            "inputHash": hashlib.sha256(_text(given).encode()).hexdigest(),
            "compiler": {
                "version": version,
                "settings": {
                    key: told for key, told in given["settings"].items() if key != "outputSelection"
                },
            },
            "abi": contract["abi"],
            "bytecode": "0x" + evm["bytecode"]["object"],
            "deployedBytecode": "0x" + evm["deployedBytecode"]["object"],
            "immutableReferences": evm["deployedBytecode"].get("immutableReferences", {}),
        }
    )


def _version() -> str:
    """The compiler's version with its commit, without the platform it was built for."""
    told = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"Version: (\d+\.\d+\.\d+)(\+commit\.[0-9a-f]+)?", told)
    if found is None or found[1] != node.SOLC_VERSION:
        raise ScriptError(f"the compiler is {told.strip()}, not {node.SOLC_VERSION}", ["scripts/setup"])
    return found[1] + (found[2] or "")


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def differences(files: dict[str, str]) -> list[str]:
    """What differs between a fresh compile and the committed artefacts; nothing, if all is well."""
    present = {path.name: path.read_text() for path in ARTEFACTS.glob("*.json")}
    told = [f"{name} is missing" for name in sorted(files.keys() - present.keys())]
    told += [f"{name} comes from no source" for name in sorted(present.keys() - files.keys())]
    told += [
        f"{name} differs" for name in sorted(files.keys() & present.keys()) if files[name] != present[name]
    ]
    return told


def write(files: dict[str, str]) -> None:
    """Write the artefacts and remove those whose contract is gone."""
    for stale in ARTEFACTS.glob("*.json"):
        if stale.name not in files:
            stale.unlink()
    for name, text in files.items():
        write_last(ARTEFACTS / name, text)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/contracts", description=ABOUT)
    parser.add_argument(
        "--check",
        action="store_true",
        help="only prove that the artefacts equal a fresh compile; not again while nothing of it changed",
    )
    chosen = parser.parse_args(words)
    try:
        given = compiler_input()
        if chosen.check and PROVEN.exists() and PROVEN.read_text() == state(given):
            say("artefacts equalled a fresh compile, and nothing of it has changed since")
            return 0
        files = compile_all(given)
    except ScriptError as error:
        say(error.message)
        return 1
    changed = differences(files)
    if chosen.check:
        if not changed:
            write_last(PROVEN, state(given))
        for line in changed:
            say(f"prixfixe/chain/artefacts/{line}")
        say(
            "artefacts equal a fresh compile"
            if not changed
            else "run scripts/contracts and commit what it writes"
        )
        return 1 if changed else 0
    write(files)
    for name, text in files.items():
        if name != INPUT:
            size = len(json.loads(text)["deployedBytecode"]) // 2 - 1
            say(f"  {name:<20} {size:>6} bytes of code, {LARGEST_CODE - size} to spare")
    say(f"{len(changed)} artefacts changed" if changed else "nothing changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
