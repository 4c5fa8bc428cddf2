"""How fast a worker says its machine is: measured by the machine itself, signed by the worker's key.

A statement is the word of whoever holds the key, not a proof: a worker can sign any figures, measure on
another machine, or be slower under load. What it is for: a provider sees what changed, and the market can
hold a worker to what it once said.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from prixfixe.errors import VerificationFailed
from prixfixe.protocol.fields import Address, Body, Message, Seconds, Sha256, Signature
from prixfixe.protocol.signatures import parse_signature, recover, statement_digest

SUITE: Final = 1  # raised whenever figures of old and new are not comparable
_TITLE: Final = "Prixfixe benchmark\n"
Figure = Annotated[int, Field(ge=0, lt=2**53)]


class Figures(Message):
    """Higher is better. integer: SHA-256, kilobytes hashed a second; float: thousands of multiplications and
    additions of the interpreter a second; `one` thread and `all` processors together. memory: megabytes
    copied a second. disk: megabytes a second written and flushed to the disk of the worker's folder."""

    integer_one: Figure
    integer_all: Figure
    float_one: Figure
    float_all: Figure
    memory: Figure
    disk: Figure


class Benchmark(Message):
    """at: seconds since 1970, the machine's clock. machine: SHA-256 of facts about it (processor, cores,
    memory, kernel), so that another machine shows without being described."""

    suite: Literal[1] = 1
    key: Address
    contract: Address
    chain_id: Annotated[int, Field(gt=0, lt=2**53)]
    at: Seconds
    machine: Sha256
    figures: Figures

    def digest(self) -> bytes:
        """What is signed: a plain text (EIP-191)."""
        return statement_digest(_TITLE, self.model_dump(mode="json"))


class SignedBenchmark(Body):
    benchmark: Benchmark
    signature: Signature

    def verify(self) -> None:
        """VerificationFailed unless the worker that it names has signed it."""
        signer = recover(self.benchmark.digest(), parse_signature(self.signature))
        if signer != self.benchmark.key:
            raise VerificationFailed(
                f"the benchmark of {self.benchmark.key} was signed by {signer}", code="benchmark-signature"
            )
