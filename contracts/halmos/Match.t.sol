// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ask, Bid, Offer, Purchase, SignedAsk} from "../src/interfaces/Types.sol";
import {Whole} from "./support/Whole.sol";

/// @notice `matchPurchase` and `matchBid`: the customer gives the whole price, the bundle's float what the legs cost
/// above it, and nobody gets anything.
contract MatchProofs is Whole {
    function _asks(uint256 n, bytes32 product) private pure returns (SignedAsk[] memory asks, uint256 cost) {
        asks = new SignedAsk[](n);
        for (uint256 i = 0; i < n; ++i) {
            Ask memory ask;
            ask.provider = _provider(i);
            ask.product = product;
            ask.price = uint96(_number(96, "pay"));
            ask.slots = uint16(_number(16, "slots"));
            ask.kinds = 3;
            ask.expiry = uint40(_number(40, "expiry"));
            ask.era = uint32(_number(32, "era"));
            asks[i] = SignedAsk(ask, svm.createBytes(65, "signature"));
            unchecked {
                cost += ask.price;
            }
        }
    }

    /// @dev An account's word after `amount` left it.
    function _less(address owner, uint256 amount) private view returns (uint256) {
        unchecked {
            return _rolled(owner) - amount;
        }
    }

    function _buys(uint256 legs) private {
        _anyTime();
        _ofThisWindow(legs);
        uint256 tasks = _number(16, "tasks");
        bytes32 product = svm.createBytes32("product");
        Offer memory offer = Offer(
            product,
            svm.createBytes32("application"),
            uint96(_number(96, "price")),
            uint96(_number(96, "maxCost")),
            uint8(legs),
            true
        );
        Purchase memory p;
        p.customer = CUSTOMER;
        p.bundle = keccak256(abi.encode(offer));
        p.price = offer.price;
        p.tasks = uint32(tasks);
        p.lot = uint16(tasks);
        p.job = svm.createBytes32("job");
        p.expiry = uint40(_number(40, "expiry"));
        p.deliverBy = uint40(_number(40, "deliverBy"));
        p.era = uint32(_number(32, "era"));
        (SignedAsk[] memory asks, uint256 cost) = _asks(legs, product);
        Words memory expected = _words(legs);
        bytes32 id = p.bundle;
        uint256 until = uint40(_bundle(id));
        uint256 float_ = uint96(_bundle(id) >> 40);
        unchecked {
            expected.customer = _less(CUSTOMER, offer.price * tasks);
            if (cost > offer.price) float_ = uint96(float_ - (cost - offer.price) * tasks);
        }
        bytes memory signature = svm.createBytes(65, "signature");
        vm.prank(SCHEDULER);
        market.matchPurchase(p, signature, offer, 0, asks);
        uint256 bundle = _bundle(id);
        assert(_differ(expected) | (uint40(bundle) ^ until) | (uint96(bundle >> 40) ^ float_) == 0);
    }

    function check_a_match_of_a_purchase_of_one_leg_takes_what_the_deal_holds() public {
        _buys(1);
    }

    function _bids(uint256 legs) private {
        _anyTime();
        _ofThisWindow(legs);
        uint256 tasks = _number(16, "tasks");
        Bid memory b;
        b.customer = CUSTOMER;
        b.product = svm.createBytes32("product");
        b.price = uint96(_number(96, "price"));
        b.tasks = uint32(tasks);
        b.lot = uint16(tasks);
        b.quorum = uint8(legs);
        b.job = svm.createBytes32("job");
        b.expiry = uint40(_number(40, "expiry"));
        b.deliverBy = uint40(_number(40, "deliverBy"));
        b.era = uint32(_number(32, "era"));
        (SignedAsk[] memory asks, uint256 cost) = _asks(legs, b.product);
        Words memory expected = _words(legs);
        unchecked {
            expected.customer = _less(CUSTOMER, (cost + cost * _feeBps() / 10_000) * tasks);
        }
        bytes memory signature = svm.createBytes(65, "signature");
        vm.prank(SCHEDULER);
        market.matchBid(b, signature, 0, asks);
        assert(_differ(expected) == 0);
    }

    function check_a_match_of_a_bid_of_one_leg_takes_what_the_deal_holds() public {
        _bids(1);
    }
}
