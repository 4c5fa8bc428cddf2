// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILots} from "../src/interfaces/ILots.sol";
import {Bid, Purchase, SignedAsk} from "../src/interfaces/Types.sol";
import {Crowd} from "./support/Crowd.sol";
import {packHead} from "./support/Packed.sol";

/// @notice As `GasTest`, for batches: 16 customers and 16 providers, of whom none was touched before in the call.
/// forge-config: default.isolate = true
contract GasBatchesTest is Crowd {
    string private constant GROUP = "Market";
    uint256 private constant SIZE = 16;
    uint256 private constant CUSTOMERS = 100; // the first of their keys
    uint256 private _lastPay;

    function setUp() public override {
        super.setUp();
        _fundProviders(SIZE);
        for (uint256 i = 0; i < SIZE; ++i) {
            _fund(_provider(CUSTOMERS + i), 10e6);
        }
        offer = _offerOf(1, true, 3e6);
        bundle = keccak256(abi.encode(offer));
    }

    function _askOf(uint256 i) private view returns (SignedAsk[] memory one) {
        one = new SignedAsk[](1);
        one[0] = _asks(_pays(i + 1, PAY))[i];
    }

    /// @dev Of a deal as the fixture makes it for customer and provider 0: that of customer and provider `i`, settled.
    function _settlement(Opened memory o, uint256 i) private view returns (bytes memory) {
        o.deal.head = packHead(_provider(CUSTOMERS + i), 0, 1, 1, o.deal.head.disputable());
        o.deal.legs[0] = _legsOf(_pays(i + 1, uint96(o.deal.legs[0].share.pay())))[i];
        o.id = keccak256(abi.encode(o.deal.order, o.deal.head, o.deal.money, o.deal.legs));
        bytes[] memory signatures = _signResultBy(_providerKey(i), o.id, ROOT, 1);
        return abi.encodeCall(ILots.settle, (o.deal, o.due, ROOT, 1, signatures));
    }

    function _settled(bytes[] memory calls, string memory scenario, uint256 matched) private {
        market.settleMany(calls);
        uint256 settled = vm.snapshotGasLastCall(GROUP, string.concat("settleMany, ", scenario));
        vm.assertEq(_cur(_provider(SIZE - 1)) + _free(_provider(SIZE - 1)) - SURETY, _lastPay);
        vm.snapshotValue(GROUP, string.concat("order to paid, ", scenario, ", a task"), (matched + settled) / SIZE);
    }

    function test_gas_of_a_batch_of_purchases() public {
        bytes[] memory matches = new bytes[](SIZE);
        bytes[] memory ends = new bytes[](SIZE);
        for (uint256 i = 0; i < SIZE; ++i) {
            Purchase memory purchase = _purchaseOf(offer, 1, uint64(i));
            purchase.customer = _provider(CUSTOMERS + i);
            bytes memory signature = _sign(_providerKey(CUSTOMERS + i), _order(purchase));
            matches[i] = abi.encodeCall(ILots.matchPurchase, (purchase, signature, offer, 0, _askOf(i)));
            ends[i] = _settlement(_dealOf(purchase, offer, _pays(1, PAY)), i);
        }
        _lastPay = PAY;
        vm.prank(scheduler);
        market.matchMany(matches);
        _settled(ends, "purchases: 16", vm.snapshotGasLastCall(GROUP, "matchMany, purchases: 16"));
    }

    function test_gas_of_bids_cleared_at_one_price() public {
        uint96 price = PAY + 7;
        bytes[] memory matches = new bytes[](SIZE);
        bytes[] memory ends = new bytes[](SIZE);
        for (uint256 i = 0; i < SIZE; ++i) {
            Bid memory bid = _bid();
            bid.customer = _provider(CUSTOMERS + i);
            bytes memory signature = _sign(_providerKey(CUSTOMERS + i), _order(bid));
            matches[i] = abi.encodeCall(ILots.matchBid, (bid, signature, 0, _askOf(i)));
            ends[i] = _settlement(_dealOf(bid, _pays(1, price)), i);
        }
        _lastPay = price;
        vm.prank(scheduler);
        market.clear(price, "batch", matches);
        _settled(ends, "bids: 16", vm.snapshotGasLastCall(GROUP, "clear, bids: 16"));
    }

    function test_gas_of_a_bid_matched_alone() public {
        Bid memory bid = _bid();
        bytes memory signature = _signBid(bid);
        SignedAsk[] memory asks = _askOf(0);
        vm.prank(scheduler);
        market.matchBid(bid, signature, 0, asks);
        vm.snapshotGasLastCall(GROUP, "matchBid");
    }
}
