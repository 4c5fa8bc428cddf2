// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {
    Ask, Bid, Case, Claim, Deal, Leg, Offer, Purchase, Result, SignedAsk
} from "../../src/interfaces/Types.sol";
import {TypedData} from "../../src/libraries/TypedData.sol";
import {Fixture} from "./Fixture.sol";
import {dealId, packCharge, packHead, packLeg} from "./Packed.sol";

/// @notice The fixture with many providers, who sign with their own keys, bids and cases.
abstract contract Crowd is Fixture {
    uint256 internal constant FIRST = 0xF1257;
    bytes32 internal constant ROOT = keccak256("root");

    function _providerKey(uint256 i) internal pure returns (uint256) {
        return FIRST + i;
    }

    function _provider(uint256 i) internal pure returns (address) {
        return vm.addr(FIRST + i);
    }

    function _fundProviders(uint256 n) internal {
        for (uint256 i = 0; i < n; ++i) {
            _fund(_provider(i), SURETY);
        }
    }

    // ---- what is signed

    function _hash(Bid memory bid) internal pure returns (bytes32) {
        return keccak256(abi.encode(TypedData.BID, bid));
    }

    function _order(Bid memory bid) internal view returns (bytes32) {
        return _digest(_hash(bid));
    }

    function _bid() internal view returns (Bid memory) {
        return Bid(
            customer,
            _product(),
            PRICE,
            1,
            1,
            1,
            keccak256("job"),
            address(market),
            uint40(block.timestamp + 600),
            uint40(block.timestamp + 10_000),
            0,
            1
        );
    }

    function _signBid(Bid memory bid) internal view returns (bytes memory) {
        return _sign(CUSTOMER_KEY, _order(bid));
    }

    /// @dev Asks of providers 0 to `pays.length - 1`, for bids and bundles.
    function _asks(uint96[] memory pays) internal view returns (SignedAsk[] memory asks) {
        asks = new SignedAsk[](pays.length);
        for (uint256 i = 0; i < pays.length; ++i) {
            Ask memory ask = _ask();
            ask.provider = _provider(i);
            ask.kinds = 3;
            ask.price = pays[i];
            ask.slots = 100;
            asks[i] = SignedAsk(ask, _sign(_providerKey(i), _digest(_hash(ask))));
        }
    }

    function _pays(uint256 n, uint96 pay) internal pure returns (uint96[] memory pays) {
        pays = new uint96[](n);
        for (uint256 i = 0; i < n; ++i) {
            pays[i] = pay;
        }
    }

    /// @dev The signatures of the legs in `mask`, by providers 0 and so on; empty for the others.
    function _signedBy(Opened memory o, uint256 mask, bytes32 root, uint16 done)
        internal
        view
        returns (bytes[] memory signatures)
    {
        signatures = new bytes[](o.deal.legs.length);
        for (uint256 i = 0; i < signatures.length; ++i) {
            if (mask >> i & 1 == 1) {
                signatures[i] = _sign(_providerKey(i), _digest(_hash(Result(o.id, root, done))));
            }
        }
    }

    // ---- deals

    function _legsOf(uint96[] memory pays) internal pure returns (Leg[] memory legs) {
        legs = new Leg[](pays.length);
        for (uint256 i = 0; i < pays.length; ++i) {
            legs[i] = packLeg(_provider(i), _provider(i), pays[i]);
        }
    }

    /// @dev The deal of a purchase whose legs are providers 0 and so on.
    function _dealOf(Purchase memory purchase, Offer memory offer_, uint96[] memory pays)
        internal
        view
        returns (Opened memory o)
    {
        (, uint16 feeBps,,,) = market.config();
        uint256 cost = _sum(pays);
        uint256 margin = cost < offer_.price ? offer_.price - cost : 0;
        uint256 most = uint256(offer_.price) * feeBps / 10_000;
        o.deal = Deal(
            _order(purchase),
            packHead(purchase.customer, 0, uint16(purchase.tasks), offer_.quorum, offer_.disputable),
            packCharge(offer_.price, uint96(margin < most ? margin : most)),
            _legsOf(pays)
        );
        o.id = dealId(o.deal);
        o.due = _due(1, 1);
    }

    function _dealOf(Bid memory bid, uint96[] memory pays) internal view returns (Opened memory o) {
        (, uint16 feeBps,,,) = market.config();
        uint256 cost = _sum(pays);
        uint96 fee = uint96(cost * feeBps / 10_000);
        o.deal = Deal(
            _order(bid),
            packHead(bid.customer, 0, uint16(bid.tasks), bid.quorum, false),
            packCharge(uint96(cost) + fee, fee),
            _legsOf(pays)
        );
        o.id = dealId(o.deal);
        o.due = _due(1, 1);
    }

    function _sum(uint96[] memory pays) internal pure returns (uint256 sum) {
        for (uint256 i = 0; i < pays.length; ++i) {
            sum += pays[i];
        }
    }

    /// @dev A purchase of one lot of `tasks` (up to 100) of `offer_`, matched.
    function _openWith(Offer memory offer_, uint16 tasks, uint96[] memory pays)
        internal
        returns (Opened memory o)
    {
        Purchase memory purchase = _purchaseOf(offer_, tasks, 1);
        o = _dealOf(purchase, offer_, pays);
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _asks(pays);
        vm.prank(scheduler);
        bytes32 id = market.matchPurchase(purchase, signature, offer_, 0, asks);
        vm.assertEq(id, o.id);
        vm.assertEq(market.lot(o.deal.order, 0), keccak256(abi.encode(o.id, o.due)));
    }

    function _purchaseOf(Offer memory offer_, uint16 tasks, uint64 nonce)
        internal
        view
        returns (Purchase memory purchase)
    {
        purchase = _purchase();
        purchase.bundle = keccak256(abi.encode(offer_));
        purchase.price = offer_.price;
        purchase.tasks = purchase.lot = tasks;
        purchase.nonce = nonce;
    }

    function _openBid(Bid memory bid, uint96[] memory pays) internal returns (Opened memory o) {
        o = _dealOf(bid, pays);
        bytes memory signature = _signBid(bid);
        SignedAsk[] memory asks = _asks(pays);
        vm.prank(scheduler);
        vm.assertEq(market.matchBid(bid, signature, 0, asks), o.id);
        vm.assertEq(market.lot(o.deal.order, 0), keccak256(abi.encode(o.id, o.due)));
    }

    function _offerOf(uint8 quorum, bool disputable, uint96 maxCost) internal returns (Offer memory offer_) {
        offer_ = _offer();
        offer_.quorum = quorum;
        offer_.disputable = disputable;
        offer_.maxCost = maxCost;
        _publish(offer_, _now() + 30 days, FLOAT);
    }

    function _everybody(uint256 n) internal view returns (uint256 sum) {
        sum = _all(customer) + _all(address(market)) + _all(stranger) + _all(arbiter) + _all(provider);
        for (uint256 i = 0; i < n; ++i) {
            sum += _all(_provider(i));
        }
    }
}
