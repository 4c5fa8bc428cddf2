"""Commands with the API key of a managed account: no wallet, no chain node, and no key in an argument."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketplace.chain import AccountView
from prixfixe.client.contexts import Context, load_contexts, resolve_context, save_context
from prixfixe.client.keeping import kept_jobs
from prixfixe.client.verification import read_receipt
from tests.cli.conftest import Terminal, worker
from tests.support.accounts import Person
from tests.support.finished import RESULT, deliver
from tests.support.service import CHAIN_ID, CONTRACT, DOLLAR, SEED, STRANGER, World

ADDRESS = SEED.signer(1).address
ECHO = ("run", "echo", "table.csv", "--word", "hello")


@pytest.fixture
def key(world: World, tmp_path: Path) -> Iterator[str]:
    """The key of an account with $100; the current context has neither a wallet nor a chain node."""
    person = Person(world, "ada@example.com")
    person.sign_up()
    world.chain.accounts[ADDRESS] = AccountView(100 * DOLLAR, 0, 0)
    found = person.key("order", "manage")["Authorization"].removeprefix("Bearer ")
    file = tmp_path / "api-key"
    file.write_text(f"{found}\n")
    file.chmod(0o600)
    known = resolve_context()
    save_context(Context("managed", known.service, CHAIN_ID, CONTRACT, api_key=f"file:{file}"))
    yield found
    person.close()


def test_a_price_a_yes_and_a_proven_result_take_no_wallet(
    types: Terminal, world: World, key: str, table: Path, tmp_path: Path
) -> None:
    with worker(world, deliver, ADDRESS):
        shown = types(*ECHO, "--out", "result.csv", answer="y\n")
    assert shown.code == 0, shown.err
    assert "Buy for $4.00?" in shown.err
    assert "balance    $100.00, then $96.00" in shown.err
    assert "$4.00 was charged, as quoted" in shown.err
    assert "checked; not on chain" in shown.err
    assert (tmp_path / "result.csv").read_bytes() == RESULT
    receipt = read_receipt(tmp_path / "receipt.json")
    assert (receipt.outcome, receipt.order.customer) == ("settled", ADDRESS)
    job = world.services.jobs.page(ADDRESS, None, 1)[0][0].id
    assert types("jobs", "certificate", job).code == 0
    assert (tmp_path / "certificate.pdf").read_bytes().startswith(b"%PDF-")
    assert types("jobs", "certificate", job, "--format", "json").code == 0
    assert json.loads((tmp_path / "certificate.json").read_bytes())["job"] == job
    verified = types("verify", "receipt.json", "result.csv")
    assert verified.code == 0
    assert "--rpc" in verified.out + verified.err


def test_a_job_is_found_by_its_first_digits_and_cancelled(
    types: Terminal, world: World, key: str, table: Path
) -> None:
    bought = types(*ECHO, "--yes", "--detach", "--json")
    assert bought.code == 0, bought.err
    job = bought.json["job"]
    assert kept_jobs() == [job]
    assert [each["job"] for each in types("jobs", "list", "--json").json["jobs"]] == [job]
    assert types("jobs", "show", job[:12], "--json").json["state"] == "queued"
    cancelled = types("jobs", "cancel", job[:12], "--json")
    assert (cancelled.code, cancelled.json["state"]) == (0, "refunded")


def test_no_is_no_and_nothing_is_uploaded(types: Terminal, world: World, key: str, table: Path) -> None:
    refused = types(*ECHO, answer="n\n")
    assert refused.code != 0
    assert "nothing was ordered" in refused.err
    assert world.services.jobs.page(ADDRESS, None, 1)[0] == ()


def test_too_little_money_says_whom_to_pay(types: Terminal, world: World, key: str, table: Path) -> None:
    world.chain.accounts[ADDRESS] = AccountView(1 * DOLLAR, 0, 0)
    refused = types(*ECHO, "--yes", "--json")
    assert (refused.code, refused.json["error"]["code"]) != (0, "")
    assert refused.json["error"]["needed"] == str(4 * DOLLAR)
    assert "pay it to the operator" in refused.json["error"]["hint"]
    assert "account deposit" not in refused.json["error"]["hint"]


def test_the_account_its_limits_and_where_its_money_leaves_to(
    types: Terminal, world: World, key: str, table: Path, tmp_path: Path
) -> None:
    shown = types("account", "show")
    assert all(text in shown.out for text in (ADDRESS, "$100.00", "withdraw-to"))
    assert types("account", "show", "--json").json["spendable"] == str(100 * DOLLAR)
    assert types("account", "limits", "--per-job", "3", "--json").json["per_job"] == str(3 * DOLLAR)
    beyond = types(*ECHO, "--yes", "--json")
    assert "one order may cost $3.00" in beyond.json["error"]["detail"]
    assert types("account", "limits", "--per-job", "none", "--json").json["per_job"] is None
    assert "warn below" in types("account", "limits").out
    assert types("account", "top-ups", "--json").json == {"top_ups": []}
    nowhere = types("account", "withdraw", "5", "--yes", "--json")
    assert nowhere.json["error"]["code"] == "no-withdrawal-address"
    fixed = types("account", "withdraw-to", STRANGER.address, "--yes", "--json").json
    assert STRANGER.address in (fixed["address"], fixed["next"])


def test_a_statement_is_a_file_for_books(types: Terminal, key: str, tmp_path: Path) -> None:
    assert types("account", "statement", "--format", "pdf", "--language", "zh").code == 0
    assert (tmp_path / "statement.pdf").read_bytes().startswith(b"%PDF-")
    assert types("account", "statement", "--format", "csv", "--output", "november.csv").code == 0
    assert (tmp_path / "november.csv").read_text().startswith("time,block,transaction,")


def test_a_new_account_fixes_its_address_and_keeps_what_takes_it_out(
    types: Terminal, world: World, key: str, tmp_path: Path
) -> None:
    world.chain.accounts[ADDRESS] = AccountView(0, 0, 0)
    assert types("account", "withdraw-to", STRANGER.address, "--yes", "--json").json["next"] is None
    assert types("account", "standing", "standing.json").code == 0
    assert stat.S_IMODE(os.stat(tmp_path / "standing.json").st_mode) == 0o600
    assert types("account", "standing", "standing.json").code != 0
    world.chain.accounts[ADDRESS] = AccountView(100 * DOLLAR, 0, 0)
    sent = types("account", "withdraw", "5", "--yes", "--json").json
    assert (sent["to"], sent["amount"]) == (STRANGER.address, str(5 * DOLLAR))
    assert types("account", "withdraw", "5", "--to", ADDRESS).code == 2


@pytest.mark.parametrize(
    "command",
    [
        ("account", "deposit", "5", "--yes"),
        ("account", "bump", "--yes"),
        ("jobs", "refund", "0x" + "12" * 32, "--yes"),
    ],
)
def test_what_only_a_wallet_can_do_says_so(types: Terminal, key: str, command: tuple[str, ...]) -> None:
    refused = types(*command, "--json")
    assert refused.json["error"]["code"] == "needs-wallet"
    assert "--key" in refused.json["error"]["hint"]


def test_a_key_that_was_named_goes_before_an_api_key(types: Terminal, world: World, key: str) -> None:
    assert types("jobs", "list", "--key", "dev:3", "--json").json == {"jobs": []}
    assert "test" in load_contexts().contexts
    assert types("account", "top-ups", "--context", "test", "--json").json["error"]["code"] == "no-api-key"


def test_the_environment_goes_before_the_contexts_wallet(
    types: Terminal, world: World, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIXFIXE_API_KEY", key)
    shown = types("account", "show", "--context", "test", "--json")
    assert shown.json["address"] == ADDRESS
    assert key not in types("context", "show", "test").out


def test_where_a_key_lies_is_checked_and_what_lies_there_is_never_shown(
    types: Terminal, world: World, key: str, tmp_path: Path
) -> None:
    service = resolve_context().service

    def told(spec: str) -> str:
        added = types("context", "add", "other", "--service", service, "--api-key", spec, "--json")
        answer = added if added.code else types("account", "show", "--json")
        assert key not in answer.out + answer.err
        return str(answer.json["error"]["code"] if answer.code else answer.json["address"])

    for mistaken in (key, f"env:{key}", f"file:{key}", f"command:echo {key}"):
        assert told(mistaken) == "bad-key-spec"
    assert told(f"command:cat {tmp_path / 'api-key'}") == ADDRESS
    assert told("command:false") == "no-api-key"
    assert told("command:echo 'no end") == "bad-key-spec"
    assert told("command:prixfixe-no-such-program") == "no-api-key"
    assert told("env:NO_SUCH_VARIABLE") == "bad-api-key"
    assert told(f"file:{tmp_path / 'away'}") == "no-api-key"
    (tmp_path / "api-key").chmod(0o644)
    assert told(f"file:{tmp_path / 'api-key'}") == "open-api-key"
    (tmp_path / "huge").write_text("pfx_" + "a" * 9000)
    (tmp_path / "huge").chmod(0o600)
    assert told(f"file:{tmp_path / 'huge'}") == "bad-api-key"
    both = types("context", "add", "x", "--service", service, "--api-key", "env:X", "--key", "dev:1")
    assert both.code == 2
