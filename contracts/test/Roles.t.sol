// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {IMarketEvents} from "../src/interfaces/IMarketEvents.sol";
import {Policy, Purchase, Roles, SignedAsk} from "../src/interfaces/Types.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice What is fixed at deployment, and what each role may do after it.
contract RolesTest is Fixture {
    function _unauthorised(address caller, bytes32 role) private pure returns (bytes memory) {
        return abi.encodeWithSelector(
            IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role
        );
    }

    function deploy(address token, Policy memory policy, Roles memory roles) external {
        vm.deployCode("Market.sol:Market", abi.encode(token, policy, roles));
    }

    function _nonsense(address token, Policy memory policy, Roles memory roles) private {
        vm.expectRevert();
        this.deploy(token, policy, roles);
    }

    function test_the_policy_is_what_was_deployed() public view {
        Policy memory p = market.policy();
        vm.assertEq(keccak256(abi.encode(p)), keccak256(abi.encode(_policy())));
        vm.assertEq(address(market.token()), address(dollar));
    }

    function test_a_policy_that_makes_no_sense_is_not_deployed() public {
        address token = address(dollar);
        this.deploy(token, _policy(), _roles()); // this one does
        Policy memory p = _policy();
        _nonsense(address(0xBEEF), p, _roles());
        p.window = 0;
        _nonsense(token, p, _roles());
        p = _policy();
        p.grace = 0;
        _nonsense(token, p, _roles());
        p = _policy();
        p.surety = p.arbiterFee - 1;
        _nonsense(token, p, _roles());
        p = _policy();
        p.bond = p.arbiterFee - 1;
        _nonsense(token, p, _roles());
        p = _policy();
        p.maxFeeBps = 10_001;
        _nonsense(token, p, _roles());
        p = _policy();
        p.arbiter = address(0);
        _nonsense(token, p, _roles());
        Roles memory r = _roles();
        r.admin = address(0);
        _nonsense(token, _policy(), r);
    }

    function test_the_domain_is_prixfixe_1() public view {
        (, string memory name, string memory version, uint256 chain, address verifier,,) =
            market.eip712Domain();
        vm.assertEq(name, "Prixfixe");
        vm.assertEq(version, "1");
        vm.assertEq(chain, block.chainid);
        vm.assertEq(verifier, address(market));
    }

    function test_a_pause_stops_new_matches_and_nothing_else() public {
        Opened memory settled = _open();
        Purchase memory purchase = _purchase();
        purchase.nonce = 2;
        Opened memory expired = _match(purchase, 0, _ask());
        purchase.nonce = 3;
        Opened memory refused = _match(purchase, 0, _ask());
        vm.prank(pauser);
        vm.expectEmit();
        emit IMarketEvents.PausedSet(true);
        market.pause();

        purchase.nonce = 4;
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketPaused.selector));
        market.matchPurchase(purchase, signature, offer, 0, asks);

        _settle(settled, "root", 1);
        _settle(refused, _refusal(refused), 0);
        vm.prank(scheduler);
        market.hasten(expired.deal, expired.due);
        uint48 sooner = uint48(block.timestamp + GRACE) | (1 << 40);
        vm.warp(uint40(sooner) + 1);
        market.expire(expired.deal, sooner);
        vm.prank(customer);
        market.cancel(purchase, 0);
        vm.prank(customer);
        market.bump(0);
        _fund(customer, 1);
        vm.prank(customer);
        market.withdraw(customer, CUSTOMER_FUNDS + 1 - uint64(PRICE));

        vm.prank(pauser);
        vm.expectEmit();
        emit IMarketEvents.PausedSet(false);
        market.unpause();
        (,, bool paused,,) = market.config();
        vm.assertFalse(paused);
    }

    function test_matches_go_on_after_a_pause() public {
        vm.prank(pauser);
        market.pause();
        vm.prank(pauser);
        market.unpause();
        _open();
    }

    function test_the_first_roles_are_given_once_at_the_market_and_never_at_its_desk() public {
        bytes memory call = abi.encodeWithSignature(
            "begin((address,address,address,address),uint64)",
            Roles(stranger, stranger, stranger, stranger),
            uint64(1)
        );
        address desk = address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", market, hex"01")))));
        vm.assertTrue(desk.code.length != 0);
        vm.startPrank(stranger);
        (bool ok,) = address(market).call(call);
        vm.assertFalse(ok);
        (ok,) = desk.call(call);
        vm.assertFalse(ok);
        vm.stopPrank();
        vm.assertFalse(market.hasRole(market.DEFAULT_ADMIN_ROLE(), stranger));
        (address present,,,,) = market.config();
        vm.assertEq(present, scheduler);
    }

    function test_each_role_is_needed() public {
        bytes32 role = market.PAUSER_ROLE();
        vm.prank(admin);
        vm.expectRevert(_unauthorised(admin, role));
        market.pause();
        vm.prank(admin);
        vm.expectRevert(_unauthorised(admin, role));
        market.unpause();
        role = market.DEFAULT_ADMIN_ROLE();
        vm.startPrank(pricing);
        vm.expectRevert(_unauthorised(pricing, role));
        market.setFee(1);
        vm.expectRevert(_unauthorised(pricing, role));
        market.setScheduler(pricing);
        vm.expectRevert(_unauthorised(pricing, role));
        market.raiseDepositCap(type(uint64).max);
        vm.expectRevert(_unauthorised(pricing, role));
        market.withdrawTreasury(pricing, 1);
        vm.stopPrank();
    }

    function test_the_fee_has_a_ceiling() public {
        vm.prank(admin);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketFeeTooHigh.selector, 501, 500));
        market.setFee(501);
        vm.prank(admin);
        vm.expectEmit();
        emit IMarketEvents.FeeSet(500);
        market.setFee(500);
        (address present, uint16 feeBps,,,) = market.config();
        vm.assertEq(feeBps, 500);
        vm.assertEq(present, scheduler);
    }

    function test_a_new_scheduler_takes_over() public {
        vm.prank(admin);
        vm.expectEmit();
        emit IMarketEvents.SchedulerSet(stranger);
        market.setScheduler(stranger);
        Purchase memory purchase = _purchase();
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(_ask(), WORKER_KEY);
        vm.prank(scheduler);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketNotScheduler.selector, scheduler));
        market.matchPurchase(purchase, signature, offer, 0, asks);
        scheduler = stranger;
        _open();
    }

    function test_a_cap_is_raised() public {
        Policy memory p = _policy();
        p.depositCap = 100;
        address capped = vm.deployCode("Market.sol:Market", abi.encode(dollar, p, _roles()));
        dollar.mint(address(this), 101);
        dollar.approve(capped, 101);
        IMarket(capped).deposit(100);
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketDepositCap.selector, 101, 100));
        IMarket(capped).deposit(1);
        vm.prank(admin);
        vm.expectEmit();
        emit IMarketEvents.DepositCapRaised(101);
        IMarket(capped).raiseDepositCap(101);
        IMarket(capped).deposit(1);
        vm.assertEq(IMarket(capped).policy().depositCap, 101);
    }

    function test_admin_withdraws_the_treasurys_free_money_only() public {
        _settle(_open(), "root", 1); // the margin waits
        vm.startPrank(admin);
        uint64 free = TREASURY_FUNDS - FLOAT;
        vm.expectRevert(
            abi.encodeWithSelector(IMarketErrors.MarketFundsShort.selector, address(market), free, free + 1)
        );
        market.withdrawTreasury(admin, free + 1);
        vm.expectEmit();
        emit IMarketEvents.Withdrawn(address(market), admin, free);
        market.withdrawTreasury(admin, free);
        vm.stopPrank();
        vm.assertEq(dollar.balanceOf(admin), free);
        vm.assertEq(_cur(address(market)), PRICE - PAY);
    }
}
