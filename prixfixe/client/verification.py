"""Check a receipt without trusting whoever gave it.

Offline, everything that signatures and hashes prove: the customer's order, the operator's quote and seal,
the worker's result, the digests of the files. On a chain of the verifier's own choice: that the deal was
opened, how it ended, and what was charged. Nothing that says where to look (chain, contract, operator) is
taken from the receipt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from prixfixe.client.checks import Check, Checks, Verification, require
from prixfixe.client.dispute_checks import check_disputes, require_fact
from prixfixe.client.evidence import ChainEvidence
from prixfixe.client.onchain import check_chain
from prixfixe.client.quotes import quote_faults
from prixfixe.errors import InvalidInput, PrixfixeError, VerificationFailed
from prixfixe.protocol.bundle import parse
from prixfixe.protocol.canonical import canonical_digest_hex, canonical_json, parse_canonical
from prixfixe.protocol.deals import Deal, refusal_root
from prixfixe.protocol.hashing import sha256_file
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Bid, Result
from prixfixe.protocol.outputs import TaskStatus, ending, lot_root
from prixfixe.protocol.quotes import not_as_quoted, receipt_digest
from prixfixe.protocol.receipt import Receipt, ReceiptLot
from prixfixe.protocol.replicas import quorum_of
from prixfixe.protocol.signatures import parse_signature, require_signer
from prixfixe.protocol.surroundings import cage_fault
from prixfixe.protocol.typed_data import Domain, format_bytes32, parse_bytes32
from prixfixe.protocol.wire import BidQuote

# A receipt holds a quote, a definition and lists of files; more than this is not one.
MAX_RECEIPT_BYTES = 256 << 20


def receipt_bytes(receipt: Receipt) -> bytes:
    """The file: canonical JSON, so that one receipt has one spelling and any altered byte shows."""
    return canonical_json(receipt.model_dump(mode="json"))


def read_receipt(path: Path) -> Receipt:
    """The receipt in a file. VerificationFailed when it is not one, byte for byte as it was issued."""
    try:
        if path.stat().st_size > MAX_RECEIPT_BYTES:
            raise VerificationFailed(f"{path} is too large to be a receipt")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", file=str(path)) from error
    return parse_receipt(data.removesuffix(b"\n"))  # an editor may have added the last line's end


def parse_receipt(data: bytes) -> Receipt:
    """The receipt of its bytes."""
    hint = "get it again: `prixfixe jobs receipt JOB`"
    try:
        receipt = Receipt.model_validate(parse_canonical(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise VerificationFailed(f"this is no receipt: {place}: {first['msg']}", hint=hint) from error
    except (PrixfixeError, RecursionError) as error:
        raise VerificationFailed(f"this is no receipt, or it was altered: {error}", hint=hint) from error
    if receipt_bytes(receipt) != data:
        raise VerificationFailed("this receipt is not spelled as it was issued: it was altered", hint=hint)
    return receipt


def verify(
    receipt: Receipt,
    files: Sequence[Path] = (),
    *,
    chain_id: int,
    contract: str,
    operator: str | None = None,
    chain: ChainEvidence | None = None,
) -> Verification:
    """Every check, in order; it never raises for a bad receipt.

    files: results to find in the receipt by their digest. chain_id, contract, operator: what the verifier
    expects; the operator is read from the chain when there is one. chain: None leaves the chain's checks
    out.
    """
    checks = Checks()
    domain = Domain(chain_id, contract)
    with checks.check("market", f"contract {contract} on chain {chain_id}, as expected"):
        require(
            (receipt.chain_id, receipt.contract) == (chain_id, domain.verifying_contract),
            f"the receipt is of contract {receipt.contract} on chain {receipt.chain_id}, "
            f"not of {contract} on {chain_id}",
        )
    if operator is None and chain is not None:
        with checks.check("operator known", "the market's operator was read from the contract"):
            operator = chain.operator()
    _check_papers(checks, receipt, domain, operator)
    for number, lot in enumerate(receipt.lots):
        _check_lot(checks, receipt, lot, number, domain)
    _check_sums(checks, receipt)
    checks.done += verify_files(receipt, files).checks
    if chain is None:
        checks.skip("chain", "not asked: give --rpc, or use a context that names a chain")
    else:
        check_chain(checks, receipt, chain, domain)
    return Verification(tuple(checks.done))


def verify_files(receipt: Receipt, files: Sequence[Path]) -> Verification:
    """Only that results are of a receipt, by their digest; the receipt itself is `verify`'s."""
    checks = Checks()
    for path in files:
        _check_file(checks, receipt, path)
    return Verification(tuple(checks.done))


def _check_papers(checks: Checks, receipt: Receipt, domain: Domain, operator: str | None) -> None:
    """What customer and operator signed, and what it is about."""
    quote, order = receipt.quote, receipt.order
    expected = operator or receipt.operator
    known = (
        "the market's operator" if operator else "who the receipt calls operator; not compared with the chain"
    )
    with checks.check("seal", f"nothing was altered since {expected} issued it ({known})"):
        require(
            receipt.operator == expected, f"the receipt names operator {receipt.operator}, not {expected}"
        )
        digest = receipt_digest(receipt, domain)
        try:
            require_signer(digest, parse_signature(receipt.signature), expected)
        except PrixfixeError as error:
            raise VerificationFailed(
                f"the receipt was altered after {expected} issued it, or another issued it ({error.message})"
            ) from error
    with checks.check("order", f"{order.customer} signed the order; its digest is the job's id"):
        digest = order.digest(domain)
        require(format_bytes32(digest) == receipt.job, "the job's id is not the digest of the order")
        require_signer(digest, parse_signature(receipt.order_signature), order.customer)
    with checks.check("manifest", f"the order is of this manifest: {quote.job}"):
        require(quote.manifest.digest() == order.job, "the order names another job than the manifest")
    with checks.check("quote", f"the operator signed the quote of {quote.total}"):
        faults = quote_faults(quote, domain, expected)
        require(not faults, "; ".join(faults))
    with checks.check("terms", "the order says what the quote said"):
        differing = not_as_quoted(order, quote, domain.verifying_contract)
        require(not differing, "; ".join(differing))
    # Reading a schema takes long when somebody made it to: the operator's signatures come first.
    if any(each.ok is False for each in checks.done if each.name in ("seal", "quote")):
        checks.skip("definition", "not read: who sold it did not sign this receipt or its quote")
    else:
        with checks.check("definition", "the bundle's definition and image are those that the offer names"):
            _require_definition(receipt)


def _require_definition(receipt: Receipt) -> None:
    """A purchase is of the definition in the receipt; a bid of none."""
    quote, named = receipt.quote, receipt.quote.manifest.bundle
    if isinstance(quote, BidQuote) or receipt.definition is None:
        require(receipt.definition is None and named is None, "a bid has no definition, and a purchase has")
        return
    # quote_faults has tied the offer's application to this definition digest, image and tier.
    require(
        named is not None and named.definition == canonical_digest_hex(receipt.definition),
        "the definition in the receipt is not the one that was sold",
    )
    sold = parse(receipt.definition).offer(quote.tier, quote.replicas)
    require(quote.offer == sold, f"the offer is not tier {quote.tier} with {quote.replicas} replica(s)")


def _require_terms(receipt: Receipt, lot: ReceiptLot) -> None:
    """The deal is one that the order allows: a purchase at its price, a bid at most at its own."""
    deal, order = lot.deal, receipt.order
    require(deal.customer == order.customer, "the deal is of another customer")
    require(deal.lot < order.lots, f"the order has no lot {deal.lot}")
    require(deal.count == order.lot_size(deal.lot), f"lot {deal.lot} has not {deal.count} tasks")
    if isinstance(order, Bid) or isinstance(receipt.quote, BidQuote):
        bundle, quorum, disputable = bytes(32), quorum_of(receipt.quote.replicas), False
        require(deal.price <= order.price, f"the deal's price is {Money(deal.price)}, above the bid's")
    else:
        offer = receipt.quote.offer
        bundle, quorum, disputable = order.bundle, offer.quorum, offer.disputable
        require(deal.price == order.price, f"the deal's price is {Money(deal.price)}")
    require(deal.bundle == bundle, "the deal is of another offer")
    require((deal.quorum, deal.disputable) == (quorum, disputable), "quorum or disputability is not as sold")
    replicas = receipt.quote.replicas
    require(len(deal.legs) == replicas, f"{len(deal.legs)} providers ran it, and {replicas} were bought")
    require(len({leg.provider for leg in deal.legs}) == replicas, "a provider was its own replica")


def _check_lot(checks: Checks, receipt: Receipt, lot: ReceiptLot, number: int, domain: Domain) -> None:
    """One deal: opened for this order, and ended as its worker's signature says."""
    deal = lot.deal
    name = f"deal {number + 1}"
    with checks.check(f"{name}: terms", f"deal {lot.deal_id} is of this order, at the price that was signed"):
        require(format_bytes32(deal.id) == lot.deal_id, "the deal's id is not its hash")
        require(format_bytes32(deal.order) == receipt.job, "the deal is of another order")
        _require_terms(receipt, lot)
    _check_legs(checks, lot, name)
    if lot.outcome == "expired":
        with checks.check(f"{name}: outcome", "no result came in time"):
            require(
                lot.root is None and lot.done == 0 and not lot.signatures and not lot.tasks,
                "a deal that expired has no result",
            )
        return
    name = f"{name}: result"
    if lot.outcome == "refused":
        if not lot.signatures:
            checks.skip(name, "the worker's refusal is not in the receipt; the chain tells that it was one")
            return
        with checks.check(name, "the worker signed that there is nothing to pay"):
            root = refusal_root(lot.due)
            require(lot.done == 0 and lot.root in (None, format_bytes32(root)), "a refusal has nothing done")
            _require_signatures(deal, Result(deal.id, root, 0), lot.signatures, domain)
        return
    signers = lot.signed.bit_count()
    of = f" of {len(deal.legs)}" if len(deal.legs) > 1 else ""
    with checks.check(name, f"{signers}{of} worker(s) signed it: {lot.done} of {deal.count} done"):
        root = parse_bytes32(lot.root, name="root")
        _require_root(lot, root, first=deal.lot * receipt.order.lot)
        _require_signatures(deal, Result(deal.id, root, lot.done), lot.signatures, domain)
        require_fact(lot)
    if lot.cage is not None:
        with checks.check(f"deal {number + 1}: cage", "the worker signed what its tasks ran in"):
            fault = cage_fault(lot.cage, deal, parse_bytes32(lot.root, name="root"), domain)
            require(fault is None, fault or "")
    _tell_failed(checks, lot)
    check_disputes(checks, lot, f"deal {number + 1}")


def _require_root(lot: ReceiptLot, root: bytes, *, first: int) -> None:
    """The lot's tasks are those from `first` on, and their outputs hash to the root."""
    deal, tasks = lot.deal, lot.tasks
    require(
        [task.index for task in tasks] == list(range(first, first + deal.count)),
        f"the receipt has not exactly the {deal.count} task(s) of the lot",
    )
    found = lot_root((task.status, task.outputs.digest) for task in tasks)
    require(found == root, "the output files are not those under the root that was signed")
    owed = sum(deal.pays_for(task.status) for task in tasks)
    require(0 < lot.done == owed, f"{lot.done} tasks were paid, and {owed} are to be paid for")


def _tell_failed(checks: Checks, lot: ReceiptLot) -> None:
    """Name the tasks of a paid lot that failed. That they are under the root was checked."""
    for task in lot.tasks:
        if task.status != TaskStatus.SUCCEEDED:
            paid = "paid, since it ran" if lot.deal.pays_for(task.status) else "not charged"
            why = f": {task.reason.message}" if task.reason is not None else ""
            checks.add(f"task {task.index}", True, f"failed ({ending(task.status)}), {paid}{why}")


def _require_signatures(deal: Deal, result: Result, signatures: Sequence[str], domain: Domain) -> None:
    """A quorum of the deal's legs signed the result, and nobody else in their place."""
    require(len(signatures) == len(deal.legs), "the receipt has not one signature, or its absence, a leg")
    signed = 0
    for leg, signature in zip(deal.legs, signatures, strict=True):
        if signature != "0x":
            require_signer(result.digest(domain), parse_signature(signature), leg.key)
            signed += 1
    require(signed >= deal.quorum, f"{signed} of the deal's legs signed, and {deal.quorum} must")


def _check_legs(checks: Checks, lot: ReceiptLot, name: str) -> None:
    """Of several replicas: who was paid, who was not, and why."""
    if len(lot.deal.legs) == 1:
        return
    with checks.check(f"{name}: legs", f"each of the {len(lot.deal.legs)} replicas is accounted for"):
        told = [(leg.provider, leg.pay.units) for leg in lot.legs]
        require(told == [(leg.provider, leg.pay) for leg in lot.deal.legs], "the receipt tells of other legs")
        for at, leg in enumerate(lot.legs):
            require(leg.signed == bool(lot.signed >> at & 1), f"what it says of {leg.provider} is not so")
    for at, leg in enumerate(lot.legs):
        earned = leg.pay * lot.done
        if leg.signed:
            checks.add(f"{name}: replica {at + 1}", True, f"{leg.provider} signed: {earned} earned")
        else:
            why = leg.reason.message if leg.reason is not None else "it did not sign"
            checks.add(f"{name}: replica {at + 1}", True, f"{leg.provider} is not paid: {why}")


def _check_sums(checks: Checks, receipt: Receipt) -> None:
    """What was charged follows from the deals, and is what was quoted or nothing."""
    settled = [lot for lot in receipt.lots if lot.outcome == "settled"]
    told = "charged what was quoted" if receipt.charged == receipt.quoted else "not more than quoted"
    with checks.check("sum", f"quoted {receipt.quoted}, charged {receipt.charged}: {told}"):
        require(receipt.quoted == receipt.quote.total, "the receipt repeats another price than the quote's")
        lots = [lot.deal.lot for lot in settled]
        require(len(lots) == len(set(lots)), "a lot was settled twice")
        owed = sum((lot.kept for lot in settled if not lot.overturned), Money(0))
        require(receipt.charged == owed, f"{receipt.charged} is not what the settled deals cost: {owed}")
        require(receipt.charged <= receipt.quoted, "more was charged than quoted")
        if receipt.outcome == "refunded":
            require(not settled, "a refunded job has no settled deal")
        else:
            require(bool(settled), "a settled job has a settled deal")


def _check_file(checks: Checks, receipt: Receipt, path: Path) -> None:
    name = f"file {path.name}"
    try:
        digest, size = sha256_file(path)
    except OSError as error:
        checks.add(name, False, f"cannot be read: {error.strerror}")
        return
    for lot in receipt.lots:
        if lot.outcome != "settled":
            continue
        for task in lot.tasks:
            for file in task.outputs.files:
                if file.sha256 == digest and file.size == size and task.status == TaskStatus.SUCCEEDED:
                    checks.add(name, True, f"is output {file.path!r} that the worker signed")
                    return
    checks.add(name, False, f"SHA-256 {digest} is no output of this job: another file, or altered")


__all__ = [
    "Check",
    "Verification",
    "parse_receipt",
    "read_receipt",
    "receipt_bytes",
    "verify",
    "verify_files",
]
