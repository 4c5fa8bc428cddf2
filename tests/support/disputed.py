"""A disputable order that was paid on a real chain, as its receipt tells it."""

from __future__ import annotations

from prixfixe.chain import events
from prixfixe.keys import sign_typed
from prixfixe.protocol.deals import Offer
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Result
from prixfixe.protocol.outputs import OutputFile, OutputManifest, leaf, merkle_root
from prixfixe.protocol.receipt import ReceiptLot, ReceiptTask, TransactionReference
from tests.support.market import DISPUTABLE, OFFER, LocalMarket

TASKS = 3


def settled_lot(
    market: LocalMarket, offer: Offer = DISPUTABLE, statuses: tuple[int, ...] = (0, 0, 0)
) -> ReceiptLot:
    """Three tasks in one lot, matched and paid whole, whatever the statuses of their leaves."""
    client = market.client
    if offer is not OFFER:
        client.publish(market.pricing, offer, market.chain.time + 86_400, Money(0))
    order = market.purchase(tasks=TASKS, lot=TASKS, offer=offer)
    opened = client.match_purchase(market.scheduler, order, market.sign(order), offer, 0, [market.ask()]).one(
        events.DealOpened
    )
    outputs = [OutputManifest((OutputFile(f"{task}.csv", "ab" * 32, 10),)) for task in range(TASKS)]
    root = merkle_root([leaf(at, status, outputs[at].digest) for at, status in enumerate(statuses)])
    signature = sign_typed(market.worker, Result(opened.deal, root, TASKS), client.domain)
    ended = client.settle(market.stranger, opened.data, opened.due, root, TASKS, [signature])
    place = TransactionReference(transaction="0x" + "00" * 32, block=1, log_index=0, time=1)
    return ReceiptLot(
        deal_id="0x" + opened.deal.hex(),
        deal=opened.data,
        due=opened.due,
        opened=place,
        outcome="settled",
        ended=place,
        root="0x" + root.hex(),
        done=TASKS,
        signatures=("0x" + signature.hex(),),
        tasks=tuple(
            ReceiptTask(index=at, status=status, outputs=outputs[at]) for at, status in enumerate(statuses)
        ),
        fact=str(ended.one(events.Settled).fact),
    )
