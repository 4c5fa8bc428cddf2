"""Links to a job's files: whoever has one reads them, nobody else does, and it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from marketplace.share_links import MOST_LINKS
from prixfixe.protocol.wire import Job
from tests.support.accounts import Person
from tests.support.finished import deliver
from tests.support.service import CUSTOMER, HOST, InProcess, World

CONTENT = b"a,b\n"


@pytest.fixture
def ada(world: World) -> Iterator[Person]:
    person = Person(world, "ada@example.com")
    account = person.sign_up().signed_in.account
    world.chain.accounts[account] = world.chain.accounts[CUSTOMER.address]
    world.publish()
    yield person
    person.close()


@pytest.fixture
def job(world: World, ada: Person) -> Job:
    """Delivered."""
    request = {name: value for name, value in world.quote_request(CONTENT).items() if name != "customer"}
    name = request["inputs"][0]["sha256"]
    csrf = {"X-CSRF-Token": ada.csrf}
    assert ada.browser.put(f"/v1/blobs/{name}", content=CONTENT, headers=csrf).is_success
    answer = ada.call("POST", "/orders", {"request": request}, **{"Idempotency-Key": "k"})
    assert answer.status_code == 201, answer.text
    made = Job.model_validate(answer.json()["job"])
    deliver(world, made)
    return made


@pytest.fixture
def stranger(world: World) -> Iterator[httpx.Client]:
    with httpx.Client(transport=InProcess(world.app), base_url=f"http://{HOST}") as browser:
        yield browser


def shared(person: Person, job: Job, days: str = "7") -> httpx.Response:
    form = {"csrf": person.csrf, "days": days}
    return person.browser.post(f"/account/jobs/{job.id}/share", data=form)


def link_in(answer: httpx.Response) -> str:
    found = re.search(rf'value="http://{HOST}(/shared/[A-Za-z0-9_-]+)"', answer.text)
    assert found is not None, answer.text
    return found[1]


def test_whoever_has_the_link_reads_the_files_and_nothing_else(
    ada: Person, job: Job, stranger: httpx.Client
) -> None:
    link = link_in(shared(ada, job))
    seen = stranger.get(link)
    assert seen.status_code == 200
    for secret in ("ada@example.com", "/account/jobs", job.id):
        assert secret not in seen.text
    assert stranger.get(f"{link}/outputs/out.csv").content == b"month,delay\n1,6.1\n"
    assert stranger.get(f"{link}/outputs/other.csv").status_code == 404
    assert stranger.get(f"/v1/jobs/{job.id}/outputs/out.csv").status_code == 401
    assert stranger.post(link).status_code == 405


def test_a_link_ends(world: World, ada: Person, job: Job, stranger: httpx.Client) -> None:
    link = link_in(shared(ada, job, "1"))
    world.clock.now += 86_399
    assert stranger.get(link).status_code == 200
    world.clock.now += 1
    for path in (link, f"{link}/outputs/out.csv"):
        assert stranger.get(path).status_code == 404


def test_links_are_taken_back(ada: Person, job: Job, stranger: httpx.Client) -> None:
    links = [link_in(shared(ada, job)) for _ in range(2)]
    assert "2 links are good now." in ada.browser.get(f"/account/jobs/{job.id}").text
    taken = ada.browser.post(f"/account/jobs/{job.id}/unshare", data={"csrf": ada.csrf})
    assert taken.status_code == 303
    assert [stranger.get(each).status_code for each in links] == [404, 404]
    assert stranger.get("/shared/" + "a" * 43).status_code == 404


def test_only_who_may_order_shares_and_only_own_jobs(world: World, ada: Person, job: Job) -> None:
    bob = Person(world, "bob@example.com")
    bob.sign_up()
    assert shared(bob, job).status_code == 404
    bob.joins(ada, "viewer")
    assert shared(bob, job).status_code == 403
    assert ada.browser.post(f"/account/jobs/{job.id}/share", data={"days": "7"}).status_code == 403
    bob.close()


def test_a_link_ends_with_the_role_of_who_made_it(
    world: World, ada: Person, job: Job, stranger: httpx.Client
) -> None:
    own = link_in(shared(ada, job))
    bob = Person(world, "bob@example.com")
    bob.sign_up()
    bob.joins(ada, "member")
    link = link_in(shared(bob, job))
    assert stranger.get(link).status_code == 200
    member = next(each for each in ada.call("GET", "/members").json()["items"] if each["email"] == bob.email)
    assert ada.call("DELETE", f"/members/{member['id']}").is_success
    assert [stranger.get(each).status_code for each in (link, own)] == [404, 200]
    bob.close()


def test_a_link_names_the_service_and_is_in_clear_on_its_own_machine_only(
    world: World, ada: Person, job: Job
) -> None:
    asked = {"Host": "elsewhere.example"}
    form = {"csrf": ada.csrf, "days": "7"}
    told = ada.browser.post(f"/account/jobs/{job.id}/share", data=form, headers=asked).text
    assert f"http://{HOST}/shared/" in told
    object.__setattr__(world.services.settings, "domain", "market.example")
    told = ada.browser.post(f"/account/jobs/{job.id}/share", data=form).text
    assert "https://market.example/shared/" in told


def test_links_have_an_end_that_is_offered_and_are_so_many(ada: Person, job: Job) -> None:
    for days in ("", "0", "365", "x"):
        assert shared(ada, job, days).status_code == 422
    for _ in range(MOST_LINKS):
        assert shared(ada, job).status_code == 200
    assert shared(ada, job).status_code == 409
