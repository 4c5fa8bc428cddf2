// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IDesk} from "../interfaces/IDesk.sol";
import {Offer} from "../interfaces/Types.sol";
import {Lots} from "../libraries/Lots.sol";
import {Products} from "../libraries/Products.sol";
import {Core} from "./Core.sol";

/// @notice Offers at a flat price, and their floats.
abstract contract Bundles is IDesk, Core, AccessControl {
    uint8 private constant MOST_QUORUM = 16;

    /// @notice May publish and retire bundles.
    bytes32 public constant PRICING_ROLE = keccak256("PRICING_ROLE");

    /// @inheritdoc IDesk
    function publish(Offer calldata offer, uint40 until, uint96 float_)
        external
        onlyRole(PRICING_ROLE)
        returns (bytes32 id)
    {
        Products.check(offer.product);
        if (offer.quorum == 0 || offer.quorum > MOST_QUORUM) revert MarketQuorumUnsupported(offer.quorum);
        id = Lots.offerId(offer);
        Bundle memory bundle = _bundles[id];
        // A quote was given on the time that stands: it can be extended here, and shortened only with notice.
        if (until < bundle.until || until <= block.timestamp) {
            revert MarketUntilTooEarly(until, Math.max(bundle.until, block.timestamp + 1));
        }
        Held storage held = _accounts[address(this)];
        held.word = _load(held).debit(float_, address(this));
        _bundles[id] = Bundle(until, bundle.float_ + float_);
        emit Published(id, offer, until, float_);
    }

    /// @inheritdoc IDesk
    function retire(bytes32 id, uint40 until) external onlyRole(PRICING_ROLE) {
        uint40 present = _bundles[id].until;
        if (block.timestamp > present) revert MarketBundleNotLive(id, present);
        if (until < block.timestamp + _notice) revert MarketUntilTooEarly(until, block.timestamp + _notice);
        if (until >= present) revert MarketUntilTooLate(until, present);
        _bundles[id].until = until;
        emit Retired(id, until);
    }

    /// @inheritdoc IDesk
    function reclaim(bytes32 id) external {
        Bundle memory bundle = _bundles[id];
        if (block.timestamp <= bundle.until) revert MarketBundleLive(id, bundle.until);
        _bundles[id].float_ = 0;
        _creditFree(address(this), bundle.float_);
        emit Reclaimed(id, bundle.float_);
    }
}
