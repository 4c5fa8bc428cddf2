"""Writes the vectors in tests/vectors: typed structs with their hashes and signatures, and Merkle roots.

Solidity's tests read the same file, so both sides hash and recover alike. Each digest is computed twice: by
our packing and by eth-account's general encoder.

    python tests/protocol/make_vectors.py
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from prixfixe.development_keys import development_key
from prixfixe.protocol.orders import SIGNED_STRUCTS, Ask, Bid, Purchase
from prixfixe.protocol.outputs import leaf, merkle_root
from prixfixe.protocol.signatures import address_of_key, compact, sign
from prixfixe.protocol.typed_data import Domain, TypedStruct, abi_fields

FOLDER = Path(__file__).parents[1] / "vectors"
DOMAINS = (
    Domain(31337, "0x5FbDB2315678afecb367f032d93F642f64180aa3"),
    Domain(8453, "0x00000000000000000000000000000000000000ff"),
)
# What the structs themselves refuse below or above.
LIMITS = {
    (Ask, "slots"): (1, None), (Ask, "kinds"): (1, 3),
    (Bid, "tasks"): (1, None), (Bid, "lot"): (1, None), (Bid, "quorum"): (1, None),
    (Purchase, "tasks"): (1, None), (Purchase, "lot"): (1, None),
}  # fmt: skip


def structs() -> list[TypedStruct]:
    """Of each type: all fields least, all largest, and two in between (a fixed seed)."""
    rng = random.Random(20)
    made = []
    for cls in SIGNED_STRUCTS:
        for mode in ("least", "largest", "random", "random"):
            values: dict[str, Any] = {}
            for spec in abi_fields(cls):
                least, largest = LIMITS.get((cls, spec.name), (0, None))
                largest = spec.largest if largest is None else largest
                if spec.solidity_type == "address":
                    raw = {"least": bytes(20), "largest": b"\xff" * 20}.get(mode) or rng.randbytes(20)
                    values[spec.name] = "0x" + raw.hex()
                elif spec.solidity_type == "bytes32":
                    values[spec.name] = {"least": bytes(32), "largest": b"\xff" * 32}.get(
                        mode
                    ) or rng.randbytes(32)
                else:
                    exact = {"least": least, "largest": largest}
                    values[spec.name] = exact[mode] if mode in exact else rng.randint(least, largest)
            made.append(cls(**values))
    return made


def vectors() -> list[dict[str, Any]]:
    """All vectors; RuntimeError when the two encoders disagree."""
    found = []
    for number, struct in enumerate(structs()):
        domain = DOMAINS[number % len(DOMAINS)]
        key = development_key(number % 10)
        digest = struct.digest(domain)
        signable = encode_typed_data(full_message=struct.to_eip712_json(domain))
        if keccak(b"\x19" + signable.version + signable.header + signable.body) != digest:
            raise RuntimeError(f"eth-account hashes {struct} otherwise")
        signature = sign(digest, key)
        found.append(
            {
                "type": type(struct).__name__,
                "domain": {"chainId": domain.chain_id, "verifyingContract": domain.verifying_contract},
                "message": struct.to_json(),
                "structHash": "0x" + struct.struct_hash().hex(),
                "digest": "0x" + digest.hex(),
                "signer": address_of_key(key),
                "signature": "0x" + signature.hex(),
                "compactSignature": "0x" + compact(signature).hex(),
            }
        )
    return found


def merkle_vectors() -> list[dict[str, Any]]:
    """Roots over lots of 1 to 17 tasks, and of 100."""
    rng = random.Random(21)
    found = []
    for count in (*range(1, 18), 100):
        statuses = [rng.randrange(7) for _ in range(count)]
        digests = [rng.randbytes(32) for _ in range(count)]
        leaves = [leaf(at, statuses[at], digests[at]) for at in range(count)]
        found.append(
            {
                "statuses": statuses,
                "digests": ["0x" + digest.hex() for digest in digests],
                "root": "0x" + merkle_root(leaves).hex(),
            }
        )
    return found


def files() -> dict[Path, str]:
    """Text of each vector file."""
    made = {"typed_data.json": vectors(), "merkle.json": merkle_vectors()}
    return {FOLDER / name: json.dumps(value, indent=1) + "\n" for name, value in made.items()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
