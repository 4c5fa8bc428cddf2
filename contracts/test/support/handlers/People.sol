// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Policy} from "../../../src/interfaces/Types.sol";
import {Dollar, DollarWithPermit} from "../Dollars.sol";
import {MarketWithRoles} from "../Fixture.sol";
import {Vm, within} from "../Vm.sol";
import {Wallet} from "../Wallets.sol";

/// @notice Who acts, and the books that are kept beside the market's: what each account must hold, to the unit.
/// @dev A handler's act takes one number and draws everything else from it. It says by `_did` when it did what it is
/// for, and reverts when the market did something else than it must.
abstract contract People {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 private constant FIRST_KEY = 0x1000;
    uint256 private constant FIRST_HOT_KEY = 0x2000;
    /// @notice The last of them is a wallet contract with moods.
    uint256 public constant PEOPLE = 5;
    uint256 internal constant WALLET = 4;

    MarketWithRoles public immutable market;
    Dollar public immutable dollar;
    address public immutable arbiter;
    address internal immutable _admin;
    address internal immutable _pricing;
    address internal immutable _pauser;
    address internal _scheduler;
    uint64 internal immutable _surety;
    uint32 internal immutable _grace;
    uint32 internal immutable _window;

    address[PEOPLE] private _people;
    address[PEOPLE] private _hot;
    uint256 private _seed;

    /// @notice What an account must hold. It changes only where its owner signed, or where it is paid.
    mapping(address owner => uint256) public owed;
    uint256 public inDeals;
    uint256 public inCases;
    uint256 public deposited;
    uint256 public withdrawn;
    uint256 public donated;
    /// @notice How often each act did what it is for.
    mapping(bytes4 act => uint256) public did;

    constructor(MarketWithRoles market_, Dollar dollar_, address[4] memory roles) {
        market = market_;
        dollar = dollar_;
        (_admin, _pricing, _scheduler, _pauser) = (roles[0], roles[1], roles[2], roles[3]);
        Policy memory policy = market_.policy();
        (arbiter, _surety, _grace, _window) = (policy.arbiter, policy.surety, policy.grace, policy.window);
        for (uint256 i = 0; i < PEOPLE; ++i) {
            _people[i] = i == WALLET ? address(new Wallet()) : vm.addr(FIRST_KEY + i);
            _hot[i] = vm.addr(FIRST_HOT_KEY + i);
        }
    }

    modifier act(uint256 seed) {
        _seed = seed;
        _;
    }

    function _did() internal {
        ++did[msg.sig];
    }

    /// @dev The next number drawn, from `low` to `high`, both included.
    function _draw(uint256 low, uint256 high) internal returns (uint256) {
        _seed = uint256(keccak256(abi.encode(_seed)));
        return within(_seed, low, high);
    }

    // ---- who

    function person(uint256 i) public view returns (address) {
        return _people[i];
    }

    function _somebody() internal returns (address) {
        return _people[_draw(0, PEOPLE - 1)];
    }

    /// @dev The key that a person gives to its machine.
    function _hotKey(uint256 i) internal view returns (address) {
        return _hot[i];
    }

    /// @dev Whether the person's own signature would count: the wallet's only in one of its moods.
    function _willing(uint256 i) internal view returns (bool) {
        return i != WALLET || Wallet(_people[WALLET]).mood() == Wallet.Mood.Yes;
    }

    function setMood(uint256 seed) external act(seed) {
        Wallet.Mood mood = _draw(0, 2) == 0 ? Wallet.Mood(_draw(1, 6)) : Wallet.Mood.Yes;
        Wallet(_people[WALLET]).set(mood);
        _did();
    }

    // ---- what they sign

    function _domain() private view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Prixfixe"),
                keccak256("1"),
                block.chainid,
                address(market)
            )
        );
    }

    function _digest(bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", _domain(), structHash));
    }

    /// @dev By the person's own key; the wallet's signature is any bytes.
    function _sign(uint256 i, bytes32 structHash) internal view returns (bytes memory) {
        if (i == WALLET) return "any bytes";
        return _signWith(FIRST_KEY + i, _digest(structHash));
    }

    function _signHot(uint256 i, bytes32 structHash) internal view returns (bytes memory) {
        return _signWith(FIRST_HOT_KEY + i, _digest(structHash));
    }

    function _signWith(uint256 key, bytes32 digest) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _signDollar(uint256 i, bytes32 structHash) internal view returns (uint8, bytes32, bytes32) {
        bytes32 domain = DollarWithPermit(address(dollar)).DOMAIN_SEPARATOR();
        return vm.sign(FIRST_KEY + i, keccak256(abi.encodePacked(hex"1901", domain, structHash)));
    }

    // ---- accounts

    function _free(address owner) internal view returns (uint256 free, uint256 waiting) {
        uint256 cur;
        uint256 prev;
        (free, cur, prev,) = market.account(owner);
        waiting = cur + prev;
    }

    function _era(address owner) internal view returns (uint32 era) {
        (,,, era) = market.account(owner);
    }

    /// @dev The most that the owner may take or spend: while earnings wait, all but the surety.
    function _spendable(address owner) internal view returns (uint256) {
        (uint256 free, uint256 waiting) = _free(owner);
        if (waiting == 0) return free;
        return free > _surety ? free - _surety : 0;
    }

    function _canPay(address owner, uint256 amount) internal view returns (bool) {
        (uint256 free, uint256 waiting) = _free(owner);
        return amount <= free && (waiting == 0 || free - amount >= _surety);
    }

    /// @dev Books a debit that the owner signed or sent; it never leaves less than the surety while earnings wait.
    function _spent(address owner, uint256 amount) internal {
        owed[owner] -= amount;
        (uint256 free, uint256 waiting) = _free(owner);
        require(waiting == 0 || free >= _surety, "below the surety");
    }

    function total(address owner) public view returns (uint256) {
        (uint256 free, uint256 waiting) = _free(owner);
        return free + waiting;
    }
}
