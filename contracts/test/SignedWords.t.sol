// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILots} from "../src/interfaces/ILots.sol";
import {Ask, Bid, Purchase, SignedAsk} from "../src/interfaces/Types.sol";
import {TypedData} from "../src/libraries/TypedData.sol";
import {Crowd} from "./support/Crowd.sol";

/// @notice Words with bits above their type's: a signer can sign any hash, so it could sign the one of such a struct, and
/// with unchecked sums a price of 256 bits would make a cost of nothing.
contract SignedWordsTest is Crowd {
    function setUp() public override {
        super.setUp();
        _fundProviders(1);
    }

    /// @dev The struct's hash with bit `bit` of word `word` flipped, as its signer would sign it.
    function _dirtyHash(bytes32 typeHash, bytes memory struct_, uint256 word, uint256 bit)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(typeHash, _dirty(struct_, 0, word, bit)));
    }

    /// @dev `data` with bit `bit` of the word flipped that is `word` words after byte `from`.
    function _dirty(bytes memory data, uint256 from, uint256 word, uint256 bit)
        private
        pure
        returns (bytes memory changed)
    {
        changed = bytes.concat(data);
        assembly ("memory-safe") {
            let at := add(add(changed, 32), add(from, mul(word, 32)))
            mstore(at, xor(mload(at), shl(bit, 1)))
        }
    }

    function _refused(bytes memory call) private {
        uint256 before = _everybody(1);
        vm.prank(scheduler);
        (bool ok,) = address(market).call(call);
        vm.assertFalse(ok);
        vm.assertEq(_everybody(1), before);
    }

    function test_a_purchase_with_a_bit_above_any_fields_type_is_refused_though_signed_so() public {
        Purchase memory purchase = _purchase();
        uint8[10] memory sizes = [160, 255, 96, 32, 16, 255, 40, 40, 32, 64];
        for (uint256 word = 0; word < 10; ++word) {
            if (sizes[word] == 255) continue; // a whole word
            bytes32 hash = _dirtyHash(TypedData.PURCHASE, abi.encode(purchase), word, sizes[word]);
            bytes memory signature = _sign(CUSTOMER_KEY, _digest(hash));
            bytes memory call = abi.encodeCall(
                ILots.matchPurchase, (purchase, signature, offer, 0, _asks(_pays(1, PAY)))
            );
            _refused(_dirty(call, 4, word, sizes[word]));
        }
    }

    function test_a_bid_with_a_bit_above_any_fields_type_is_refused_though_signed_so() public {
        Bid memory bid = _bid();
        uint8[12] memory sizes = [160, 255, 96, 32, 16, 8, 255, 160, 40, 40, 32, 64];
        for (uint256 word = 0; word < 12; ++word) {
            if (sizes[word] == 255) continue;
            bytes32 hash = _dirtyHash(TypedData.BID, abi.encode(bid), word, sizes[word]);
            bytes memory signature = _sign(CUSTOMER_KEY, _digest(hash));
            bytes memory call = abi.encodeCall(ILots.matchBid, (bid, signature, 0, _asks(_pays(1, PAY))));
            _refused(_dirty(call, 4, word, sizes[word]));
        }
    }

    function test_an_ask_with_a_bit_above_any_fields_type_is_refused_though_signed_so() public {
        Bid memory bid = _bid();
        bytes memory signature = _signBid(bid);
        SignedAsk[] memory asks = _asks(_pays(1, PAY));
        Ask memory ask = asks[0].ask;
        uint8[9] memory sizes = [160, 255, 96, 16, 8, 160, 160, 40, 32];
        for (uint256 word = 0; word < 9; ++word) {
            if (sizes[word] == 255) continue;
            bytes32 hash = _dirtyHash(TypedData.ASK, abi.encode(ask), word, sizes[word]);
            asks[0].signature = _sign(_providerKey(0), _digest(hash));
            bytes memory call = abi.encodeCall(ILots.matchBid, (bid, signature, 0, asks));
            // Twelve words of the bid and three more, the signature's two and 96 bytes, the array's two, then the ask.
            uint256 from = 4 + 15 * 32 + 32 + 96 + 64;
            bytes memory changed = _dirty(call, from, word, sizes[word]);
            bytes memory clean = _dirty(changed, from, word, sizes[word]);
            vm.assertEq(keccak256(clean), keccak256(call));
            _refused(changed);
        }
        // With no bit changed the same call is taken: it was the bits.
        asks[0].signature = _sign(_providerKey(0), _digest(_hash(ask)));
        vm.prank(scheduler);
        market.matchBid(bid, signature, 0, asks);
    }

    /// @dev 2^255 twice is nothing in 256 bits: the cost would be that of the low bits alone.
    function test_two_asks_whose_prices_wrap_to_a_small_cost_are_refused() public {
        _fundProviders(2);
        Bid memory bid = _bid();
        SignedAsk[] memory asks = _asks(_pays(2, PAY / 2));
        bytes memory signature = _signBid(bid);
        bytes[2] memory dirty;
        for (uint256 i = 0; i < 2; ++i) {
            dirty[i] = _dirty(abi.encode(asks[i].ask), 0, 2, 255);
            asks[i].signature = _sign(_providerKey(i), _digest(keccak256(abi.encodePacked(TypedData.ASK, dirty[i]))));
        }
        bytes memory call = abi.encodeCall(ILots.matchBid, (bid, signature, 0, asks));
        // As above; the second ask lies behind the first with its offset, its signature's length and 96 bytes.
        uint256 from = 4 + 15 * 32 + 32 + 96 + 96;
        call = _dirty(_dirty(call, from, 2, 255), from + 10 * 32 + 32 + 96, 2, 255);
        _refused(call);
    }

    function test_a_bid_and_a_purchase_are_taken_with_no_bit_changed() public {
        bytes memory signature = _signBid(_bid());
        vm.prank(scheduler);
        market.matchBid(_bid(), signature, 0, _asks(_pays(1, PAY)));
        signature = _signPurchase(_purchase());
        vm.prank(scheduler);
        market.matchPurchase(_purchase(), signature, offer, 0, _asks(_pays(1, PAY)));
    }
}
