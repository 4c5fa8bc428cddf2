// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Deal} from "../src/interfaces/Types.sol";
import {Deals} from "../src/libraries/Deals.sol";
import {Lots} from "../src/libraries/Lots.sol";
import {Whole} from "./support/Whole.sol";

/// @notice `settle`: legs that signed earn for what is done, customer and treasury have the rest, by `Lots.rest`; a
/// refusal gives everything back.
contract SettleProofs is Whole {
    function _signatures(uint256 legs, uint256 signed) private pure returns (bytes[] memory signatures) {
        signatures = new bytes[](legs);
        for (uint256 i = 0; i < legs; ++i) {
            if (signed >> i & 1 == 1) signatures[i] = svm.createBytes(65, "signature");
        }
    }

    /// @dev Earnings of a disputable deal are in the bucket of this window.
    function _earned(address owner, uint256 amount, bool waits) private view returns (uint256) {
        return _more(owner, waits ? amount << 64 : amount);
    }

    function _paid(Deal memory deal, uint256 signed, uint256 done, bool waits)
        private
        view
        returns (Words memory words)
    {
        words = _words(deal.legs.length);
        uint256 signers = 0;
        unchecked {
            for (uint256 i = 0; i < deal.legs.length; ++i) {
                if (signed >> i & 1 == 0) continue;
                uint256 pay = Deals.pay(deal.legs[i].share);
                signers += pay;
                words.providers[i] = _earned(_provider(i), pay * done, waits);
            }
            uint256 price = Deals.price(deal.money);
            (uint256 margin, uint256 back) = Lots.rest(price, _cost(deal), signers);
            uint256 undone = Deals.count(deal.head) - done;
            uint256 unearned = (signers + margin + back - price) * undone;
            uint256 returned = price * undone + back * done;
            margin *= done;
            if (returned != 0) words.customer = _more(CUSTOMER, returned);
            if (margin | unearned != 0) {
                words.treasury = _earned(address(market), margin, waits) + unearned;
            }
        }
    }

    /// @param signed Bit i: leg i signs.
    function _settles(uint256 legs, uint256 signed, bool waits) private {
        _anyTime();
        _ofThisWindow(legs);
        Deal memory deal = _anyDeal(legs, _number(8, "quorum"), waits ? 1 : 0);
        uint16 done = uint16(_number(16, "done"));
        vm.assume(done != 0);
        vm.assume(done <= Deals.count(deal.head));
        Words memory expected = _paid(deal, signed, done, waits);
        bytes[] memory signatures = _signatures(legs, signed);
        uint48 due = uint48(_number(48, "due"));
        vm.prank(SCHEDULER);
        market.settle(deal, due, svm.createBytes32("root"), done, signatures);
        assert(_differ(expected) == 0);
    }

    function check_settling_a_disputable_deal_of_one_leg_pays_out_what_it_held() public {
        _settles(1, 1, true);
    }

    function check_settling_a_deal_of_one_leg_pays_out_what_it_held() public {
        _settles(1, 1, false);
    }

    function _refuses(uint256 legs) private {
        _anyTime();
        Deal memory deal = _anyDeal(legs, _number(8, "quorum"), _number(1, "disputable"));
        Words memory expected = _givenBack(deal);
        bytes[] memory signatures = _signatures(legs, (1 << legs) - 1);
        uint48 due = uint48(_number(48, "due"));
        market.settle(deal, due, bytes32(uint256(due)), 0, signatures);
        assert(_differ(expected) | uint256(_lot(deal.order, Deals.lot(deal.head))) == 0);
    }

    function check_a_refusal_by_one_leg_gives_back_what_the_deal_held() public {
        _refuses(1);
    }
}
