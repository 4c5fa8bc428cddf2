"""The page of a product: it shows what the market says, and nothing that somebody wrote becomes markup."""

from __future__ import annotations

from xml.etree import ElementTree

from marketplace.console.market import page
from prixfixe.protocol.book import Book
from prixfixe.protocol.prices import Trade
from tests.service.test_trades import CODE, PRODUCT, address, index, paid
from tests.support.service import World


def shown(world: World) -> ElementTree.Element:
    """The page, which is well-formed after its doctype."""
    answer = world.http.get(f"/market/{PRODUCT.name}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text
    text = answer.text.removeprefix("<!doctype html>")
    for void in ('<meta charset="utf-8">', '<meta name="viewport" content="width=device-width">'):
        text = text.replace(void, "")
    return ElementTree.fromstring(text)


def test_an_empty_market_says_so(world: World) -> None:
    world.publish()
    text = "".join(shown(world).itertext())
    assert PRODUCT.name in text
    assert "Nothing rests." in text
    assert "Nothing was paid yet." in text


def test_trades_and_asks_are_drawn(world: World) -> None:
    world.publish()
    world.register()
    world.beat([world.ask(price=700, kinds=3)])
    job = world.placed()
    paid(world, job.id, [(100 + 10 * at, address(at + 1), address(at % 2 + 50), 1, at) for at in range(9)])
    found = shown(world)
    assert len(found.findall(".//circle")) == 9
    assert [each.get("class") for each in found.findall(".//polygon")] == ["ask"]
    assert "P50 $0.00014" in "".join(found.itertext())


def test_what_somebody_wrote_is_text(world: World) -> None:
    world.publish()
    found = index(world)
    evil = "<img src=x onerror=alert(1)>"
    trade = Trade.model_construct(
        deal="0x", leg=0, product=PRODUCT, kind=evil, price=evil, tasks=1, provider=evil, customer=evil,
        bundle=None, batch=None, block=1, time=1,
    )  # fmt: skip
    answer = world.http.get(f"/v1/book/{CODE}")
    book = Book.model_validate(answer.json())
    trade = trade.model_copy(update={"price": type("Evil", (), {"units": 5, "__str__": lambda _: evil})()})
    document = page(book, found, [trade])
    assert "<img" not in document
    assert "&lt;img" in document


def test_a_product_that_is_none_is_refused(world: World) -> None:
    assert world.http.get("/market/nonsense").status_code == 422
