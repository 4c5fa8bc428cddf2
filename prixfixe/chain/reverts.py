"""A revert as a person reads it: the contract error's name and values, a sentence, whose fault, what to
do."""

from __future__ import annotations

from typing import Any, Final

from prixfixe.chain import artefacts
from prixfixe.chain.abi import ErrorType, parse_error
from prixfixe.chain.sentences import SENTENCES
from prixfixe.errors import ChainError, InvalidInput
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

_MONEY_FIELDS: Final = frozenset(
    {
        *("free", "needed", "left", "surety", "held", "cap", "balance", "allowance", "cost", "maxCost"),
        *("float_", "amount", "asked", "received"),
    }
)

# Errors whose numbers are all amounts.
_MONEY_ERRORS: Final = frozenset({"MarketPrice", "MarketCapNotRaised", "MarketBelowAsk"})


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
    known = SENTENCES.get(error.name)
    if known is None:  # of a token that is not ours
        text = f"({', '.join(f'{name}={_plain(value)}' for name, value in values.items())})"
    else:
        text = ": " + known.text.format(
            **{name: _shown(name, error, value) for name, value in values.items()}
        )
    return ChainError(
        f"{context}: {error.name}{text}",
        code="contract-refused",
        revert=error.name,
        arguments={name: _plain(value) for name, value in values.items()},
        fault=known.fault if known else "platform",
        hint=known.hint if known else None,
        retryable=known.retryable if known else False,
    )


def left_out(code: bytes, context: str) -> ChainError:
    """The ChainError of an item that a batch left out: of its error only the selector is known."""
    error = artefacts.load("Market").errors.get(code)
    known = SENTENCES.get(error.name) if error is not None else None
    return ChainError(
        f"{context}: {skipped(code)}",
        code="contract-refused" if error is not None else "unknown-revert",
        revert=error.name if error is not None else None,
        arguments={},
        fault=known.fault if known else "platform",
        hint=known.hint if known else None,
        retryable=known.retryable if known else False,
    )


def skipped(code: bytes) -> str:
    """Why a batch left an item out, in words: of its error only the selector is known. What varies is left
    out of the sentence."""
    error = artefacts.load("Market").errors.get(code)
    if error is None:
        return f"the contract left it out (0x{code.hex()})" if code else "the contract left it out"
    known = SENTENCES.get(error.name)
    hint = f": {known.hint}" if known is not None and known.hint else ""
    return f"the contract left it out ({error.name}{hint})"


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
    money = name in _MONEY_FIELDS or error.name in _MONEY_ERRORS
    if money and isinstance(value, int) and value < 2**96:
        return str(Money(value))
    return str(_plain(value))


def _plain(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else value
