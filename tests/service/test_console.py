"""The pages: they show what the market says, in two languages, and nothing that somebody wrote becomes
markup."""

from __future__ import annotations

import json
import re
import string
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from sqlalchemy import update

from marketplace.api import run_pages, wallet_pages
from marketplace.api.managed import COOKIE
from marketplace.api.pages import NoRun, packed_document, router
from marketplace.console import charts, documents
from marketplace.console.assets import ASSETS
from marketplace.console.languages import ENGLISH, LANGUAGES, chosen
from marketplace.console.rendering import render
from marketplace.store.tables import trades
from prixfixe.protocol.accounts import Role, StatementLine, TransactionState
from prixfixe.protocol.bundle import BundleDefinition, Refund
from prixfixe.protocol.canonical import canonical_json
from prixfixe.protocol.certificate import CertifiedDeal, CheckKind, UncheckedKind
from prixfixe.protocol.prices import PriceIndex, Trade
from prixfixe.protocol.receipt import Receipt
from prixfixe.protocol.reputation import GradeName
from prixfixe.protocol.wire import JobState
from tests.service.test_trades import PRODUCT, address, index, paid
from tests.support.finished import deliver
from tests.support.service import CUSTOMER, DEFINITION, PRICING, PROVIDER, WORKER, World

ROOT = Path(__file__).parents[2]
EVIL = "<img src=x onerror=alert(1)>'\""
PERSON = {"Accept": "text/html,application/xhtml+xml"}


class Seen(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(world: World, path: str, status: int = 200, **headers: str) -> Seen:
    answer = world.http.get(path, headers={**PERSON, **headers})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    return Seen(answer.text)


def bare(seen: Seen) -> str:
    """The text without any space, as cells stand beside one another."""
    return "".join(seen.text.split())


def pages(world: World) -> list[str]:
    """Every page that needs no value of its own, and one of each that does."""
    plain = [route.path for route in router.routes if "{" not in route.path and route.path != "/prices"]
    named = ["/bundles/echo", f"/market/{PRODUCT.name}", f"/providers/{PROVIDER.address}", "/docs/market"]
    named += ["/wallet", "/bundles/echo/run?wallet=yes"]
    return [*dict.fromkeys(plain), *named]


@pytest.fixture
def busy(world: World) -> World:
    """Something to see on every page."""
    world.publish(version="0.9.0", tiers=[{**DEFINITION["tiers"][0], "price": "3.20"}])
    world.publish()
    world.register()
    world.beat([world.ask(price=700, kinds=3)])
    job = world.placed()
    paid(
        world, job.id, [(100 + 10 * at, address(at + 1), address(at % 2 + 50), 1, 8 - at) for at in range(9)]
    )
    with world.store.write() as connection:
        own = update(trades).where(trades.c.provider == address(1))
        connection.execute(own.values(provider=PROVIDER.address, worker=WORKER.address))
    return world


@pytest.fixture
def receipt(world: World) -> bytes:
    """Of a job that was delivered and paid."""
    world.publish()
    job = world.placed()
    deliver(world, job, out_csv=b"done")
    return world.http.get(f"/v1/jobs/{job.id}/receipt", headers=world.sign_in(CUSTOMER)).content


def test_every_page_opens_in_both_languages_and_loads_nothing_from_elsewhere(busy: World) -> None:
    for path in pages(busy):
        for code, language in LANGUAGES.items():
            seen = page(busy, path, Cookie=f"language={code}")
            assert dict(seen.tags[0][1])["lang"] == language.tag, path
            for tag, values in seen.tags:
                assert not any(name.startswith("on") or name == "style" for name in values), (path, values)
                if tag in ("script", "link", "img", "form"):
                    place = values.get("src") or values.get("href") or values.get("action") or ""
                    assert place.startswith("/"), (path, values)
                    assert not place.startswith("//"), (path, values)
        assert len(busy.http.get(path, headers=PERSON).content) < 200_000, path


def placeholders(text: str) -> set[str]:
    """The names of the values that a text takes."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_every_text_with_the_same_values() -> None:
    for language in LANGUAGES.values():
        assert language.words.keys() == ENGLISH.words.keys(), language.code
        for key, text in language.words.items():
            assert placeholders(text) == placeholders(ENGLISH.words[key]), (language.code, key)


def test_no_text_is_there_for_nobody() -> None:
    """Every key is in a template, or is one of a list of outcomes, states or grades."""
    folder = ROOT / "marketplace" / "console"
    written = "".join(file.read_text() for file in [*folder.rglob("*.html"), *folder.glob("*.py")])
    parts: dict[str, tuple[str, ...]] = {
        "index": get_args(PriceIndex.model_fields["status"].annotation),
        "grade": get_args(GradeName),
        "refunds": get_args(Refund),
        "determinism": get_args(BundleDefinition.model_fields["determinism"].annotation),
        "nav": ("prices", "market", "providers", "receipts", "docs"),
        "providers": ("paid", "unsigned", "refused", "expired", "guilty"),
        "checked": get_args(Receipt.model_fields["outcome"].annotation),
        "role": get_args(Role),
        "state": get_args(JobState),
        "fault": ("customer", "provider", "platform"),
        "sent": get_args(TransactionState),
        "check": get_args(CheckKind),
        "unchecked": get_args(UncheckedKind),
        "certificate": get_args(CertifiedDeal.model_fields["outcome"].annotation),
        "movement": get_args(StatementLine.model_fields["kind"].annotation),
        "kind": get_args(Trade.model_fields["kind"].annotation),
        "run": run_pages.WORDS,
        "wallet": wallet_pages.WORDS,
        "no_run": get_args(NoRun),
    }
    listed = {f"{part}.{name}" for part, names in parts.items() for name in names}
    listed |= {key for key in ENGLISH.words if key.startswith("said.")}  # tests/service/test_sentences.py
    assert listed <= ENGLISH.words.keys()
    unused = {key for key in ENGLISH.words if f'"{key}"' not in written and f"'{key}'" not in written}
    assert unused <= listed, unused - listed


@pytest.mark.parametrize(
    ("cookie", "accept", "code"),
    [
        (None, None, "en"),
        (None, "fr-FR, zh-CN;q=0.8, en;q=0.5", "zh"),
        ("en", "zh-CN", "en"),
        ("xx", "de", "en"),
        (None, "," * 10_000, "en"),
    ],
)
def test_the_language_is_the_readers(cookie: str | None, accept: str | None, code: str) -> None:
    assert chosen(cookie, accept).code == code


@pytest.mark.parametrize(
    ("back", "place"),
    [
        ("/market", "/market"),
        ("https://elsewhere.example/", "/"),
        ("//elsewhere.example/", "/"),
        ("/\\elsewhere.example", "/"),
        ("/a\r\nSet-Cookie: x=1", "/"),
        ("", "/"),
    ],
)
def test_choosing_a_language_leads_back_and_never_elsewhere(world: World, back: str, place: str) -> None:
    answer = world.http.get("/language/zh", params={"back": back})
    assert (answer.status_code, answer.headers["location"]) == (303, place)
    assert answer.headers["set-cookie"].startswith("language=zh;")
    assert page(world, "/language/xx", 422).text.count("xx")


def test_assets_are_named_by_their_digest_and_kept_for_good(world: World) -> None:
    for asset in ASSETS.values():
        answer = world.http.get(asset.path)
        assert (answer.status_code, answer.content) == (200, asset.content)
        assert "immutable" in answer.headers["cache-control"]
    assert world.http.get("/assets/console-0000000000000000.css").status_code == 404
    assert world.http.get("/assets/..%2f..%2fpages.py").status_code == 404


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip, deflate, br", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("br, gzip ; q=0", False),
        ("gzip;q=0.0,br", False),
        ("x-gzipped", False),
        ("", False),
    ],
)
def test_what_is_everybodys_is_sent_packed_to_who_takes_it(
    world: World, accepted: str, is_packed: bool
) -> None:
    style = ASSETS["console.css"]
    for path, most in ((style.path, len(style.content) // 2), ("/docs/http", 50_000)):
        answer = world.http.get(path, headers={**PERSON, "Accept-Encoding": accepted})
        assert ("content-encoding" in answer.headers) == is_packed
        assert "Accept-Encoding" in answer.headers["vary"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (int(answer.headers["content-length"]) < most) == is_packed
        assert len(answer.content) > most  # unpacked
    # What holds a secret and what somebody wrote: its length would tell of it.
    assert "content-encoding" not in world.http.get("/sign-in?next=/x", headers=PERSON).headers


def test_a_document_is_made_once_for_all_who_see_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed_document.cache_clear()
    made: list[str] = []

    def counted(template: str, *given: Any, **values: Any) -> str:
        made.append(template)
        return render(template, *given, **values)

    monkeypatch.setattr("marketplace.api.pages.render", counted)
    signed_in = {"Cookie": f"{COOKIE}=x"}
    seen = {
        world.http.get("/docs/http", headers={**PERSON, **more}).text
        for more in ({}, {"Accept-Encoding": "identity"}, {"Accept-Language": "zh"}, signed_in, {})
    }
    assert len(seen) == len(made) == 3  # by language, and by what the way in is called
    assert world.http.get("/docs/nothing", headers=PERSON).status_code == 404
    assert packed_document.cache_info().currsize == 3


def test_our_copy_of_a_library_is_what_the_lock_names() -> None:
    packages = ROOT / "node_modules"
    for published in (
        packages / "htmx.org" / "dist" / "htmx.min.js",
        packages / "uplot" / "dist" / "uPlot.iife.min.js",
        packages / "uplot" / "dist" / "uPlot.min.css",
    ):
        assert ASSETS[published.name].content == published.read_bytes()
    ours = ROOT / "marketplace" / "console" / "assets"
    for part in ("sha3", "utils", "_u64", "crypto"):
        published = packages / "@noble" / "hashes" / "esm" / f"{part}.js"
        assert (ours / f"noble_{part.lstrip('_')}.js").read_bytes() == published.read_bytes()


def test_what_a_module_imports_is_an_asset_too() -> None:
    paths = {asset.path for asset in ASSETS.values()}
    imports = {
        name: re.findall(r'^import .* from "([^"]*)"', asset.content.decode(), re.MULTILINE)
        for name, asset in ASSETS.items()
        if asset.path.endswith(".js")
    }
    assert {name for name, each in imports.items() if each} >= {"wallet_digest.js", "noble_sha3.js"}
    assert {each for found in imports.values() for each in found} <= paths
    assert not any(b"from '" in ASSETS[name].content for name in imports)


def test_the_calculator_says_what_a_quote_says(world: World) -> None:
    world.publish()
    for units, total in ((1, "$4.00"), (100, "$4.00"), (101, "$9.00"), (10_000, "$9.00")):
        shown = page(world, f"/prices?bundle=echo&units={units:,}&replicas=1")
        assert total in shown.text
        assert str(world.quote(units=units).total) == total
    assert "10,000" in page(world, "/prices?bundle=echo&units=10001").text  # the limit
    assert "no number" in page(world, "/prices?bundle=echo&units=many").text
    assert "not sold with 3" in page(world, "/prices?bundle=echo&units=5&replicas=3").text
    assert {tag for tag, _ in page(world, f"/prices?bundle=echo&units={EVIL}").tags} == {"p"}


def test_a_bundles_page_names_its_parameters_and_promises(world: World) -> None:
    world.publish()
    seen = page(world, "/bundles/echo")
    for told in ("word", "times", "must be given", "10 min", "$4.00", "$9.00", "30 days"):
        assert told in seen.text, told
    assert "no bundle" in page(world, "/bundles/nothing", 404).text.lower()


def test_parameters_stand_in_the_order_of_their_author(world: World) -> None:
    names = ("zebra", "apple", "mango", "fig")
    properties = {name: {"type": "string", "default": ""} for name in names}
    world.publish(parameters={"type": "object", "additionalProperties": False, "properties": properties})
    text = page(world, "/bundles/echo").text
    places = [text.index(name) for name in names]
    assert places == sorted(places)


def test_the_sample_of_a_bundle_is_everybodys(world: World) -> None:
    world.publish(sample={"name": "words.csv", "content": "<b>,é\n1,2\n"})
    seen = page(world, "/bundles/echo")
    assert "<b>,é" in seen.text
    (link,) = [values["href"] for tag, values in seen.tags if tag == "a" and "download" in values]
    taken = world.http.get(link)
    assert taken.content == "<b>,é\n1,2\n".encode()
    assert taken.headers["content-type"] == "text/csv; charset=utf-8"
    assert taken.headers["content-disposition"] == 'attachment; filename="words.csv"'
    world.publish(version="1.1.0")
    assert "words.csv" not in page(world, "/bundles/echo?version=1.1.0").text
    assert "without a sample" in page(world, "/bundles/echo/sample?version=1.1.0", 404).text


def test_a_bundles_page_says_why_no_file_can_be_run_from_it(world: World) -> None:
    world.publish()
    assert "Run it on a file" in page(world, "/bundles/echo").text
    rows = {"formats": ["csv"], "max_bytes": 1_000_000, "preflight": "rows"}
    world.publish(id="rows", inputs=rows)
    seen = page(world, "/bundles/rows")
    assert "looks at no files" in seen.text
    assert "Run it on a file" not in seen.text
    parameters = {**DEFINITION["parameters"], "required": ["shape"]}
    parameters["properties"] = {"shape": {"type": "object"}}
    world.publish(id="shapes", parameters=parameters)
    assert "no field on a page" in page(world, "/bundles/shapes").text
    assert page(world, "/bundles/shapes/run", 404)


def test_an_empty_market_says_so(world: World) -> None:
    world.publish()
    text = page(world, f"/market/{PRODUCT.name}").text
    assert PRODUCT.name in text
    assert "Nothing rests." in text
    assert "Nothing was paid yet." in text


def test_trades_and_asks_are_drawn(busy: World) -> None:
    seen = page(busy, f"/market/{PRODUCT.name}")
    assert len([tag for tag, _ in seen.tags if tag == "circle"]) == 9
    assert [values["class"] for tag, values in seen.tags if tag == "polygon"] == ["ask"]
    assert "P50 $0.00014" in seen.text


def test_a_provider_sees_its_record_pay_and_places(busy: World) -> None:
    seen = page(busy, f"/providers/{PROVIDER.address}")
    assert "1 live, 0 of 2 places busy (0 %)" in seen.text
    assert re.search(r"TasksEarned2030-\d\d-\d\d11\$0\.0001Newest", bare(seen))  # one lot of one task
    assert f"/market/{PRODUCT.name}" in {values.get("href") for tag, values in seen.tags if tag == "a"}
    assert page(busy, "/providers/0x123", 422).text.count("Prixfixe")
    assert "0 live" in page(busy, f"/providers/{CUSTOMER.address}").text


def test_the_prices_of_every_version_are_compared_with_those_before(busy: World) -> None:
    text = bare(page(busy, "/pricing"))
    assert "1.0.0smallsoldnow100rows$4.00+25.0%(was$3.20)" in text
    assert "1.0.0largesoldnow10,000rows$9.00newtier" in text
    assert "0.9.0small100rows$3.20thefirstversion" in text
    answer = busy.http.post("/v1/bundles/echo/retire?version=1.0.0", headers=busy.sign_in(PRICING))
    assert answer.is_success, answer.text
    text = bare(page(busy, "/pricing"))
    assert "1.0.0smallretired100rows" in text
    assert "0.9.0smallsoldnow" in text


def test_what_somebody_wrote_is_text(world: World) -> None:
    world.publish(title=EVIL, summary=EVIL, audience=EVIL)
    for path in ("/", "/bundles/echo", "/pricing"):
        answer = world.http.get(path, headers=PERSON)
        assert "<img" not in answer.text, path
    trade = Trade.model_construct(
        deal="0x", leg=0, product=PRODUCT, kind="flat", price=EVIL, tasks=1, provider=EVIL, customer=EVIL,
        bundle=None, batch=None, block=1, time=1,
    )  # fmt: skip
    table = render("trades.html", ENGLISH, trades=[trade])
    assert "<img" not in table
    assert "&lt;img" in table
    evil: Any = trade.model_copy(
        update={"price": type("Evil", (), {"units": 5, "__str__": lambda _: EVIL})()}
    )
    drawn = charts.points([evil], index(world), ENGLISH)
    assert "<img" not in str(drawn)
    assert page(world, f"/{EVIL}", 404).text.count(EVIL) == 1


def test_who_asks_for_no_page_is_answered_with_a_problem(world: World) -> None:
    for path, headers in (("/v1/nothing", PERSON), ("/nothing", {"Accept": "application/json"})):
        answer = world.http.get(path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert page(world, "/market/nonsense", 422).text.count("nonsense")


def test_a_receipt_is_checked_and_an_altered_one_is_refused(world: World, receipt: bytes) -> None:
    for answer in (
        world.http.post("/receipts", content=receipt, headers={"Content-Type": "application/json"}),
        world.http.post("/receipts", data={"receipt": receipt.decode()}),
    ):
        assert answer.status_code == 200
        assert "Every check that was made holds." in Seen(answer.text).text
        assert "What was not checked" in answer.text
        assert ENGLISH.text("check.deal-result") in answer.text
    in_chinese = {"Cookie": "language=zh"}
    told = world.http.post("/receipts", content=receipt, headers=in_chinese).text
    shown = told.partition('<ul class="checks">')[2].partition('<p class="quiet">')[0]
    assert LANGUAGES["zh"].text("check.deal-result") in shown
    assert LANGUAGES["zh"].text("unchecked.truth") in shown
    assert not re.search(r">[^<]*[A-Za-z]{3,} [a-z]{3,}", shown)  # no sentence that is not
    altered = receipt.replace(b'"outcome":"settled"', b'"outcome":"refunded"')
    for body in (altered, b"", b"{", b"[" * 5000, b"\xff\xfe", b"x" * 100_000):
        refused: httpx.Response = world.http.post("/receipts", content=body)
        assert refused.status_code == 422, refused.text
        assert "Every check that was made holds." not in refused.text


def test_nothing_of_a_receipt_that_the_operator_did_not_sign_is_read_at_length(
    world: World, receipt: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schema can be made so that reading it takes minutes."""
    read: list[object] = []
    monkeypatch.setattr("prixfixe.protocol.bundle.check_schema", read.append)
    made = receipt.replace(b'"signature":"0x', b'"signature":"0x1')
    forged = json.loads(receipt)
    forged["signature"] = "0x" + "11" * 65
    for body in (canonical_json(forged), made):
        answer = world.http.post("/receipts", content=body)
        assert "Every check that was made holds." not in answer.text
    assert read == []
    world.http.post("/receipts", content=receipt)
    assert read


def test_a_form_with_more_fields_than_a_page_has_is_refused(world: World) -> None:
    answer = world.http.post("/receipts", data={str(at): "1" for at in range(50)}, headers=PERSON)
    assert answer.status_code == 422


def test_tables_of_documents_can_be_read_aloud_and_scrolled(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# A `b` & c\n\n|  | x | y |\n|---|---|---|\n| 1 | 2 | 3 |\n\n| | |\n|---|---|\n| only | cells |\n"
    found = documents.Document("given", "Given", text)
    monkeypatch.setattr(documents, "documents", lambda: {"given": found})
    first, second = str(documents.body.__wrapped__("given")).split("</table>")[:2]
    assert 'class="wide" tabindex="0" role="group" aria-label="A b &amp; c"' in first
    assert "<td></td>\n<th>x</th>" in first
    assert "<thead>" not in second
    assert "tabindex" not in second
    assert "<td>only</td>" in second


def test_documents_are_pages_and_their_links_lead_somewhere(world: World) -> None:
    known = {f"/docs/{name}" for name in documents.documents()}
    assert {"/docs/market", "/docs/decisions/0001-function-names", "/docs/bundles/pivot"} <= known
    for name in documents.documents():
        for link in re.findall(r'href="([^"]*)"', str(documents.body(name))):
            if link.startswith("/docs/"):
                assert link.partition("#")[0] in known, (name, link)
    assert page(world, "/docs/../../pyproject.toml", 404)
    assert page(world, "/docs/nothing", 404)
