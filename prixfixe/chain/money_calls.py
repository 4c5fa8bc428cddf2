"""Calls by the owner of an account: money in and out, keys, eras; and the same sent by others with a
signature."""

from __future__ import annotations

import secrets
from typing import Final

from prixfixe.chain.sending import Outcome
from prixfixe.chain.token_reads import TokenReads
from prixfixe.errors import ConfigurationError
from prixfixe.keys import Signer, sign_typed
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Bump, Withdraw
from prixfixe.protocol.signatures import expand
from prixfixe.protocol.tokens import Permit, ReceiveWithAuthorization, deposit_nonce

_PERMIT_SECONDS: Final = 3600


class MoneyCalls(TokenReads):
    """Money in and out of accounts."""

    def deposit(self, signer: Signer, amount: Money) -> Outcome:
        """Moves `amount` from the signer's wallet to its account.

        In one transaction when the allowance is there or the token takes a permit, else after an `approve`.
        """
        units = amount.require_uint64()
        if self.allowance(signer.address) >= units:
            return self.send(signer, "deposit", units)
        if self.takes_permits(signer.address):
            return self.deposit_with_permit(signer, amount)
        self._approve(signer, units)
        return self.send(signer, "deposit", units)

    def deposit_for(self, signer: Signer, account: str, amount: Money) -> Outcome:
        """Moves `amount` from the signer's wallet to the account of `account`; approves it first where
        needed."""
        units = amount.require_uint64()
        if self.allowance(signer.address) < units:
            self._approve(signer, units)
        return self.send(signer, "depositFor", account, units)

    def allowance(self, owner: str) -> int:
        """Units that the token lets the market take from the wallet of `owner`; often more than there are."""
        return int(self._ask_token("allowance", owner, self.contract))

    def takes_permits(self, owner: str) -> bool:
        """Whether `owner` can deposit in one transaction with a signature (EIP-2612)."""
        return self.permit_nonce(owner) is not None and self.token_domain() is not None

    def deposit_with_permit(self, signer: Signer, amount: Money) -> Outcome:
        """As `deposit`, with a permit in the same call. ConfigurationError when the token takes none."""
        domain, nonce = self.token_domain(), self.permit_nonce(signer.address)
        if domain is None or nonce is None:
            raise ConfigurationError(
                f"the token {self.token} takes no permits (EIP-2612)", code="no-permit", hint="approve first"
            )
        units = amount.require_uint64()
        permit = Permit(signer.address, self.contract, units, nonce, self.time() + _PERMIT_SECONDS)
        v, r, s = _parts(sign_typed(signer, permit, domain))
        return self.send(signer, "depositWithPermit", units, permit.deadline, v, r, s)

    def authorise_deposit(
        self, signer: Signer, account: str, amount: Money, *, salt: bytes | None = None, seconds: int = 3600
    ) -> tuple[ReceiveWithAuthorization, bytes, bytes]:
        """The signer's EIP-3009 word that `amount` of its wallet goes to `account`, for anybody to send
        within `seconds`: the authorisation, its signature, and the salt of its nonce."""
        domain = self.token_domain()
        if domain is None or not self.takes_authorisations():
            raise ConfigurationError(
                f"the token {self.token} takes no authorisations (EIP-3009)", code="no-authorisation"
            )
        salt = secrets.token_bytes(32) if salt is None else salt
        word = ReceiveWithAuthorization(
            from_=signer.address,
            to=self.contract,
            value=amount.require_uint64(),
            valid_after=0,
            valid_before=self.time() + seconds,
            nonce=deposit_nonce(account, salt),
        )
        return word, sign_typed(signer, word, domain), salt

    def deposit_with_authorization(
        self, signer: Signer, account: str, word: ReceiveWithAuthorization, signature: bytes, salt: bytes
    ) -> Outcome:
        """Sends an authorisation of somebody else (`authorise_deposit`): its money reaches `account` and no
        other. signer: who pays for the gas."""
        data = self.deposit_call(account, word, signature, salt)
        return self._send(signer, self.contract, data, "depositWithAuthorization")

    def deposit_call(
        self, account: str, word: ReceiveWithAuthorization, signature: bytes, salt: bytes
    ) -> bytes:
        """The call data of `deposit_with_authorization`, for who sends it otherwise."""
        given = (account, word.from_, word.value, salt, word.valid_after, word.valid_before)
        return self.encode_call("depositWithAuthorization", *given, *_parts(signature))

    def withdraw(self, signer: Signer, to: str, amount: Money) -> Outcome:
        """Moves `amount` from the signer's free money to the wallet `to`."""
        return self.send(signer, "withdraw", to, amount.require_uint64())

    def withdraw_by_signature(self, signer: Signer, order: Withdraw, signature: bytes) -> Outcome:
        """Sends a signed withdrawal, which works once; its `fee` goes to the signer."""
        return self.send(signer, "withdrawBySig", order, signature)

    def authorise(self, signer: Signer, key: str, until: int) -> Outcome:
        """Lets `key` sign asks and results for the signer up to the second `until`; 0 revokes."""
        return self.send(signer, "authorise", key, until)

    def bump(self, signer: Signer, era: int) -> Outcome:
        """Ends the signer's present era, which it names, and every order and ask signed under it."""
        return self.send(signer, "bump", era)

    def bump_by_signature(self, signer: Signer, order: Bump, signature: bytes) -> Outcome:
        """Ends the era of the account that signed `order`."""
        return self.send(signer, "bumpBySig", order, signature)

    def mint(self, signer: Signer, to: str, amount: Money) -> Outcome:
        """Makes play money; DevDollar on local chains only."""
        return self._send(signer, self.token, self._token_call("mint", to, amount.units), "mint")

    def _approve(self, signer: Signer, units: int) -> None:
        self._send(signer, self.token, self._token_call("approve", self.contract, units), "approve")


def _parts(signature: bytes) -> tuple[int, bytes, bytes]:
    """v, r and s, as tokens take them."""
    whole = expand(signature)
    return whole[64], whole[:32], whole[32:64]
