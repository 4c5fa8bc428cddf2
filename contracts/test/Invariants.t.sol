// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Offer, Policy} from "../src/interfaces/Types.sol";
import {Fixture} from "./support/Fixture.sol";
import {Handler} from "./support/handlers/Handler.sol";

/// @notice What holds after any sequence of calls by anybody.
contract InvariantsTest is Fixture {
    /// @dev As forge reads it.
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev forge shows it with -vv.
    event log_named_uint(string act, uint256 times);

    Handler private handler;

    function setUp() public override {
        super.setUp();
        // A market of its own, with a cap that is felt, in which the handler's people are the only ones.
        Policy memory policy = _policy();
        policy.depositCap = 3_000e6;
        market = _deploy(address(dollar), policy);
        _fund(address(market), TREASURY_FUNDS);
        Offer[] memory offers = new Offer[](3);
        offers[0] = offer;
        offers[1] = offer;
        offers[1].quorum = 2;
        offers[2] = offer;
        offers[2].disputable = false;
        _publish(offers[0], _now() + 20 days, FLOAT);
        _publish(offers[1], _now() + 20 days, FLOAT);
        _publish(offers[2], _now() + 20 days, 1e6);
        handler =
            new Handler(market, dollar, [admin, pricing, scheduler, pauser], offers, TREASURY_FUNDS);
        for (uint256 i = 0; i < 12; ++i) {
            handler.deposit(i);
        }
    }

    function _acts() private view returns (string[] memory names) {
        string[38] memory some = handler.acts();
        string[5] memory others = handler.actsOfCases();
        names = new string[](some.length + others.length);
        for (uint256 i = 0; i < names.length; ++i) {
            names[i] = i < some.length ? some[i] : others[i - some.length];
        }
    }

    function _selector(string memory name) private pure returns (bytes4) {
        return bytes4(keccak256(abi.encodePacked(name, "(uint256)")));
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        string[] memory names = _acts();
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), new bytes4[](names.length));
        for (uint256 i = 0; i < names.length; ++i) {
            targets[0].selectors[i] = _selector(names[i]);
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function _floats() private view returns (uint256 sum) {
        bytes32[] memory ids = handler.bundles();
        for (uint256 i = 0; i < ids.length; ++i) {
            uint256 float_ = _floatOf(ids[i]);
            vm.assertEq(float_, handler.floats(ids[i]));
            sum += float_;
        }
    }

    /// @dev Nobody has another amount than its own signatures and what it was paid make.
    function _accounts() private view returns (uint256 sum) {
        uint256 people = handler.PEOPLE();
        for (uint256 i = 0; i < people + 2; ++i) {
            address owner = i < people ? handler.person(i) : i == people ? arbiter : address(market);
            uint256 has = _all(owner);
            vm.assertEq(has, handler.owed(owner));
            sum += has;
        }
    }

    /// @dev Money is conserved to the unit, and every unit is where the books have it.
    function invariant_the_balance_is_accounts_deals_cases_floats_and_donations() public view {
        uint256 owed = _accounts() + handler.inDeals() + handler.inCases() + _floats();
        vm.assertEq(dollar.balanceOf(address(market)), owed + handler.donated());
        (,,,, uint64 held) = market.config();
        vm.assertEq(owed, held);
        vm.assertEq(held, handler.deposited() - handler.withdrawn());
    }

    /// @dev At any point: pause, let time pass, let strangers expire and lapse, and nothing is left that a person owns.
    function afterInvariant() external {
        handler.everyLotMustBeWritten();
        handler.windDown();
        invariant_the_balance_is_accounts_deals_cases_floats_and_donations();
        vm.assertEq(handler.inDeals() + handler.inCases(), 0);
        for (uint256 i = 0; i < handler.PEOPLE(); ++i) {
            vm.assertEq(_all(handler.person(i)), 0);
        }
    }

    /// @dev The acts are no empty gestures: in 4,500 of them each succeeds at least five times.
    function test_every_act_does_what_it_is_for_many_times() public {
        string[] memory names = _acts();
        uint256 dice = 7;
        for (uint256 i = 0; i < 4_500; ++i) {
            dice = uint256(keccak256(abi.encode(dice)));
            (bool ok, bytes memory why) =
                address(handler).call(abi.encodeWithSelector(_selector(names[dice % names.length]), dice));
            if (!ok) {
                assembly {
                    revert(add(why, 32), mload(why))
                }
            }
            if (i % 200 == 0) invariant_the_balance_is_accounts_deals_cases_floats_and_donations();
        }
        this.afterInvariant();
        uint256 least = type(uint256).max;
        for (uint256 i = 0; i < names.length; ++i) {
            uint256 times = handler.did(_selector(names[i]));
            emit log_named_uint(names[i], times);
            if (times < least) least = times;
        }
        vm.assertGe(least, 5, "an act that seldom succeeds");
    }
}
