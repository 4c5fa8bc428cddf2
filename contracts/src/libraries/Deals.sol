// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice What a deal is of, lowest bits first: customer 160 | lot 32 | count 16 | quorum 8 | disputable 1.
type Head is uint256;

/// @notice What one task costs, lowest bits first: price 96 | fee 96.
type Charge is uint256;

/// @notice Who earns what for one task that is done, lowest bits first: provider 160 | pay 96.
type Share is uint256;

using Deals for Head global;
using Deals for Charge global;
using Deals for Share global;

/// @notice The packed words of a deal. Few words make calldata, logs and hashes small; a word that is passed back is
/// proven by the deal's id, so nothing is checked again when it is read.
library Deals {
    /// @dev Like the other two that pack, it takes words that have no bits above their place.
    /// @param lot_ Index of the lot in its order.
    /// @param count_ Tasks in the lot.
    /// @param quorum_ Legs that must agree.
    /// @param disputable_ 1: the settled deal can be challenged; 0: it cannot.
    function head(uint256 customer_, uint256 lot_, uint256 count_, uint256 quorum_, uint256 disputable_)
        internal
        pure
        returns (Head)
    {
        return Head.wrap(customer_ | lot_ << 160 | count_ << 192 | quorum_ << 208 | disputable_ << 216);
    }

    function customer(Head h) internal pure returns (address) {
        return address(uint160(Head.unwrap(h)));
    }

    function lot(Head h) internal pure returns (uint32) {
        return uint32(Head.unwrap(h) >> 160);
    }

    function count(Head h) internal pure returns (uint256) {
        return uint16(Head.unwrap(h) >> 192);
    }

    function quorum(Head h) internal pure returns (uint8) {
        return uint8(Head.unwrap(h) >> 208);
    }

    function disputable(Head h) internal pure returns (bool) {
        return Head.unwrap(h) >> 216 != 0;
    }

    /// @param fee_ Part of the price that is the market's fee.
    function charge(uint256 price_, uint256 fee_) internal pure returns (Charge) {
        return Charge.wrap(price_ | fee_ << 96);
    }

    function price(Charge c) internal pure returns (uint256) {
        return uint96(Charge.unwrap(c));
    }

    function fee(Charge c) internal pure returns (uint256) {
        return Charge.unwrap(c) >> 96;
    }

    function share(uint256 provider_, uint256 pay_) internal pure returns (Share) {
        return Share.wrap(provider_ | pay_ << 160);
    }

    function provider(Share s) internal pure returns (address) {
        return address(uint160(Share.unwrap(s)));
    }

    function pay(Share s) internal pure returns (uint256) {
        return Share.unwrap(s) >> 160;
    }
}
