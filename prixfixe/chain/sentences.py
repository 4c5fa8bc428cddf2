"""What each refusal of the contract means for a person: a sentence, whose fault, what to do.

One for every custom error that the market can answer; a test holds that none is missing. Names in braces are
the error's own values.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from prixfixe.errors import Fault


class Sentence(NamedTuple):
    """text: filled with the error's values. retryable: whether the same call may succeed later."""

    text: str
    fault: Fault
    hint: str | None
    retryable: bool = False


SENTENCES: Final[dict[str, Sentence]] = {
    "MarketPolicy": Sentence(
        "the policy's {field} makes no sense",
        "platform",
        "correct it and deploy again",
    ),
    "MarketNotScheduler": Sentence(
        "{caller} is not the scheduler",
        "platform",
        "send it with the scheduler's key; `prixfixe chain show` names it",
    ),
    "MarketNotCustomer": Sentence(
        "{caller} is not the order's customer, {customer}",
        "customer",
        "send it with the customer's key, or its signed Cancel",
    ),
    "MarketPaused": Sentence(
        "new matches are stopped",
        "platform",
        "try again later; settling, refunds and withdrawals go on",
        True,
    ),
    "MarketRecipient": Sentence(
        "money cannot go to {to}",
        "customer",
        "name a wallet's address",
    ),
    "MarketDepositCap": Sentence(
        "the market would hold {held}; its cap is {cap}",
        "platform",
        "deposit less, or later",
    ),
    "MarketCapNotRaised": Sentence(
        "the cap is {present}, and {given} is not more",
        "platform",
        "a cap can only be raised",
    ),
    "MarketTokenAmount": Sentence(
        "{received} of the token arrived instead of {asked}",
        "platform",
        "the market works with plain tokens only, without fees on transfers",
    ),
    "MarketFundsShort": Sentence(
        "{account} has {free} free and {needed} is needed",
        "customer",
        "deposit the difference, or take less",
    ),
    "MarketSuretyLocked": Sentence(
        "{account} would be left with {left}, below the surety of {surety} while earnings wait",
        "provider",
        "withdraw less, or wait until the window is over",
    ),
    "MarketSuretyMissing": Sentence(
        "{provider} keeps {free} free; the surety is {surety}",
        "provider",
        "deposit the difference",
    ),
    "MarketAmountTooLarge": Sentence(
        "{amount} is more than an account can hold",
        "customer",
        "use a smaller amount",
    ),
    "MarketFeeTooHigh": Sentence(
        "a fee of {given} is above the largest, {largest} hundredths of a percent",
        "platform",
        "set a smaller fee",
    ),
    "MarketEra": Sentence(
        "signed in era {signed} of {account}, which is in era {present}",
        "customer",
        "sign it anew",
    ),
    "MarketProduct": Sentence(
        "{product} is no product code of this version",
        "platform",
        "make the code with `prixfixe.protocol.product`",
    ),
    "MarketQuorumUnsupported": Sentence(
        "a quorum of {quorum} is not one of 1 to 16",
        "platform",
        "publish the offer with another quorum",
    ),
    "MarketLegCount": Sentence(
        "{given} asks or signatures were given, {needed} are needed",
        "platform",
        "give one ask a replica, and for each leg a signature, which may be empty",
    ),
    "MarketUntilTooEarly": Sentence(
        "{given} is too early; the earliest is {earliest}",
        "platform",
        "name a later time: quotes are honoured for the notice period",
    ),
    "MarketUntilTooLate": Sentence(
        "the offer ends at {present}, and {given} is later",
        "platform",
        "a retirement only brings the end forward; publish it again to extend it",
    ),
    "MarketBundleNotLive": Sentence(
        "the bundle ended at {until}",
        "customer",
        "ask for a quote of the present version",
    ),
    "MarketBundleLive": Sentence(
        "the offer lives until {until}",
        "platform",
        "its float can be moved after that",
        True,
    ),
    "MarketBundleMismatch": Sentence(
        "the purchase is of offer {signed}, not of {given}",
        "platform",
        "match it with the offer that was bought",
    ),
    "MarketPrice": Sentence(
        "{signed} was signed and the bundle costs {bundle}",
        "customer",
        "ask for a new quote",
    ),
    "MarketExpired": Sentence(
        "the order or ask ended at {expiry}",
        "customer",
        "sign it anew",
    ),
    "MarketLotRange": Sentence(
        "the order has {lots} lots, and {lot} is none of them",
        "customer",
        "count lots from 0",
    ),
    "MarketLotTaken": Sentence(
        "lot {lot} is open, settled or cancelled already",
        "platform",
        "read the lot again: somebody was faster",
    ),
    "MarketNotOpen": Sentence(
        "the deal is not open with this due",
        "platform",
        "read the deal again: it was settled, returned or hastened",
    ),
    "MarketSignature": Sentence(
        "the signature is not by {expected}",
        "customer",
        "sign with that key, for this chain and contract",
    ),
    "MarketAskKinds": Sentence(
        "the ask is of kind {kinds}, which does not sell to this order",
        "provider",
        "sign asks of kind 3 to sell to bids and bundles",
    ),
    "MarketAskProduct": Sentence(
        "the ask sells {ask}, and {bundle} is needed",
        "platform",
        "match it with an ask for that product",
    ),
    "MarketAskCustomer": Sentence(
        "the ask is for {only}, not for {customer}",
        "platform",
        "match another ask",
    ),
    "MarketAskMatcher": Sentence(
        "only {only} may match the ask, not {caller}",
        "platform",
        "let whom the ask names send it",
    ),
    "MarketSelfDeal": Sentence(
        "{account} cannot buy from itself",
        "provider",
        "buy from another provider",
    ),
    "MarketAskFree": Sentence(
        "{provider} asks nothing, and a disputable bundle pays only who has something to lose",
        "provider",
        "ask at least a millionth of a dollar",
    ),
    "MarketAskSlots": Sentence(
        "the ask of {provider} has no slots",
        "provider",
        "sign it with at least one slot",
    ),
    "MarketCost": Sentence(
        "the legs cost {cost} a task, and the order allows {maxCost}",
        "platform",
        "match cheaper asks",
    ),
    "MarketFloatShort": Sentence(
        "the bundle's float holds {float_} and {needed} is needed",
        "platform",
        "top up the float: publish the offer again with more",
    ),
    "MarketDeliverBy": Sentence(
        "the deadline {deadline} would be later than the customer accepts, {deliverBy}",
        "platform",
        "order again with a later delivery",
    ),
    "MarketTooLate": Sentence(
        "the deadline {deadline} has passed",
        "provider",
        "nothing can be done about it any more",
    ),
    "MarketTooEarly": Sentence(
        "the deadline {deadline} has not passed",
        "platform",
        "send it again after that",
        True,
    ),
    "MarketDone": Sentence(
        "{done} tasks done are more than the lot's {count}",
        "provider",
        "sign the number of tasks that succeeded",
    ),
    "MarketRefusalRoot": Sentence(
        "a refusal carries the due {due} as its root, not {root}",
        "provider",
        "sign the refusal for the deal's present due",
    ),
    "MarketNotSooner": Sentence(
        "the deadline is {present}, and hastening would make it {proposed}",
        "platform",
        "leave it: the deadline is near enough",
    ),
    "MarketQuorum": Sentence(
        "{signed} legs signed, and the quorum is {quorum}",
        "provider",
        "wait for more signatures",
    ),
    "MarketLegTwice": Sentence(
        "{provider} has two of the legs",
        "platform",
        "match asks of different providers",
    ),
    "MarketBidMatcher": Sentence(
        "only {only} may match the bid, not {caller}",
        "platform",
        "let whom the bid names send it",
    ),
    "MarketBelowAsk": Sentence(
        "{provider} asks {ask}, more than the one price {price}",
        "platform",
        "leave its ask out of the batch",
    ),
    "MarketSpent": Sentence(
        "the signed withdrawal {digest} was used before",
        "customer",
        "sign another, with another nonce",
    ),
    "MarketBatchCall": Sentence(
        "item {index} of the batch calls {selector}, which does not belong in it",
        "platform",
        "put each kind of call in its own batch",
    ),
    "MarketGas": Sentence(
        "too little gas was given for the next item",
        "platform",
        "send it with more gas, or fewer items",
        True,
    ),
    "MarketNotSettled": Sentence(
        "the deal is not settled with this root and fact",
        "customer",
        "read it again: a case may be open, or over",
    ),
    "MarketNotDisputable": Sentence(
        "deals of bids, and of bundles that are not disputable, cannot be challenged",
        "customer",
        "buy replicas where that matters",
    ),
    "MarketGround": Sentence(
        "{ground} is no ground",
        "customer",
        "grounds are 0 (wrong), 1 (missing) and 2 (count)",
    ),
    "MarketProof": Sentence(
        "the leaf {leaf} is not that of task {index} under the root {root}",
        "customer",
        "take leaf and proof from the job's receipt",
    ),
    "MarketNoCase": Sentence(
        "there is no such case",
        "platform",
        "read it again: it was judged, or has lapsed",
    ),
    "MarketNotArbiter": Sentence(
        "{caller} is not the arbiter",
        "platform",
        "judge with the arbiter's key; `prixfixe chain show` names it",
    ),
    "AccessControlUnauthorizedAccount": Sentence(
        "{account} does not have the role that this needs",
        "customer",
        "use a key that has it, or let admin grant it",
    ),
    "AccessControlBadConfirmation": Sentence(
        "a role can only be given up by its owner",
        "customer",
        "send it with the key whose role it is",
    ),
    "ReentrancyGuardReentrantCall": Sentence(
        "the token called the market back in the middle of a payment",
        "platform",
        "the market works with plain tokens only",
    ),
    "SafeERC20FailedOperation": Sentence(
        "the token {token} did not move the money",
        "customer",
        "look at balance and allowance of who pays",
    ),
    "StringTooLong": Sentence(
        "the text {str} is too long",
        "platform",
        "deploy with a shorter name",
    ),
    "InvalidShortString": Sentence(
        "a stored text is broken",
        "platform",
        "the contract was not deployed as built",
    ),
    "ERC20InsufficientBalance": Sentence(
        "{sender} holds {balance} of the token and {needed} is needed",
        "customer",
        "send tokens to that wallet first",
    ),
    "ERC20InsufficientAllowance": Sentence(
        "{spender} may take {allowance} and {needed} is needed",
        "customer",
        "approve the amount",
    ),
    "ERC2612ExpiredSignature": Sentence(
        "the permit ended at {deadline}",
        "customer",
        "sign it anew",
    ),
    "ERC2612InvalidSigner": Sentence(
        "the permit is signed by {signer}, not by {owner}",
        "customer",
        "sign with the wallet's key; permits work once and in order",
    ),
    "ERC3009UsedAuthorization": Sentence(
        "the authorisation {nonce} of {authorizer} was used or cancelled before",
        "customer",
        "sign another, with another salt",
    ),
    "ERC3009InvalidAuthorizationTime": Sentence(
        "the authorisation counts after {validAfter} and before {validBefore}",
        "customer",
        "send it in that time, or sign it anew",
    ),
    "ERC3009InvalidSignature": Sentence(
        "the authorisation is not signed by the wallet that pays",
        "customer",
        "sign with that wallet's key",
    ),
}
