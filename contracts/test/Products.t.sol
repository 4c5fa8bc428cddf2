// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarketErrors} from "../src/interfaces/IMarketErrors.sol";
import {Products} from "../src/libraries/Products.sol";
import {Vm} from "./support/Vm.sol";

/// @notice Which product codes are ones.
contract ProductsTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    struct Fields {
        uint8 version;
        uint32 milliVcpu;
        uint32 memoryMib;
        uint32 diskMib;
        uint8 gpuCount;
        bytes12 gpuModel;
        uint16 reserved;
        uint32 maxSeconds;
    }

    function check(bytes32 product) external pure {
        Products.check(product);
    }

    function _pack(Fields memory f) private pure returns (bytes32) {
        return bytes32(
            abi.encodePacked(
                f.version,
                f.milliVcpu,
                f.memoryMib,
                f.diskMib,
                f.gpuCount,
                f.gpuModel,
                f.reserved,
                f.maxSeconds
            )
        );
    }

    function _good() private pure returns (Fields memory) {
        return Fields(1, 2000, 4096, 0, 0, bytes12(0), 0, 600);
    }

    function _fine(Fields memory f) private view {
        this.check(_pack(f));
        vm.assertEq(Products.maxSeconds(_pack(f)), f.maxSeconds);
    }

    function _bad(Fields memory f) private {
        vm.expectRevert(abi.encodeWithSelector(IMarketErrors.MarketProduct.selector, _pack(f)));
        this.check(_pack(f));
    }

    function test_codes_in_range_are_fine() public view {
        Fields memory f = _good();
        _fine(f);
        f.gpuCount = 2;
        f.gpuModel = "a100-80gb";
        _fine(f);
        f = _good();
        f.maxSeconds = 30 days;
        _fine(f);
        f.maxSeconds = 1;
        _fine(f);
    }

    function test_each_field_out_of_range_is_refused() public {
        Fields memory f = _good();
        f.version = 0;
        _bad(f);
        f.version = 2;
        _bad(f);
        f = _good();
        f.milliVcpu = 0;
        _bad(f);
        f = _good();
        f.memoryMib = 0;
        _bad(f);
        f = _good();
        f.gpuCount = 1;
        _bad(f);
        f = _good();
        f.gpuModel = "a100";
        _bad(f);
        f = _good();
        f.reserved = 1;
        _bad(f);
        f = _good();
        f.maxSeconds = 0;
        _bad(f);
        f.maxSeconds = 30 days + 1;
        _bad(f);
    }

    function testFuzz_a_code_is_refused_unless_every_field_is_in_range(Fields memory f) public {
        if (f.version % 2 == 0) f.version = 1;
        if (f.reserved % 2 == 0) f.reserved = 0;
        if (f.gpuCount % 2 == 0) (f.gpuCount, f.gpuModel) = (0, 0);
        bool fine = f.version == 1 && f.milliVcpu != 0 && f.memoryMib != 0 && f.reserved == 0
            && (f.gpuCount == 0) == (f.gpuModel == 0) && f.maxSeconds != 0 && f.maxSeconds <= 30 days;
        if (fine) _fine(f);
        else _bad(f);
    }
}
