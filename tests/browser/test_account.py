"""From signing up to a delivered file, as a person sees it."""

from __future__ import annotations

from playwright.sync_api import expect

from prixfixe.protocol import accounts
from prixfixe.protocol.wire import Job
from tests.browser.conftest import EMAIL, Visit
from tests.support.accounts import PASSWORD
from tests.support.finished import hand_in
from tests.support.service import CUSTOMER, World

CONTENT = b"a,b\n"


def ordered(world: World) -> Job:
    """By the API, for the account of who signed up."""
    signed_in = accounts.SignedIn.model_validate(
        world.http.post("/v1/account/session", json={"email": EMAIL, "password": PASSWORD}).json()
    )
    world.chain.accounts[signed_in.account] = world.chain.accounts[CUSTOMER.address]
    made = world.http.post(
        "/v1/account/keys",
        json={"name": "program", "scopes": ["read", "order"]},
        headers={"X-CSRF-Token": signed_in.csrf},
    )
    world.http.cookies.clear()
    key = {"Authorization": f"Bearer {made.json()['token']}", "Idempotency-Key": "once"}
    request = {name: value for name, value in world.quote_request(CONTENT).items() if name != "customer"}
    name = request["inputs"][0]["sha256"]
    assert world.http.put(f"/v1/blobs/{name}", content=CONTENT, headers=key).is_success
    answer = world.http.post("/v1/account/orders", json={"request": request}, headers=key)
    assert answer.status_code == 201, answer.text
    return Job.model_validate(answer.json()["job"])


def test_a_person_signs_up_and_sees_a_job_through_to_its_files(visit: Visit, world: World) -> None:
    world.publish()
    page = visit.page
    visit.open("/sign-up")
    assert visit.faults() == []
    visit.keep("sign-up")
    visit.enter()
    expect(page.get_by_text("Nothing was ordered yet.")).to_be_visible()
    job = ordered(world)
    page.reload()
    page.get_by_role("link", name=job.id[:10]).click()
    expect(page.locator("#job")).to_contain_text("waiting")
    assert visit.faults() == []
    visit.keep("job-waiting")

    assignment = world.running(job)
    expect(page.locator("#job")).to_contain_text("running")
    hand_in(world, assignment, out_csv=b"done")
    expect(page.locator("#job")).to_contain_text("delivered")
    with page.expect_download() as taken:
        page.locator("#job a[download]").first.click()
    assert taken.value.path().read_bytes() == b"done"
    visit.keep("job-delivered")
    assert visit.faults() == []

    page.get_by_role("link", name="Your account").first.click()
    visit.keep("account")
    assert visit.faults() == []
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def test_a_job_that_waits_shows_how_many_are_before_it(visit: Visit, world: World) -> None:
    page = visit.page
    visit.sign_up()
    world.publish()
    first = world.placed()
    job = ordered(world)
    visit.open(f"/account/jobs/{job.id}")
    expect(page.locator("#job")).to_contain_text("Orders before it in the queue: 1.")
    assert visit.faults() == []
    world.services.jobs.cancel(first.id, CUSTOMER.address)
    expect(page.locator("#job")).to_contain_text("It is the next in the queue.")
