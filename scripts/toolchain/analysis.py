"""slither and halmos over the contract."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

from toolchain import contracts, node
from toolchain.counting import Counts
from toolchain.project import ANALYSIS_VENV, ARTEFACTS, ROOT, ScriptError, write_last

# Below contracts/, in the folder that holds nothing but what can be made again.
BUILD_INFO = "cache/slither"
CONFIG = "slither.config.json"
PROVEN_CODE = "cache/halmos/out"
FOUND = re.compile(r"(\d+) result\(s\) found")
PROVEN = re.compile(r"Symbolic test result: (\d+) passed; (\d+) failed")


def build_info() -> dict[str, Any]:
    """What slither reads: the compiler's input and output, as forge would write them.

    Only syntax trees and interfaces are asked for: code, which takes most of the time, slither does not need.
    Raises ScriptError with the compiler's errors.
    """
    told, remappings = contracts.settings()
    told["outputSelection"] = {"*": {"": ["ast"], "*": ["abi", "evm.methodIdentifiers"]}}
    given = {"language": "Solidity", "sources": {}, "settings": told}
    given["sources"] = {name: {"content": text} for name, text in contracts.sources(remappings).items()}
    done = subprocess.run(
        [contracts.COMPILER], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    output = json.loads(done.stdout)
    errors = [told for told in output.get("errors", []) if told["severity"] == "error"]
    if errors:
        raise ScriptError("\n".join(told["formattedMessage"] for told in errors))
    for declared in output["contracts"].values():
        for contract in declared.values():
            empty = {"object": "", "linkReferences": {}, "opcodes": "", "sourceMap": ""}
            contract["evm"] |= {"bytecode": empty, "deployedBytecode": empty}
            contract |= {"metadata": "", "userdoc": {}, "devdoc": {}}
    return {"input": given, "output": output, "solcVersion": node.SOLC_VERSION}


def slither() -> tuple[str, ...]:
    """Writes what slither reads; returns how to run it. Its status is 0 when it finds nothing."""
    write_last(contracts.CONTRACTS / BUILD_INFO / "sources.json", json.dumps(build_info()))
    program = str(ANALYSIS_VENV / "bin" / "slither")
    options = ["--ignore-compile", "--foundry-build-info-directory", BUILD_INFO, "--config-file", CONFIG]
    return (program, str(ROOT / "contracts"), *options)


def read_slither(text: str) -> Counts:
    """One test, which fails once a finding that is not answered."""
    found = FOUND.search(text)
    return Counts(passed=int(found[1] == "0"), failed=int(found[1])) if found else Counts()


def as_built(name: str) -> dict[str, Any]:
    """A committed contract as if forge had built it beside the proofs, so that halmos knows its code when it
    meets it."""
    artefact = json.loads((ARTEFACTS / f"{name}.json").read_text())
    contract = {"nodeType": "ContractDefinition", "name": name, "contractKind": "contract", "nodes": []}
    deployed = {
        "object": artefact["deployedBytecode"],
        "immutableReferences": artefact["immutableReferences"],
    }
    return {
        "abi": artefact["abi"],
        "ast": {"nodeType": "SourceUnit", "nodes": [contract]},
        "bytecode": {"object": artefact["bytecode"]},
        "deployedBytecode": deployed,
        "methodIdentifiers": {},  # nothing to prove in it by itself
        "metadata": {"compiler": {"version": artefact["compiler"]["version"]}},
    }


def halmos() -> tuple[str, ...]:
    """Writes what halmos proves things of, the committed bytecode; returns how to run the proofs of
    contracts/halmos, with forge's profile of that name."""
    # forge leaves what it built of a file that is gone, and halmos would prove it still.
    for built in (contracts.CONTRACTS / PROVEN_CODE).glob("*.t.sol"):
        if not (contracts.CONTRACTS / "halmos" / built.name).exists():
            shutil.rmtree(built)
    for name in ("Market", "Desk"):
        folder = contracts.CONTRACTS / PROVEN_CODE / f"{name}.sol"
        write_last(folder / f"{name}.json", json.dumps(as_built(name)))
    program = str(ANALYSIS_VENV / "bin" / "halmos")
    where = ("--root", ".", "--forge-build-out", PROVEN_CODE)
    # The proofs' own loops, and those over a deal's legs, go to three. In 10 ms the solver
    # sees of most impossible branches that they are; the others cost time and prove nothing wrong.
    patience = ("--solver-timeout-branching", "10ms", "--solver-timeout-assertion", "120s")
    return (program, *where, "--loop", "4", "--no-status", *patience)


def read_halmos(text: str) -> Counts:
    """One test a proof; what the solver gave up is failed."""
    return sum((Counts(int(told[0]), int(told[1])) for told in PROVEN.findall(text)), Counts())
