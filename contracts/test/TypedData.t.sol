// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ask, Bid, Bump, Cancel, Purchase, Result, Withdraw} from "../src/interfaces/Types.sol";
import {Signatures} from "../src/libraries/Signatures.sol";
import {TypedData} from "../src/libraries/TypedData.sol";
import {Vm} from "./support/Vm.sol";

/// @notice The library's hashes against plain ABI encoding, and against vectors that Python wrote.
contract TypedDataTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    string private constant VECTORS = "../tests/vectors/typed_data.json";

    // The library reads calldata.

    function hash(Ask calldata ask) external pure returns (bytes32) {
        return TypedData.hash(ask);
    }

    function hash(Bid calldata bid) external pure returns (bytes32) {
        return TypedData.hash(bid);
    }

    function hash(Purchase calldata purchase) external pure returns (bytes32) {
        return TypedData.hash(purchase);
    }

    function hash(Withdraw calldata order) external pure returns (bytes32) {
        return TypedData.hash(order);
    }

    function hash(Bump calldata order) external pure returns (bytes32) {
        return TypedData.hash(order);
    }

    function recover(bytes32 digest, bytes calldata signature) external view returns (address) {
        return Signatures.recover(digest, signature);
    }

    function testFuzz_struct_hashes_are_those_of_plain_encoding(
        Ask calldata ask,
        Bid calldata bid,
        Purchase calldata purchase
    ) public pure {
        vm.assertEq(TypedData.hash(ask), keccak256(abi.encode(TypedData.ASK, ask)));
        vm.assertEq(TypedData.hash(bid), keccak256(abi.encode(TypedData.BID, bid)));
        vm.assertEq(TypedData.hash(purchase), keccak256(abi.encode(TypedData.PURCHASE, purchase)));
    }

    function testFuzz_struct_hashes_of_the_small_types_too(
        Result calldata result,
        Withdraw calldata withdraw,
        Cancel calldata cancel,
        Bump calldata bump
    ) public pure {
        vm.assertEq(TypedData.result(result.deal, result.root, result.done), keccak256(abi.encode(TypedData.RESULT, result)));
        vm.assertEq(TypedData.hash(withdraw), keccak256(abi.encode(TypedData.WITHDRAW, withdraw)));
        vm.assertEq(TypedData.hash(cancel), keccak256(abi.encode(TypedData.CANCEL, cancel)));
        vm.assertEq(TypedData.hash(bump), keccak256(abi.encode(TypedData.BUMP, bump)));
    }

    /// @dev A list of {type, domain {chainId, verifyingContract}, message, structHash, digest, signer, signature,
    /// compactSignature}.
    function test_shared_vectors_agree() public view {
        string memory json = vm.readFile(VECTORS);
        uint256 i = 0;
        for (; vm.keyExistsJson(json, string.concat("$[", vm.toString(i), "]")); ++i) {
            string memory path = string.concat("$[", vm.toString(i), "]");
            bytes32 structHash = _structHash(json, path);
            vm.assertEq(structHash, vm.parseJsonBytes32(json, string.concat(path, ".structHash")));
            bytes32 domain = keccak256(
                abi.encode(
                    keccak256(
                        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                    ),
                    keccak256("Prixfixe"),
                    keccak256("1"),
                    vm.parseJsonUint(json, string.concat(path, ".domain.chainId")),
                    vm.parseJsonAddress(json, string.concat(path, ".domain.verifyingContract"))
                )
            );
            bytes32 digest = keccak256(abi.encodePacked(hex"1901", domain, structHash));
            vm.assertEq(digest, vm.parseJsonBytes32(json, string.concat(path, ".digest")));
            address signer = vm.parseJsonAddress(json, string.concat(path, ".signer"));
            bytes memory signature = vm.parseJsonBytes(json, string.concat(path, ".signature"));
            vm.assertEq(this.recover(digest, signature), signer);
            signature = vm.parseJsonBytes(json, string.concat(path, ".compactSignature"));
            vm.assertEq(this.recover(digest, signature), signer);
        }
        vm.assertGe(i, 7, "a vector for each type");
    }

    function _structHash(string memory json, string memory path) private view returns (bytes32) {
        bytes32 kind = keccak256(bytes(vm.parseJsonString(json, string.concat(path, ".type"))));
        string memory m = string.concat(path, ".message.");
        if (kind == keccak256("Ask")) return this.hash(_ask(json, m));
        if (kind == keccak256("Bid")) return this.hash(_bid(json, m));
        if (kind == keccak256("Purchase")) return this.hash(_purchase(json, m));
        if (kind == keccak256("Result")) {
            return TypedData.result(_bytes32(json, m, "deal"), _bytes32(json, m, "root"), uint16(_uint(json, m, "done")));
        }
        if (kind == keccak256("Withdraw")) return this.hash(_withdraw(json, m));
        if (kind == keccak256("Cancel")) {
            return TypedData.hash(Cancel(_bytes32(json, m, "order"), uint32(_uint(json, m, "lot"))));
        }
        if (kind == keccak256("Bump")) {
            return this.hash(Bump(_address(json, m, "account"), uint32(_uint(json, m, "era"))));
        }
        revert("a type that nobody signs");
    }

    function _ask(string memory json, string memory m) private pure returns (Ask memory a) {
        a.provider = _address(json, m, "provider");
        a.product = _bytes32(json, m, "product");
        a.price = uint96(_uint(json, m, "price"));
        a.slots = uint16(_uint(json, m, "slots"));
        a.kinds = uint8(_uint(json, m, "kinds"));
        a.customer = _address(json, m, "customer");
        a.matcher = _address(json, m, "matcher");
        a.expiry = uint40(_uint(json, m, "expiry"));
        a.era = uint32(_uint(json, m, "era"));
    }

    function _bid(string memory json, string memory m) private pure returns (Bid memory b) {
        b.customer = _address(json, m, "customer");
        b.product = _bytes32(json, m, "product");
        b.price = uint96(_uint(json, m, "price"));
        b.tasks = uint32(_uint(json, m, "tasks"));
        b.lot = uint16(_uint(json, m, "lot"));
        b.quorum = uint8(_uint(json, m, "quorum"));
        b.job = _bytes32(json, m, "job");
        b.matcher = _address(json, m, "matcher");
        b.expiry = uint40(_uint(json, m, "expiry"));
        b.deliverBy = uint40(_uint(json, m, "deliverBy"));
        b.era = uint32(_uint(json, m, "era"));
        b.nonce = uint64(_uint(json, m, "nonce"));
    }

    function _purchase(string memory json, string memory m) private pure returns (Purchase memory p) {
        p.customer = _address(json, m, "customer");
        p.bundle = _bytes32(json, m, "bundle");
        p.price = uint96(_uint(json, m, "price"));
        p.tasks = uint32(_uint(json, m, "tasks"));
        p.lot = uint16(_uint(json, m, "lot"));
        p.job = _bytes32(json, m, "job");
        p.expiry = uint40(_uint(json, m, "expiry"));
        p.deliverBy = uint40(_uint(json, m, "deliverBy"));
        p.era = uint32(_uint(json, m, "era"));
        p.nonce = uint64(_uint(json, m, "nonce"));
    }

    function _withdraw(string memory json, string memory m) private pure returns (Withdraw memory w) {
        w.account = _address(json, m, "account");
        w.to = _address(json, m, "to");
        w.amount = uint96(_uint(json, m, "amount"));
        w.fee = uint96(_uint(json, m, "fee"));
        w.nonce = uint64(_uint(json, m, "nonce"));
        w.deadline = uint40(_uint(json, m, "deadline"));
    }

    function _uint(string memory json, string memory m, string memory field) private pure returns (uint256) {
        return vm.parseJsonUint(json, string.concat(m, field));
    }

    function _address(string memory json, string memory m, string memory field) private pure returns (address) {
        return vm.parseJsonAddress(json, string.concat(m, field));
    }

    function _bytes32(string memory json, string memory m, string memory field) private pure returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(m, field));
    }
}
