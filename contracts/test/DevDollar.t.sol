// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Vm} from "./support/Vm.sol";

interface FullDollar {
    function name() external view returns (string memory);
    function symbol() external view returns (string memory);
    function decimals() external view returns (uint8);
    function mint(address to, uint256 amount) external;
    function balanceOf(address owner) external view returns (uint256);
    function allowance(address owner, address spender) external view returns (uint256);
    function nonces(address owner) external view returns (uint256);
    function DOMAIN_SEPARATOR() external view returns (bytes32);
    function permit(address, address, uint256, uint256, uint8, bytes32, bytes32) external;
    function authorizationState(address, bytes32) external view returns (bool);
    function transferWithAuthorization(
        address, address, uint256, uint256, uint256, bytes32, uint8, bytes32, bytes32
    ) external;
    function receiveWithAuthorization(
        address, address, uint256, uint256, uint256, bytes32, uint8, bytes32, bytes32
    ) external;
}

/// @notice The stand-in for a dollar stablecoin, and where it refuses to be.
contract DevDollarTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 private constant KEY = 0xA11CE;

    FullDollar private dollar;
    address private alice = vm.addr(KEY);

    function setUp() public {
        dollar = FullDollar(vm.deployCode("DevDollar.sol:DevDollar", ""));
        dollar.mint(alice, 100);
    }

    function deploy() external {
        vm.deployCode("DevDollar.sol:DevDollar", "");
    }

    function _sign(bytes32 structHash) private view returns (uint8, bytes32, bytes32) {
        return vm.sign(
            KEY, keccak256(abi.encodePacked(hex"1901", dollar.DOMAIN_SEPARATOR(), structHash))
        );
    }

    function test_it_looks_like_a_dollar_stablecoin() public view {
        vm.assertEq(dollar.name(), "Dev Dollar");
        vm.assertEq(dollar.symbol(), "dUSD");
        vm.assertEq(dollar.decimals(), 6);
    }

    function test_it_refuses_every_chain_that_is_not_local() public {
        vm.chainId(1);
        vm.expectRevert();
        this.deploy();
        vm.chainId(1337);
        this.deploy();
    }

    function test_a_permit_approves() public {
        bytes32 permit = keccak256(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
        );
        (uint8 v, bytes32 r, bytes32 s) =
            _sign(keccak256(abi.encode(permit, alice, address(1), 5, 0, block.timestamp)));
        dollar.permit(alice, address(1), 5, block.timestamp, v, r, s);
        vm.assertEq(dollar.allowance(alice, address(1)), 5);
    }

    function test_an_authorised_transfer_moves_once() public {
        vm.warp(100);
        bytes32 kind = keccak256(
            "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        (uint8 v, bytes32 r, bytes32 s) =
            _sign(keccak256(abi.encode(kind, alice, address(1), 5, 0, 200, bytes32("n"))));
        dollar.transferWithAuthorization(alice, address(1), 5, 0, 200, "n", v, r, s);
        vm.assertEq(dollar.balanceOf(address(1)), 5);
        vm.assertTrue(dollar.authorizationState(alice, "n"));
        vm.expectRevert();
        dollar.transferWithAuthorization(alice, address(1), 5, 0, 200, "n", v, r, s);
    }

    function test_only_the_receiver_takes_what_is_authorised_to_it() public {
        vm.warp(100);
        bytes32 kind = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        (uint8 v, bytes32 r, bytes32 s) =
            _sign(keccak256(abi.encode(kind, alice, address(this), 5, 0, 200, bytes32("n"))));
        vm.prank(address(2));
        vm.expectRevert();
        dollar.receiveWithAuthorization(alice, address(this), 5, 0, 200, "n", v, r, s);
        dollar.receiveWithAuthorization(alice, address(this), 5, 0, 200, "n", v, r, s);
        vm.assertEq(dollar.balanceOf(address(this)), 5);
    }
}
