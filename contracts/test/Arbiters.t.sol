// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Case} from "../src/interfaces/Types.sol";
import {Cases} from "./support/Cases.sol";
import {Judges} from "./support/Judges.sol";

/// @notice An arbiter that was a contract when the market was deployed is asked at each challenge.
contract ArbiterContractTest is Cases {
    function setUp() public override {
        vm.etch(arbiter, vm.getDeployedCode("Judges.sol:Judges"));
        super.setUp();
    }

    function test_a_contract_is_told_of_each_challenge_and_judges_it() public {
        vm.assertTrue(market.asksArbiter());
        (Opened memory o, uint96 fact) = _settled();
        Case memory c = _challenge(o, fact, stranger);
        Judges judges = Judges(arbiter);
        vm.assertEq(judges.deal(), o.id);
        vm.assertEq(judges.claim(), c.claim);
        vm.assertEq(judges.until(), c.until);
        vm.assertEq(judges.asked(), 1);
        _judge(c, true);
        vm.assertEq(_free(arbiter), FEE);
    }

    function test_judges_that_cannot_be_seated_make_the_challenge_fail_and_move_nothing() public {
        (Opened memory o, uint96 fact) = _settled();
        bytes32 word = market.lot(o.deal.order, 0);
        Judges(arbiter).setAway(true);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(Judges.JudgesAway.selector));
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
        vm.assertEq(market.lot(o.deal.order, 0), word);
        vm.assertEq(_free(stranger), 100e6);
        Judges(arbiter).setAway(false);
        _challenge(o, fact, stranger);
    }

    function test_a_contract_that_is_gone_cannot_be_asked_so_the_challenge_fails() public {
        (Opened memory o, uint96 fact) = _settled();
        vm.etch(arbiter, "");
        vm.prank(stranger);
        vm.expectRevert();
        market.challenge(o.deal, _root, fact, _claimOf(1), _proofOf(1));
    }
}

/// @notice An arbiter that was a key when the market was deployed is never called, whatever it signs for later.
contract ArbiterKeyTest is Cases {
    function test_code_that_comes_to_a_keys_address_later_refuses_no_challenge() public {
        vm.assertFalse(market.asksArbiter());
        vm.etch(arbiter, hex"60006000fd"); // reverts whatever it is asked
        (Opened memory o, uint96 fact) = _settled();
        _judge(_challenge(o, fact, stranger), true);
        vm.assertEq(_free(arbiter), FEE);
    }
}

/// @notice An arbiter whose key had delegated already (EIP-7702) is a key too: to whom it delegates can change any time.
contract ArbiterDelegatedTest is Cases {
    function setUp() public override {
        vm.etch(arbiter, abi.encodePacked(hex"ef0100", address(0xDE1E)));
        super.setUp();
    }

    function test_a_key_that_had_delegated_is_not_called() public {
        vm.assertFalse(market.asksArbiter());
        (Opened memory o, uint96 fact) = _settled();
        _judge(_challenge(o, fact, stranger), true);
        vm.assertEq(_free(arbiter), FEE);
    }
}
