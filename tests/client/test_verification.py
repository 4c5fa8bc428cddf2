"""Receipts: what holds, and that no altered byte goes unseen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prixfixe.client import Client, Context
from prixfixe.client.checks import Verification
from prixfixe.client.dispute_checks import case_of
from prixfixe.client.evidence import DealEvent
from prixfixe.client.verification import parse_receipt, read_receipt, receipt_bytes, verify
from prixfixe.errors import Unavailable, VerificationFailed
from prixfixe.protocol.deals import LOT_CANCELLED, LOT_FREE, Fact, open_word, settled_word
from prixfixe.protocol.disputes import LOT_GUILTY
from prixfixe.protocol.money import Money
from prixfixe.protocol.quotes import receipt_digest
from prixfixe.protocol.receipt import Receipt, ReceiptLot
from prixfixe.protocol.typed_data import parse_bytes32
from tests.support.finished import RESULT, challenge, deliver, end_case, refuse
from tests.support.service import (
    CHAIN_ID,
    CONTRACT,
    DOMAIN,
    HOST,
    OPERATOR,
    STRANGER,
    InProcess,
    World,
)


@dataclass
class FakeEvidence:
    """A chain that holds what a receipt tells, until a test changes it."""

    words: dict[int, bytes]
    events: list[DealEvent]
    order: bytes
    chain: int = CHAIN_ID
    time: int = 2_000_000_000
    scheduler: str = OPERATOR.address
    offers: set[bytes] = field(default_factory=set)

    def chain_id(self) -> int:
        return self.chain

    def now(self) -> int:
        return self.time

    def operator(self) -> str:
        return self.scheduler

    def lot_word(self, order: bytes, index: int) -> bytes:
        return self.words.get(index, LOT_FREE) if order == self.order else LOT_FREE

    def offer_until(self, offer: bytes) -> int:
        return self.time if offer in self.offers else 0

    def events_in(self, transaction: str) -> tuple[DealEvent, ...]:
        return tuple(event for event in self.events if event.transaction == transaction)

    def events_of(self, order: bytes) -> tuple[DealEvent, ...]:
        return tuple(self.events) if order == self.order else ()


def first_fact(lot: ReceiptLot) -> int:
    """What the contract remembered of the settlement before any case."""
    return int((lot.disputes[0].fact if lot.disputes else lot.fact) or 0)


def evidence_for(receipt: Receipt) -> FakeEvidence:
    """The chain as it must be when this receipt is true."""
    made = FakeEvidence({}, [], receipt.order.digest(DOMAIN), offers={receipt.order.bundle})
    for lot in receipt.lots:
        for kind, place in (("opened", lot.opened), (lot.outcome, lot.ended)):
            whole = lot.deal.price * lot.deal.count
            event = DealEvent(
                kind,  # type: ignore[arg-type]
                lot.deal.id,
                place.block,
                place.log_index,
                place.transaction,
                place.time,
                deal=lot.deal if kind == "opened" else None,
                due=lot.due if kind == "opened" else None,
                root=parse_bytes32(lot.root) if kind == "settled" else None,
                done=lot.done,
                returned=whole - lot.deal.price * lot.done,
                fact=int(lot.disputes[0].fact if lot.disputes else lot.fact or 0)
                if kind == "settled"
                else None,
            )
            made.events.append(event)
        if lot.outcome == "settled":
            fact = Fact(lot.done, 1, lot.ended.time).pack()
            made.words[lot.deal.lot] = settled_word(lot.deal.id, parse_bytes32(lot.root), fact)
        add_disputes(made, lot)
    return made


def add_disputes(chain: FakeEvidence, lot: ReceiptLot) -> None:
    """The contract's side of a lot's cases, with what their last one left in the slot."""
    for dispute in lot.disputes:
        place = dispute.opened
        chain.events.append(
            DealEvent(
                "challenged",
                lot.deal.id,
                *(place.block, place.log_index, place.transaction, place.time),
                challenger=dispute.challenger,
                claim=dispute.claim,
                until=dispute.until,
                bond=dispute.bond.units,
                fees=tuple(fee.units for fee in dispute.fees),
            )
        )
        chain.words[lot.deal.lot] = case_of(lot, dispute).word
        if dispute.ended is None:
            continue
        place = dispute.ended
        guilty = dispute.outcome == "guilty"
        chain.events.append(
            DealEvent(
                "lapsed" if dispute.outcome == "lapsed" else "judged",
                lot.deal.id,
                *(place.block, place.log_index, place.transaction, place.time),
                guilty=guilty if dispute.outcome != "lapsed" else None,
            )
        )
        after = settled_word(lot.deal.id, parse_bytes32(lot.root), int(lot.fact or 0))
        chain.words[lot.deal.lot] = LOT_GUILTY if guilty else after


def receipt_of(folder: Path, end: Callable[[World, Any], None]) -> Receipt:
    """The receipt of a job that was bought and then ended by `end`."""
    world = World(folder)
    world.publish()
    table = folder / "table.csv"
    table.write_bytes(b"a,b\n1,2\n")
    context = Context("test", f"http://{HOST}", CHAIN_ID, CONTRACT, key="dev:3")
    with Client(context, transport=InProcess(world.app)) as client:
        job = client.buy(client.quote("echo", parameters={"word": "x"}, inputs=[table], units=50))
        end(world, job)
        receipt = client.receipt(job)
    world.close()
    return receipt


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Receipt:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRIXFIXE_HOME", str(tmp_path_factory.mktemp("home")))
        return receipt_of(tmp_path_factory.mktemp("settled"), deliver)


@pytest.fixture(scope="module")
def refunded(tmp_path_factory: pytest.TempPathFactory) -> Receipt:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRIXFIXE_HOME", str(tmp_path_factory.mktemp("home")))
        return receipt_of(tmp_path_factory.mktemp("refunded"), refuse)


def checked(
    receipt: Receipt, *files: Path, chain: FakeEvidence | None = None, **changes: Any
) -> Verification:
    expected: dict[str, Any] = {"chain_id": CHAIN_ID, "contract": CONTRACT, "operator": OPERATOR.address}
    return verify(receipt, files, chain=chain, **{**expected, **changes})


def faults(found: Verification) -> dict[str, str]:
    return {check.name: check.detail for check in found.faults}


def sealed(receipt: Receipt, **changes: Any) -> Receipt:
    """The receipt with other fields and a new seal: what a dishonest operator could hand out."""
    altered = receipt.model_copy(update=changes)
    signature = OPERATOR.sign_digest(receipt_digest(altered, DOMAIN))
    return altered.model_copy(update={"signature": "0x" + signature.hex()})


def test_a_settled_job_is_valid_offline_and_complete_with_its_chain(settled: Receipt, tmp_path: Path) -> None:
    result = tmp_path / "renamed.csv"
    result.write_bytes(RESULT)
    offline = checked(settled, result)
    assert not offline.faults
    assert offline.valid
    assert not offline.complete
    online = checked(settled, result, chain=evidence_for(settled))
    assert online.complete, online.faults
    assert any("$4.00 charged" in check.detail for check in online.checks)


def test_a_refunded_job_shows_that_all_money_went_back(refunded: Receipt) -> None:
    assert (refunded.outcome, refunded.charged) == ("refunded", Money(0))
    found = checked(refunded, chain=evidence_for(refunded))
    assert found.complete, found.checks
    assert any("$4.00 went back" in check.detail for check in found.checks)


def test_an_order_that_could_still_be_matched_is_not_called_over(refunded: Receipt) -> None:
    chain = evidence_for(refunded)
    chain.time = refunded.order.expiry - 60
    found = checked(refunded, chain=chain)
    assert found.valid
    assert not found.complete
    chain.words[0] = LOT_CANCELLED
    assert checked(refunded, chain=chain).complete


def test_an_altered_file_is_not_one_that_the_worker_signed(settled: Receipt, tmp_path: Path) -> None:
    result = tmp_path / "out.csv"
    result.write_bytes(RESULT.replace(b"6.1", b"6.2"))
    assert "file out.csv" in faults(checked(settled, result))
    assert "file gone.csv" in faults(checked(settled, tmp_path / "gone.csv"))


def test_a_refunded_job_proves_no_file(refunded: Receipt, tmp_path: Path) -> None:
    result = tmp_path / "out.csv"
    result.write_bytes(RESULT)
    assert "file out.csv" in faults(checked(refunded, result))


def test_a_receipt_of_another_market_is_refused(settled: Receipt) -> None:
    assert "market" in faults(checked(settled, contract=STRANGER.address))
    assert "market" in faults(checked(settled, chain_id=1))
    assert "seal" in faults(checked(settled, operator=STRANGER.address))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_altered_byte_is_seen(settled: Receipt, data: st.DataObject) -> None:
    original = receipt_bytes(settled)
    at = data.draw(st.integers(0, len(original) - 1), label="position")
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != original[at]), label="byte")
    altered = original[:at] + bytes([byte]) + original[at + 1 :]
    try:
        receipt = parse_receipt(altered)
    except VerificationFailed:
        return
    assert not checked(receipt).valid


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_missing_or_added_byte_is_seen(settled: Receipt, data: st.DataObject) -> None:
    original = receipt_bytes(settled)
    at = data.draw(st.integers(0, len(original) - 1))
    inserted = data.draw(st.sampled_from([b"", b" ", b"0", b"a", b"\n"]))
    altered = original[:at] + (inserted + original[at:] if inserted else original[at + 1 :])
    try:
        receipt = parse_receipt(altered)
    except VerificationFailed:
        return
    assert not checked(receipt).valid


def test_even_the_operator_cannot_alter_what_others_signed(settled: Receipt) -> None:
    lot = settled.lots[0]
    cases: dict[str, dict[str, Any]] = {
        "sum": {"charged": Money(3_000_000)},
        "definition": {"definition": {**settled.definition, "title": "Other"}},
        "deal 1: terms": {"lots": (lot.model_copy(update={"deal_id": "0x" + "11" * 32}),)},
        "deal 1: result": {"lots": (lot.model_copy(update={"done": 2}),)},
        "quote": {"quote": settled.quote.model_copy(update={"units": 51})},
        "order": {"order_signature": "0x" + "11" * 65},
    }
    for name, change in cases.items():
        assert name in faults(checked(sealed(settled, **change))), name


def test_an_output_swapped_in_the_receipt_does_not_hash_to_the_root(settled: Receipt) -> None:
    (lot,) = settled.lots
    other = lot.model_copy(update={"tasks": (lot.tasks[0].model_copy(update={"status": 1}),)})
    assert "deal 1: result" in faults(checked(sealed(settled, lots=(other,))))


def test_a_settlement_told_as_a_refund_is_seen(settled: Receipt) -> None:
    altered = sealed(settled, outcome="refunded", charged=Money(0))
    assert "sum" in faults(checked(altered))
    hidden = sealed(settled, outcome="refunded", charged=Money(0), lots=())
    assert checked(hidden).valid  # offline it cannot be known that a deal was left out
    found = faults(checked(hidden, chain=evidence_for(settled)))
    assert {"deals on chain", "state on chain"} <= set(found)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda chain: setattr(chain, "chain", 1), "chain"),
        (lambda chain: setattr(chain, "scheduler", STRANGER.address), "seal"),
        (lambda chain: chain.offers.clear(), "offer on chain"),
        (lambda chain: chain.events.clear(), "deal 1 on chain: opened"),
        (lambda chain: chain.words.clear(), "state on chain"),
        (lambda chain: chain.words.update({0: open_word(bytes(32), 1)}), "state on chain"),
        (lambda chain: change_event(chain, 1, returned=1), "deal 1 on chain: ended"),
        (lambda chain: change_event(chain, 1, root=bytes(32)), "deal 1 on chain: ended"),
        (lambda chain: change_event(chain, 1, done=0), "deal 1 on chain: ended"),
        (lambda chain: change_event(chain, 1, kind="expired"), "deal 1 on chain: ended"),
        (lambda chain: change_event(chain, 1, time=5), "deal 1 on chain: ended"),
        (lambda chain: change_event(chain, 0, due=5), "deal 1 on chain: opened"),
        (lambda chain: change_event(chain, 0, block=5), "deal 1 on chain: opened"),
    ],
)
def test_a_chain_that_says_otherwise_is_believed(
    settled: Receipt, change: Callable[[FakeEvidence], None], name: str
) -> None:
    chain = evidence_for(settled)
    change(chain)
    assert name in faults(checked(settled, chain=chain, operator=None))


def change_event(chain: FakeEvidence, at: int, **changes: Any) -> None:
    from dataclasses import replace

    chain.events[at] = replace(chain.events[at], **changes)


def test_a_node_that_does_not_answer_fails_the_check_and_says_so(settled: Receipt) -> None:
    class Silent(FakeEvidence):
        def chain_id(self) -> int:
            raise Unavailable("the chain does not answer")

    silent = Silent({}, [], b"")
    assert "does not answer" in faults(checked(settled, chain=silent))["chain"]


def test_a_file_that_is_no_receipt_is_told_as_such(tmp_path: Path, settled: Receipt) -> None:
    path = tmp_path / "receipt.json"
    for content in (b"", b"{}", b"[1]", b"\xff", b"[" * 100_000, b'{"version":1}'):
        path.write_bytes(content)
        with pytest.raises(VerificationFailed, match="no receipt"):
            read_receipt(path)
    path.write_bytes(json.dumps(settled.model_dump(mode="json"), indent=1).encode())
    with pytest.raises(VerificationFailed):
        read_receipt(path)
    path.write_bytes(receipt_bytes(settled) + b"\n")
    assert read_receipt(path) == settled


# ---------------------------------------------------------------------------------------------- disputes


def disputed_receipt(folder: Path, outcome: str) -> Receipt:
    """A settled job whose result its customer challenged, with the case open or ended."""

    def end(world: World, job: Any) -> None:
        deliver(world, job)
        challenge(world, job)
        if outcome != "open":
            end_case(world, job, outcome)

    return receipt_of(folder, end)


@pytest.fixture(scope="module", params=["open", "guilty", "acquitted", "lapsed"])
def disputed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Receipt:
    return disputed_receipt(tmp_path_factory.mktemp(request.param), request.param)


def test_a_receipt_tells_its_dispute_and_the_chain_bears_it_out(disputed: Receipt) -> None:
    (lot,) = disputed.lots
    (dispute,) = lot.disputes
    assert disputed.outcome == "settled"
    assert disputed.charged == (Money(0) if dispute.outcome == "guilty" else disputed.quoted)
    found = checked(disputed, chain=evidence_for(disputed), operator=None)
    assert found.valid, found.faults
    assert "deal 1: dispute 1" in {check.name for check in found.checks}


def test_a_dispute_that_is_hidden_or_told_otherwise_is_seen(disputed: Receipt) -> None:
    (lot,) = disputed.lots
    (dispute,) = lot.disputes
    chain = evidence_for(disputed)
    hidden = sealed(
        disputed,
        lots=(lot.model_copy(update={"disputes": (), "fact": dispute.fact}),),
        charged=disputed.quoted,
    )
    assert "get the receipt again" in faults(checked(hidden, chain=chain, operator=None))["state on chain"]
    claim = replace(dispute.claim, digest=b"\x01" * 32)
    other = lot.model_copy(update={"disputes": (dispute.model_copy(update={"claim": claim}),)})
    assert "deal 1: dispute 1" in faults(checked(sealed(disputed, lots=(other,))))
    early = lot.model_copy(update={"disputes": (dispute.model_copy(update={"until": 1}),)})
    assert faults(checked(sealed(disputed, lots=(early,)), chain=chain, operator=None))


def test_money_that_a_judgement_gave_back_is_not_charged(tmp_path: Path) -> None:
    guilty = disputed_receipt(tmp_path, "guilty")
    assert "sum" in faults(checked(sealed(guilty, charged=guilty.quoted)))
