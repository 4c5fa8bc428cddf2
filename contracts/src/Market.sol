// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Desk} from "./Desk.sol";
import {ILots} from "./interfaces/ILots.sol";
import {Policy, Roles} from "./interfaces/Types.sol";
import {Given} from "./libraries/Given.sol";
import {Core} from "./market/Core.sol";
import {Court} from "./market/Court.sol";
import {Matching} from "./market/Matching.sol";
import {Settling} from "./market/Settling.sol";

/// @title Market
/// @notice See `IMarket`, where each function, event and error is described. Here is the way of a task, with disputes;
/// everything else is the desk's code, which the market makes when it is deployed and calls on its own storage.
contract Market is Matching, Settling, Court {
    address private immutable _desk;

    constructor(IERC20 token, Policy memory policy, Roles memory roles) Core(policy) {
        if (roles.admin == address(0)) revert MarketPolicy("admin");
        _desk = address(new Desk(token, policy));
        // To code that was made the line before.
        // slither-disable-next-line controlled-delegatecall
        (bool begun,) = _desk.delegatecall(abi.encodeCall(Desk.begin, (roles, policy.depositCap)));
        assert(begun);
    }

    /// @notice Whatever is not here is at the desk.
    fallback() external {
        address desk = _desk;
        assembly ("memory-safe") {
            let start := mload(0x40)
            calldatacopy(start, 0, calldatasize())
            let ok := delegatecall(gas(), desk, start, calldatasize(), 0, 0)
            returndatacopy(start, 0, returndatasize())
            if iszero(ok) { revert(start, returndatasize()) }
            return(start, returndatasize())
        }
    }

    /// @inheritdoc ILots
    function matchMany(bytes[] calldata calls) external {
        _each(calls, ILots.matchPurchase.selector, ILots.matchBid.selector);
    }

    /// @inheritdoc ILots
    function settleMany(bytes[] calldata calls) external {
        _each(calls, ILots.settle.selector, ILots.settle.selector);
    }

    /// @inheritdoc ILots
    function expireMany(bytes[] calldata calls) external {
        _each(calls, ILots.expire.selector, ILots.expire.selector);
    }

    /// @dev Each item is a call of its own, by the same sender on the same storage, so that a failing one undoes only
    /// itself. It is skipped and reported, unless what failed is the gas: that says nothing about the item.
    function _each(bytes[] calldata calls, bytes4 one, bytes4 other) internal override {
        for (uint256 i = 0; i < calls.length; ++i) {
            bytes calldata item = Given.item(calls, i);
            bytes4 selector = bytes4(item);
            if (selector != one && selector != other) revert MarketBatchCall(i, selector);
            uint256 before = gasleft();
            bool ok;
            bytes4 code;
            bool told;
            assembly ("memory-safe") {
                let start := mload(0x40)
                calldatacopy(start, item.offset, item.length)
                ok := delegatecall(gas(), address(), start, item.length, 0, 32)
                told := gt(returndatasize(), 3)
                if told { code := and(mload(0), shl(224, 0xffffffff)) }
            }
            if (ok) continue;
            // An item that ran out of gas left us the 64th part of what there was, and said nothing.
            if (code == MarketGas.selector || (!told && gasleft() < before / 32)) revert MarketGas();
            emit Skipped(i, code);
        }
    }
}
