// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Offer} from "../../../src/interfaces/Types.sol";
import {Purses} from "./Purses.sol";

/// @notice What the roles do, and people without them try.
abstract contract Offices is Purses {
    Offer[] internal _offers;
    bytes32[] private _bundles;
    /// @notice What each bundle's float must hold.
    mapping(bytes32 id => uint256) public floats;

    constructor(Offer[] memory offers) {
        for (uint256 i = 0; i < offers.length; ++i) {
            _offers.push(offers[i]);
            _bundles.push(keccak256(abi.encode(offers[i])));
            (, floats[_bundles[i]]) = market.bundles(_bundles[i]);
        }
    }

    function bundles() external view returns (bytes32[] memory) {
        return _bundles;
    }

    function publish(uint256 seed) external act(seed) {
        uint256 which = _draw(0, _offers.length - 1);
        bytes32 id = _bundles[which];
        (uint40 until,) = market.bundles(id);
        uint256 from = until > block.timestamp ? until : block.timestamp + 1;
        (uint256 free,) = _free(address(market));
        uint96 float_ = uint96(_draw(0, free / 4));
        vm.prank(_pricing);
        market.publish(_offers[which], uint40(from + _draw(0, 1 days)), float_);
        owed[address(market)] -= float_;
        floats[id] += float_;
        _did();
    }

    function retire(uint256 seed) external act(seed) {
        bytes32 id = _bundles[_draw(0, _bundles.length - 1)];
        (uint40 until,) = market.bundles(id);
        uint40 sooner = uint40(block.timestamp + 1 hours + _draw(0, 5 days));
        vm.prank(_pricing);
        try market.retire(id, sooner) {
            require(sooner < until && block.timestamp <= until, "retired later");
            _did();
        } catch {
            require(sooner >= until || block.timestamp > until, "not retired");
        }
    }

    function reclaim(uint256 seed) external act(seed) {
        bytes32 id = _bundles[_draw(0, _bundles.length - 1)];
        (uint40 until,) = market.bundles(id);
        try market.reclaim(id) {
            require(block.timestamp > until, "a live bundle's float");
            owed[address(market)] += floats[id];
            floats[id] = 0;
            _did();
        } catch {
            require(block.timestamp <= until, "a dead bundle's float was kept");
        }
    }

    function setFee(uint256 seed) external act(seed) {
        vm.prank(_admin);
        market.setFee(uint16(_draw(0, 500)));
        _did();
    }

    function setScheduler(uint256 seed) external act(seed) {
        _scheduler = address(uint160(_draw(0x5C0, 0x5C3)));
        vm.prank(_admin);
        market.setScheduler(_scheduler);
        _did();
    }

    /// @dev Paused for short: mostly it ends one.
    function pause(uint256 seed) external act(seed) {
        (,, bool paused,,) = market.config();
        vm.prank(_pauser);
        if (paused || seed % 3 != 0) market.unpause();
        else market.pause();
        _did();
    }

    function _paused() internal view returns (bool paused) {
        (,, paused,,) = market.config();
    }

    /// @dev Nobody does what needs a role.
    function usurp(uint256 seed) external act(seed) {
        bytes[10] memory calls = [
            abi.encodeCall(market.setFee, (1)),
            abi.encodeCall(market.setScheduler, (address(this))),
            abi.encodeCall(market.raiseDepositCap, (type(uint64).max)),
            abi.encodeCall(market.withdrawTreasury, (address(this), 0)),
            abi.encodeCall(market.pause, ()),
            abi.encodeCall(market.unpause, ()),
            abi.encodeCall(market.publish, (_offers[0], type(uint40).max, 0)),
            abi.encodeCall(market.retire, (_bundles[0], uint40(block.timestamp + 2 hours))),
            abi.encodeCall(market.clear, (1, 0, new bytes[](0))),
            abi.encodeCall(market.grantRole, (market.PAUSER_ROLE(), address(this)))
        ];
        bytes memory call = calls[_draw(0, 9)];
        vm.prank(_somebody());
        (bool ok,) = address(market).call(call);
        require(!ok, "without the role");
        _did();
    }

    function wait(uint256 seed) external act(seed) {
        vm.warp(block.timestamp + _draw(0, 300));
        _did();
    }

    function waitLong(uint256 seed) external act(seed) {
        if (_draw(0, 1) == 0) return;
        vm.warp(block.timestamp + _draw(300, 20 hours));
        _did();
    }
}
