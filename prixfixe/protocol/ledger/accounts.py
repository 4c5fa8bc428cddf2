"""What the owner of an account does: money in and out, keys, eras, closed lots; each also by signature."""

from __future__ import annotations

from dataclasses import replace

from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.ledger.state import Cancelled, Ledger, Signature, Token, require
from prixfixe.protocol.orders import Bid, Bump, Cancel, Purchase, Withdraw
from prixfixe.protocol.tokens import Permit, ReceiveWithAuthorization, deposit_nonce

# ------------------------------------------------------------------------------------------------ money in


def deposit(ledger: Ledger, sender: str, amount: int) -> Ledger:
    """Moves `amount` from the sender's wallet to its account."""
    return deposit_for(ledger, sender, sender, amount)


def deposit_for(ledger: Ledger, sender: str, account: str, amount: int) -> Ledger:
    """Moves `amount` from the sender's wallet to the account of `account`."""
    _require_room(ledger, account, amount)
    return _received(ledger, account, sender, amount, ledger.token.pull(sender, ledger.market, amount))


def deposit_with_permit(
    ledger: Ledger, sender: str, amount: int, deadline: int, signature: Signature
) -> Ledger:
    """As `deposit`, after the sender's permit (EIP-2612). A permit that does not count is no error: somebody
    may have used it first, and then the allowance is there."""
    token = ledger.token
    nonce = token.nonces.get(sender, 0)
    permit = Permit(sender, ledger.market, amount, nonce, deadline)
    if ledger.now <= deadline and (signature.by, signature.digest) == (sender, permit.digest(token.domain)):
        token = replace(
            token,
            nonces={**token.nonces, sender: nonce + 1},
            allowances={**token.allowances, sender: amount},
        )
    return deposit_for(replace(ledger, token=token), sender, sender, amount)


def deposit_with_authorization(
    ledger: Ledger,
    sender: str,
    account: str,
    source: str,
    amount: int,
    salt: bytes,
    valid_after: int,
    valid_before: int,
    signature: Signature,
) -> Ledger:
    """Moves `amount` from the wallet of `source`, by its authorisation (EIP-3009), whose nonce names the
    account: whoever sends it can credit no other."""
    _require_room(ledger, account, amount)
    nonce, token = deposit_nonce(account, salt), ledger.token
    signed = ReceiveWithAuthorization(source, ledger.market, amount, valid_after, valid_before, nonce)
    right = (signature.by, signature.digest) == (source, signed.digest(token.domain))
    require(right, "ERC3009InvalidSignature")
    require(valid_after < ledger.now < valid_before, "ERC3009InvalidAuthorizationTime")
    require((source, nonce) not in token.used, "ERC3009UsedAuthorization")
    token = replace(token, used=token.used | {(source, nonce)}).move(source, ledger.market, amount)
    return _received(ledger, account, source, amount, token)


def _require_room(ledger: Ledger, account: str, amount: int) -> None:
    require(account != ZERO_ADDRESS, "MarketRecipient")
    require(ledger.held + amount <= ledger.deposit_cap, "MarketDepositCap")


def _received(ledger: Ledger, account: str, source: str, amount: int, token: Token) -> Ledger:
    ledger = replace(ledger, token=token, held=ledger.held + amount).credit(account, amount)
    return ledger.tell("Deposited", account=account, from_=source, amount=amount)


# ------------------------------------------------------------------------------------------------ money out


def withdraw(ledger: Ledger, sender: str, to: str, amount: int) -> Ledger:
    """Moves `amount` from the sender's free money to the wallet `to`. While earnings wait, the surety
    stays."""
    return send(ledger.debit_above_surety(sender, amount), sender, to, amount)


def withdraw_by_sig(ledger: Ledger, sender: str, order: Withdraw, signature: Signature) -> Ledger:
    """Sends what a signed `Withdraw` says, once: `amount` to its `to`, and `fee` to the sender. The era does
    not matter to it."""
    require(ledger.now <= order.deadline, "MarketExpired")
    digest = ledger.digest(order)
    require(digest not in ledger.spent, "MarketSpent")
    ledger.require_signed(signature, order.account, digest)
    ledger = replace(ledger, spent=ledger.spent | {digest}).tell("Spent", digest=digest)
    ledger = ledger.debit_above_surety(order.account, order.amount + order.fee)
    ledger = send(ledger, order.account, order.to, order.amount)
    return send(ledger, order.account, sender, order.fee) if order.fee else ledger


def send(ledger: Ledger, owner: str, to: str, amount: int) -> Ledger:
    """What was debited from `owner` leaves the market."""
    require(to not in (ZERO_ADDRESS, ledger.market), "MarketRecipient")
    token = ledger.token.move(ledger.market, to, amount)
    ledger = replace(ledger, token=token, held=ledger.held - amount)
    return ledger.tell("Withdrawn", account=owner, to=to, amount=amount)


# ------------------------------------------------------------------------------------------------ keys, eras


def authorise(ledger: Ledger, sender: str, key: str, until: int) -> Ledger:
    """Lets `key` sign asks and results for the sender up to the second `until`; 0 revokes."""
    ledger = replace(ledger, workers={**ledger.workers, (sender, key): until})
    return ledger.tell("Authorised", provider=sender, key=key, until=until)


def bump(ledger: Ledger, sender: str, era: int) -> Ledger:
    """Ends the sender's present era, which it must name, and every order and ask signed under it."""
    account = ledger.account(sender)
    require(era == account.era, "MarketEra")
    ledger = ledger.with_account(sender, replace(account, era=era + 1))
    return ledger.tell("Bumped", account=sender, era=era + 1)


def bump_by_sig(ledger: Ledger, sender: str, order: Bump, signature: Signature) -> Ledger:
    """As `bump`, by the owner's signed `Bump`."""
    ledger.require_signed(signature, order.account, ledger.digest(order))
    return bump(ledger, order.account, order.era)


# ------------------------------------------------------------------------------------------------ lots


def cancel(ledger: Ledger, sender: str, purchase: Purchase, lot: int) -> Ledger:
    """Closes a free lot of the sender's purchase."""
    require(sender == purchase.customer, "MarketNotCustomer")
    return _close(ledger, purchase, lot)


def cancel_bid(ledger: Ledger, sender: str, bid: Bid, lot: int) -> Ledger:
    """Closes a free lot of the sender's bid."""
    require(sender == bid.customer, "MarketNotCustomer")
    return _close(ledger, bid, lot)


def cancel_by_sig(ledger: Ledger, sender: str, purchase: Purchase, lot: int, signature: Signature) -> Ledger:
    """Closes a free lot of a purchase by its customer's signed `Cancel`."""
    return _cancel_signed(ledger, purchase, lot, signature)


def cancel_bid_by_sig(ledger: Ledger, sender: str, bid: Bid, lot: int, signature: Signature) -> Ledger:
    """Closes a free lot of a bid by its customer's signed `Cancel`."""
    return _cancel_signed(ledger, bid, lot, signature)


def _cancel_signed(ledger: Ledger, order: Purchase | Bid, lot: int, signature: Signature) -> Ledger:
    signed = ledger.digest(Cancel(ledger.digest(order), lot))
    ledger.require_signed(signature, order.customer, signed)
    return _close(ledger, order, lot)


def _close(ledger: Ledger, order: Purchase | Bid, lot: int) -> Ledger:
    tasks_in(order, lot)
    order_id = ledger.digest(order)
    require(ledger.lot(order_id, lot) is None, "MarketLotTaken")
    return ledger.with_lot(order_id, lot, Cancelled()).tell("Cancelled", order=order_id, lot=lot)


def tasks_in(order: Purchase | Bid, lot: int) -> int:
    """The number of tasks in a lot of an order; the last may be short."""
    sold_before = order.lot * lot
    require(order.lot > 0 and sold_before < order.tasks, "MarketLotRange")
    return min(order.lot, order.tasks - sold_before)
