"""Everything that can go wrong, as one tree.

    PrixfixeError                          exit  HTTP
    ├── InvalidInput                          3   422  a table, parameter or order is malformed
    │   ├── AboveTier                         4   422  the input is larger than the tier that was asked for
    │   └── TooLarge                          3   413  more bytes than the service takes
    ├── SignatureError                        5   401  a signature is malformed, or by someone else
    ├── InsufficientFunds                     4   402  the account holds less than the price
    ├── QuoteExpired                          4   410  the quote's time is over
    ├── PriceChanged                          4   409  the published price is not the one that was signed
    ├── NotFound                              6   404
    ├── Conflict                              6   409  the thing is in a state that does not allow this
    ├── Unauthorized                          5   401  who is asking is not known
    ├── Forbidden                             5   403  who is asking is known, and may not
    │   └── DevelopmentKeyRefused             5   403  a key that everyone knows, on a chain with real money
    ├── Unavailable                           7   503  a part is out of reach; try again
    │   ├── StorageFull                       7   507  the service has no room for it
    │   └── TooManyRequests                   7   429  more than one caller's share; says when to come back
    ├── ChainError                            8   502  the contract refused; has the revert's name and values
    ├── EngineError                           9   500  the container engine failed
    ├── VerificationFailed                   10   422  a receipt or result does not prove what it claims
    └── ConfigurationError                    2   500  a setting of this machine is missing or wrong

Exit codes of the command `prixfixe`: 0 done; 1 a fault of ours that has no class; 2 wrong usage (click's) or
configuration; 3 input; 4 price or money, nothing was charged; 5 not allowed; 6 not found or wrong state; 7
out of reach; 8 refused by the contract; 9 container engine; 10 proof failed; 130 interrupted.

Over HTTP an error is an RFC 9457 problem: `to_problem()` writes it and `from_problem()` gives the same class
back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias

Fault: TypeAlias = Literal["customer", "provider", "platform"]

_PROBLEM_TYPE = "urn:prixfixe:problem:"
_OWN_FIELDS = frozenset(
    {"type", "title", "status", "detail", "code", "hint", "retryable", "fault", "instance"}
)
# Integers above this lose digits in readers that keep numbers as doubles (RFC 8259, section 6).
_SAFE_INTEGER = 2**53


class PrixfixeError(Exception):
    """An error that a person can meet.

    message: one plain sentence that names the value at fault. Never a secret.
    code: stable, for programs, in kebab-case; the class's own when not given.
    hint: what to do next, or None when nothing helps.
    retryable: whether the same call may succeed later.
    fault: whose mistake it is: "customer", "provider" or "platform".
    values: further facts, JSON values only; they travel in the problem.
    """

    default_code: ClassVar[str] = "error"
    default_hint: ClassVar[str | None] = None
    default_retryable: ClassVar[bool] = False
    default_fault: ClassVar[Fault] = "platform"
    title: ClassVar[str] = "Something went wrong"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    _classes: ClassVar[dict[str, type[PrixfixeError]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        PrixfixeError._classes.setdefault(cls.default_code, cls)

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
        fault: Fault | None = None,
        **values: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code if code is not None else self.default_code
        self.hint = hint if hint is not None else self.default_hint
        self.retryable = retryable if retryable is not None else self.default_retryable
        self.fault: Fault = fault if fault is not None else self.default_fault
        self.values: dict[str, Any] = {name: value for name, value in values.items() if value is not None}

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, code={self.code!r})"

    def to_problem(self) -> dict[str, Any]:
        """RFC 9457 problem details; serve it as `application/problem+json` with the status in it."""
        return {
            **{name: _json_value(value) for name, value in self.values.items() if name not in _OWN_FIELDS},
            "type": _PROBLEM_TYPE + self.default_code,
            "title": self.title,
            "status": self.status,
            "detail": self.message,
            "code": self.code,
            "hint": self.hint,
            "retryable": self.retryable,
            "fault": self.fault,
        }

    @staticmethod
    def from_problem(problem: Mapping[str, Any]) -> PrixfixeError:
        """The error that a problem describes; one of ours of the same class, else by its HTTP status."""
        kind = str(problem.get("type", "")).removeprefix(_PROBLEM_TYPE)
        status = problem.get("status")
        classes = PrixfixeError._classes
        cls = classes.get(kind) or classes.get(str(problem.get("code"))) or _class_of_status(status)
        fault = problem.get("fault")
        hint, retryable = problem.get("hint"), problem.get("retryable")
        values = {str(name): value for name, value in problem.items() if name not in _OWN_FIELDS}
        error = cls(
            str(problem.get("detail") or problem.get("title") or f"the service answered {status}"),
            code=str(problem["code"]) if problem.get("code") else None,
            hint=hint if isinstance(hint, str) else None,
            retryable=retryable if isinstance(retryable, bool) else None,
            fault=fault if fault in ("customer", "provider", "platform") else None,
        )
        error.values.update(values)
        return error


def _json_value(value: Any) -> Any:
    """`value` as JSON that no reader changes: bytes as 0x-hex, large integers as decimal strings."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) <= _SAFE_INTEGER else str(value)
    if isinstance(value, Mapping):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return value if value is None or isinstance(value, bool | str | float) else str(value)


def _class_of_status(status: object) -> type[PrixfixeError]:
    by_status: dict[object, type[PrixfixeError]] = {
        400: InvalidInput,
        401: Unauthorized,
        402: InsufficientFunds,
        403: Forbidden,
        404: NotFound,
        409: Conflict,
        410: QuoteExpired,
        413: TooLarge,
        422: InvalidInput,
        429: TooManyRequests,
        502: Unavailable,
        503: Unavailable,
        504: Unavailable,
        507: StorageFull,
    }
    return by_status.get(status, PrixfixeError)


class InvalidInput(PrixfixeError):
    """A table, a parameter or an order is malformed. Names the place when there is one.

    file: name of the input. row: 1-based line of data as a person counts it (the header is not a row).
    column: its name. value: what was found there, shortened by whoever raises it.
    """

    default_code = "invalid-input"
    default_fault = "customer"
    title = "The input is not valid"
    status = 422
    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        row: int | None = None,
        column: str | None = None,
        value: Any = None,
        code: str | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
        fault: Fault | None = None,
        **values: Any,
    ) -> None:
        super().__init__(
            message,
            code=code,
            hint=hint,
            retryable=retryable,
            fault=fault,
            file=file,
            row=row,
            column=column,
            value=value,
            **values,
        )

    @property
    def file(self) -> str | None:
        return self.values.get("file")

    @property
    def row(self) -> int | None:
        return self.values.get("row")

    @property
    def column(self) -> str | None:
        return self.values.get("column")

    @property
    def value(self) -> Any:
        return self.values.get("value")


class AboveTier(InvalidInput):
    """The input has more units than the tier takes; the next tier and its price belong into the hint."""

    default_code = "above-tier"
    title = "The input is above the tier"
    exit_code = 4


class TooLarge(InvalidInput):
    """More bytes than the service takes at once; the largest size belongs into the message."""

    default_code = "too-large"
    title = "Too large"
    status = 413


class SignatureError(PrixfixeError):
    """A signature is malformed or by another key. The message has the hash and the signer that was
    computed."""

    default_code = "bad-signature"
    default_fault = "customer"
    title = "The signature is not valid"
    status = 401
    exit_code = 5


class InsufficientFunds(PrixfixeError):
    """The account's free money is less than what the order needs."""

    default_code = "insufficient-funds"
    default_hint = "deposit into the account (`prixfixe account deposit AMOUNT`) and order again"
    default_fault = "customer"
    title = "The balance is too low"
    status = 402
    exit_code = 4


class QuoteExpired(PrixfixeError):
    """The quote's time is over. Nothing was charged."""

    default_code = "quote-expired"
    default_hint = "ask for a new quote"
    default_fault = "customer"
    title = "The quote has expired"
    status = 410
    exit_code = 4


class PriceChanged(PrixfixeError):
    """The published price is not the signed one. Nothing was charged."""

    default_code = "price-changed"
    default_hint = "ask for a new quote and confirm its price"
    default_fault = "customer"
    title = "The price has changed"
    status = 409
    exit_code = 4


class NotFound(PrixfixeError):
    """There is no such thing, or not for who is asking."""

    default_code = "not-found"
    default_fault = "customer"
    title = "Not found"
    status = 404
    exit_code = 6


class Conflict(PrixfixeError):
    """The thing is in a state that does not allow this."""

    default_code = "conflict"
    default_fault = "customer"
    title = "Not possible in this state"
    status = 409
    exit_code = 6


class Unauthorized(PrixfixeError):
    """Who is asking is not known."""

    default_code = "unauthorized"
    default_hint = "sign in with your key"
    default_fault = "customer"
    title = "Sign in first"
    status = 401
    exit_code = 5


class Forbidden(PrixfixeError):
    """Who is asking is known, and may not do this."""

    default_code = "forbidden"
    default_fault = "customer"
    title = "Not allowed"
    status = 403
    exit_code = 5


class DevelopmentKeyRefused(Forbidden):
    """A key that everybody knows was about to be used where money may be real."""

    default_code = "development-key-refused"
    default_hint = "use a key of your own: `prixfixe keys new`"
    title = "A development key outside of a local chain"


class Unavailable(PrixfixeError):
    """A part (service, chain, store) is out of reach or busy; the same call may succeed later."""

    default_code = "unavailable"
    default_hint = "try again in a moment"
    default_retryable = True
    title = "Out of reach"
    status = 503
    exit_code = 7


class StorageFull(Unavailable):
    """The service has no room for these bytes."""

    default_code = "storage-full"
    default_hint = "the operator has to make room; nothing was charged"
    title = "The storage is full"
    status = 507


class TooManyRequests(Unavailable):
    """Who is asking has used up its share for now.

    retry_after: seconds after which the call may succeed.
    """

    default_code = "too-many-requests"
    default_hint = "wait as long as the answer says"
    default_fault = "customer"
    title = "Too many requests"
    status = 429

    @property
    def retry_after(self) -> int:
        return int(self.values.get("retry_after", 1))


class ChainError(PrixfixeError):
    """The chain or the contract refused.

    revert: name of the contract's error, such as "MarketFundsShort", or None when it gave none.
    arguments: its values by name.
    """

    default_code = "chain-error"
    title = "The contract refused"
    status = 502
    exit_code = 8

    def __init__(
        self,
        message: str,
        *,
        revert: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        code: str | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
        fault: Fault | None = None,
        **values: Any,
    ) -> None:
        super().__init__(
            message,
            code=code,
            hint=hint,
            retryable=retryable,
            fault=fault,
            revert=revert,
            arguments=dict(arguments) if arguments else None,
            **values,
        )

    @property
    def revert(self) -> str | None:
        return self.values.get("revert")

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.values.get("arguments") or {})


class EngineError(PrixfixeError):
    """The container engine is missing or failed; not the job's fault."""

    default_code = "engine-error"
    default_fault = "provider"
    title = "The container engine failed"
    status = 500
    exit_code = 9


class VerificationFailed(PrixfixeError):
    """A receipt, result or blob does not prove what it claims."""

    default_code = "verification-failed"
    default_fault = "provider"
    title = "The proof does not hold"
    status = 422
    exit_code = 10


class ConfigurationError(PrixfixeError):
    """A setting of this machine is missing or wrong."""

    default_code = "configuration"
    default_fault = "platform"
    title = "The configuration is not usable"
    status = 500
    exit_code = 2
