// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice A wallet contract that answers as it is told to.
contract Wallet {
    enum Mood {
        Yes,
        No,
        Short,
        Dirty,
        Reverting,
        Burning,
        Megabyte
    }

    Mood public mood;

    function set(Mood mood_) external {
        mood = mood_;
    }

    function run(address target, bytes calldata data) external {
        (bool fine,) = target.call(data);
        require(fine, "failed");
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4 answer) {
        Mood m = mood;
        bytes32 magic = bytes32(bytes4(0x1626ba7e));
        if (m == Mood.Yes) return bytes4(magic);
        if (m == Mood.No) return 0xffffffff;
        if (m == Mood.Reverting) revert("no");
        if (m == Mood.Short) {
            assembly {
                mstore(0, magic)
                return(0, 31)
            }
        }
        if (m == Mood.Dirty) {
            assembly {
                mstore(0, or(magic, 1))
                return(0, 32)
            }
        }
        if (m == Mood.Megabyte) {
            assembly {
                return(0, 0x100000)
            }
        }
        assembly {
            for {} 1 {} {}
        }
    }
}

/// @notice A wallet contract that says yes, after as much work as many owners' signatures would be.
contract SlowWallet {
    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        uint256 enough = gasleft() > 200_000 ? gasleft() - 200_000 : 0;
        while (gasleft() > enough && digest != 0) digest = keccak256(abi.encode(digest));
        return 0x1626ba7e;
    }
}
