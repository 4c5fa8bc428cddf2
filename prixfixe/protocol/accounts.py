"""Managed accounts on the wire: people, keys, teams, limits, orders for the service to sign, money."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError

from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.fields import Address, Body, Message, MoneyField, Seconds, Word
from prixfixe.protocol.job_batch import IdempotencyText as IdempotencyText
from prixfixe.protocol.wire import Job

Role: TypeAlias = Literal["owner", "member", "viewer"]
Scope: TypeAlias = Literal["read", "order", "manage"]

# One line of text that a person wrote: no control characters.
_LINE = r"^[^\x00-\x1f\x7f]*$"
Email = Annotated[
    str, StringConstraints(pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$", max_length=254)
]
NewPassword = Annotated[str, StringConstraints(min_length=10, max_length=200)]
Password = Annotated[str, StringConstraints(max_length=200)]
Name = Annotated[str, StringConstraints(pattern=_LINE, min_length=1, max_length=100)]
Channel = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]*$", max_length=64)]


_CHANNEL: Final[TypeAdapter[str]] = TypeAdapter(Channel)


def channel_of(text: str) -> str:
    """The channel that a link names; empty for what is none."""
    try:
        return _CHANNEL.validate_python(text)
    except ValidationError:
        return ""


def _somebodys(address: str) -> str:
    if address == ZERO_ADDRESS:
        raise ValueError("the zero address is nobody's: money that is sent there is lost")
    return address


# Where money may leave to.
Recipient = Annotated[Address, AfterValidator(_somebodys)]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Invoice = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$")]


class SignUp(Body):
    """A new person with a new account. channel: how it came here, for the operator's books. withdraw_to: the
    one address to which its money can leave; it can be named later, too."""

    email: Email
    password: NewPassword
    name: Name | None = None
    channel: Channel = ""
    withdraw_to: Recipient | None = None


class SignIn(Body):
    """account: which of the person's accounts, when there are several; the oldest when none is named."""

    email: Email
    password: Password
    account: Address | None = None


class ChangePassword(Body):
    old: Password
    new: NewPassword


class Membership(Message):
    """One of a person's accounts."""

    account: Address
    name: str
    role: Role


class SignedIn(Message):
    """csrf: to be sent back with everything that changes something (`X-CSRF-Token`, or a form's field
    `csrf`). accounts: all that this person may use."""

    email: str
    account: Address
    role: Role
    csrf: str
    expires_at: Seconds
    accounts: tuple[Membership, ...]


class OpenSession(Message):
    """A session as its person sees it. own: of the browser that asks. browser: what is kept of how it named
    itself, such as `Firefox, Linux`; empty where that says nothing known."""

    id: str
    own: bool
    account: Address
    account_name: str
    browser: str
    created_at: Seconds
    used_at: Seconds  # to the minute
    expires_at: Seconds


class Switch(Body):
    account: Address


class KeyRequest(Body):
    """days: how long the key is good."""

    name: Name
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=3)]
    days: Annotated[int, Field(ge=1, le=3650)] = 365


class ApiKey(Message):
    """A key as it is listed: never the key itself."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    made_by: str  # e-mail address
    created_at: Seconds
    expires_at: Seconds
    used_at: Seconds | None  # to the minute
    revoked_at: Seconds | None


class NewApiKey(Message):
    """The one time that the key is shown."""

    token: str
    key: ApiKey


class Limits(Body):
    """What the service signs without asking again. per_job, per_day: None: whatever the account holds; a day
    is the last 24 hours. warn_below: with less than this to spend the account is said to be low."""

    per_job: MoneyField | None = None
    per_day: MoneyField | None = None
    warn_below: MoneyField


class WithdrawalAddress(Message):
    """Where money can leave to. next, next_at: what takes its place, from this second of the chain's clock
    on."""

    address: Address | None
    next: Address | None
    next_at: Seconds | None


class NewWithdrawalAddress(Body):
    address: Recipient


class Account(Message):
    """A managed account. balance: what the contract holds for it; waiting: of this promised to orders that
    nobody has taken yet; spendable: the rest. spent_today: by orders of the last 24 hours."""

    address: Address
    name: str
    channel: str
    created_at: Seconds
    scopes: tuple[Scope, ...]  # what who is asking may do
    balance: MoneyField
    waiting: MoneyField
    spendable: MoneyField
    low: bool
    limits: Limits
    spent_today: MoneyField
    withdrawal: WithdrawalAddress


class ManagedOrder(Body):
    """An order for the service to sign: of a `quote` that was given to this account, or of a `request` for
    one, without its customer. most: refuse when the price is higher."""

    quote: Annotated[str, StringConstraints(max_length=64)] | None = None
    request: dict[str, Any] | None = None
    most: MoneyField | None = None


class Ordered(Message):
    """new: False when the very same request was here before. spendable, low: what the account has left."""

    job: Job
    new: bool
    spendable: MoneyField
    low: bool


TransactionState: TypeAlias = Literal["pending", "sent", "confirmed", "failed"]


class TopUp(Message):
    """Money that the operator received and deposits. state: of the deposit."""

    invoice: str
    amount: MoneyField
    at: Seconds
    state: TransactionState
    transaction: Word | None


class WithdrawalRequest(Body):
    amount: MoneyField


class Withdrawal(Message):
    """Money on its way to the account's own address, or there."""

    id: str
    to: Address
    amount: MoneyField
    at: Seconds
    state: TransactionState
    transaction: Word | None


class StandingWithdrawal(Message):
    """What brings everything to the withdrawal address without the operator: signed withdrawals of 1, 2, 4
    and so on units, each good once, so that some of them together are any balance. deadline: chain clock."""

    version: Literal[1] = 1
    account: Address
    to: Address
    deadline: Seconds
    calls: tuple[dict[str, Any], ...]  # signed_calls.SignedCall, smallest first


class Opened(Message):
    """A new account. standing: when a withdrawal address was named."""

    signed_in: SignedIn
    standing: StandingWithdrawal | None


class Member(Message):
    id: str
    email: str
    role: Role
    since: Seconds


class RoleChange(Body):
    role: Role


class InviteRequest(Body):
    email: Email
    role: Role


class Invite(Message):
    id: str
    email: str
    role: Role
    invited_by: str  # e-mail address
    created_at: Seconds
    expires_at: Seconds


class NewInvite(Message):
    """token: for who was invited, shown this once."""

    token: str
    invite: Invite


class AcceptInvite(Body):
    token: Annotated[str, StringConstraints(max_length=100)]


class StatementLine(Message):
    """A movement of the account on the chain. amount: units, negative when money left. balance: after it."""

    time: Seconds
    block: int
    transaction: Word
    kind: Literal["top-up", "deposit", "order", "returned", "judged", "withdrawal"]
    reference: str
    amount: int
    balance: int


class Statement(Message):
    """Every movement up to `block`, oldest first. balance: their sum. on_chain: what the contract holds for
    the account now: the same, unless something moved since `block`."""

    address: Address
    block: int
    opening: int
    lines: tuple[StatementLine, ...]
    balance: int
    on_chain: int

    def _repr_html_(self) -> str:
        from prixfixe.client.notebook import statement_html

        return statement_html(self)
