// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IDesk} from "../src/interfaces/IDesk.sol";
import {ILots} from "../src/interfaces/ILots.sol";
import {Ask, Bid, Claim, Offer, Purchase} from "../src/interfaces/Types.sol";
import {Given} from "../src/libraries/Given.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice A field with bits above its type's is refused, wherever the contract reads structs as words.
contract WordsTest is Fixture {
    // The library reads calldata.

    function readAsk(Ask calldata ask) external pure {
        Given.words(ask);
    }

    function readBid(Bid calldata bid) external pure {
        Given.words(bid);
    }

    function readPurchase(Purchase calldata purchase) external pure {
        Given.words(purchase);
    }

    function readClaim(Claim calldata claim) external pure {
        Given.words(claim);
    }

    /// @dev With each bit of each of the struct's words set in turn, the call must be taken exactly when the bit is one of
    /// the field's. `bits`: of each field.
    function _eachBit(bytes memory clean, uint16[12] memory bits, uint256 fields) private view {
        for (uint256 field = 0; field < fields; ++field) {
            uint256 where = 36 + 32 * field;
            for (uint256 bit = 0; bit < 256; ++bit) {
                bytes memory dirty = bytes.concat(clean);
                assembly ("memory-safe") {
                    mstore(add(dirty, where), shl(bit, 1))
                }
                (bool taken,) = address(this).staticcall(dirty);
                vm.assertEq(taken, bit < bits[field]);
            }
        }
    }

    function test_each_bit_of_an_ask() public view {
        Ask memory ask;
        uint16[12] memory bits = [uint16(160), 256, 96, 16, 8, 160, 160, 40, 32, 0, 0, 0];
        _eachBit(abi.encodeCall(this.readAsk, (ask)), bits, 9);
    }

    function test_each_bit_of_a_bid() public view {
        Bid memory bid;
        uint16[12] memory bits = [uint16(160), 256, 96, 32, 16, 8, 256, 160, 40, 40, 32, 64];
        _eachBit(abi.encodeCall(this.readBid, (bid)), bits, 12);
    }

    function test_each_bit_of_a_purchase() public view {
        Purchase memory purchase;
        uint16[12] memory bits = [uint16(160), 256, 96, 32, 16, 256, 40, 40, 32, 64, 0, 0];
        _eachBit(abi.encodeCall(this.readPurchase, (purchase)), bits, 10);
    }

    function test_each_bit_of_a_claim() public view {
        Claim memory claim;
        uint16[12] memory bits = [uint16(8), 32, 8, 256, 256, 0, 0, 0, 0, 0, 0, 0];
        _eachBit(abi.encodeCall(this.readClaim, (claim)), bits, 5);
    }

    function test_an_offer_with_bits_above_its_fields_cannot_be_published_and_so_not_be_matched() public {
        Offer memory other = _offer();
        for (uint256 field = 2; field < 6; ++field) {
            bytes memory given = abi.encodeCall(IDesk.publish, (other, uint40(block.timestamp + 60), 0));
            uint256 where = 36 + 32 * field;
            assembly ("memory-safe") {
                let place := add(given, where)
                mstore(place, or(mload(place), shl(200, 1)))
            }
            vm.prank(pricing);
            (bool taken,) = address(market).call(given);
            vm.assertFalse(taken);
        }
    }

    function test_a_signature_longer_than_the_call_is_refused() public {
        bytes memory given = abi.encodeCall(
            ILots.matchPurchase, (_purchase(), new bytes(65), offer, 0, _signAsk(_ask(), WORKER_KEY))
        );
        // The ask's signature is the last thing in the call: its length, then 96 bytes.
        uint256 last = given.length - 96;
        assembly ("memory-safe") {
            mstore(add(given, last), not(0))
        }
        vm.prank(scheduler);
        (bool taken,) = address(market).call(given);
        vm.assertFalse(taken);
    }
}
