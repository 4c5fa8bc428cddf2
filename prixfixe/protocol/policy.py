"""The numbers and the arbiter that everybody who signs for a market relies on."""

from __future__ import annotations

from dataclasses import dataclass

from prixfixe.protocol.typed_data import AbiStruct, Address, Uint16, Uint32, Uint64


@dataclass(frozen=True, slots=True)
class Policy(AbiStruct):
    """What signers rely on; fixed at deployment, but for deposit_cap, which admin may raise.

    window: seconds in which a settled disputable deal can be challenged. grace: seconds beside the run time
    that a deal is given. notice: seconds between a bundle's retirement and its end. surety, bond,
    arbiter_fee, deposit_cap: in the token's smallest unit. max_fee_bps: largest fee, in hundredths of a
    percent. arbiter: judge of disputes.
    """

    window: Uint32
    grace: Uint32
    notice: Uint32
    surety: Uint64
    bond: Uint64
    arbiter_fee: Uint64
    max_fee_bps: Uint16
    arbiter: Address
    deposit_cap: Uint64
