"""A revert as a person reads it: the contract error's name and values, a sentence, whose fault, what to
do."""

from __future__ import annotations

from typing import Any, Final

from prixfixe.chain import artefacts
from prixfixe.chain.abi import ErrorType, parse_error
from prixfixe.errors import ChainError, Fault, InvalidInput
from prixfixe.protocol.money import Money

_TEXT_REVERT: Final = parse_error({"name": "Error", "inputs": [{"name": "message", "type": "string"}]})
_PANIC: Final = parse_error({"name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]})

# ERC-6093: what a plain token answers; its artefact is not ours on a public chain.
_TOKEN_ERRORS: Final = tuple(
    parse_error({"name": name, "inputs": [{"name": field, "type": kind} for field, kind in fields]})
    for name, fields in (
        ("ERC20InsufficientBalance", (("sender", "address"), ("balance", "uint256"), ("needed", "uint256"))),
        (
            "ERC20InsufficientAllowance",
            (("spender", "address"), ("allowance", "uint256"), ("needed", "uint256")),
        ),
    )
)

# Error name -> (sentence by its values, whose fault, hint, a retry helps). Amounts are shown as money.
_SENTENCES: Final[dict[str, tuple[str, Fault, str | None, bool]]] = {
    "MarketFundsShort": (
        "{account} has {free} free and {needed} is needed", "customer", "deposit the difference", False),
    "MarketSuretyLocked": (
        "{account} would be left with {left}, below the surety of {surety} while earnings wait",
        "provider", "withdraw less, or wait until the window is over", False),
    "MarketSuretyMissing": (
        "{provider} keeps {free} free; the surety is {surety}", "provider", "deposit the difference", False),
    "MarketDepositCap": (
        "the market would hold {held}; its cap is {cap}", "platform", "deposit less, or later", False),
    "MarketEra": (
        "signed in era {signed} of {account}, which is in era {present}", "customer", "sign it anew", False),
    "MarketPaused": ("new matches are stopped", "platform", "try again later", True),
    "MarketExpired": ("the order or ask ended at {expiry}", "customer", "sign it anew", False),
    "MarketBundleNotLive": (
        "the bundle ended at {until}", "customer", "ask for a quote of the present version", False),
    "MarketPrice": (
        "{signed} was signed and the bundle costs {bundle}", "customer", "ask for a new quote", False),
    "MarketLotTaken": ("lot {lot} is open, settled or cancelled already", "platform", None, False),
    "MarketNotOpen": ("the deal is not open with this due", "platform", None, False),
    "MarketSignature": ("the signature is not by {expected}", "customer", None, False),
    "MarketTooLate": ("the deadline {deadline} has passed", "provider", None, False),
    "MarketTooEarly": (
        "the deadline {deadline} has not passed", "platform", "send it after the deadline", True),
    "MarketDeliverBy": (
        "the deadline {deadline} would be later than the customer accepts", "platform", None, False),
    "MarketNotScheduler": ("{caller} is not the scheduler", "platform", None, False),
    "AccessControlUnauthorizedAccount": ("{account} does not have the role", "customer", None, False),
    "ERC20InsufficientBalance": (
        "{sender} holds {balance} of the token and {needed} is needed", "customer", None, False),
    "ERC20InsufficientAllowance": (
        "{spender} may take {allowance} and {needed} is needed", "customer", "approve the amount", False),
}  # fmt: skip

_UNTOLD: Final[tuple[str | None, Fault, str | None, bool]] = (None, "platform", None, False)

_MONEY_FIELDS: Final = frozenset(
    {"free", "needed", "left", "surety", "held", "cap", "balance", "allowance", "cost", "maxCost", "float_"}
)


def explain(data: bytes, *, context: str) -> ChainError:
    """The ChainError of revert data. context: what was tried, such as "settle"."""
    found = _find(data)
    if found is None:
        return ChainError(
            f"{context}: the contract refused without a known reason"
            + (f" (data 0x{data[:36].hex()})" if data else ""),
            code="unknown-revert",
            data="0x" + data.hex() if data else None,
        )
    error, values = found
    if error.name == "Error":
        return ChainError(f"{context}: {values['message'][:200]}", revert="Error", arguments=values)
    sentence, fault, hint, retryable = _SENTENCES.get(error.name, _UNTOLD)
    text = f"({', '.join(f'{name}={_plain(value)}' for name, value in values.items())})"
    if sentence is not None:
        text = ": " + sentence.format(**{name: _shown(name, error, value) for name, value in values.items()})
    return ChainError(
        f"{context}: {error.name}{text}",
        code="contract-refused",
        revert=error.name,
        arguments={name: _plain(value) for name, value in values.items()},
        fault=fault,
        hint=hint,
        retryable=retryable,
    )


def _find(data: bytes) -> tuple[ErrorType, dict[str, Any]] | None:
    known = {error.selector: error for error in (_TEXT_REVERT, _PANIC, *_TOKEN_ERRORS)}
    error = known.get(data[:4]) or artefacts.load("Market").errors.get(data[:4])
    if error is None:
        error = artefacts.load("DevDollar").errors.get(data[:4])
    try:
        return (error, error.decode(data)) if error is not None else None
    except InvalidInput:  # a selector met by chance
        return None


def _shown(name: str, error: ErrorType, value: Any) -> str:
    money = name in _MONEY_FIELDS or (error.name == "MarketPrice")
    if money and isinstance(value, int) and value < 2**96:
        return str(Money(value))
    return str(_plain(value))


def _plain(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else value
