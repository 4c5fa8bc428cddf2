"""What an owner sets on the pages of an account, as a person sees it."""

from __future__ import annotations

from playwright.sync_api import expect

from marketplace.chain import AccountView
from tests.browser.conftest import Visit
from tests.service.test_account_settings_pages import PAGES
from tests.support.service import CUSTOMER, DOLLAR, SEED, World


def test_an_owner_sets_the_account_up_and_every_page_is_clean(visit: Visit, world: World) -> None:
    page = visit.page
    visit.open("/sign-up")
    visit.enter()

    page.get_by_role("link", name="Withdrawals").click()
    page.get_by_label("Name the address").fill(CUSTOMER.address)
    page.get_by_role("button", name="Name this address").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Let money leave to this address?")
    assert visit.faults() == []
    visit.keep("withdrawal-address-sure")
    page.get_by_role("button", name="Name this address").click()
    world.chain.accounts[SEED.signer(1).address] = AccountView(100 * DOLLAR, 0, 1)
    with page.expect_download() as taken:
        page.get_by_role("link", name="Download the standing withdrawal").click()
    assert CUSTOMER.address in taken.value.path().read_text()
    page.reload()
    page.get_by_label("How much").fill("25.50")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Withdraw $25.50?")
    page.get_by_role("button", name="Send it").click()
    expect(page.get_by_role("cell", name="$25.50")).to_be_visible()

    page.get_by_role("link", name="Members").click()
    page.get_by_label("E-mail address").fill("grace@example.com")
    page.get_by_role("button", name="Invite somebody").click()
    expect(page.get_by_text("An invite for grace@example.com")).to_be_visible()
    assert visit.faults() == []
    visit.keep("member-invited")

    page.get_by_role("link", name="API keys").click()
    page.get_by_label("Name (what it is for)").fill("nightly")
    page.get_by_label("upload, order and cancel").check()
    page.get_by_role("button", name="Make a key").click()
    expect(page.locator("pre")).to_contain_text("pfx_")
    assert visit.faults() == []
    visit.keep("key-made")

    page.get_by_role("link", name="Limits").click()
    page.get_by_label("One order may cost").fill("12.3456789")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("more than 6 decimals")
    visit.complaints.clear()  # the browser's own word for a form that was refused
    page.get_by_label("One order may cost").fill("1,234.5")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")
    expect(page.locator("dl")).to_contain_text("$1,234.50")

    # Each width in another language: every page is a second.
    code = "zh" if page.viewport_size == {"width": 390, "height": 844} else "en"
    visit.open(f"/language/{code}?back=/docs")
    faults = {}
    for path in PAGES:
        visit.complaints.clear()
        visit.open(f"/account{path}")
        visit.keep(f"{code}-account{path.replace('/', '-')}")
        if found := visit.faults():
            faults[path] = found
    assert faults == {}
