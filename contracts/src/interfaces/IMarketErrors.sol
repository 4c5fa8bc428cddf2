// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Market Errors
/// @notice Each carries the values at fault.
interface IMarketErrors {
    /// @notice The policy or a role given at deployment makes no sense; `field` names it.
    error MarketPolicy(string field);
    /// @notice Only the scheduler may do this.
    error MarketNotScheduler(address caller);
    /// @notice Only the order's customer may do this.
    error MarketNotCustomer(address caller, address customer);
    /// @notice New matches are stopped.
    error MarketPaused();
    /// @notice Money cannot go to this address.
    error MarketRecipient(address to);
    /// @notice The deposit would lift what the market holds above its cap.
    error MarketDepositCap(uint256 held, uint256 cap);
    /// @notice A cap can only be raised.
    error MarketCapNotRaised(uint64 present, uint64 given);
    /// @notice The token moved another amount than it was asked to.
    error MarketTokenAmount(uint256 asked, uint256 received);
    /// @notice The account's free money is too little for this debit.
    error MarketFundsShort(address account, uint256 free, uint256 needed);
    /// @notice The debit would take the account below the surety that its waiting earnings require.
    error MarketSuretyLocked(address account, uint256 left, uint256 surety);
    /// @notice The provider does not keep the surety.
    error MarketSuretyMissing(address provider, uint256 free, uint256 surety);
    /// @notice The amount does not fit an account's 64 bits.
    error MarketAmountTooLarge(uint256 amount);
    /// @notice The fee is above the largest that the policy allows.
    error MarketFeeTooHigh(uint16 given, uint16 largest);
    /// @notice The era named or signed is not the account's present one.
    error MarketEra(address account, uint32 signed, uint32 present);
    /// @notice The product code is not one that this version defines.
    error MarketProduct(bytes32 product);
    /// @notice A quorum is of 1 to 16 providers.
    error MarketQuorumUnsupported(uint8 quorum);
    /// @notice A deal has at least as many legs as its quorum and at most 16; a result one signature, which may be
    /// empty, for each leg.
    error MarketLegCount(uint256 given, uint256 needed);
    /// @notice The time given is too early; the earliest is named.
    error MarketUntilTooEarly(uint40 given, uint256 earliest);
    /// @notice Retirement can only bring the end forward.
    error MarketUntilTooLate(uint40 given, uint40 present);
    /// @notice The bundle was never published, or has ended.
    error MarketBundleNotLive(bytes32 id, uint40 until);
    /// @notice The bundle has not ended.
    error MarketBundleLive(bytes32 id, uint40 until);
    /// @notice The purchase names another bundle.
    error MarketBundleMismatch(bytes32 signed, bytes32 given);
    /// @notice The purchase names another price.
    error MarketPrice(uint96 signed, uint96 bundle);
    /// @notice The order or ask has ended.
    error MarketExpired(uint40 expiry);
    /// @notice The lot is not one of the order's.
    error MarketLotRange(uint32 lot, uint256 lots);
    /// @notice The lot is open, settled or cancelled already.
    error MarketLotTaken(bytes32 order, uint32 lot, bytes32 word);
    /// @notice The deal is not open with this `due`.
    error MarketNotOpen(bytes32 deal, uint48 due, bytes32 word);
    /// @notice The signature is not by whom it must be.
    error MarketSignature(address expected, bytes32 digest);
    /// @notice The ask does not sell to this kind of order.
    error MarketAskKinds(uint8 kinds);
    /// @notice The ask sells another product.
    error MarketAskProduct(bytes32 ask, bytes32 bundle);
    /// @notice The ask is for another customer.
    error MarketAskCustomer(address only, address customer);
    /// @notice The ask is for another matcher.
    error MarketAskMatcher(address only, address caller);
    /// @notice A provider cannot buy from itself.
    error MarketSelfDeal(address account);
    /// @notice An ask at zero, which would have nothing to lose, cannot serve a disputable bundle.
    error MarketAskFree(address provider);
    /// @notice An ask without slots never ends.
    error MarketAskSlots(address provider);
    /// @notice The legs cost more than the bundle allows.
    error MarketCost(uint256 cost, uint96 maxCost);
    /// @notice The bundle's float is too little for what the legs cost above the price.
    error MarketFloatShort(bytes32 id, uint96 float_, uint256 needed);
    /// @notice The deadline would be later than the customer accepts.
    error MarketDeliverBy(uint256 deadline, uint40 deliverBy);
    /// @notice The deadline has passed.
    error MarketTooLate(uint40 deadline);
    /// @notice The deadline has not passed.
    error MarketTooEarly(uint40 deadline);
    /// @notice More tasks done than the lot has.
    error MarketDone(uint16 done, uint16 count);
    /// @notice A refusal (`done` is 0) must carry the deal's `due` as its root.
    error MarketRefusalRoot(bytes32 root, uint48 due);
    /// @notice Hastening would not bring the deadline forward.
    error MarketNotSooner(uint40 present, uint256 proposed);

    /// @notice Fewer legs signed than the quorum.
    error MarketQuorum(uint256 signed, uint8 quorum);
    /// @notice Two legs have the same provider.
    error MarketLegTwice(address provider);
    /// @notice The bid names another matcher.
    error MarketBidMatcher(address only, address caller);
    /// @notice The one price of the call is below this ask.
    error MarketBelowAsk(address provider, uint96 ask, uint96 price);
    /// @notice The signed withdrawal was used before.
    error MarketSpent(bytes32 digest);
    /// @notice An item of a batch calls something else than the batch is for.
    error MarketBatchCall(uint256 index, bytes4 selector);
    /// @notice The gas left is too little to tell whether the next item would succeed.
    error MarketGas();
    /// @notice The deal is not settled with this root and fact.
    error MarketNotSettled(bytes32 deal, bytes32 word);
    /// @notice The deal is of a bid, or of a bundle that was published as not disputable.
    error MarketNotDisputable(bytes32 deal);
    /// @notice There is no such ground.
    error MarketGround(uint8 ground);
    /// @notice The leaf is not that of task `index` under the settled root.
    error MarketProof(bytes32 root, bytes32 leaf, uint32 index);
    /// @notice There is no such case.
    error MarketNoCase(bytes32 deal, bytes32 word);
    /// @notice Only the arbiter may do this.
    error MarketNotArbiter(address caller);
}
