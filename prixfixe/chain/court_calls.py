"""Calls of the court: a settled deal is challenged, judged, or left to silence."""

from __future__ import annotations

from collections.abc import Sequence

from prixfixe.chain.sending import MarketSender, Outcome
from prixfixe.keys import Signer
from prixfixe.protocol.deals import Deal
from prixfixe.protocol.disputes import Case, Claim


class CourtCalls(MarketSender):
    """What happens to a settled deal that somebody doubts."""

    def challenge(
        self,
        signer: Signer,
        deal: Deal,
        root: bytes,
        fact: int,
        claim: Claim,
        proof: Sequence[bytes] = (),
    ) -> Outcome:
        """Opens a case for the bond, which the signer's free money must hold. root, fact: as settled. proof:
        of the claim's leaf under the root; none for ground COUNT."""
        return self.send(signer, "challenge", deal, root, fact, claim, list(proof))

    def judge(self, signer: Signer, case: Case, *, guilty: bool) -> Outcome:
        """Ends a case up to its `until`. Arbiter."""
        return self.send(signer, "judge", case, guilty)

    def lapse(self, signer: Signer, case: Case) -> Outcome:
        """Ends a case that the arbiter let pass: bond and earnings go back; by anyone."""
        return self.send(signer, "lapse", case)
