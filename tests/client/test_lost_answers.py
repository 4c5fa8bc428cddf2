"""What the client does when answers get lost: tries again where that is safe, and never buys twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from prixfixe.client import Client, Context, conversation
from prixfixe.errors import ConfigurationError, Unavailable, VerificationFailed
from tests.support.service import CHAIN_ID, CONTRACT, HOST, MARKET, OPERATOR, STRANGER, InProcess, World


class Flaky(httpx.BaseTransport):
    """A network that performs every request, and loses the answers that `loses` picks."""

    def __init__(self, inner: httpx.BaseTransport, loses: Callable[[httpx.Request, int], bool]) -> None:
        self._inner = inner
        self._loses = loses
        self.seen: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        call = f"{request.method} {request.url.path}"
        self.seen.append(call)
        response = self._inner.handle_request(request)
        if self._loses(request, self.seen.count(call)):
            raise httpx.ReadError("the connection was lost", request=request)
        return response

    def close(self) -> None:
        self._inner.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "BACKOFF", (0.0, 0.0, 0.0))


def flaky(world: World, context: Context, loses: Callable[[httpx.Request, int], bool]) -> Client:
    return Client(context, transport=Flaky(InProcess(world.app), loses))


def calls(client: Client) -> list[str]:
    transport = client._http._transport
    assert isinstance(transport, Flaky)
    return transport.seen


def test_a_lost_answer_to_an_order_buys_once(world: World, context: Context, table: Path) -> None:
    def first_two_orders(request: httpx.Request, times: int) -> bool:
        return (request.method, request.url.path) == ("POST", "/v1/jobs") and times <= 2

    with flaky(world, context, first_two_orders) as client:
        quote = client.quote("echo", parameters={"word": "hello"}, inputs=[table], units=50)
        job = client.buy(quote)
        assert calls(client).count("POST /v1/jobs") == 3
        assert [each.id for each in client.jobs()] == [job.id]


def test_a_lost_answer_to_an_upload_sends_it_again(world: World, context: Context, table: Path) -> None:
    def first_put(request: httpx.Request, times: int) -> bool:
        return request.method == "PUT" and times == 1

    with flaky(world, context, first_put) as client:
        assert client.upload(table)
        assert sum(call.startswith("PUT") for call in calls(client)) == 2


def test_a_sign_in_is_not_repeated_blindly(world: World, context: Context) -> None:
    def every_session(request: httpx.Request, times: int) -> bool:
        return request.url.path == "/v1/sessions"

    with flaky(world, context, every_session) as client:
        with pytest.raises(Unavailable):
            client.jobs()
        assert calls(client).count("POST /v1/sessions") == 1


def test_a_service_that_stays_silent_ends_as_out_of_reach(context: Context) -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with (
        Client(context, transport=httpx.MockTransport(silent)) as client,
        pytest.raises(Unavailable, match=f"http://{HOST} is out of reach"),
    ):
        client.market()


def test_not_now_is_waited_out(context: Context) -> None:
    answers = iter([503, 429, 200])

    def busy(request: httpx.Request) -> httpx.Response:
        return httpx.Response(next(answers), json=MARKET.model_dump(mode="json"))

    with Client(context, transport=httpx.MockTransport(busy)) as client:
        assert client.market().operator == OPERATOR.address


def test_an_error_page_of_a_proxy_is_told_as_what_it_is(context: Context) -> None:
    def proxy(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, html="<h1>Welcome</h1>")

    with (
        Client(context, transport=httpx.MockTransport(proxy)) as client,
        pytest.raises(Unavailable, match="no JSON"),
    ):
        client.market()


@pytest.mark.parametrize(
    "changed", [{"chain_id": 1}, {"contract": STRANGER.address}], ids=["chain", "contract"]
)
def test_another_market_than_expected_gets_no_signature(
    world: World, context: Context, table: Path, changed: dict[str, object]
) -> None:
    seen: list[str] = []

    def other(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(200, json={**MARKET.model_dump(mode="json"), **changed})

    with Client(context, transport=httpx.MockTransport(other)) as client:
        for attempt in (
            client.jobs,
            lambda: client.quote("echo", parameters={}, inputs=[table], units=1),
        ):
            with pytest.raises(ConfigurationError, match="expects") as caught:
                attempt()
            assert caught.value.code == "wrong-market"
    assert set(seen) == {"/v1/market"}


class Tampering(httpx.BaseTransport):
    """A service that changes what it answers to one call."""

    def __init__(
        self, inner: httpx.BaseTransport, path: str, change: Callable[[dict[str, object]], object]
    ) -> None:
        self._inner = inner
        self._path = path
        self._change = change

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        if request.url.path != self._path:
            return response
        answer = json.loads(response.read())
        self._change(answer)
        return httpx.Response(response.status_code, json=answer)

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("/v1/quotes", {"total": "4000001"}),
        ("/v1/quotes", {"units": 51}),
        ("/v1/quotes", {"deliver_by": 2_000_000_000}),
        ("/v1/quotes", {"signature": "0x" + "11" * 65}),
        ("/v1/market", {"operator": STRANGER.address}),
        ("/v1/bundles/echo", {"definition.command": ["rm"]}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_quote_that_is_not_sound_is_never_signed(
    world: World, context: Context, table: Path, path: str, change: dict[str, object]
) -> None:
    def apply(answer: dict[str, object]) -> None:
        for name, value in change.items():
            *outer, last = name.split(".")
            for part in outer:
                answer = answer[part]  # type: ignore[assignment]
            answer[last] = value

    with Client(context, transport=Tampering(InProcess(world.app), path, apply)) as client:
        with pytest.raises(VerificationFailed) as caught:
            client.quote("echo", parameters={"word": "hello"}, inputs=[table], units=50)
        assert caught.value.code == "bad-quote"


def events(*numbers: int, end: bool = False) -> str:
    lines = [f'id: {n}\nevent: log\ndata: {{"text": "line {n}\\n"}}\n\n' for n in numbers]
    if end:
        lines.append(f'id: {numbers[-1] + 1}\nevent: end\ndata: {{"state": "settled"}}\n\n')
    return "retry: 1000\n\n: still here\n\n" + "".join(lines)


class Cut(httpx.SyncByteStream):
    """A body whose connection breaks after its bytes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __iter__(self) -> Iterator[bytes]:
        yield self._text.encode()
        raise httpx.ReadError("cut")


def test_events_go_on_after_a_cut_without_gap_or_repetition(
    world: World, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prixfixe.client.synchronous.RECONNECT_SECONDS", 0.0)
    inner = InProcess(world.app)
    resumed: list[str | None] = []

    def service(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            return inner.handle_request(request)
        resumed.append(request.headers.get("Last-Event-ID"))
        if len(resumed) == 1:
            # Cut in the middle of event 3: it must come whole or not at all.
            return httpx.Response(200, stream=Cut(events(1, 2) + "id: 3\nevent: log\ndata: {"))
        return httpx.Response(200, text=events(2, 3, 4, end=True))

    with Client(context, transport=httpx.MockTransport(service)) as client:
        numbers = [event.id for event in client.events("0x" + "aa" * 32)]
    assert numbers == [1, 2, 3, 4, 5]
    assert resumed == [None, "2"]
    inner.close()


def test_a_context_on_another_chain_than_the_key_was_opened_for_signs_nothing(world: World) -> None:
    from prixfixe.errors import DevelopmentKeyRefused

    elsewhere = Context("live", f"http://{HOST}", 8453, CONTRACT, key="dev:3")
    assert elsewhere.chain_id != CHAIN_ID

    def live(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/sessions/nonce":
            return httpx.Response(200, json={"nonce": "a" * 16, "domain": HOST})
        return httpx.Response(200, json={**MARKET.model_dump(mode="json"), "chain_id": 8453})

    with (
        Client(elsewhere, transport=httpx.MockTransport(live)) as client,
        pytest.raises(DevelopmentKeyRefused),
    ):
        client.jobs()
