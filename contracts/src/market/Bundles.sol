// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IMarket} from "../interfaces/IMarket.sol";
import {Offer} from "../interfaces/Types.sol";
import {Lots} from "../libraries/Lots.sol";
import {Products} from "../libraries/Products.sol";
import {Core} from "./Core.sol";

/// @notice Offers at a flat price, and their floats.
abstract contract Bundles is IMarket, Core {
    uint8 internal constant MOST_LEGS = 16;

    /// @inheritdoc IMarket
    function publish(Offer calldata offer, uint40 until, uint96 float_)
        external
        onlyRole(PRICING_ROLE)
        returns (bytes32 id)
    {
        Products.check(offer.product);
        if (offer.quorum == 0 || offer.quorum > MOST_LEGS) revert MarketQuorumUnsupported(offer.quorum);
        id = Lots.offerId(offer);
        Bundle memory bundle = bundles[id];
        // A quote was given on the time that stands: it can be extended here, and shortened only with notice.
        if (until < bundle.until || until <= block.timestamp) {
            revert MarketUntilTooEarly(until, Math.max(bundle.until, block.timestamp + 1));
        }
        _accounts[address(this)] = _load(address(this)).debit(float_, address(this));
        bundles[id] = Bundle(until, bundle.float_ + float_);
        emit Published(id, offer, until, float_);
    }

    /// @inheritdoc IMarket
    function retire(bytes32 id, uint40 until) external onlyRole(PRICING_ROLE) {
        uint40 present = bundles[id].until;
        if (block.timestamp > present) revert MarketBundleNotLive(id, present);
        if (until < block.timestamp + _notice) revert MarketUntilTooEarly(until, block.timestamp + _notice);
        if (until >= present) revert MarketUntilTooLate(until, present);
        bundles[id].until = until;
        emit Retired(id, until);
    }

    /// @inheritdoc IMarket
    function reclaim(bytes32 id) external {
        Bundle memory bundle = bundles[id];
        if (block.timestamp <= bundle.until) revert MarketBundleLive(id, bundle.until);
        bundles[id].float_ = 0;
        _creditFree(address(this), bundle.float_);
        emit Reclaimed(id, bundle.float_);
    }
}
