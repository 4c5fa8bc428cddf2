"""The statement as a PDF: what it says adds up to what the API says, whoever's name is on it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pytest
from pypdf import PdfReader
from sqlalchemy import insert, update

from marketplace.chain import AccountView
from marketplace.console.languages import LANGUAGES
from marketplace.console.papers import printable
from marketplace.console.statement_paper import MOST_LINES, statement_pdf
from marketplace.store.account_tables import accounts
from marketplace.store.tables import chain_events
from prixfixe.errors import TooLarge
from prixfixe.protocol import accounts as wire
from tests.support.accounts import Person
from tests.support.service import CHAIN_TIME, CUSTOMER, DOLLAR, SEED, World

ADDRESS = SEED.signer(1).address
EN = LANGUAGES["en"]


@pytest.fixture
def ada(world: World) -> Iterator[Person]:
    """Three deposits and a withdrawal, as the chain told them, a day apart."""
    person = Person(world, "ada@example.com")
    person.sign_up(name="Ada & Söhne 对账")
    moved = [
        ("Deposited", 100 * DOLLAR),
        ("Deposited", 1),
        ("Withdrawn", 30 * DOLLAR),
        ("Deposited", 999_999),
    ]
    rows = [
        {
            "block": at + 1,
            "log_index": 0,
            "block_hash": "0x" + "00" * 32,
            "transaction": f"0x{at + 1:064x}",
            "time": CHAIN_TIME + at * 86_400,
            "name": name,
            "data": {
                "account": ADDRESS,
                "amount": str(amount),
                "from_": CUSTOMER.address,
                "to": CUSTOMER.address,
            },
        }
        for at, (name, amount) in enumerate(moved)
    ]
    with world.store.write() as connection:
        connection.execute(insert(chain_events), rows)
    world.chain.accounts[ADDRESS] = AccountView(71 * DOLLAR, 0, 0)
    yield person
    person.close()


def read(content: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)


def amounts(text: str) -> list[int]:
    """Of the movements, in units: what stands between a kind and a balance."""
    line = r"^\S+ \S+ (?:deposit|withdrawal) (-?)(\d+)\.(\d{6}) -?\d+\.\d{6} \d+$"
    rows = re.findall(line, text, re.MULTILINE)
    return [int(f"{sign}{whole}{part}") for sign, whole, part in rows]


@pytest.mark.parametrize("query", ["", f"?since={CHAIN_TIME + 1}", f"?until={CHAIN_TIME + 86_400}"])
def test_the_paper_adds_up_to_what_the_api_says_to_the_unit(ada: Person, query: str) -> None:
    found = wire.Statement.model_validate(ada.browser.get(f"/v1/account/statement{query}").json())
    answer = ada.browser.get(f"/v1/account/statement.pdf{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    text = read(answer.content)
    assert amounts(text) == [line.amount for line in found.lines]
    assert found.opening + sum(amounts(text)) == found.balance
    assert all(line.transaction in text for line in found.lines)
    for name, told in (("Opening", found.opening), ("Closing", found.balance)):
        assert f"\n{name} balance {told // DOLLAR}.{told % DOLLAR:06}\n" in text
    for told in ("Ada & Söhne", "对账", ADDRESS, "Page 1 of 1"):
        assert told in text, told
    assert ("exactly the closing balance" in text) == (not query.startswith("?until"))


def test_the_same_statement_has_the_same_bytes_by_either_name(ada: Person) -> None:
    one = ada.browser.get("/v1/account/statement.pdf").content
    two = ada.browser.get("/v1/account/statement", headers={"Accept": "application/pdf"}).content
    assert one == two
    csv = ada.browser.get("/v1/account/statement", headers={"Accept": "text/csv"})
    assert csv.text == ada.browser.get("/v1/account/statement.csv").text


def test_the_paper_is_in_chinese_where_that_is_asked_for(ada: Person) -> None:
    text = read(ada.browser.get("/v1/account/statement.pdf?language=zh").content)
    for told in ("对账单", "期末余额", "第 1 页"):
        assert told in text, told
    assert ada.browser.get("/v1/account/statement.pdf?language=fr").status_code == 422


def test_a_name_is_printed_as_it_is_and_nothing_in_it_hides(world: World, ada: Person) -> None:
    assert printable("张 é <b>\u202e\x07\U0001f600\u0627\u200b") == (
        "张 é <b>\\u{202e}\\u{7}\\u{1f600}\\u{627}\\u{200b}"
    )
    with world.store.write() as connection:
        connection.execute(update(accounts).values(name=f"(x) Tj \\ {'W' * 80}\u202e"))
    text = read(ada.browser.get("/v1/account/statement.pdf").content)
    assert "(x) Tj \\" in text
    assert "u{202e}" in text


def long(lines: int) -> wire.Statement:
    each = [
        wire.StatementLine(
            time=CHAIN_TIME + at,
            block=at,
            transaction=f"0x{at:064x}",
            kind="deposit",
            reference=CUSTOMER.address,
            amount=at,
            balance=at * (at + 1) // 2,
        )
        for at in range(lines)
    ]
    total = each[-1].balance
    return wire.Statement(
        address=ADDRESS, block=lines, opening=0, lines=tuple(each), balance=total, on_chain=total
    )


def test_a_long_statement_has_every_line_and_numbered_pages() -> None:
    pages = PdfReader(io.BytesIO(statement_pdf(long(300), "Ada", None, None, EN))).pages
    texts = [page.extract_text() for page in pages]
    assert sum(len(amounts(text)) for text in texts) == 300
    assert sum(sum(amounts(text)) for text in texts) == 299 * 300 // 2
    for number, text in enumerate(texts, 1):
        assert f"Page {number} of {len(texts)}" in text


def test_nobody_turns_a_thousand_pages() -> None:
    statement = long(1)
    endless = statement.model_copy(update={"lines": statement.lines * (MOST_LINES + 1)})
    with pytest.raises(TooLarge, match="20,001"):
        statement_pdf(endless, "Ada", None, None, EN)
