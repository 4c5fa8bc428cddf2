// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILots} from "../src/interfaces/ILots.sol";
import {Ask, Bid, Bump, Cancel, Policy, Purchase, Withdraw} from "../src/interfaces/Types.sol";
import {TypedData} from "../src/libraries/TypedData.sol";
import {Crowd} from "./support/Crowd.sol";
import {DollarTypes, DollarWithPermit} from "./support/Dollars.sol";

/// @notice As `GasTest`, for what owners do by signature, what roles may do, and lots that are closed or expire
/// together.
/// forge-config: default.isolate = true
contract GasDeskTest is Crowd {
    string private constant GROUP = "Market";
    address private constant PAYEE = address(0xBEEF);

    function setUp() public override {
        super.setUp();
        // Steady state: who is paid has dollars of its own.
        dollar.mint(PAYEE, 1);
        dollar.mint(stranger, 1);
        dollar.mint(customer, 100e6);
    }

    function _gas(string memory name) private {
        vm.snapshotGasLastCall(GROUP, name);
    }

    function _dollars(bytes32 structHash) private view returns (uint8, bytes32, bytes32) {
        bytes32 domain = DollarWithPermit(address(dollar)).DOMAIN_SEPARATOR();
        return vm.sign(CUSTOMER_KEY, keccak256(abi.encodePacked(hex"1901", domain, structHash)));
    }

    function test_gas_of_a_deposit_for_another() public {
        vm.prank(customer);
        dollar.approve(address(market), 10e6);
        vm.prank(customer);
        market.depositFor(provider, 5e6);
        _gas("depositFor");
    }

    function test_gas_of_a_deposit_with_permit() public {
        (uint8 v, bytes32 r, bytes32 s) = _dollars(DollarTypes.permit(customer, address(market), 5e6, 0));
        vm.prank(customer);
        market.depositWithPermit(5e6, type(uint256).max, v, r, s);
        _gas("depositWithPermit");
    }

    function test_gas_of_a_deposit_with_authorisation() public {
        (uint8 v, bytes32 r, bytes32 s) =
            _dollars(DollarTypes.receive_(customer, address(market), 5e6, provider, "salt"));
        vm.prank(stranger);
        market.depositWithAuthorization(provider, customer, 5e6, "salt", 0, type(uint256).max, v, r, s);
        _gas("depositWithAuthorization");
    }

    function test_gas_of_a_signed_withdrawal() public {
        Withdraw memory order = Withdraw(customer, PAYEE, 10e6, 1e6, 7, uint40(_now() + 60));
        bytes memory signature =
            _sign(CUSTOMER_KEY, _digest(keccak256(abi.encode(TypedData.WITHDRAW, order))));
        vm.prank(stranger);
        market.withdrawBySig(order, signature);
        _gas("withdrawBySig");
    }

    function test_gas_of_a_signed_bump() public {
        Bump memory order = Bump(customer, 0);
        bytes memory signature = _sign(CUSTOMER_KEY, _digest(keccak256(abi.encode(TypedData.BUMP, order))));
        vm.prank(stranger);
        market.bumpBySig(order, signature);
        _gas("bumpBySig");
    }

    function _cancel(bytes32 order) private view returns (bytes memory) {
        return _sign(CUSTOMER_KEY, _digest(keccak256(abi.encode(TypedData.CANCEL, Cancel(order, 0)))));
    }

    function test_gas_of_closed_lots() public {
        Bid memory bid = _bid();
        vm.prank(customer);
        market.cancelBid(bid, 0);
        _gas("cancelBid");
        bid.nonce = 2;
        bytes memory signature = _cancel(_order(bid));
        vm.prank(stranger);
        market.cancelBidBySig(bid, 0, signature);
        _gas("cancelBidBySig");
        Purchase memory purchase = _purchase();
        signature = _cancel(_order(purchase));
        vm.prank(stranger);
        market.cancelBySig(purchase, 0, signature);
        _gas("cancelBySig");
    }

    function test_gas_of_deals_that_expire_together() public {
        bytes[] memory ends = new bytes[](16);
        for (uint256 i = 0; i < ends.length; ++i) {
            Purchase memory purchase = _purchase();
            purchase.customer = _provider(i);
            purchase.nonce = uint64(i);
            _fund(purchase.customer, 10e6);
            Ask memory ask = _ask();
            Opened memory o;
            o.deal = _deal(purchase, 0, 1, ask, worker);
            o.due = _due(1, 1);
            bytes memory signature = _sign(_providerKey(i), _order(purchase));
            vm.prank(scheduler);
            market.matchPurchase(purchase, signature, offer, 0, _signAsk(ask, WORKER_KEY));
            ends[i] = abi.encodeCall(ILots.expire, (o.deal, o.due));
        }
        vm.warp(_now() + 1 days);
        vm.prank(stranger);
        market.expireMany(ends);
        _gas("expireMany, purchases: 16");
        vm.assertEq(_free(_provider(15)), 10e6);
    }

    function test_gas_of_roles() public {
        // A cap that can still be raised.
        Policy memory policy = _policy();
        policy.depositCap = 1;
        market = _deploy(address(dollar), policy);
        bytes32 role = market.PRICING_ROLE();
        vm.prank(pauser);
        market.pause();
        _gas("pause");
        vm.prank(pauser);
        market.unpause();
        _gas("unpause");
        vm.startPrank(admin);
        market.setFee(100);
        _gas("setFee");
        market.setScheduler(stranger);
        _gas("setScheduler");
        market.raiseDepositCap(type(uint64).max);
        _gas("raiseDepositCap");
        market.grantRole(role, stranger);
        _gas("grantRole");
        market.revokeRole(role, pricing);
        _gas("revokeRole");
        vm.stopPrank();
        vm.prank(stranger);
        market.renounceRole(role, stranger);
        _gas("renounceRole");
    }

    function test_gas_of_a_withdrawal_from_the_treasury() public {
        vm.prank(admin);
        market.withdrawTreasury(PAYEE, 5e6);
        _gas("withdrawTreasury");
    }
}
