"""A client in another language, written from the documents: it buys, downloads and verifies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from prixfixe.development_keys import development_key
from prixfixe.protocol.money import Money
from tests.support.devnet import ROOT, Devnet
from tests.support.missing import absent


def test_a_client_in_javascript_buys_a_run_and_proves_its_receipt(devnet: Devnet, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        absent("there is no node: apt-get install nodejs")
    key = tmp_path / "key"
    key.write_text("0x" + development_key(3).hex())
    before, context = devnet.account().free, devnet.context
    variables = {
        "PRIXFIXE_SERVICE": context.service,
        "PRIXFIXE_CHAIN_ID": str(context.chain_id),
        "PRIXFIXE_CONTRACT": context.contract,
        "PRIXFIXE_RPC": str(context.rpc),
        "PRIXFIXE_PRIVATE_KEY_FILE": str(key),
    }
    program = ROOT / "examples" / "javascript" / "buy.mjs"
    done = subprocess.run(
        [
            node,
            str(program),
            "probe",
            str(devnet.table),
            "3",
            '{"mode":"ok","number":7}',
            str(tmp_path / "out"),
        ],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["charged"] == str(Money.parse("2").units)
    assert len(told["known"]) == 4
    assert before - devnet.account().free == Money.parse("2")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "receipt.json",
        *sorted(told["files"]),
    ]
    # What it has is what our own client proves.
    receipt = str(tmp_path / "out" / "receipt.json")
    assert (
        "The receipt is valid."
        in devnet.types("verify", receipt, str(tmp_path / "out" / "result.txt")).stdout
    )
