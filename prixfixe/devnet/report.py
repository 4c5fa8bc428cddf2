"""What a devnet prints when it is up: every address, URL and key that a developer needs."""

from __future__ import annotations

from typing import Any

from prixfixe.devnet import settings as numbers
from prixfixe.devnet.settings import DevnetSettings, arbiter_key, inspector_key, provider_key, worker_key
from prixfixe.devnet.state import DevnetState


def _people(settings: DevnetSettings) -> list[tuple[str, str]]:
    people = [
        ("admin", f"dev:{numbers.ADMIN}"),
        ("pricing desk", f"dev:{numbers.PRICING}"),
        ("operator", f"dev:{numbers.OPERATOR}"),
        ("customer", f"dev:{numbers.CUSTOMER}"),
        ("arbiter", arbiter_key()),
        ("inspector", inspector_key()),
    ]
    for number in range(1, settings.workers + 1):
        people += [(f"provider {number}", provider_key(number)), (f"worker {number}", worker_key(number))]
    return people


def to_json(state: DevnetState, settings: DevnetSettings) -> dict[str, Any]:
    from prixfixe.devnet.accounts import development_address, development_private_key

    accounts = []
    for role, spec in _people(settings):
        index = int(spec.removeprefix("dev:"))
        accounts.append(
            {
                "role": role,
                "key": spec,
                "address": development_address(index),
                "private_key": development_private_key(index),
            }
        )
    return {**state.to_json(), "accounts": accounts}


def describe(state: DevnetState, settings: DevnetSettings) -> str:
    """The whole market on one screen. The keys are the public ones of every local chain, worthless
    elsewhere."""
    data = to_json(state, settings)
    lines = [
        "",
        f"service   {state.service}",
        f"chain     {state.rpc}  (chain id {state.chain_id})",
        f"contract  {state.contract}",
        f"token     {state.token}  (DevDollar)",
        "",
    ]
    lines += [f"{a['role']:<15} {a['key']:<7} {a['address']}  {a['private_key']}" for a in data["accounts"]]
    lines += ["", f"context {state.context!r} is current and has {numbers.CUSTOMER_DEPOSIT}."]
    if settings.bundles:
        lines += [
            "In another terminal:",
            "  prixfixe run pivot YOUR.csv --rows COLUMN --values COLUMN:sum --out result.xlsx",
        ]
    else:
        lines += [
            "Nothing is for sale yet. In another terminal:",
            f"  prixfixe pricing publish FOLDER_OF_A_BUNDLE --key dev:{numbers.PRICING}",
        ]
    return "\n".join(lines)
