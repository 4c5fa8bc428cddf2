"""What a market is deployed with. Pure values, shared by our deployment and by the script under ape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from prixfixe.development_keys import is_local_chain
from prixfixe.errors import ConfigurationError
from prixfixe.protocol.money import MAX_UINT64, UNITS_PER_DOLLAR
from prixfixe.protocol.policy import Policy
from prixfixe.protocol.typed_data import AbiStruct, Address, abi_fields

__all__ = [
    "MAX_BPS",
    "Policy",
    "Roles",
    "asks_arbiter",
    "check_policy",
    "constructor_arguments",
    "default_policy",
]

MAX_BPS: Final = 10_000
# How the code of a key that has delegated begins (EIP-7702); no contract's can (EIP-3541).
DELEGATED: Final = bytes.fromhex("ef0100")


@dataclass(frozen=True, slots=True)
class Roles(AbiStruct):
    """Who may do what at the start. scheduler: matches purchases and hastens deals."""

    admin: Address
    pricing: Address
    scheduler: Address
    pauser: Address


def default_policy(arbiter: str) -> Policy:
    """The numbers of a market that nobody chose others for: a day to dispute, an hour's notice, $5 of surety,
    and a cap of $100,000 on what a bug can cost."""
    return Policy(
        window=86_400,
        grace=60,
        notice=3_600,
        surety=5 * UNITS_PER_DOLLAR,
        bond=5 * UNITS_PER_DOLLAR,
        arbiter_fee=5 * UNITS_PER_DOLLAR,
        max_fee_bps=500,
        arbiter=arbiter,
        deposit_cap=100_000 * UNITS_PER_DOLLAR,
    )


def check_policy(policy: Policy, roles: Roles, chain_id: int) -> None:
    """ConfigurationError for what the contract's constructor refuses, and for what is unwise off a local
    chain."""
    for wrong, message in (
        (policy.window == 0, "the window is 0 seconds"),
        (policy.grace == 0, "the grace is 0 seconds"),
        (policy.surety < policy.arbiter_fee, "the surety is below the arbiter's fee"),
        (policy.bond < policy.arbiter_fee, "the bond is below the arbiter's fee"),
        (policy.max_fee_bps > MAX_BPS, "the largest fee is above 100 %"),
        (int(policy.arbiter, 16) == 0, "the arbiter is the zero address"),
        (int(roles.admin, 16) == 0, "the admin is the zero address"),
        (
            not is_local_chain(chain_id) and policy.deposit_cap == MAX_UINT64,
            "off a local chain the deposit cap must bound what a bug can cost",
        ),
    ):
        if wrong:
            raise ConfigurationError(f"the market cannot be deployed so: {message}", code="bad-policy")


def asks_arbiter(code: bytes) -> bool:
    """Whether a market calls its arbiter at each challenge, when this is the arbiter's code at deployment."""
    return code != b"" and not code.startswith(DELEGATED)


def constructor_arguments(token: str, policy: Policy, roles: Roles) -> list[Any]:
    """The arguments of Market's constructor as plain values: an address and two tuples in the order of the
    ABI."""
    return [
        token,
        tuple(getattr(policy, spec.name) for spec in abi_fields(Policy)),
        tuple(getattr(roles, spec.name) for spec in abi_fields(Roles)),
    ]
