"""What a block explorer needs to show the sources of a deployed market, and anyone to compile it again.

Two files beside the manifest: `NAME.input.json`, the compiler's whole standard JSON input, and
`NAME.verification.json`, which says for each contract its address, its name in that input, the compiler's
version, and its constructor's arguments in the form that explorers ask for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prixfixe.chain import artefacts
from prixfixe.chain.manifest import Deployment
from prixfixe.chain.parameters import constructor_arguments
from prixfixe.chain.placing import first_creation_of


def describe(deployment: Deployment) -> list[dict[str, Any]]:
    """One entry a contract: the market, its desk, and the play dollar where one was made."""
    arguments = constructor_arguments(deployment.token, deployment.policy, deployment.roles)
    contracts = [
        ("Market", deployment.market, arguments),
        ("Desk", first_creation_of(deployment.market), arguments[:2]),
    ]
    if "DevDollar" in deployment.transactions:
        contracts.append(("DevDollar", deployment.token, []))
    described = []
    for name, address, given in contracts:
        artefact = artefacts.load(name)
        described.append(
            {
                "address": address,
                "chain_id": deployment.chain_id,
                "contract": f"{artefact.source}:{name}",
                "compiler": f"v{artefact.compiler}",
                "constructor_arguments": artefact.constructor.encode_call(given)[4:].hex(),
            }
        )
    return described


def save(deployment: Deployment, manifest: Path) -> tuple[Path, Path]:
    """Writes both files beside the manifest; returns their paths, the compiler's input first."""
    given = manifest.with_name(f"{manifest.stem}.input.json")
    told = manifest.with_name(f"{manifest.stem}.verification.json")
    manifest.parent.mkdir(parents=True, exist_ok=True)
    given.write_bytes(artefacts.compiler_input())
    told.write_text(json.dumps(describe(deployment), indent=2) + "\n", encoding="utf-8")
    return given, told
