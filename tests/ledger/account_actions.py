"""Random calls by owners of accounts: money in and out, keys, eras, closed lots."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from prixfixe.protocol import ledger as on
from prixfixe.protocol.addresses import ZERO_ADDRESS
from prixfixe.protocol.orders import Bid, Bump, Cancel, Withdraw
from prixfixe.protocol.tokens import Permit, ReceiveWithAuthorization, deposit_nonce
from tests.ledger.choices import MOST_64, MOST_96, Choices
from tests.ledger.people import (
    ADMIN,
    ALICE,
    BOB,
    CUSTOMERS,
    OTHER_WORKER,
    PROVIDERS,
    SPOILT,
    STRANGER,
    WALLET,
    WORKER,
    sign,
    spoilt,
)
from tests.ledger.play import JUDGED

# The wallet contract signs and is paid, but has no code that would call anybody.
SENDERS: Final = (*CUSTOMERS, *PROVIDERS, STRANGER, WORKER, ADMIN)


class AccountActions(Choices):
    """What owners of accounts do."""

    def money_comes(self) -> None:
        amount = self.pick(0, 1, 77, 200, 5_000, 10**5, 10**6, MOST_64, MOST_64 - self.ledger.held)
        if self.number(0, 1):
            self.call(on.deposit, self.pick(ALICE, BOB, *PROVIDERS, STRANGER, ADMIN), amount)
        else:
            account = self.pick(*SENDERS, WALLET, ZERO_ADDRESS, self.play.market)
            self.call(on.deposit_for, self.pick(ALICE, ADMIN, ADMIN), account, amount)

    def somebody_sends_the_market_money_without_a_call(self) -> None:
        self.play.mint(self.play.market, self.number(1, 5))

    def money_comes_by_permit(self) -> None:
        sender, amount, deadline = STRANGER, self.pick(0, 5, 50), self.ledger.now + 5
        token = self.ledger.token
        twist = self.twist("expired", "by another", "amount", "used")
        nonce = token.nonces.get(sender, 0) - (twist == "used")
        deadline -= 6 * (twist == "expired")
        permit = Permit(sender, self.play.market, amount + (twist == "amount"), max(nonce, 0), deadline)
        signature = sign(BOB if twist == "by another" else sender, permit.digest(token.domain))
        self.call(on.deposit_with_permit, sender, amount, deadline, signature)

    def money_comes_by_authorisation(self) -> None:
        if self.authorisations and self.number(0, 3) == 0:
            account, *rest = self.pick(*self.authorisations)
            self.call(
                on.deposit_with_authorization, STRANGER, self.pick(account, STRANGER, ZERO_ADDRESS), *rest
            )
            return
        now, source, amount = self.ledger.now, self.pick(ALICE, STRANGER), self.pick(1, 50, 2_000)
        twist = self.twist("early", "late", "by another", "amount")
        after = now - 1 + (twist == "early")
        before = now + 100 - 100 * (twist == "late")
        account, salt = self.pick(ALICE, BOB, WALLET), bytes([self.number(0, 255)]) * 32
        signed = ReceiveWithAuthorization(
            source, self.play.market, amount, after, before, deposit_nonce(account, salt)
        )
        signer = BOB if twist == "by another" else source
        signature = sign(signer, signed.digest(self.ledger.token.domain))
        given = amount + (twist == "amount")
        self.authorisations.append((account, source, given, salt, after, before, signature))
        self.call(on.deposit_with_authorization, STRANGER, *self.authorisations[-1])

    def money_goes(self) -> None:
        waiting = [owner for owner in PROVIDERS if self.ledger.account(owner).cur]
        booked = [leg.provider for lot in self.play.open_lots() for leg in lot.deal.legs]
        owner = self.pick(*SENDERS, *PROVIDERS, *waiting * 5, *[one for one in booked if one != WALLET] * 2)
        free, surety = self.ledger.account(owner).free, self.ledger.policy.surety
        amount = self.pick(
            0, 1, *[free, max(0, free - surety)] * 3, free + 1, max(0, free - surety + 1), MOST_64
        )
        to = self.pick(owner, owner, owner, BOB, ZERO_ADDRESS, self.play.market)
        self.call(on.withdraw, owner, to, min(amount, MOST_64))

    def money_goes_by_signature(self) -> None:
        if self.withdrawals and self.number(0, 2) == 0:
            order, signature = self.pick(*self.withdrawals)
            self.call(on.withdraw_by_sig, STRANGER, order, signature)
            return
        account = self.pick(*CUSTOMERS, WALLET, *PROVIDERS)
        free = self.ledger.account(account).free
        twist = self.twist("by another", "spoilt", "changed", "expired", "to nobody", "huge")
        order = Withdraw(
            account=account,
            to=ZERO_ADDRESS if twist == "to nobody" else BOB,
            amount=MOST_96 if twist == "huge" else self.pick(0, 1, free, free + 1, max(0, free - 10)),
            fee=self.pick(0, 0, 1, 10),
            nonce=self.number(0, 99),
            deadline=self.ledger.now + self.pick(0, 50, 5_000) - (twist == "expired") * 5_001,
        )
        signature = self.play.signed(account, order, short=self.pick(True, False))
        if twist == "by another":
            signature = self.play.signed(STRANGER, order)
        elif twist == "spoilt":
            signature = spoilt(signature, self.pick(*SPOILT))
        elif twist == "changed":
            order = replace(order, fee=order.fee + 1)
        else:
            self.withdrawals.append((order, signature))
        self.call(on.withdraw_by_sig, STRANGER, order, signature)

    def a_key_is_authorised_or_revoked(self) -> None:
        key = self.pick(WORKER, WORKER, WORKER, OTHER_WORKER, ZERO_ADDRESS, WALLET)
        until = self.pick(0, self.ledger.now, *[self.ledger.now + 5_000] * 4, 2**40 - 1)
        self.call(on.authorise, self.pick(*PROVIDERS), key, until)

    def an_era_ends(self) -> None:
        owner = self.pick(*SENDERS)
        era = self.ledger.account(owner).era
        if self.number(0, 2) == 0:
            self.call(on.bump, owner, self.pick(era, era, era + 1, 2**32 - 1))
            return
        owner = self.pick(*CUSTOMERS, WALLET, *PROVIDERS)
        bump = Bump(owner, self.pick(era, self.ledger.account(owner).era))
        signature = self.play.signed(self.pick(owner, owner, STRANGER), bump)
        if self.bumps and self.number(0, 3) == 0:
            bump, signature = self.pick(*self.bumps)
        self.bumps.append((bump, signature))
        self.call(on.bump_by_sig, STRANGER, bump, signature)

    def a_lot_is_closed(self) -> None:
        if self.orders and self.number(0, 1):
            order, _ = self.pick(*self.orders)
        elif self.number(0, 1):
            order = self.play.purchase(self.pick(*CUSTOMERS, WALLET), JUDGED, nonce=self.number(0, 99))
        else:
            order = self.play.bid(self.pick(*CUSTOMERS, WALLET), 100, nonce=self.number(0, 99))
        lot = self.pick(0, 0, 1, 2, 2**32 - 1)
        bid = isinstance(order, Bid)
        if order.customer != WALLET and self.number(0, 1):
            sender = self.pick(order.customer, order.customer, STRANGER)
            self.call(on.cancel_bid if bid else on.cancel, sender, order, lot)
            return
        twist = self.twist("by another", "other lot", "spoilt")
        signed = Cancel(self.ledger.digest(order), lot - 1 if twist == "other lot" and lot else lot)
        signature = self.play.signed(STRANGER if twist == "by another" else order.customer, signed)
        if twist == "spoilt":
            signature = spoilt(signature, self.pick(*SPOILT))
        self.call(on.cancel_bid_by_sig if bid else on.cancel_by_sig, STRANGER, order, lot, signature)
