// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../../src/interfaces/IMarket.sol";
import {
    Ask, Deal, Leg, Offer, Policy, Purchase, Result, Roles, SignedAsk
} from "../../src/interfaces/Types.sol";
import {TypedData} from "../../src/libraries/TypedData.sol";
import {Dollar} from "./Dollars.sol";
import {dealId, packCharge, packHead, packLeg} from "./Packed.sol";
import {Vm} from "./Vm.sol";

/// @notice What the market inherits and `IMarket` does not name.
interface MarketWithRoles is IMarket {
    function DEFAULT_ADMIN_ROLE() external view returns (bytes32);
    function PAUSER_ROLE() external view returns (bytes32);
    function PRICING_ROLE() external view returns (bytes32);
    function grantRole(bytes32 role, address to) external;
    function renounceRole(bytes32 role, address caller) external;
    function revokeRole(bytes32 role, address from) external;
    function hasRole(bytes32 role, address of_) external view returns (bool);
    function eip712Domain()
        external
        view
        returns (bytes1, string memory, string memory, uint256, address, bytes32, uint256[] memory);
}

/// @notice A market with a customer, a provider and its worker key, a treasury and one live bundle. Ids and digests
/// are computed here anew, in the plainest way, and so check the contract's.
/// @dev The contract is loaded by name: changing it does not recompile the tests.
abstract contract Fixture {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 internal constant DOLLAR = 1e6;
    uint32 internal constant WINDOW = 1 days;
    uint32 internal constant GRACE = 120;
    uint32 internal constant NOTICE = 1 hours;
    uint64 internal constant SURETY = 5e6;
    uint32 internal constant MAX_SECONDS = 600;
    uint96 internal constant PRICE = 2e6;
    uint96 internal constant PAY = 1.5e6;
    uint64 internal constant CUSTOMER_FUNDS = 10_000e6;
    uint64 internal constant TREASURY_FUNDS = 1_000e6;
    uint64 internal constant FLOAT = 100e6;

    uint256 internal constant CUSTOMER_KEY = 0xC0571;
    uint256 internal constant PROVIDER_KEY = 0x960716E7;
    uint256 internal constant WORKER_KEY = 0x307CE7;
    uint256 internal constant STRANGER_KEY = 0x574A96E7;

    address internal admin = address(0xAD1);
    address internal pricing = address(0xAD2);
    address internal scheduler = address(0xAD3);
    address internal pauser = address(0xAD4);
    address internal arbiter = address(0xAD5);
    address internal customer = vm.addr(CUSTOMER_KEY);
    address internal provider = vm.addr(PROVIDER_KEY);
    address internal worker = vm.addr(WORKER_KEY);
    address internal stranger = vm.addr(STRANGER_KEY);

    Dollar internal dollar;
    MarketWithRoles internal market;
    Offer internal offer;
    bytes32 internal bundle;

    /// @dev A deal that was opened, with all that its end needs.
    struct Opened {
        Deal deal;
        bytes32 id;
        uint48 due;
    }

    function setUp() public virtual {
        vm.warp(1_800_000_000 - (1_800_000_000 % WINDOW) + 100); // early in an epoch
        dollar = Dollar(vm.deployCode("DevDollar.sol:DevDollar", ""));
        market = _deploy(address(dollar));
        _fund(customer, CUSTOMER_FUNDS);
        _fund(provider, SURETY);
        _fund(address(market), TREASURY_FUNDS);
        vm.prank(provider);
        market.authorise(worker, type(uint40).max);
        offer = _offer();
        bundle = _publish(offer, _now() + 30 days, FLOAT);
    }

    // ---- the market

    function _policy() internal view returns (Policy memory) {
        return Policy(WINDOW, GRACE, NOTICE, SURETY, 5e6, 2e6, 500, arbiter, type(uint64).max);
    }

    function _roles() internal view returns (Roles memory) {
        return Roles(admin, pricing, scheduler, pauser);
    }

    function _deploy(address token) internal returns (MarketWithRoles) {
        return _deploy(token, _policy());
    }

    function _deploy(address token, Policy memory policy) internal returns (MarketWithRoles) {
        return MarketWithRoles(vm.deployCode("Market.sol:Market", abi.encode(token, policy, _roles())));
    }

    /// @dev Gives `owner` an account with `amount` more.
    function _fund(address owner, uint64 amount) internal {
        dollar.mint(address(this), amount);
        dollar.approve(address(market), amount);
        market.depositFor(owner, amount);
    }

    function _publish(Offer memory offer_, uint256 until, uint96 float_) internal returns (bytes32) {
        vm.prank(pricing);
        return market.publish(offer_, uint40(until), float_);
    }

    /// @dev `block.timestamp`, read so that the optimizer does not move it across `warp`.
    function _now() internal view returns (uint256) {
        return this.clock();
    }

    function clock() external view returns (uint256) {
        return block.timestamp;
    }

    // ---- what is signed

    function _product() internal pure returns (bytes32) {
        return bytes32(
            (uint256(1) << 248) | (uint256(2000) << 216) | (uint256(4096) << 184) | (uint256(10240) << 152)
                | MAX_SECONDS
        );
    }

    function _offer() internal pure returns (Offer memory) {
        return Offer(_product(), keccak256("pivot"), PRICE, 3e6, 1, true);
    }

    function _purchase() internal view returns (Purchase memory) {
        return Purchase(
            customer,
            bundle,
            PRICE,
            1,
            1,
            keccak256("job"),
            uint40(block.timestamp + 600),
            uint40(block.timestamp + 10_000),
            0,
            1
        );
    }

    function _ask() internal view returns (Ask memory) {
        return Ask(
            provider, _product(), PAY, 1, 2, address(0), address(market), uint40(block.timestamp + 300), 0
        );
    }

    function _domain(address verifier, uint256 chain) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Prixfixe"),
                keccak256("1"),
                chain,
                verifier
            )
        );
    }

    function _digest(bytes32 structHash) internal view returns (bytes32) {
        return _digestFor(structHash, address(market), block.chainid);
    }

    function _digestFor(bytes32 structHash, address verifier, uint256 chain) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", _domain(verifier, chain), structHash));
    }

    function _hash(Purchase memory purchase) internal pure returns (bytes32) {
        return keccak256(abi.encode(TypedData.PURCHASE, purchase));
    }

    function _hash(Ask memory ask) internal pure returns (bytes32) {
        return keccak256(abi.encode(TypedData.ASK, ask));
    }

    function _hash(Result memory result) internal pure returns (bytes32) {
        return keccak256(abi.encode(TypedData.RESULT, result));
    }

    function _order(Purchase memory purchase) internal view returns (bytes32) {
        return _digest(_hash(purchase));
    }

    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _signPurchase(Purchase memory purchase) internal view returns (bytes memory) {
        return _sign(CUSTOMER_KEY, _order(purchase));
    }

    function _signAsk(Ask memory ask, uint256 key) internal view returns (SignedAsk[] memory asks) {
        asks = new SignedAsk[](1);
        asks[0] = SignedAsk(ask, _sign(key, _digest(_hash(ask))));
    }

    function _signResult(bytes32 id, bytes32 root, uint16 done) internal view returns (bytes[] memory) {
        return _signResultBy(WORKER_KEY, id, root, done);
    }

    function _signResultBy(uint256 key, bytes32 id, bytes32 root, uint16 done)
        internal
        view
        returns (bytes[] memory signatures)
    {
        signatures = new bytes[](1);
        signatures[0] = _sign(key, _digest(_hash(Result(id, root, done))));
    }

    // ---- deals

    /// @dev The deal that a match must open.
    function _deal(Purchase memory purchase, uint32 lot, uint16 count, Ask memory ask, address key)
        internal
        view
        returns (Deal memory deal)
    {
        Leg[] memory legs = new Leg[](1);
        legs[0] = packLeg(ask.provider, key, ask.price);
        deal = Deal(
            _order(purchase),
            packHead(purchase.customer, lot, count, offer.quorum, offer.disputable),
            packCharge(offer.price, 0),
            legs
        );
    }

    function _due(uint256 count, uint256 slots) internal view returns (uint48) {
        return uint48(block.timestamp + GRACE + MAX_SECONDS * ((count + slots - 1) / slots));
    }

    function _match(Purchase memory purchase, uint32 lot, Ask memory ask) internal returns (Opened memory o) {
        uint256 left = purchase.tasks - uint256(lot) * purchase.lot;
        uint16 count = uint16(left < purchase.lot ? left : purchase.lot);
        o.deal = _deal(purchase, lot, count, ask, worker);
        o.due = _due(count, ask.slots);
        bytes memory signature = _signPurchase(purchase);
        SignedAsk[] memory asks = _signAsk(ask, WORKER_KEY);
        vm.prank(scheduler);
        o.id = market.matchPurchase(purchase, signature, offer, lot, asks);
        vm.assertEq(o.id, dealId(o.deal));
        vm.assertEq(market.lot(o.deal.order, lot), keccak256(abi.encode(o.id, o.due)));
    }

    /// @dev A purchase of `tasks` in one lot, matched.
    function _open(uint16 tasks) internal returns (Opened memory) {
        Purchase memory purchase = _purchase();
        purchase.tasks = tasks;
        purchase.lot = tasks;
        Ask memory ask = _ask();
        ask.slots = tasks;
        return _match(purchase, 0, ask);
    }

    function _open() internal returns (Opened memory) {
        return _match(_purchase(), 0, _ask());
    }

    function _settle(Opened memory o, bytes32 root, uint16 done) internal {
        market.settle(o.deal, o.due, root, done, _signResult(o.id, root, done));
    }

    function _refusal(Opened memory o) internal pure returns (bytes32) {
        return bytes32(uint256(o.due));
    }

    /// @dev The word of a settled lot.
    function _settledWord(Opened memory o, bytes32 root, uint256 done, uint256 time)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(o.id, root, done | (1 << 16) | (time << 32)));
    }

    // ---- money

    function _free(address owner) internal view returns (uint256 free) {
        (free,,,) = market.account(owner);
    }

    function _cur(address owner) internal view returns (uint256 cur) {
        (, cur,,) = market.account(owner);
    }

    function _prev(address owner) internal view returns (uint256 prev) {
        (,, prev,) = market.account(owner);
    }

    function _all(address owner) internal view returns (uint256) {
        (uint256 free, uint256 cur, uint256 prev,) = market.account(owner);
        return free + cur + prev;
    }

    function _floatOf(bytes32 id) internal view returns (uint256 float_) {
        (, float_) = market.bundles(id);
    }
}
