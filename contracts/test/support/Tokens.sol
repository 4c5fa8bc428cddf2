// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice A token that misbehaves as it is told to.
contract OddToken {
    enum Mood {
        Honest,
        False,
        Reverting,
        Fee,
        Silent,
        Lying,
        Reentering
    }

    Mood public mood;
    address public target;
    bytes public call;
    bytes4 public answer;
    bool public entered;
    mapping(address owner => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    function set(Mood mood_) external {
        mood = mood_;
    }

    /// @notice In the middle of the next transfer, calls `target_`.
    function reenter(address target_, bytes calldata call_) external {
        mood = Mood.Reentering;
        target = target_;
        call = call_;
    }

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        if (mood == Mood.False) return false;
        if (mood == Mood.Reverting) revert("no");
        if (mood == Mood.Lying) return true;
        if (mood == Mood.Reentering) {
            mood = Mood.Honest;
            bytes memory data;
            (entered, data) = target.call(call);
            answer = bytes4(data);
        }
        balanceOf[from] -= amount;
        balanceOf[to] += mood == Mood.Fee ? amount - 1 : amount;
        if (mood == Mood.Silent) {
            assembly {
                return(0, 0)
            }
        }
        return true;
    }
}
