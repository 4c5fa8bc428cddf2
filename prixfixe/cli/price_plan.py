"""Plan files: a publication written down in full before anything is signed, and done later as it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from prixfixe.cli.options import open_client, open_market, open_signer
from prixfixe.cli.output import Progress, say
from prixfixe.client.contexts import Context
from prixfixe.errors import ConfigurationError, Conflict
from prixfixe.protocol.bundle import BundleDefinition, parse
from prixfixe.protocol.canonical import canonical_digest_hex, canonical_json
from prixfixe.protocol.money import Money

_FORMAT: Final = "prixfixe price plan 1"


@dataclass(frozen=True, slots=True)
class PricePlan:
    """A publication. seconds: how long its offers live from when it is done. float_: treasury money behind
    each. inputs: what the prices rest on. override: why, although a stop rule says no."""

    chain_id: int
    contract: str
    definition: BundleDefinition
    seconds: int
    float_: Money
    note: str
    inputs: Mapping[str, Any]
    override: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "chain_id": self.chain_id,
            "contract": self.contract,
            "definition": self.definition.to_json(),
            "seconds": self.seconds,
            "float": str(self.float_.units),
            "note": self.note,
            "inputs": dict(self.inputs),
            "override": self.override,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the plan's canonical JSON, 64 hex digits: what was looked at is what is done."""
        return canonical_digest_hex(self.to_json())

    def save(self, path: Path) -> None:
        path.write_bytes(canonical_json({**self.to_json(), "digest": self.digest}) + b"\n")

    @staticmethod
    def of_json(document: Any, source: str) -> PricePlan:
        """ConfigurationError when it is no plan, or was changed after it was written."""
        try:
            if document["format"] != _FORMAT:
                raise ValueError(f"it is no {_FORMAT!r}")
            plan = PricePlan(
                chain_id=int(document["chain_id"]),
                contract=str(document["contract"]),
                definition=parse(document["definition"], source),
                seconds=int(document["seconds"]),
                float_=Money(int(document["float"])),
                note=str(document["note"]),
                inputs=dict(document["inputs"]),
                override=str(document["override"]),
            )
            told = document["digest"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{source} is no plan of a publication: {error}", code="bad-plan"
            ) from error
        if told != plan.digest:
            raise ConfigurationError(
                f"{source} was changed: its digest is {plan.digest}, not {told}",
                code="plan-changed",
                hint="make the plan anew: prixfixe pricing publish FOLDER --plan FILE",
            )
        return plan

    @staticmethod
    def load(path: Path) -> PricePlan:
        try:
            return PricePlan.of_json(json.loads(path.read_bytes()), str(path))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path} cannot be read as a plan: {error}", code="bad-plan") from error

    def require_here(self, context: Context) -> None:
        """Conflict when it is of another market than the context's."""
        if (self.chain_id, self.contract) != (context.chain_id, context.contract):
            raise Conflict(
                f"the plan is for contract {self.contract} on chain {self.chain_id}, the context "
                f"{context.name!r} for {context.contract} on chain {context.chain_id}",
                code="wrong-market",
            )


def carry_out(plan: PricePlan, context: Context, rpc: str | None, *, ask: bool) -> dict[str, Any]:
    """Do a plan: the listing and the transactions, as JSON."""
    from prixfixe.cli import publishing
    from prixfixe.cli.pricing import plan_text

    plan.require_here(context)
    market, signer = open_market(context, rpc), open_signer(context)
    made = publishing.plan(market, signer.address, plan.definition, seconds=plan.seconds, float_=plan.float_)
    say(plan_text(made))
    if ask:
        click.confirm("Publish this?", abort=True, err=True)
    progress = Progress()
    with open_client(context) as client:
        why = publishing.Why(plan.note, plan.inputs, plan.override)
        done = publishing.publish(
            made, client, market, signer, why=why, say=progress.line, progress=progress.bytes("image")
        )
    progress.close()
    return {**done.listing.model_dump(mode="json"), "transactions": done.transactions}
