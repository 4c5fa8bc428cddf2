"""What is sold in a history, and the ways in which it is ordered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.wire import QuoteRequest

BUNDLE: Final[Mapping[str, Any]] = {
    "id": "histories",
    "version": "1.0.0",
    "title": "Histories",
    "summary": "Gives back what it was given.",
    "audience": "tests",
    "image": "sha256:" + "ab" * 32,
    "command": ["cat"],
    "parameters": {"type": "object", "additionalProperties": False, "properties": {}},
    "inputs": {"formats": ["csv"], "max_bytes": 1_000_000},
    "tiers": [{"name": "any", "unit": "rows", "up_to": 100, "price": "4.00", "max_cost": "3.00"}],
    "limits": {"milli_vcpu": 1000, "memory_mib": 512, "disk_mib": 256, "max_seconds": 20},
    "replicas": [1, 3],
    "determinism": "exact",
    "service_level": 600,
    "privacy": {"retention_days": 30},
    "proof": {"canonical": "table.csv", "control_totals": "table.csv"},
}
"""The bundle of whoever names none, as `bundle.toml` says it."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """How the bundle may be ordered. units: of its tiers."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, bytes] = field(default_factory=lambda: {"table.csv": b"a,b\n1,2\n"})
    units: int = 1

    def request(self, customer: str, bundle: str, replicas: int) -> QuoteRequest:
        """What the service is asked a price for."""
        return QuoteRequest(
            customer=customer,
            bundle=bundle,
            parameters=dict(self.parameters),
            inputs=tuple(
                InputFile(name=name, sha256=sha256_hex(content), size=len(content))
                for name, content in self.inputs.items()
            ),
            units=self.units,
            replicas=replicas,
        )
