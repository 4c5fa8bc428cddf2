"""Orders that the service signs: within limits that hold under concurrency, and never twice; money goes to
one address only."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy import select, update

from marketplace.accounts.identity import SCOPES, Identity
from marketplace.accounts.managed import Managed
from marketplace.accounts.top_ups import credit
from marketplace.chain import AccountView
from marketplace.store import outbox
from marketplace.store.tables import jobs, transactions
from prixfixe.errors import Conflict, Forbidden, InvalidInput, NotFound, SignatureError
from prixfixe.protocol import accounts as wire
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.money import Money
from prixfixe.protocol.orders import Purchase, Withdraw
from prixfixe.protocol.quotes import receipt_digest
from prixfixe.protocol.receipt import Receipt
from prixfixe.protocol.signatures import parse_signature, require_signer
from prixfixe.protocol.signed_calls import SignedCall
from prixfixe.protocol.statements import as_csv
from scheduler.commands import admin
from tests.support.accounts import PASSWORD, Person
from tests.support.finished import deliver
from tests.support.service import CHAIN_TIME, CUSTOMER, DOLLAR, DOMAIN, OPERATOR, SEED, STRANGER, World

TABLE = b"a,b\n"
ADDRESS = SEED.signer(1).address
OWNER = Identity(1, ADDRESS, SCOPES["owner"], person="p")


@pytest.fixture
def ada(world: World) -> Iterator[Person]:
    """An owner whose account holds $100, and whose table is uploaded."""
    person = Person(world, "ada@example.com")
    person.sign_up(channel="fair-2026")
    world.chain.accounts[ADDRESS] = AccountView(100 * DOLLAR, 0, 2)
    world.publish()
    headers = {"X-CSRF-Token": person.csrf}
    put = person.browser.put(f"/v1/blobs/{sha256_hex(TABLE)}", content=TABLE, headers=headers)
    assert put.status_code in (200, 201), put.text
    yield person
    person.close()


def managed(world: World) -> Managed:
    assert world.services.managed is not None
    return world.services.managed


def request(world: World, **changes: Any) -> dict[str, Any]:
    body = world.quote_request(TABLE, **changes)
    return {name: value for name, value in body.items() if name != "customer"}


def order(person: Person, body: Any, key: str | None = "k1") -> httpx.Response:
    return person.call("POST", "/orders", body, **({} if key is None else {"Idempotency-Key": key}))


def stored_jobs(world: World) -> list[Any]:
    with world.store.read() as connection:
        return list(connection.execute(select(jobs)).mappings())


def limits(person: Person, **dollars: int) -> None:
    body = {name: str(value * DOLLAR) for name, value in {"warn_below": 10, **dollars}.items()}
    assert person.call("PUT", "/limits", body).status_code == 200


# ------------------------------------------------------------------------------------------------ ordering


def test_an_order_is_signed_by_the_accounts_own_key_and_names_its_channel(world: World, ada: Person) -> None:
    answer = order(ada, {"request": request(world)})
    assert answer.status_code == 201, answer.text
    ordered = wire.Ordered.model_validate(answer.json())
    assert (ordered.new, ordered.spendable, ordered.low) == (True, Money(96 * DOLLAR), False)
    (row,) = stored_jobs(world)
    purchase = Purchase.from_json(row["order"])
    assert (purchase.customer, purchase.era, row["channel"]) == (ADDRESS, 2, "fair-2026")
    require_signer(purchase.digest(DOMAIN), parse_signature(row["signature"]), ADDRESS)
    assert ada.browser.get(f"/v1/jobs/{row['id']}").json()["id"] == row["id"]


def test_a_retry_is_the_same_job(world: World, ada: Person) -> None:
    body = {"request": request(world)}
    first, again = order(ada, body), order(ada, body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["job"]["id"] == again.json()["job"]["id"]
    world.clock.now += 3600  # the quote is over; what was bought with it is not
    late = Person(world, ada.email)
    late.sign_in()
    assert order(late, body).json()["job"]["id"] == first.json()["job"]["id"]
    late.close()
    assert len(stored_jobs(world)) == 1


def test_a_quote_is_bought_once_by_whatever_key(world: World, ada: Person) -> None:
    quote = world.quote(TABLE, customer=ADDRESS).id
    ids = {order(ada, {"quote": quote}, key).json()["job"]["id"] for key in (None, "k1", "k2", None)}
    assert len(ids) == len(stored_jobs(world)) == 1


def test_a_key_that_was_used_for_another_order_is_refused(world: World, ada: Person) -> None:
    order(ada, {"request": request(world)})
    answer = order(ada, {"request": request(world, units=60)})
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency-key-reused")


def test_an_order_that_was_refused_is_quoted_anew_once_its_quote_is_over(world: World, ada: Person) -> None:
    world.chain.accounts[ADDRESS] = AccountView(0, 0, 0)
    assert order(ada, {"request": request(world)}).json()["code"] == "insufficient-funds"
    world.chain.accounts[ADDRESS] = AccountView(100 * DOLLAR, 0, 0)
    world.clock.now += 3600
    assert order(ada, {"request": request(world)}).status_code == 201
    assert len(stored_jobs(world)) == 1


@pytest.mark.parametrize(
    ("change", "key", "code"),
    [
        ({"quote": "q"}, "k", "invalid-request"),  # both
        ({"request": None}, "k", "invalid-request"),  # neither
        ({}, None, "idempotency-key-needed"),
        ({"most": str(3 * DOLLAR)}, "k", "above-most"),
        ({"request": {"bundle": "echo"}}, "k", "invalid-request"),
        ({"request": None, "quote": "0" * 32}, "k", "quote-unknown"),
    ],
)
def test_what_is_no_order_buys_nothing(
    world: World, ada: Person, change: Any, key: str | None, code: str
) -> None:
    answer = order(ada, {"request": request(world), **change}, key)
    assert answer.json()["code"] == code, answer.text
    assert stored_jobs(world) == []


def test_a_quote_of_another_customer_is_unknown_here(world: World, ada: Person) -> None:
    theirs = world.quote(TABLE, customer=CUSTOMER.address).id
    assert order(ada, {"quote": theirs}).json() == order(ada, {"quote": "0" * 32}, "k2").json()
    named = order(ada, {"request": {**request(world), "customer": CUSTOMER.address}}, "k3")
    assert named.json()["code"] == "invalid-request"


def test_the_limits_of_a_job_and_a_day_hold(world: World, ada: Person) -> None:
    limits(ada, per_job=3)
    assert order(ada, {"request": request(world)}, "k1").json()["code"] == "over-limit-per-job"
    limits(ada, per_job=5, per_day=9)
    codes = [order(ada, {"request": request(world)}, f"d{at}").json().get("code") for at in range(3)]
    assert codes == [None, None, "over-limit-per-day"]
    assert ada.call("GET", "").json()["spent_today"] == str(8 * DOLLAR)
    world.clock.now += 2 * 86_400
    ada.sign_in()
    assert order(ada, {"request": request(world)}, "next").status_code == 201


def test_a_days_limit_holds_for_orders_that_come_at_once(world: World, ada: Person) -> None:
    limits(ada, per_day=9)

    def place(number: int) -> str:
        body = wire.ManagedOrder(request=request(world))
        try:
            return managed(world).ordering.place(OWNER, body, f"k{number}").job
        except Forbidden as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(place, range(8)))
    assert answers.count("over-limit-per-day") == 6
    assert len(stored_jobs(world)) == 2


def test_one_key_that_comes_many_times_at_once_buys_once(world: World, ada: Person) -> None:
    def place(_: int) -> str:
        return managed(world).ordering.place(OWNER, wire.ManagedOrder(request=request(world)), "k").job

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(place, range(8)))) == 1
    assert len(stored_jobs(world)) == 1


def test_a_low_balance_is_told_in_the_account_and_with_each_order(world: World, ada: Person) -> None:
    limits(ada, warn_below=97)
    assert ada.call("GET", "").json()["low"] is False
    assert order(ada, {"request": request(world)}).json()["low"] is True
    account = wire.Account.model_validate(ada.call("GET", "").json())
    assert (account.balance, account.waiting, account.spendable) == (
        Money(100 * DOLLAR),
        Money(4 * DOLLAR),
        Money(96 * DOLLAR),
    )
    assert account.low


# ------------------------------------------------------------------------------------------------- top-ups


def _deposits(world: World) -> list[Any]:
    with world.store.read() as connection:
        query = select(transactions).where(transactions.c.call == "deposit").order_by(transactions.c.id)
        return list(connection.execute(query).mappings())


def test_an_invoice_is_deposited_once(world: World, ada: Person) -> None:
    shown, sends = credit(world.store, ADDRESS, Money(50 * DOLLAR), "2026-017")
    assert (shown.state, sends) == ("pending", True)
    _, again = credit(world.store, ada.email, Money(50 * DOLLAR), "2026-017")
    assert not again
    (row,) = _deposits(world)
    assert (row["arguments"]["account"], row["arguments"]["amount"]) == (ADDRESS, 50 * DOLLAR)
    assert [each["invoice"] for each in ada.call("GET", "/top-ups").json()["items"]] == ["2026-017"]
    with pytest.raises(Conflict) as other:
        credit(world.store, ADDRESS, Money(51 * DOLLAR), "2026-017")
    assert other.value.code == "invoice-known"


def test_a_deposit_that_failed_is_tried_again_with_the_same_authorisation(world: World, ada: Person) -> None:
    credit(world.store, ADDRESS, Money(DOLLAR), "i1")
    with world.store.write() as connection:
        outbox.transaction_failed(connection, _deposits(world)[0]["id"], {"message": "no money"})
    _, sends = credit(world.store, ADDRESS, Money(DOLLAR), "i1")
    assert sends
    first, second = _deposits(world)
    assert first["arguments"] == second["arguments"]  # the chain takes one of them


@pytest.mark.parametrize("invoice", ["", "a b", "=1+1", "a:b", "x" * 65, "ä"])
def test_what_is_no_invoice_number_is_refused(world: World, ada: Person, invoice: str) -> None:
    with pytest.raises(InvalidInput):
        credit(world.store, ADDRESS, Money(1), invoice)
    with pytest.raises(InvalidInput):
        credit(world.store, ADDRESS, Money(0), "i1")
    with pytest.raises(NotFound):
        credit(world.store, STRANGER.address, Money(1), "i1")


# ---------------------------------------------------------------------------------------------- withdrawals


@pytest.mark.parametrize("name", ["per_job", "per_day", "warn_below"])
def test_a_limit_that_no_database_holds_is_refused(world: World, ada: Person, name: str) -> None:
    body = {"warn_below": "0", name: str(2**63)}
    assert ada.call("PUT", "/limits", body).status_code == 422
    with pytest.raises(InvalidInput):
        credit(world.store, ADDRESS, Money(2**63), "i1")


def fix(person: Person, address: str) -> Any:
    answer = person.call("PUT", "/withdrawal-address", {"address": address})
    assert answer.status_code == 200, answer.text
    return answer.json()


def fix_while_empty(world: World, person: Person, address: str) -> Any:
    """Before the account's first money."""
    money = world.chain.accounts.pop(ADDRESS)
    answer = fix(person, address)
    world.chain.accounts[ADDRESS] = money
    return answer


def test_an_empty_accounts_first_address_counts_at_once_and_another_days_later(
    world: World, ada: Person
) -> None:
    assert fix_while_empty(world, ada, CUSTOMER.address)["address"] == CUSTOMER.address
    changed = fix(ada, STRANGER.address)
    due = CHAIN_TIME + 259_200
    assert changed == {"address": CUSTOMER.address, "next": STRANGER.address, "next_at": due}
    world.chain.time = due - 1
    body = {"amount": str(DOLLAR)}
    first = ada.call("POST", "/withdrawals", body, **{"Idempotency-Key": "w1"}).json()
    assert first["to"] == CUSTOMER.address
    with world.store.write() as connection:
        connection.execute(update(transactions).values(state="failed"))
    world.chain.time = due
    second = ada.call("POST", "/withdrawals", body, **{"Idempotency-Key": "w2"}).json()
    assert second["to"] == STRANGER.address
    assert ada.call("GET", "/withdrawal-address").json() == {
        "address": STRANGER.address,
        "next": None,
        "next_at": None,
    }


def test_the_account_shows_the_address_whose_time_has_come_before_anybody_asks_for_it(
    world: World, ada: Person
) -> None:
    fix_while_empty(world, ada, CUSTOMER.address)
    due = fix(ada, STRANGER.address)["next_at"]
    world.chain.time = due - 1
    waiting = {"address": CUSTOMER.address, "next": STRANGER.address, "next_at": due}
    assert ada.call("GET", "").json()["withdrawal"] == waiting
    world.chain.time = due
    assert ada.call("GET", "").json()["withdrawal"] == {
        "address": STRANGER.address,
        "next": None,
        "next_at": None,
    }
    # Another change begins from the address that counts now.
    assert fix(ada, CUSTOMER.address) == {
        "address": STRANGER.address,
        "next": CUSTOMER.address,
        "next_at": due + 259_200,
    }


def test_a_change_can_be_taken_back(world: World, ada: Person) -> None:
    fix_while_empty(world, ada, CUSTOMER.address)
    fix(ada, STRANGER.address)
    assert fix(ada, CUSTOMER.address) == {"address": CUSTOMER.address, "next": None, "next_at": None}


def test_an_account_with_money_waits_for_its_first_address_however_the_money_came(
    world: World, ada: Person
) -> None:
    assert fix(ada, CUSTOMER.address) == {
        "address": None,
        "next": CUSTOMER.address,
        "next_at": CHAIN_TIME + 259_200,
    }
    answer = ada.call("POST", "/withdrawals", {"amount": "1"}, **{"Idempotency-Key": "w"})
    assert (answer.status_code, answer.json()["code"]) == (409, "no-withdrawal-address")


def test_an_empty_account_whose_money_is_on_its_way_waits_for_its_first_address(
    world: World, ada: Person
) -> None:
    credit(world.store, ADDRESS, Money(DOLLAR), "i1")
    assert fix_while_empty(world, ada, CUSTOMER.address)["address"] is None


def test_a_withdrawal_is_signed_once_for_what_is_spendable(world: World, ada: Person) -> None:
    fix_while_empty(world, ada, CUSTOMER.address)

    def withdraw(dollars: int, key: str) -> httpx.Response:
        body = {"amount": str(dollars * DOLLAR)}
        return ada.call("POST", "/withdrawals", body, **{"Idempotency-Key": key})

    assert withdraw(101, "w1").json()["code"] == "insufficient-funds"
    made = withdraw(60, "w2")
    assert made.status_code == 201, made.text
    assert withdraw(60, "w2").json()["id"] == made.json()["id"]
    assert withdraw(61, "w2").json()["code"] == "idempotency-key-reused"
    assert withdraw(30, "w3").json()["code"] == "withdrawal-under-way"
    with world.store.read() as connection:
        (row,) = connection.execute(select(transactions)).mappings()
    signed = Withdraw.from_json(row["arguments"]["order"])
    assert (signed.account, signed.to, signed.amount, signed.fee) == (
        ADDRESS,
        CUSTOMER.address,
        60 * DOLLAR,
        0,
    )
    require_signer(signed.digest(DOMAIN), parse_signature(row["arguments"]["signature"]), ADDRESS)


def test_crumbs_are_withdrawn_only_when_they_are_all(world: World, ada: Person) -> None:
    fix_while_empty(world, ada, CUSTOMER.address)

    def withdraw(units: int) -> httpx.Response:
        return ada.call("POST", "/withdrawals", {"amount": str(units)}, **{"Idempotency-Key": f"w{units}"})

    small = withdraw(DOLLAR - 1)
    assert (small.status_code, small.json()["code"]) == (422, "withdrawal-too-small")
    world.chain.accounts[ADDRESS] = AccountView(5, 0, 2)
    assert withdraw(4).json()["code"] == "withdrawal-too-small"
    assert withdraw(5).status_code == 201


def test_an_account_asks_for_its_share_of_withdrawals(world: World, ada: Person) -> None:
    fix_while_empty(world, ada, CUSTOMER.address)
    quota = world.services.settings.withdrawals_per_minute
    assert [ada.call("GET", "/standing-withdrawal").status_code for _ in range(quota)] == [200] * quota
    assert ada.call("GET", "/standing-withdrawal").status_code == 429
    body = {"amount": str(DOLLAR)}
    assert ada.call("POST", "/withdrawals", body, **{"Idempotency-Key": "w"}).status_code == 429


def test_the_standing_withdrawal_is_handed_over_at_sign_up_and_makes_any_sum(world: World) -> None:
    bob = Person(world, "bob@example.com")
    standing = bob.sign_up(withdraw_to=CUSTOMER.address).standing
    assert standing is not None
    calls = [SignedCall.from_json(each) for each in standing.calls]
    amounts = []
    for call in calls:
        assert isinstance(call.message, Withdraw)
        assert (call.message.to, call.message.fee) == (CUSTOMER.address, 0)
        require_signer(call.message.digest(DOMAIN), call.signature, standing.account)
        amounts.append(call.message.amount)
    balance = 123_456_789
    assert sum(each for each in amounts if balance & each) == balance
    assert len(set(amounts)) == len(amounts) == 42
    again = wire.StandingWithdrawal.model_validate(bob.call("GET", "/standing-withdrawal").json())
    assert again == standing  # two copies are one
    assert standing.deadline > world.chain.time + 600 * 86_400
    bob.close()


# ------------------------------------------------------------------------------------------------ statement


def test_a_statements_cells_are_no_formulas(world: World, ada: Person) -> None:
    line = wire.StatementLine(
        time=CHAIN_TIME,
        block=7,
        transaction="0x" + "ab" * 32,
        kind="order",
        reference="0x" + "cd" * 32,
        amount=-4_000_001,
        balance=96 * DOLLAR,
    )
    statement = wire.Statement(
        address=ADDRESS, block=7, opening=0, lines=(line,), balance=96 * DOLLAR, on_chain=96 * DOLLAR
    )
    header, row = csv.reader(io.StringIO(as_csv(statement)))
    assert header == ["time", "block", "transaction", "kind", "reference", "amount", "balance"]
    assert row[0] == "2030-03-17 17:46:40"
    assert row[-2:] == ["-4.000001", "96.000000"]


def test_an_empty_account_has_an_empty_statement(ada: Person) -> None:
    answer = ada.browser.get("/v1/account/statement.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text.strip() == "time,block,transaction,kind,reference,amount,balance"


# ------------------------------------------------------------------------------------------- nothing leaks

ROUTES = [
    ("GET", "", None, "read"),
    ("PUT", "/limits", {"warn_below": "0"}, "manage"),
    ("POST", "/orders", {"quote": "0" * 32}, "order"),
    ("GET", "/top-ups", None, "read"),
    ("GET", "/statement", None, "read"),
    ("GET", "/statement.csv", None, "read"),
    ("GET", "/statement.pdf", None, "read"),
    ("GET", "/withdrawal-address", None, "read"),
    ("PUT", "/withdrawal-address", {"address": STRANGER.address}, "manage"),
    ("GET", "/standing-withdrawal", None, "manage"),
    ("GET", "/withdrawals", None, "read"),
    ("POST", "/withdrawals", {"amount": "1"}, "manage"),
]


def test_each_route_asks_for_its_scope_and_knows_its_own_account_only(world: World, ada: Person) -> None:
    fix_while_empty(world, ada, CUSTOMER.address)
    order(ada, {"request": request(world)})
    credit(world.store, ADDRESS, Money(DOLLAR), "secret-invoice")
    bob = Person(world, "bob@example.com")
    bob.sign_up()
    keys = {
        "expired": ada.key("manage", "order", days=1),
        "viewer": ada.key("read", days=9),
        "orders": ada.key("order", days=9),
        "other": bob.key("manage", "order", days=9),
    }
    world.clock.now += 86_401
    for method, path, body, scope in ROUTES:
        answers = {}
        for name, headers in {"nobody": {}, **keys}.items():
            answers[name] = world.http.request(
                method,
                f"/v1/account{path}",
                json=body,
                headers={**headers, "Idempotency-Key": f"{name}{path}"},
            )
        assert answers["nobody"].status_code == answers["expired"].status_code == 401, path
        refused = {name for name in ("viewer", "orders") if answers[name].status_code == 403}
        assert refused == {"read": set(), "order": {"viewer"}, "manage": {"viewer", "orders"}}[scope], path
        for secret in (ADDRESS, "secret-invoice", CUSTOMER.address, ada.email):
            assert secret not in answers["other"].text, path
    bob.close()


def test_a_job_of_another_account_is_not_there(world: World, ada: Person) -> None:
    order(ada, {"request": request(world)})
    (job,) = [row["id"] for row in stored_jobs(world)]
    bob = Person(world, "bob@example.com")
    bob.sign_up()
    headers = bob.key("read", "order")
    for path in ("", "/events", "/log", "/outputs", "/receipt", "/deletions"):
        real = world.http.get(f"/v1/jobs/{job}{path}", headers=headers)
        guessed = world.http.get(f"/v1/jobs/0x{'0' * 64}{path}", headers=headers)
        assert real.status_code == guessed.status_code == 404, path
        assert real.text.replace(job, "") == guessed.text.replace(f"0x{'0' * 64}", ""), path
    bob.close()


# ------------------------------------------------------------------------------------------- the operator


def test_the_operator_replaces_a_forgotten_password(world: World, ada: Person) -> None:
    at = ["--database", world.store.url]
    password = CliRunner().invoke(admin, ["reset-password", ada.email.upper(), *at]).output.strip()
    assert len(password) == 20
    assert ada.call("GET", "/session").status_code == 401
    assert ada.call("POST", "/session", {"email": ada.email, "password": PASSWORD}).status_code == 401
    ada.sign_in(password=password)
    refused = CliRunner().invoke(admin, ["reset-password", "nobody@example.com", *at])
    assert isinstance(refused.exception, NotFound)


def test_a_receipt_names_the_channel_under_the_operators_seal(world: World, ada: Person) -> None:
    job = wire.Ordered.model_validate(order(ada, {"request": request(world)}).json()).job
    deliver(world, job)
    receipt = Receipt.model_validate(ada.browser.get(f"/v1/jobs/{job.id}/receipt").json())
    assert receipt.channel == "fair-2026"
    require_signer(receipt_digest(receipt, DOMAIN), parse_signature(receipt.signature), OPERATOR.address)
    altered = receipt.model_copy(update={"channel": "direct"})
    with pytest.raises(SignatureError):
        require_signer(receipt_digest(altered, DOMAIN), parse_signature(receipt.signature), OPERATOR.address)


def test_the_operator_credits_an_invoice_and_sees_the_accounts(world: World, ada: Person) -> None:
    at = ["--database", world.store.url]
    run = CliRunner().invoke(admin, ["credit", ADDRESS.lower(), "50", "--invoice", "2026-017", *at])
    assert run.output == "invoice 2026-017: the deposit of $50.00 goes to the chain\n"
    told = json.loads(
        CliRunner().invoke(admin, ["credit", ada.email, "50", "--invoice", "2026-017", "--json", *at]).output
    )
    assert (told["state"], told["sends"]) == ("pending", False)
    (listed,) = json.loads(CliRunner().invoke(admin, ["accounts", "--json", *at]).output)["accounts"]
    assert (listed["address"], listed["owners"], listed["credited"]) == (
        ADDRESS,
        [ada.email],
        str(50 * DOLLAR),
    )
    assert f"{ADDRESS}  {ada.email}  {ada.email}  credited $50.00  by fair-2026" in (
        CliRunner().invoke(admin, ["accounts", *at]).output
    )
