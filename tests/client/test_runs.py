"""A bundle's run in one call, and that it is bought once however often and wherever it breaks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from marketplace.chain import AccountView
from prixfixe.client import AsyncClient, Client, Context, conversation
from prixfixe.client.progress import Step
from prixfixe.client.results import Result
from prixfixe.errors import Conflict, InsufficientFunds, InvalidInput, PrixfixeError, Unavailable
from prixfixe.protocol.money import Money
from prixfixe.protocol.wire import Job
from tests.support.accounts import Person
from tests.support.finished import RESULT, TOTALS, deliver, refuse
from tests.support.service import CUSTOMER, DOLLAR, SEED, InProcess, World


class Network(httpx.BaseTransport):
    """The service, whose worker runs a job as soon as somebody waits for it; after `lives` answers, and that
    one is lost, nothing comes through any more. loses: the answers to posts there; deaf: those never
    arrive."""

    def __init__(
        self,
        world: World,
        lives: int | None = None,
        work: Callable[[World, Job], object] = deliver,
        loses: str | None = None,
        deaf: str | None = None,
    ) -> None:
        self.world, self.lives, self.work = world, lives, work
        self.loses, self.deaf = loses, deaf
        self.inner = InProcess(world.app)
        self.seen: list[str] = []
        self.worked: set[str] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.lives is not None and len(self.seen) > self.lives:
            raise httpx.ConnectError("gone", request=request)
        path = request.url.path
        posted = request.method == "POST"
        if posted and path == self.deaf:
            raise httpx.ConnectError("gone", request=request)
        self.seen.append(f"{request.method} {path}")
        if path.endswith("/events") and path not in self.worked:
            self.worked.add(path)
            job = self.inner.handle_request(
                httpx.Request("GET", str(request.url).removesuffix("/events"), headers=request.headers)
            )
            found = Job.model_validate(job.json())
            if found.state == "queued":
                with self.world.store.write() as connection:  # each has the place of the first in the chain
                    connection.exec_driver_sql("DELETE FROM trades")
                self.work(self.world, found)
        response = self.inner.handle_request(request)
        cut = self.lives is not None and len(self.seen) > self.lives
        if cut or (posted and path == self.loses):
            raise httpx.ReadError("the answer was lost", request=request)
        return response

    def close(self) -> None:
        self.inner.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "BACKOFF", (0.0,))
    monkeypatch.setattr("prixfixe.client.synchronous.RECONNECT_SECONDS", 0.0)
    monkeypatch.setattr("prixfixe.client.synchronous.SILENCE_SECONDS", 0.0)


@pytest.fixture
def rich(world: World) -> World:
    """The world with a customer who can pay for every try."""
    world.chain.accounts[CUSTOMER.address] = AccountView(10_000 * DOLLAR, 0, 3)
    return world


def run(world: World, context: Context, table: Path, lives: int | None = None, **more: object) -> Result:
    with Client(context, transport=Network(world, lives)) as client:
        return client.run("echo", table, parameters={"word": "hello"}, **more)  # type: ignore[arg-type]


def jobs(world: World, context: Context) -> int:
    with Client(context, transport=InProcess(world.app)) as client:
        return len(client.jobs())


def test_a_file_goes_in_and_a_checked_result_comes_out(
    rich: World, context: Context, table: Path, tmp_path: Path
) -> None:
    steps: list[Step] = []
    result = run(rich, context, table, out=tmp_path / "out", progress=steps.append)
    assert result.path("out.csv").read_bytes() == RESULT
    assert result.path("totals.json").read_bytes() == TOTALS
    assert (tmp_path / "out" / "receipt.json").is_file()
    assert result.verification.valid
    assert not result.verification.complete  # the context names no chain
    assert (result.job.state, result.job.charged) == ("settled", Money(4 * DOLLAR))
    assert result.path() == result.path("out.csv")
    stages = [step.stage for step in steps]
    assert stages[0] == "checking table.csv on this machine"
    assert "uploading table.csv" in stages
    assert stages[-1] == "verifying"
    with pytest.raises(InvalidInput, match="no output 'other'"):
        result.path("other")


def test_asked_for_again_after_its_result_it_is_bought_again(
    rich: World, context: Context, table: Path
) -> None:
    assert run(rich, context, table).job.id != run(rich, context, table).job.id


def test_a_result_without_a_place_lives_as_long_as_its_object(
    rich: World, context: Context, table: Path
) -> None:
    result = run(rich, context, table)
    folder = result.folder
    assert (folder / "receipt.json").is_file()
    del result
    assert not folder.exists()


def test_wherever_the_connection_is_cut_the_next_try_goes_on_with_the_same_order(
    rich: World, context: Context, table: Path, tmp_path: Path
) -> None:
    whole = Network(rich)
    with Client(context, transport=whole) as client:
        client.run("echo", table, parameters={"word": "hello"})
    first = whole.seen.index("POST /v1/quotes")  # before it nothing can be bought
    assert len(whole.seen) - first > 8
    for bought, lives in enumerate(range(first, len(whole.seen)), 1):
        given = tmp_path / f"table{lives}.csv"
        given.write_text(f"a,b\n1,{lives}\n")
        with pytest.raises(Unavailable):
            run(rich, context, given, lives=lives)
        result = run(rich, context, given)
        assert result.path("out.csv").read_bytes() == RESULT
        assert jobs(rich, context) == bought + 1, f"after the cut at {whole.seen[lives]}"


def test_a_managed_account_whose_answer_was_lost_buys_once_too(
    world: World, context: Context, table: Path
) -> None:
    person = Person(world, "ada@example.com")
    person.sign_up()
    world.chain.accounts[SEED.signer(1).address] = AccountView(100 * DOLLAR, 0, 0)
    key = person.key("order")["Authorization"].removeprefix("Bearer ")
    person.close()

    def tried(loses: str | None) -> Result:
        with Client(context, api_key=key, transport=Network(world, loses=loses)) as client:
            return client.run("echo", table, parameters={"word": "hello"})

    with pytest.raises(Unavailable):
        tried("/v1/account/orders")
    assert tried(None).path("out.csv").read_bytes() == RESULT
    with Client(context, api_key=key, transport=InProcess(world.app)) as client:
        assert len(client.jobs()) == 1


def test_an_order_that_was_never_taken_and_is_too_old_is_bought_anew(
    rich: World, context: Context, table: Path
) -> None:
    with Client(context, transport=Network(rich, deaf="/v1/jobs")) as client, pytest.raises(Unavailable):
        client.run("echo", table, parameters={"word": "hello"})
    rich.clock.now += 10_000
    assert run(rich, context, table).job.state == "settled"
    assert jobs(rich, context) == 1


def test_a_refused_run_costs_nothing_and_is_bought_again_when_asked_again(
    rich: World, context: Context, table: Path
) -> None:
    with (
        Client(context, transport=Network(rich, work=refuse)) as client,
        pytest.raises(PrixfixeError, match="there is no column 'x'; nothing was charged") as caught,
    ):
        client.run("echo", table, parameters={"word": "hello"})
    assert caught.value.exit_code in (3, 4)
    assert run(rich, context, table).job.state == "settled"
    assert jobs(rich, context) == 2


def test_nothing_is_ordered_beyond_the_budget_or_into_a_folder_in_use(
    rich: World, context: Context, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(InsufficientFunds, match="the budget is"):
        run(rich, context, table, budget=Money(3 * DOLLAR))
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("mine")
    with pytest.raises(Conflict, match="no empty folder"):
        run(rich, context, table, out=used)
    with pytest.raises(InvalidInput, match="does not exist"):
        run(rich, context, tmp_path / "none.csv")
    assert jobs(rich, context) == 0
    assert run(rich, context, table, out=used, overwrite=True).path("out.csv").read_bytes() == RESULT


def test_the_asynchronous_client_runs_in_one_call_too(rich: World, context: Context, table: Path) -> None:
    import asyncio

    class Working(httpx.AsyncBaseTransport):
        def __init__(self) -> None:
            self.inner = httpx.ASGITransport(rich.app, raise_app_exceptions=False)
            self.worked = False

        def work(self) -> None:
            with Client(context, transport=InProcess(rich.app)) as other:
                deliver(rich, other.jobs()[0])

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/events") and not self.worked:
                self.worked = True
                await asyncio.to_thread(self.work)
            return await self.inner.handle_async_request(request)

    async def main() -> Result:
        async with AsyncClient(context, transport=Working()) as client:
            return await client.run("echo", table, parameters={"word": "hello"})

    assert asyncio.run(main()).path("out.csv").read_bytes() == RESULT
