"""What a person sees of its sessions, and ends: its own and nobody else's, on the page and by the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from marketplace.accounts.browsers import browser_name
from marketplace.store.account_tables import person_sessions
from tests.service.test_account_pages import EVIL, Browser
from tests.support.accounts import Person
from tests.support.service import World

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"
EDGE = f"{CHROME} Edg/140.0"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1"
Introduce = Callable[..., Person]

pytestmark = pytest.mark.both_databases


@pytest.fixture
def introduce(world: World) -> Iterator[Introduce]:
    """A person at a browser that names itself so; signed up, or, who has an account, signed in."""
    made: list[Person] = []

    def one(name: str, agent: str = FIREFOX, *, new: bool = True) -> Person:
        person = Person(world, f"{name}@example.com")
        person.browser.headers["User-Agent"] = agent
        made.append(person)
        if new:
            person.sign_up()
        else:
            person.sign_in()
        return person

    yield one
    for each in made:
        each.close()


def listed(person: Person) -> list[dict[str, Any]]:
    answer = person.call("GET", "/sessions")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def is_in(person: Person) -> bool:
    return person.call("GET", "/session").status_code == 200


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (FIREFOX, "Firefox, Linux"),
        (CHROME, "Chrome, Windows"),
        (EDGE, "Edge, Windows"),
        (SAFARI, "Safari, iPhone"),
        ("python-httpx/0.28", "Python"),
        ("", ""),
        (f"{EVIL}\x00" * 1000, ""),
    ],
)
def test_of_a_browser_only_a_known_name_is_kept(header: str, name: str) -> None:
    assert browser_name(header) == name


def test_a_person_sees_when_each_session_began_and_was_used(world: World, introduce: Introduce) -> None:
    introduce("eve")
    first = introduce("ada")
    begun = int(world.clock.now)
    world.clock.now += 600
    second = introduce("ada", SAFARI, new=False)
    world.clock.now += 30
    assert is_in(first)
    own, other = listed(first)
    assert (own["own"], own["browser"]) == (True, "Firefox, Linux")
    assert (own["created_at"], own["used_at"]) == (begun, begun + 630)
    assert (other["own"], other["browser"]) == (False, "Safari, iPhone")
    assert other["account"] == own["account"]
    world.clock.now += 59  # within the minute nothing is written
    assert listed(first)[0]["used_at"] == begun + 630
    world.clock.now += 86_400
    second.sign_in()
    assert [each["own"] for each in listed(second)] == [True]  # the others are over by themselves


def test_what_is_kept_is_what_the_page_says(world: World, introduce: Introduce) -> None:
    ada = introduce("ada")
    with world.store.read() as connection:
        (row,) = connection.execute(select(person_sessions)).mappings()
    assert set(row) == {
        *("token_digest", "person", "account", "id", "browser", "created_at", "used_at", "expires_at")
    }
    assert ada.cookie not in str(dict(row))


def test_one_session_ends_at_once_and_the_others_go_on(introduce: Introduce) -> None:
    first, second, third = introduce("ada"), *(introduce("ada", new=False) for _ in range(2))
    (own,) = (each for each in listed(second) if each["own"])
    assert first.call("DELETE", f"/sessions/{own['id']}").status_code == 204
    assert [is_in(each) for each in (first, second, third)] == [True, False, True]
    assert first.call("DELETE", f"/sessions/{own['id']}").status_code == 404
    assert third.call("DELETE", "/sessions").status_code == 204
    assert [is_in(each) for each in (first, third)] == [False, True]
    (last,) = listed(third)
    answer = third.call("DELETE", f"/sessions/{last['id']}")
    assert (answer.status_code, is_in(third)) == (204, False)
    assert "prixfixe_session" not in third.browser.cookies


def test_who_goes_to_another_account_is_seen_there_with_the_same_browser(introduce: Introduce) -> None:
    ada, bob = introduce("ada"), introduce("bob", SAFARI)
    bob.joins(ada, "viewer")
    (seen,) = listed(bob)
    assert (seen["account"], seen["browser"]) == (listed(ada)[0]["account"], "Safari, iPhone")
    assert len(listed(ada)) == 1  # members do not see each other's


def test_anothers_session_is_not_there(introduce: Introduce) -> None:
    ada, eve = introduce("ada"), introduce("eve")
    (theirs,) = listed(ada)
    told = [eve.call("DELETE", f"/sessions/{id}") for id in (theirs["id"], "0" * 32)]
    assert [answer.status_code for answer in told] == [404, 404]
    assert told[0].json() == told[1].json()
    assert eve.call("DELETE", "/sessions").status_code == 204
    assert is_in(ada)


def test_ending_a_session_takes_the_csrf_token_and_no_key_does_it(introduce: Introduce) -> None:
    ada = introduce("ada")
    (own,) = listed(ada)
    key = ada.key("read", "order", "manage")
    for path in ("/sessions", f"/sessions/{own['id']}"):
        assert ada.call("DELETE", path, **{"X-CSRF-Token": "0" * 64}).status_code == 403
        assert ada.call("DELETE", path, **key).status_code == 401
    assert ada.call("GET", "/sessions", **key).status_code == 401
    assert is_in(ada)


def test_the_page_ends_one_or_all_others(world: World, introduce: Introduce) -> None:
    browser = Browser(world)
    assert browser.sign_up().status_code == 303
    first, second = (introduce("ada", agent, new=False) for agent in (FIREFOX, SAFARI))
    seen = browser.open("/account/sessions")
    assert "Firefox, Linux" in seen.text
    assert "Safari, iPhone" in seen.text
    ids = {each["browser"]: each["id"] for each in listed(first)}
    csrf = {"csrf": browser.csrf()}
    assert browser.send(f"/account/sessions/{ids['Firefox, Linux']}/end", {}).status_code == 403
    answer = browser.send(f"/account/sessions/{ids['Firefox, Linux']}/end", csrf)
    assert answer.headers["location"] == "/account/sessions"
    assert [is_in(each) for each in (first, second)] == [False, True]
    assert browser.send("/account/sessions/end-others", csrf).status_code == 303
    assert not is_in(second)
    assert "End all others" not in browser.open("/account/sessions").text
    own = next(id for name, id in ids.items() if name == "Python")
    assert browser.send(f"/account/sessions/{own}/end", csrf).headers["location"] == "/"
    assert browser.http.get("/account").headers["location"] == "/sign-in?next=/account"
    browser.http.close()
