// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IMarket} from "../../src/interfaces/IMarket.sol";
import {Deal, Leg, Policy, Roles} from "../../src/interfaces/Types.sol";
import {Account} from "../../src/libraries/Accounts.sol";
import {Charge, Deals, Head, Share} from "../../src/libraries/Deals.sol";

/// @notice The cheat codes of the prover.
interface Vm {
    function assume(bool condition) external pure;
    function getCode(string calldata artifact) external view returns (bytes memory);
    function load(address target, bytes32 slot) external view returns (bytes32);
    function prank(address sender) external;
    function store(address target, bytes32 slot, bytes32 word) external;
    function warp(uint256 time) external;
}

/// @notice Makes unknowns.
interface Svm {
    function createBytes(uint256 size, string calldata name) external pure returns (bytes memory);
    function createBytes32(string calldata name) external pure returns (bytes32);
    function createUint(uint256 bits, string calldata name) external pure returns (uint256);
    function enableSymbolicStorage(address target) external;
}

/// @notice A token that no proven call may touch: it refuses every call.
contract Untouched {
    fallback() external {
        revert();
    }
}

/// @notice The market itself, unchanged, with unknown storage and at an unknown time.
/// @dev What a call leaves behind is compared with the words expected, bit for bit: sums of many unknowns are beyond the
/// solvers, words are not. That the expected words hold the same money is `AccountProofs` and `ShareProofs`.
abstract contract Whole {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    Svm internal constant svm = Svm(address(uint160(uint256(keccak256("svm cheat code")))));

    address internal constant CUSTOMER = address(0xC0570);
    address internal constant SCHEDULER = address(0x5C4ED);
    address internal constant BYSTANDER = address(0xB45);
    // A power of two, so that epochs are shifts.
    uint32 internal constant WINDOW = 2 ** 16;
    // Where `Core` keeps them: what a wrong number here reads never changes, and no proof of a debit would pass.
    uint256 private constant CONFIG = 0;
    uint256 private constant LIMIT = 1;
    uint256 private constant ACCOUNTS = 2;
    uint256 private constant LOTS = 3;
    uint256 private constant BUNDLES = 4;

    IMarket internal market;

    function setUp() public {
        IERC20 token = IERC20(address(new Untouched()));
        Policy memory policy = Policy(WINDOW, 120, 3600, 5e6, 5e6, 2e6, 500, address(0xAB1), type(uint64).max);
        Roles memory roles = Roles(address(0xAD1), address(0xAD2), SCHEDULER, address(0xAD4));
        bytes memory code =
            abi.encodePacked(vm.getCode("cache/halmos/out/Market.sol/Market.json"), abi.encode(token, policy, roles));
        address made;
        assembly {
            made := create(0, add(code, 32), mload(code))
        }
        market = IMarket(made);
        svm.enableSymbolicStorage(address(market));
        // What was written at deployment is known until it is made unknown.
        uint256 config = uint160(SCHEDULER) | _number(16, "fee") << 160 | _number(1, "paused") << 176;
        vm.store(made, bytes32(CONFIG), bytes32(config));
        vm.store(made, bytes32(LIMIT), svm.createBytes32("limit"));
    }

    // ---- unknowns

    function _number(uint256 bits, string memory name) internal pure returns (uint256) {
        return svm.createUint(bits, name);
    }

    function _anyTime() internal {
        vm.warp(_number(40, "now"));
    }

    // ---- what is stored

    function _word(address owner) internal view returns (uint256) {
        return uint256(vm.load(address(market), keccak256(abi.encode(owner, ACCOUNTS))));
    }

    /// @dev Leaves aside words of earlier windows: for the others a roll changes nothing.
    function _ofThisWindow(uint256 providers) internal view {
        _ofThisWindow(CUSTOMER);
        _ofThisWindow(address(market));
        for (uint256 i = 0; i < providers; ++i) {
            _ofThisWindow(_provider(i));
        }
    }

    function _ofThisWindow(address owner) private view {
        vm.assume(Account.wrap(_word(owner)).epoch() == block.timestamp / WINDOW);
    }

    /// @dev An account's word as of now.
    function _rolled(address owner) internal view returns (uint256) {
        return Account.unwrap(Account.wrap(_word(owner)).roll(block.timestamp / WINDOW));
    }

    function _lot(bytes32 order, uint32 index) internal view returns (bytes32) {
        bytes32 key = keccak256(abi.encode(order, uint256(index)));
        return vm.load(address(market), keccak256(abi.encode(key, LOTS)));
    }

    /// @dev Its end in the low 40 bits, then its float.
    function _bundle(bytes32 id) internal view returns (uint256) {
        return uint256(vm.load(address(market), keccak256(abi.encode(id, BUNDLES))));
    }

    function _feeBps() internal view returns (uint256) {
        return uint16(uint256(vm.load(address(market), bytes32(CONFIG))) >> 160);
    }

    function _held() internal view returns (bytes32) {
        return vm.load(address(market), bytes32(LIMIT));
    }

    // ---- deals

    function _provider(uint256 i) internal pure returns (address) {
        return address(uint160(0x960000 + i));
    }

    function _key(uint256 i) internal pure returns (address) {
        return address(uint160(0x4E0000 + i));
    }

    /// @dev Any deal with this many legs that holds no more than 64 bits, which is what `match` can take.
    function _anyDeal(uint256 n, uint256 quorum, uint256 disputable)
        internal
        pure
        returns (Deal memory deal)
    {
        uint256 count = _number(16, "count");
        Leg[] memory legs = new Leg[](n);
        for (uint256 i = 0; i < n; ++i) {
            legs[i] = Leg(Deals.share(uint160(_provider(i)), _number(96, "pay")), _key(i));
        }
        Head head = Deals.head(uint160(CUSTOMER), _number(32, "lot"), count, quorum, disputable);
        Charge money = Deals.charge(_number(96, "price"), _number(96, "fee"));
        deal = Deal(svm.createBytes32("order"), head, money, legs);
        uint256 cost = _cost(deal);
        uint256 price = Deals.price(money);
        unchecked {
            vm.assume((cost > price ? cost : price) * count <= type(uint64).max);
        }
    }

    function _cost(Deal memory deal) internal pure returns (uint256 cost) {
        unchecked {
            for (uint256 i = 0; i < deal.legs.length; ++i) {
                cost += Deals.pay(deal.legs[i].share);
            }
        }
    }

    // ---- what is expected

    /// @dev Every word of money that a call could touch, and one account that has nothing to do with it. `held`, the sum
    /// that the market holds, moves only with the token.
    struct Words {
        uint256 customer;
        uint256 treasury;
        uint256[] providers;
        uint256 other;
        bytes32 held;
    }

    /// @dev As they are stored.
    function _words(uint256 providers) internal view returns (Words memory words) {
        words.customer = _word(CUSTOMER);
        words.treasury = _word(address(market));
        words.providers = new uint256[](providers);
        for (uint256 i = 0; i < providers; ++i) {
            words.providers[i] = _word(_provider(i));
        }
        words.other = _word(BYSTANDER);
        words.held = _held();
    }

    /// @dev Zero when the words are what was expected.
    function _differ(Words memory expected) internal view returns (uint256 wrong) {
        Words memory found = _words(expected.providers.length);
        wrong = (found.customer ^ expected.customer) | (found.treasury ^ expected.treasury);
        for (uint256 i = 0; i < expected.providers.length; ++i) {
            wrong |= found.providers[i] ^ expected.providers[i];
        }
        wrong |= (found.other ^ expected.other) | uint256(found.held ^ expected.held);
    }

    /// @dev A word as of now with more free money; a sum that does not fit is the call's to refuse.
    function _more(address owner, uint256 amount) internal view returns (uint256) {
        unchecked {
            return _rolled(owner) + amount;
        }
    }

    /// @dev What a deal held is given back: the price to the customer, the rest to the treasury. A word that nothing is
    /// added to is not written, and so not rolled.
    function _givenBack(Deal memory deal) internal view returns (Words memory words) {
        uint256 price = Deals.price(deal.money);
        uint256 cost = _cost(deal);
        uint256 count = Deals.count(deal.head);
        words = _words(deal.legs.length);
        unchecked {
            words.customer = _more(CUSTOMER, price * count);
            if (cost > price) words.treasury = _more(address(market), (cost - price) * count);
        }
    }
}
