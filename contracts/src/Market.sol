// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IMarket} from "./interfaces/IMarket.sol";
import {Ask, Deal, Leg, Offer, Policy, Purchase, Result, Roles, SignedAsk} from "./interfaces/Types.sol";
import {Account} from "./libraries/Accounts.sol";
import {Lots} from "./libraries/Lots.sol";
import {Products} from "./libraries/Products.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {TypedData} from "./libraries/TypedData.sol";

/// @title Market
/// @notice See `IMarket`, where each function, event and error is described.
/// @dev Money is conserved: the token's balance is at least the sum of all accounts, open deals and floats, which
/// is `_limit.held` and fits 64 bits, so no field or sum below overflows.
contract Market is IMarket, AccessControl, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    struct Config {
        address scheduler;
        uint16 feeBps;
        bool paused;
    }

    struct Limit {
        uint64 cap;
        uint64 held;
    }

    struct Bundle {
        uint40 until;
        uint96 float_;
    }

    /// @notice May publish and retire bundles.
    bytes32 public constant PRICING_ROLE = keccak256("PRICING_ROLE");
    /// @notice May stop new matches.
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");

    uint8 private constant KIND_BUNDLE = 2;
    uint16 private constant BPS = 10_000;

    /// @inheritdoc IMarket
    IERC20 public immutable token;
    uint32 private immutable _window;
    uint32 private immutable _grace;
    uint32 private immutable _notice;
    uint64 private immutable _surety;
    uint64 private immutable _bond;
    uint64 private immutable _arbiterFee;
    uint16 private immutable _maxFeeBps;
    address private immutable _arbiter;

    Config private _config;
    Limit private _limit;
    mapping(address owner => Account) private _accounts;
    /// @inheritdoc IMarket
    mapping(bytes32 key => bytes32 word) public lots;
    /// @inheritdoc IMarket
    mapping(bytes32 id => Bundle) public bundles;
    /// @inheritdoc IMarket
    mapping(address provider => mapping(address key => uint40 until)) public workers;

    modifier onlyScheduler() {
        if (msg.sender != _config.scheduler) revert MarketNotScheduler(msg.sender);
        _;
    }

    constructor(IERC20 token_, Policy memory policy_, Roles memory roles) EIP712("Prixfixe", "1") {
        if (address(token_).code.length == 0) revert MarketPolicy("token");
        if (policy_.window == 0) revert MarketPolicy("window");
        if (policy_.grace == 0) revert MarketPolicy("grace");
        if (policy_.surety < policy_.arbiterFee) revert MarketPolicy("surety");
        if (policy_.bond < policy_.arbiterFee) revert MarketPolicy("bond");
        if (policy_.maxFeeBps > BPS) revert MarketPolicy("maxFeeBps");
        if (policy_.arbiter == address(0)) revert MarketPolicy("arbiter");
        if (roles.admin == address(0)) revert MarketPolicy("admin");
        token = token_;
        _window = policy_.window;
        _grace = policy_.grace;
        _notice = policy_.notice;
        _surety = policy_.surety;
        _bond = policy_.bond;
        _arbiterFee = policy_.arbiterFee;
        _maxFeeBps = policy_.maxFeeBps;
        _arbiter = policy_.arbiter;
        _limit.cap = policy_.depositCap;
        emit DepositCapRaised(policy_.depositCap);
        _config.scheduler = roles.scheduler;
        emit SchedulerSet(roles.scheduler);
        _grantRole(DEFAULT_ADMIN_ROLE, roles.admin);
        _grantRole(PRICING_ROLE, roles.pricing);
        _grantRole(PAUSER_ROLE, roles.pauser);
    }

    // -------------------------------------------------------------------------------------------- accounts

    /// @inheritdoc IMarket
    function deposit(uint64 amount) external {
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IMarket
    function depositFor(address owner, uint64 amount) external {
        _deposit(owner, amount);
    }

    /// @inheritdoc IMarket
    function withdraw(address to, uint64 amount) external nonReentrant {
        _accounts[msg.sender] = _load(msg.sender).debitAboveSurety(amount, msg.sender, _surety);
        _send(msg.sender, to, amount);
    }

    /// @inheritdoc IMarket
    function authorise(address key, uint40 until) external {
        workers[msg.sender][key] = until;
        emit Authorised(msg.sender, key, until);
    }

    /// @inheritdoc IMarket
    function bump(uint32 era) external {
        Account owner = _load(msg.sender);
        if (era != owner.era()) revert MarketEra(msg.sender, era, owner.era());
        owner = owner.nextEra();
        _accounts[msg.sender] = owner;
        emit Bumped(msg.sender, owner.era());
    }

    /// @inheritdoc IMarket
    function cancel(Purchase calldata purchase, uint32 index) external {
        if (msg.sender != purchase.customer) revert MarketNotCustomer(msg.sender, purchase.customer);
        _count(purchase, index);
        bytes32 order = _hashTypedDataV4(TypedData.hash(purchase));
        lots[_freeLot(order, index)] = Lots.CANCELLED;
        emit Cancelled(order, index);
    }

    // --------------------------------------------------------------------------------------------- bundles

    /// @inheritdoc IMarket
    function publish(Offer calldata offer, uint40 until, uint96 float_)
        external
        onlyRole(PRICING_ROLE)
        returns (bytes32 id)
    {
        Products.check(offer.product);
        if (offer.quorum != 1) revert MarketQuorumUnsupported(offer.quorum);
        id = Lots.offerId(offer);
        Bundle memory bundle = bundles[id];
        // A quote was given on the time that stands: it can be extended here, and shortened only with notice.
        if (until < bundle.until || until <= block.timestamp) {
            revert MarketUntilTooEarly(until, Math.max(bundle.until, block.timestamp + 1));
        }
        _accounts[address(this)] = _load(address(this)).debit(float_, address(this));
        bundles[id] = Bundle(until, bundle.float_ + float_);
        emit Published(id, offer, until, float_);
    }

    /// @inheritdoc IMarket
    function retire(bytes32 id, uint40 until) external onlyRole(PRICING_ROLE) {
        uint40 present = bundles[id].until;
        if (block.timestamp > present) revert MarketBundleNotLive(id, present);
        if (until < block.timestamp + _notice) revert MarketUntilTooEarly(until, block.timestamp + _notice);
        if (until >= present) revert MarketUntilTooLate(until, present);
        bundles[id].until = until;
        emit Retired(id, until);
    }

    /// @inheritdoc IMarket
    function reclaim(bytes32 id) external {
        Bundle memory bundle = bundles[id];
        if (block.timestamp <= bundle.until) revert MarketBundleLive(id, bundle.until);
        bundles[id].float_ = 0;
        _accounts[address(this)] = _load(address(this)).creditFree(bundle.float_);
        emit Reclaimed(id, bundle.float_);
    }

    // ------------------------------------------------------------------------------------------------ lots

    /// @inheritdoc IMarket
    function matchPurchase(
        Purchase calldata purchase,
        bytes calldata signature,
        Offer calldata offer,
        uint32 index,
        SignedAsk[] calldata asks
    ) external returns (bytes32 id) {
        Config memory config_ = _config;
        if (msg.sender != config_.scheduler) revert MarketNotScheduler(msg.sender);
        if (config_.paused) revert MarketPaused();

        Deal memory deal;
        deal.customer = purchase.customer;
        deal.bundle = _accepted(purchase, offer);
        deal.lot = index;
        deal.count = _count(purchase, index);
        deal.quorum = offer.quorum;
        deal.disputable = offer.disputable;
        deal.price = offer.price;
        deal.order = _hashTypedDataV4(TypedData.hash(purchase));
        bytes32 key = _freeLot(deal.order, index);

        uint256 deadline;
        (deal.legs, deadline) = _legs(offer, deal, asks);
        if (deadline > purchase.deliverBy) revert MarketDeliverBy(deadline, purchase.deliverBy);
        uint256 cost = deal.legs[0].pay;
        if (cost > offer.maxCost) revert MarketCost(cost, offer.maxCost);
        if (cost < deal.price) {
            deal.fee = uint96(Math.min(deal.price - cost, uint256(deal.price) * config_.feeBps / BPS));
        }

        _charge(deal, cost, purchase.era);
        if (!Signatures.isBy(deal.customer, deal.order, signature)) {
            revert MarketSignature(deal.customer, deal.order);
        }
        id = Lots.dealId(deal);
        uint48 due = uint48(deadline);
        lots[key] = Lots.open(id, due);
        emit DealOpened(id, deal.order, deal.customer, deal, due);
    }

    /// @inheritdoc IMarket
    function settle(
        Deal calldata deal,
        uint48 due,
        bytes32 root,
        uint16 done,
        bytes[] calldata signatures
    ) external {
        (bytes32 id, bytes32 key) = _open(deal, due);
        if (block.timestamp > uint40(due)) revert MarketTooLate(uint40(due));
        if (done > deal.count) revert MarketDone(done, deal.count);
        _checkResult(deal, id, root, done, signatures);

        if (done == 0) {
            // Bound to this match by its due: after a re-match an old refusal must not end the new deal.
            if (root != bytes32(uint256(due))) revert MarketRefusalRoot(root, due);
            lots[key] = Lots.FREE;
            emit Refused(id, _giveBack(deal));
        } else {
            uint96 fact = Lots.fact(done, uint16((1 << deal.legs.length) - 1), block.timestamp);
            lots[key] = Lots.settled(id, root, fact);
            (uint64 paid, uint64 returned) = _pay(deal, done);
            emit Settled(id, root, done, paid, returned, fact);
        }
    }

    /// @inheritdoc IMarket
    function expire(Deal calldata deal, uint48 due) external {
        (bytes32 id, bytes32 key) = _open(deal, due);
        if (block.timestamp <= uint40(due)) revert MarketTooEarly(uint40(due));
        lots[key] = Lots.FREE;
        emit Expired(id, _giveBack(deal));
    }

    /// @inheritdoc IMarket
    function hasten(Deal calldata deal, uint48 due) external onlyScheduler {
        (bytes32 id, bytes32 key) = _open(deal, due);
        uint256 deadline = block.timestamp + _grace;
        if (deadline >= uint40(due)) revert MarketNotSooner(uint40(due), deadline);
        uint48 sooner = uint48(deadline | Lots.HASTENED);
        lots[key] = Lots.open(id, sooner);
        emit Hastened(id, sooner);
    }

    // ----------------------------------------------------------------------------------------------- roles

    /// @inheritdoc IMarket
    function pause() external onlyRole(PAUSER_ROLE) {
        _config.paused = true;
        emit PausedSet(true);
    }

    /// @inheritdoc IMarket
    function unpause() external onlyRole(PAUSER_ROLE) {
        _config.paused = false;
        emit PausedSet(false);
    }

    /// @inheritdoc IMarket
    function setFee(uint16 feeBps) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (feeBps > _maxFeeBps) revert MarketFeeTooHigh(feeBps, _maxFeeBps);
        _config.feeBps = feeBps;
        emit FeeSet(feeBps);
    }

    /// @inheritdoc IMarket
    function setScheduler(address scheduler) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _config.scheduler = scheduler;
        emit SchedulerSet(scheduler);
    }

    /// @inheritdoc IMarket
    function raiseDepositCap(uint64 depositCap) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (depositCap <= _limit.cap) revert MarketCapNotRaised(_limit.cap, depositCap);
        _limit.cap = depositCap;
        emit DepositCapRaised(depositCap);
    }

    /// @inheritdoc IMarket
    function withdrawTreasury(address to, uint64 amount) external nonReentrant onlyRole(DEFAULT_ADMIN_ROLE) {
        _accounts[address(this)] = _load(address(this)).debit(amount, address(this));
        _send(address(this), to, amount);
    }

    // ----------------------------------------------------------------------------------------------- views

    /// @inheritdoc IMarket
    function policy() external view returns (Policy memory) {
        return Policy(
            _window, _grace, _notice, _surety, _bond, _arbiterFee, _maxFeeBps, _arbiter, _limit.cap
        );
    }

    /// @inheritdoc IMarket
    function config() external view returns (address, uint16, bool, uint64, uint64) {
        return (_config.scheduler, _config.feeBps, _config.paused, _limit.cap, _limit.held);
    }

    /// @inheritdoc IMarket
    function account(address owner) external view returns (uint64 free, uint64 cur, uint64 prev, uint32 era) {
        Account a = _load(owner);
        return (uint64(a.free()), uint64(a.cur()), uint64(a.prev()), a.era());
    }

    /// @inheritdoc IMarket
    function lot(bytes32 order, uint32 index) external view returns (bytes32 word) {
        return lots[Lots.key(order, index)];
    }

    // ------------------------------------------------------------------------------------ money in and out

    function _deposit(address owner, uint64 amount) private nonReentrant {
        if (owner == address(0)) revert MarketRecipient(owner);
        uint256 held = uint256(_limit.held) + amount;
        if (held > _limit.cap) revert MarketDepositCap(held, _limit.cap);
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amount) revert MarketTokenAmount(amount, received);
        _limit.held = uint64(held);
        _accounts[owner] = _load(owner).creditFree(amount);
        emit Deposited(owner, msg.sender, amount);
    }

    /// @dev What was debited from `owner` leaves the market.
    function _send(address owner, address to, uint64 amount) private {
        if (to == address(0) || to == address(this)) revert MarketRecipient(to);
        _limit.held -= amount;
        emit Withdrawn(owner, to, amount);
        token.safeTransfer(to, amount);
    }

    function _load(address owner) private view returns (Account) {
        return _accounts[owner].roll(block.timestamp / _window);
    }

    // ------------------------------------------------------------------------------------- steps of a match

    /// @dev The id of the offer, which must be live and be what the purchase accepts.
    function _accepted(Purchase calldata purchase, Offer calldata offer) private view returns (bytes32 id) {
        id = Lots.offerId(offer);
        if (purchase.bundle != id) revert MarketBundleMismatch(purchase.bundle, id);
        if (purchase.price != offer.price) revert MarketPrice(purchase.price, offer.price);
        uint40 until = bundles[id].until;
        if (block.timestamp > until) revert MarketBundleNotLive(id, until);
        if (block.timestamp > purchase.expiry) revert MarketExpired(purchase.expiry);
    }

    /// @dev The number of tasks in a lot; the last may be short.
    function _count(Purchase calldata purchase, uint32 index) private pure returns (uint16) {
        uint256 size = purchase.lot;
        uint256 tasks = purchase.tasks;
        uint256 sold = size * index;
        if (size == 0) revert MarketLotRange(index, 0);
        if (sold >= tasks) revert MarketLotRange(index, Math.ceilDiv(tasks, size));
        return uint16(Math.min(size, tasks - sold));
    }

    function _freeLot(bytes32 order, uint32 index) private view returns (bytes32 key) {
        key = Lots.key(order, index);
        bytes32 word = lots[key];
        if (word != Lots.FREE) revert MarketLotTaken(order, index, word);
    }

    /// @dev The legs that the asks give, and the latest deadline among them.
    function _legs(Offer calldata offer, Deal memory deal, SignedAsk[] calldata asks)
        private
        view
        returns (Leg[] memory legs, uint256 deadline)
    {
        if (asks.length != offer.quorum) revert MarketLegCount(asks.length, offer.quorum);
        Ask calldata ask = asks[0].ask;
        if (ask.kinds & KIND_BUNDLE == 0) revert MarketAskKinds(ask.kinds);
        if (ask.product != offer.product) revert MarketAskProduct(ask.product, offer.product);
        if (ask.customer != address(0) && ask.customer != deal.customer) {
            revert MarketAskCustomer(ask.customer, deal.customer);
        }
        if (ask.matcher != address(0) && ask.matcher != address(this) && ask.matcher != msg.sender) {
            revert MarketAskMatcher(ask.matcher, msg.sender);
        }
        if (block.timestamp > ask.expiry) revert MarketExpired(ask.expiry);
        if (ask.provider == deal.customer) revert MarketSelfDeal(ask.provider);
        if (ask.price == 0 && offer.disputable) revert MarketAskFree(ask.provider);
        if (ask.slots == 0) revert MarketAskSlots(ask.provider);
        Account provider = _load(ask.provider);
        if (ask.era != provider.era()) revert MarketEra(ask.provider, ask.era, provider.era());
        if (provider.free() < _surety) revert MarketSuretyMissing(ask.provider, provider.free(), _surety);

        legs = new Leg[](1);
        legs[0] = Leg(ask.provider, _askKey(ask, asks[0].signature), ask.price);
        deadline = block.timestamp + _grace
            + Products.maxSeconds(ask.product) * Math.ceilDiv(deal.count, ask.slots);
    }

    /// @dev Who signed the ask: the provider, a key that it authorised, or the provider as a wallet contract.
    function _askKey(Ask calldata ask, bytes calldata signature) private view returns (address key) {
        bytes32 digest = _hashTypedDataV4(TypedData.hash(ask));
        key = Signatures.recover(digest, signature);
        if (key != address(0)) {
            if (key == ask.provider || block.timestamp <= workers[ask.provider][key]) return key;
        }
        if (Signatures.isByWallet(ask.provider, digest, signature)) return ask.provider;
        revert MarketSignature(ask.provider, digest);
    }

    /// @dev Takes the whole price from the customer and what the legs cost above it from the bundle's float.
    function _charge(Deal memory deal, uint256 cost, uint32 era) private {
        Account customer = _load(deal.customer);
        if (era != customer.era()) revert MarketEra(deal.customer, era, customer.era());
        _accounts[deal.customer] =
            customer.debitAboveSurety(uint256(deal.price) * deal.count, deal.customer, _surety);
        if (cost > deal.price) {
            uint256 needed = (cost - deal.price) * deal.count;
            uint96 float_ = bundles[deal.bundle].float_;
            if (needed > float_) revert MarketFloatShort(deal.bundle, float_, needed);
            bundles[deal.bundle].float_ = float_ - uint96(needed);
        }
    }

    // -------------------------------------------------------------------------------------- ends of a deal

    function _open(Deal calldata deal, uint48 due) private view returns (bytes32 id, bytes32 key) {
        id = Lots.givenDealId(deal);
        key = Lots.key(deal.order, deal.lot);
        bytes32 word = lots[key];
        if (word != Lots.open(id, due)) revert MarketNotOpen(id, due, word);
    }

    /// @dev Every leg's key must have signed.
    function _checkResult(
        Deal calldata deal,
        bytes32 id,
        bytes32 root,
        uint16 done,
        bytes[] calldata signatures
    ) private view {
        if (signatures.length != deal.legs.length) revert MarketLegCount(signatures.length, deal.legs.length);
        bytes32 digest = _hashTypedDataV4(TypedData.hash(Result(id, root, done)));
        for (uint256 i = 0; i < signatures.length; ++i) {
            address key = deal.legs[i].key;
            if (!Signatures.isBy(key, digest, signatures[i])) revert MarketSignature(key, digest);
        }
    }

    /// @dev Legs earn for what is done, the customer gets back what is not, the treasury the margin. Earnings of a
    /// disputable deal wait, so that they can be taken back.
    function _pay(Deal calldata deal, uint256 done) private returns (uint64 paid, uint64 returned) {
        uint256 cost = 0;
        for (uint256 i = 0; i < deal.legs.length; ++i) {
            Leg calldata leg = deal.legs[i];
            Account provider = _load(leg.provider);
            if (deal.disputable && provider.free() < _surety) {
                revert MarketSuretyMissing(leg.provider, provider.free(), _surety);
            }
            _accounts[leg.provider] = _credit(provider, leg.pay * done, deal.disputable);
            cost += leg.pay;
        }
        uint256 undone = deal.count - done;
        if (undone != 0) {
            returned = uint64(deal.price * undone);
            _accounts[deal.customer] = _load(deal.customer).creditFree(returned);
        }
        Account treasury = _load(address(this));
        if (cost < deal.price) {
            _accounts[address(this)] = _credit(treasury, (deal.price - cost) * done, deal.disputable);
        } else if (cost > deal.price && undone != 0) {
            _accounts[address(this)] = treasury.creditFree((cost - deal.price) * undone);
        }
        paid = uint64(cost * done);
    }

    function _credit(Account a, uint256 amount, bool waits) private pure returns (Account) {
        return waits ? a.creditCur(amount) : a.creditFree(amount);
    }

    /// @dev The whole price to the customer, and what the float gave to the treasury.
    function _giveBack(Deal calldata deal) private returns (uint64 returned) {
        returned = uint64(uint256(deal.price) * deal.count);
        _accounts[deal.customer] = _load(deal.customer).creditFree(returned);
        uint256 cost = 0;
        for (uint256 i = 0; i < deal.legs.length; ++i) {
            cost += deal.legs[i].pay;
        }
        if (cost > deal.price) {
            _accounts[address(this)] = _load(address(this)).creditFree((cost - deal.price) * deal.count);
        }
    }
}
