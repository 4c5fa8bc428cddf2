"""Secrets of a job: sealed by the customer to the key of the worker that won the deal, and opened there only.

Sealed with HPKE (RFC 9180, base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305). The worker's sealing key is
signed by its worker key, which the deal on chain names: the service carries both and can swap neither. What
was sealed is bound to one deal and one worker, and opens for no other.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from prixfixe.errors import InvalidInput, VerificationFailed
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.fields import Address, Body, DealField, Message, Seconds, Sha256, Signature, Word
from prixfixe.protocol.signatures import parse_signature, recover, statement_digest
from prixfixe.protocol.typed_data import Domain

MOST_BYTES: Final = 64 << 10  # of all secrets of a job together
_TITLE: Final = "Prixfixe sealing key\n"
_CONTEXT: Final = b"prixfixe secrets 1\n"
_ENCAPSULATED: Final = 32
# Base64 of the encapsulated key and the ciphertext; names, JSON and tag among it.
Sealed = Annotated[str, StringConstraints(max_length=256 << 10, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]


class SealingKey(Message):
    """key: the worker's address. public: its X25519 public key, hex."""

    key: Address
    contract: Address
    chain_id: Annotated[int, Field(gt=0, lt=2**53)]
    public: Sha256  # 32 bytes of hex as well

    def digest(self) -> bytes:
        """What is signed: a plain text (EIP-191)."""
        return statement_digest(_TITLE, self.model_dump(mode="json"))


class SignedSealingKey(Message):
    statement: SealingKey
    signature: Signature

    def verify(self, key: str, domain: Domain) -> None:
        """VerificationFailed unless worker `key` has signed it for this market."""
        said = self.statement
        signer = recover(said.digest(), parse_signature(self.signature))
        here = (domain.verifying_contract, domain.chain_id)
        if signer != key or said.key != key or (said.contract, said.chain_id) != here:
            raise VerificationFailed(
                f"the sealing key that the service gave of worker {key} is not that worker's",
                code="sealing-key",
            )


class Seal(Message):
    """A running attempt that waits for its job's secrets, as its customer sees it. sealing: None when its
    worker takes none. given: they are there."""

    attempt: str
    deal_id: Word
    deal: DealField
    due: int
    worker: Address
    sealing: SignedSealingKey | None
    given: bool
    since: Seconds


class SealedSecrets(Body):
    sealed: Sealed


def require_secrets(secrets: Mapping[str, bytes], names: tuple[str, ...]) -> None:
    """InvalidInput unless these are the secrets that the job names, and not too large."""
    if set(secrets) != set(names):
        raise InvalidInput(
            f"the job takes the secrets {', '.join(sorted(names)) or 'none'}, given were"
            f" {', '.join(sorted(secrets)) or 'none'}",
            code="wrong-secrets",
        )
    size = sum(map(len, secrets.values()))
    if size > MOST_BYTES:
        raise InvalidInput(
            f"the secrets have {size:,} bytes together, at most {MOST_BYTES:,} are taken",
            code="secrets-too-large",
        )


def seal(secrets: Mapping[str, bytes], public: str, deal: Deal, key: str, domain: Domain) -> str:
    """Seal for one worker of one deal. public: of its verified sealing key; VerificationFailed when that is
    no key, such as a point of low order, whose secret everybody knows."""
    from Crypto.Protocol import HPKE
    from Crypto.Protocol.DH import import_x25519_public_key

    try:
        receiver = import_x25519_public_key(bytes.fromhex(public))
    except ValueError as error:
        raise VerificationFailed(
            f"what worker {key} has signed as its sealing key is none", code="sealing-key"
        ) from error
    cipher = HPKE.new(
        receiver_key=receiver, aead_id=HPKE.AEAD.CHACHA20_POLY1305, info=_info(deal, key, domain)
    )
    plain = json.dumps({name: base64.b64encode(value).decode() for name, value in secrets.items()})
    return base64.b64encode(cipher.enc + cipher.seal(plain.encode())).decode()


def unseal(sealed: str, private: bytes, deal: Deal, key: str, domain: Domain) -> dict[str, bytes]:
    """Open what was sealed to this key for this deal. InvalidInput, without a word of what was in it, when
    it was sealed to another or is no such thing."""
    from Crypto.Protocol import HPKE
    from Crypto.Protocol.DH import import_x25519_private_key

    try:
        data = base64.b64decode(sealed, validate=True)
        cipher = HPKE.new(
            receiver_key=import_x25519_private_key(private),
            aead_id=HPKE.AEAD.CHACHA20_POLY1305,
            enc=data[:_ENCAPSULATED],
            info=_info(deal, key, domain),
        )
        found = json.loads(cipher.unseal(data[_ENCAPSULATED:]))
        return {str(name): base64.b64decode(value, validate=True) for name, value in found.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InvalidInput(
            "the secrets do not open with this worker's key", code="secrets-unreadable", fault="customer"
        ) from None


def new_private_key() -> bytes:
    return os.urandom(32)  # X25519 takes any 32 bytes


def public_key(private: bytes) -> str:
    from Crypto.Protocol.DH import import_x25519_private_key

    return import_x25519_private_key(private).public_key().export_key(format="raw").hex()


def _info(deal: Deal, key: str, domain: Domain) -> bytes:
    """What a seal is bound to."""
    market = f"{domain.chain_id} {domain.verifying_contract} {key} ".encode()
    return _CONTEXT + market + deal.id
