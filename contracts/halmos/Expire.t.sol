// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Deal} from "../src/interfaces/Types.sol";
import {Deals} from "../src/libraries/Deals.sol";
import {Whole} from "./support/Whole.sol";

/// @notice `expire`: the customer has the whole price back, the treasury what the float gave, and the lot is free.
contract ExpireProofs is Whole {
    function _expires(uint256 legs) private {
        _anyTime();
        Deal memory deal = _anyDeal(legs, _number(8, "quorum"), _number(1, "disputable"));
        Words memory expected = _givenBack(deal);
        market.expire(deal, uint48(_number(48, "due")));
        assert(_differ(expected) | uint256(_lot(deal.order, Deals.lot(deal.head))) == 0);
    }

    function check_expiring_a_deal_of_one_leg_gives_back_what_it_held() public {
        _expires(1);
    }

    function check_expiring_a_deal_of_three_legs_gives_back_what_it_held() public {
        _expires(3);
    }
}
