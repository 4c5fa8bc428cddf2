"""`prixfixe verify`: is this receipt true, and is this file what was paid for?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prixfixe.cli.options import context_option, json_option
from prixfixe.cli.output import emit, table

if TYPE_CHECKING:
    from prixfixe.client.checks import Verification
    from prixfixe.protocol.receipt import Receipt

_MARKS = {True: "ok", False: "FAILED", None: "-"}


@dataclass(frozen=True, slots=True)
class Expectation:
    """Where a receipt must belong, from the verifier's own sources. rpc, operator: None when not known."""

    chain_id: int
    contract: str
    rpc: str | None = None
    operator: str | None = None
    from_block: int = 0


@click.command()
@click.argument("receipt", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("results", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--rpc", metavar="URL", help="A chain node that you trust; else the context's.")
@click.option("--contract", metavar="ADDRESS", help="The market's contract; else the context's.")
@click.option("--chain-id", type=int, help="The chain it is on; asked of --rpc when --contract is given.")
@click.option(
    "--deployment",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A deployment manifest (deployments/CHAIN.json): chain, contract, operator.",
)
@click.option("--offline", is_flag=True, help="Ask no chain: check signatures and digests only.")
@context_option
@json_option
def verify(
    receipt: Path,
    results: tuple[Path, ...],
    rpc: str | None,
    contract: str | None,
    chain_id: int | None,
    deployment: Path | None,
    offline: bool,
    context_name: str | None,
    as_json: bool,
) -> None:
    """Check RECEIPT, and that each of RESULTS is a file that it proves, without trusting the service.

    Offline: your order, the operator's quote, the worker's result, every digest, that nothing in the receipt
    was altered. On chain, through a node of your choice: that the contract opened this deal, how it ended,
    and that it charged what was quoted. Which chain and contract is taken from your context or from the
    options, never from the receipt. The exit code is 0 when every check holds and 10 when one does not.

    \b
    Examples:
      prixfixe verify receipt.json sales-pivot.xlsx
      prixfixe verify receipt.json --offline
      prixfixe verify receipt.json --rpc https://node.example \\
          --contract 0x5FbDB2315678afecb367f032d93F642f64180aa3
    """
    from prixfixe.client.verification import read_receipt
    from prixfixe.errors import InvalidInput, VerificationFailed

    for result in results:
        if not result.is_file():
            raise InvalidInput(
                f"{result} does not exist", hint="name the file that came with the receipt", file=str(result)
            )
    expected = _expectation(context_name, rpc, contract, chain_id, deployment)
    found = check(read_receipt(receipt), results, expected, offline=offline)
    if as_json and found.valid:
        emit(found.to_json())
    elif not as_json:
        click.echo(table((_MARKS[each.ok], each.name, each.detail) for each in found.checks))
        if found.valid:
            click.echo(
                "\nThe receipt is valid." + ("" if found.complete else " Checks marked - were left out.")
            )
    if not found.valid:
        first = found.faults[0]
        raise VerificationFailed(
            f"the receipt does not hold: {first.name}: {first.detail}",
            hint="do not rely on this receipt or result; get both again, or ask who gave them to you",
            **found.to_json(),
        )


def check(
    receipt: Receipt, results: tuple[Path, ...], expected: Expectation, *, offline: bool = False
) -> Verification:
    """Verify against an expectation; with its node when it names one."""
    from prixfixe.client.verification import verify as verify_receipt

    chain: Any = None
    if expected.rpc is not None and not offline:
        from prixfixe.client.onchain_reader import NodeEvidence

        chain = NodeEvidence(expected.rpc, expected.contract, from_block=expected.from_block)
    return verify_receipt(
        receipt,
        results,
        chain_id=expected.chain_id,
        contract=expected.contract,
        operator=expected.operator,
        chain=chain,
    )


def _expectation(
    context_name: str | None,
    rpc: str | None,
    contract: str | None,
    chain_id: int | None,
    manifest: Path | None,
) -> Expectation:
    from prixfixe.client.contexts import resolve_context
    from prixfixe.protocol.addresses import parse_address

    if manifest is not None:
        from prixfixe.chain.deployment import Deployment

        known = Deployment.load(manifest)
        return Expectation(known.chain_id, known.market, rpc, known.roles.scheduler, known.block)
    if contract is None:
        context = resolve_context(context_name)
        return Expectation(chain_id or context.chain_id, context.contract, rpc or context.rpc)
    contract = parse_address(contract, name="--contract")
    if chain_id is None:
        if rpc is None:
            raise click.UsageError("--contract needs --rpc or --chain-id, which say on which chain it is")
        from prixfixe.chain.client import MarketClient

        chain_id = MarketClient(rpc, contract).chain_id
    return Expectation(chain_id, contract, rpc)
