// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Offer} from "../src/interfaces/Types.sol";
import {Fixture} from "./support/Fixture.sol";
import {Handler} from "./support/Handler.sol";

/// @notice What holds after any sequence of calls by anybody.
contract InvariantsTest is Fixture {
    /// @dev As forge reads it.
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Handler private handler;

    function setUp() public override {
        super.setUp();
        // A market of its own, in which the handler's people are the only ones.
        market = _deploy(address(dollar));
        _fund(address(market), TREASURY_FUNDS);
        Offer[] memory offers = new Offer[](2);
        offers[0] = offer;
        offers[1] = offer;
        offers[1].disputable = false;
        offers[1].application = "plain";
        _publish(offers[0], _now() + 20 days, FLOAT);
        _publish(offers[1], _now() + 20 days, 1e6);
        handler = new Handler(
            market, dollar, [admin, pricing, scheduler, pauser], offers, TREASURY_FUNDS
        );
        for (uint256 i = 0; i < handler.PEOPLE(); ++i) {
            handler.deposit(i, 200e6);
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev `windDown` ends a run, so it is not one of the calls that a run is made of.
    function excludeSelectors() external view returns (FuzzSelector[] memory excluded) {
        excluded = new FuzzSelector[](1);
        excluded[0].addr = address(handler);
        excluded[0].selectors = new bytes4[](1);
        excluded[0].selectors[0] = Handler.windDown.selector;
    }

    function _accounts() private view returns (uint256 sum) {
        sum = _all(address(market));
        for (uint256 i = 0; i < handler.PEOPLE(); ++i) {
            sum += _all(handler.person(i));
        }
    }

    function _floats() private view returns (uint256 sum) {
        for (uint256 i = 0; i < handler.bundleCount(); ++i) {
            sum += _floatOf(handler.bundles(i));
        }
    }

    /// @dev Money is conserved to the unit: the balance is accounts, deals and floats, and what was donated.
    function invariant_the_balance_is_accounts_deals_floats_and_donations() public view {
        uint256 owed = _accounts() + handler.inDeals() + _floats();
        vm.assertEq(dollar.balanceOf(address(market)), owed + handler.donated());
        (,,,, uint64 held) = market.config();
        vm.assertEq(owed, held);
        vm.assertEq(held, handler.deposited() - handler.withdrawn());
    }

    /// @dev At any point: pause, let time pass, let strangers expire, and nothing is left that a person owns.
    function afterInvariant() external {
        handler.windDown();
        for (uint256 i = 0; i < handler.PEOPLE(); ++i) {
            vm.assertEq(_all(handler.person(i)), 0);
        }
        vm.assertEq(
            dollar.balanceOf(address(market)), _all(address(market)) + _floats() + handler.donated()
        );
    }
}
