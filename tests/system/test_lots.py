"""A bid for many tasks, each with parameters of its own, on a whole market."""

from __future__ import annotations

import json
from pathlib import Path

import docker

from prixfixe.client import Client
from prixfixe.client.calls import Request
from prixfixe.client.verification import verify
from prixfixe.protocol import wire
from prixfixe.protocol.canonical import sha256_hex
from prixfixe.protocol.hashing import sha256_file
from prixfixe.protocol.matrix import to_lines
from prixfixe.protocol.money import Money
from tests.cage.conftest import engine, image
from tests.support.devnet import Devnet, wait_for

__all__ = ["engine", "image"]

SCRIPT = (
    "cp /job/parameters.json /job/outputs/told.json; echo task $PRIXFIXE_TASK of $PRIXFIXE_TASKS;"
    " sleep {pause}; exit {code}"
)
ROWS = tuple({"code": 3 if task == 4 else 0, "pause": 3 if task < 3 else 0} for task in range(7))


def ask_quote(devnet: Devnet, client: Client, image: str, folder: Path) -> wire.BidQuote:
    """What seven tasks in lots of three cost now; image and matrix are uploaded."""
    archive, table = folder / "image.tar", folder / "matrix.jsonl"
    archive.write_bytes(b"".join(docker.from_env().images.get(image).save()))
    table.write_bytes(to_lines(ROWS))
    for path in (archive, table):
        client.upload(path)
    body = {
        "customer": client.address,
        "kind": "flat",
        "product": "0x" + client.bundle("probe").tiers[0].offer.product.hex(),
        "image": image,
        "image_archive": sha256_file(archive)[0],
        "command": ["/bin/sh", "-c", SCRIPT],
        "tasks": 7,
        "lot": 3,
        "matrix": {
            "name": "matrix.jsonl",
            "sha256": sha256_hex(table.read_bytes()),
            "size": len(to_lines(ROWS)),
        },
        "price": str(Money.parse("1.00").units),
    }
    return client.perform(client.operations.ask(wire.BidQuote, Request("POST", "/v1/quotes", body=body)))


def test_tasks_of_a_bid_run_in_lots_on_several_workers_and_survive_one(
    devnet: Devnet, image: str, tmp_path: Path
) -> None:
    before = devnet.account().free
    with devnet.client() as client:
        quote = ask_quote(devnet, client, image, tmp_path)
        job = client.buy(client.order(quote))
        wait_for(lambda: "task 0 of 7" in client.logs(job), 60, "the first task's log")
        line = next(line for line in client.logs(job).splitlines() if line.startswith("--- task 0 on w"))
        devnet.kill(f"worker-{line.removeprefix('--- task 0 on w').split(':')[0]}")
        ended = client.wait(job.id)
        assert ended.state == "settled"
        assert ended.reason is not None
        assert "1 of 7 tasks failed, the first of them task 4" in ended.reason.message
        folder = tmp_path / "results"
        client.download(job, folder, task=6)
        (folder / "6" / "told.json").touch()
        paths = client.download(job, folder)
        assert {path.parent.name for path in paths} == {"0", "1", "2", "3", "5", "6"}
        assert json.loads((folder / "2" / "told.json").read_text()) == {"code": 0, "pause": 3}
        receipt = client.receipt(job)
    settled = [lot for lot in receipt.lots if lot.outcome == "settled"]
    assert sorted((lot.deal.lot, lot.done) for lot in settled) == [(0, 3), (1, 2), (2, 1)]
    assert ended.charged.units == sum(lot.deal.price * lot.done for lot in settled)
    assert Money(0) < ended.charged < quote.price * 6, "the asks were lower than what it would have paid"
    assert before - devnet.account().free == ended.charged
    context = devnet.context
    checked = verify(receipt, paths, chain_id=context.chain_id, contract=context.contract)
    assert checked.valid, [check for check in checked.checks if check.ok is False]
    assert any(check.name == "task 4" for check in checked.checks)
