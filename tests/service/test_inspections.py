"""Files that people send from a page: who may have one looked at, who looks, and what each side learns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from marketplace.blobs import grant
from marketplace.inspections import (
    KEPT_SECONDS,
    MOST_OPEN,
    MOST_WAITING,
    STEP_SECONDS,
    TRANSFER_SECONDS,
    leased,
)
from prixfixe.errors import TooManyRequests
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.inspections import (
    Inspection,
    InspectionAnswer,
    InspectionRequest,
    InspectionTask,
    Seen,
    Step,
)
from tests.support.accounts import Person
from tests.support.service import CUSTOMER, OPERATOR, STRANGER, World

CONTENT = b"a,b\n1,2\n"
SEEN = {
    "rows": 1,
    "columns": [{"name": "<b>a</b>", "type": "text", "use": "rows"}],
    "first": [["<script>alert(1)</script>"]],
    "guesses": [],
    "source": {"delimiter": ";"},
}
TABLES = {"formats": ["csv"], "max_bytes": 1_000_000, "max_files": 2, "preflight": "table"}


@pytest.fixture
def world(tmp_path: Path, database: str) -> Iterator[World]:
    made = World(tmp_path, inspectors=(STRANGER.address, OPERATOR.address))
    made.publish(inputs=TABLES)
    yield made
    made.close()


@pytest.fixture
def ada(world: World) -> Iterator[Person]:
    person = Person(world, "ada@example.com")
    person.sign_up()
    yield person
    person.close()


def sent(person: Person, content: bytes = CONTENT) -> str:
    name = sha256_hex(content)
    answer = person.browser.put(f"/v1/blobs/{name}", content=content, headers={"X-CSRF-Token": person.csrf})
    assert answer.is_success, answer.text
    return name


def asked(person: Person, **changes: Any) -> httpx.Response:
    body = {"bundle": "echo", "step": "look", "name": "a.csv", "sha256": sha256_hex(CONTENT), **changes}
    return person.call("POST", "/inspections", body)


def looking(person: Person) -> Inspection:
    sent(person)
    answer = asked(person)
    assert answer.status_code == 201, answer.text
    return Inspection.model_validate(answer.json())


def taken(world: World, signer: Any = STRANGER) -> InspectionTask | None:
    answer = world.http.get("/v1/inspections/next", headers=world.sign_in(signer))
    assert answer.status_code in (200, 204), answer.text
    return InspectionTask.model_validate(answer.json()) if answer.status_code == 200 else None


def told(world: World, task: InspectionTask, signer: Any = STRANGER, **answer: Any) -> httpx.Response:
    body = {"number": task.number, **answer}
    return world.http.post(f"/v1/inspections/{task.id}/answer", json=body, headers=world.sign_in(signer))


def of(person: Person, inspection: str) -> Inspection:
    answer = person.call("GET", f"/inspections/{inspection}")
    assert answer.status_code == 200, answer.text
    return Inspection.model_validate(answer.json())


def test_a_file_is_looked_at_by_a_machine_of_the_operators(world: World, ada: Person) -> None:
    waiting = looking(ada)
    assert waiting.state == "waiting"
    assert (
        world.http.get(f"/v1/blobs/{waiting.file.sha256}", headers=world.sign_in(STRANGER)).status_code == 404
    )
    task = taken(world)
    assert task is not None
    assert (task.id, task.preflight, task.file.size) == (waiting.id, "table", len(CONTENT))
    assert of(ada, waiting.id).state == "running"
    read = world.http.get(f"/v1/blobs/{task.file.sha256}", headers=world.sign_in(STRANGER))
    assert read.content == CONTENT
    image = world.http.get(f"/v1/blobs/{task.image_archive}", headers=world.sign_in(STRANGER))
    assert image.content == b"an image"
    assert told(world, task, seen=SEEN).status_code == 204
    assert told(world, task, seen=SEEN).status_code == 204
    done = of(ada, waiting.id)
    assert done.state == "done"
    assert done.seen is not None
    assert done.seen.first == (("<script>alert(1)</script>",),)
    assert taken(world) is None
    assert world.http.get(f"/v1/blobs/{task.file.sha256}", headers=world.sign_in(STRANGER)).status_code == 404


def test_a_wallets_file_is_looked_at_too_and_is_nobody_elses(tmp_path: Path) -> None:
    """Also where the operator keeps no accounts for others."""
    made = World(tmp_path, inspectors=(STRANGER.address,), seed=None)
    made.publish(inputs=TABLES)
    own = made.sign_in(CUSTOMER)
    body = {"bundle": "echo", "step": "look", "name": "a.csv", "sha256": sha256_hex(CONTENT)}
    made.upload(CUSTOMER, CONTENT)
    asked = made.http.post("/v1/account/inspections", json=body, headers=own)
    assert asked.status_code == 201, asked.text
    task = taken(made)
    assert task is not None
    assert told(made, task, seen=SEEN).status_code == 204
    path = f"/v1/account/inspections/{asked.json()['id']}"
    assert made.http.get(path, headers=own).json()["seen"]["rows"] == 1
    assert made.http.get(path, headers=made.sign_in(STRANGER)).status_code == 404
    assert made.http.get(path).status_code == 401
    made.close()


def test_who_has_many_wallets_has_one_share(tmp_path: Path) -> None:
    made = World(tmp_path, inspectors=(STRANGER.address,), inspections_per_minute=2)
    body = {"bundle": "echo", "step": "look", "name": "a.csv", "sha256": sha256_hex(CONTENT)}
    answers = [
        made.http.post("/v1/account/inspections", json=body, headers=made.sign_in(signer)).status_code
        for signer in (CUSTOMER, STRANGER, OPERATOR)
    ]
    assert answers == [404, 404, 429]  # there is no such bundle yet
    made.close()


def test_a_file_that_is_no_table_says_why(world: World, ada: Person) -> None:
    waiting = looking(ada)
    task = taken(world)
    assert task is not None
    reason = {"code": "bad-data", "message": "a.csv is a JPEG picture", "hint": "", "fault": "customer"}
    assert told(world, task, reason=reason).status_code == 204
    done = of(ada, waiting.id)
    assert (done.state, done.reason and done.reason.message) == ("failed", "a.csv is a JPEG picture")


def test_the_table_that_was_made_is_its_customers(world: World, ada: Person) -> None:
    sent(ada)
    made = asked(ada, step="make", parameters={"word": "x"})
    assert made.status_code == 201, made.text
    task = taken(world)
    assert task is not None
    assert task.parameters == {"word": "x"}
    table = {"name": "a.parquet", "sha256": sha256_hex(b"typed"), "size": 5}
    answer = {"made": {"file": table, "units": 3}}
    assert told(world, task, **answer).json()["code"] == "inputs-missing"
    world.upload(CUSTOMER, b"typed")  # there, and not the inspector's: it may not give it away
    assert told(world, task, **answer).json()["code"] == "inputs-missing"
    world.upload(STRANGER, b"typed")
    assert told(world, task, **answer).status_code == 204
    assert ada.browser.get(f"/v1/blobs/{table['sha256']}").content == b"typed"
    found = of(ada, task.id).made
    assert found is not None
    assert (found.file.name, found.units) == ("a.parquet", 3)


def test_parameters_that_the_bundle_does_not_take_are_refused_before_anything_runs(ada: Person) -> None:
    sent(ada)
    answer = asked(ada, step="make", parameters={"times": 0})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-parameters")


def test_files_that_are_counted_by_rows_are_looked_at_and_those_taken_as_they_are_are_not(
    world: World, ada: Person
) -> None:
    sent(ada)
    world.publish(id="rows", inputs={**TABLES, "preflight": "rows"})
    assert asked(ada, bundle="rows").status_code == 201
    task = taken(world)
    assert task is not None
    assert task.preflight == "rows"
    world.publish(id="plain", inputs={**TABLES, "preflight": "none"})
    refused = asked(ada, bundle="plain")
    assert (refused.status_code, "counts as one" in refused.json()["detail"]) == (422, True)


def test_a_file_that_is_not_here_is_asked_for(ada: Person) -> None:
    answer = asked(ada, sha256="0" * 64)
    assert (answer.status_code, answer.json()["missing"]) == (409, ["0" * 64])


def test_nobody_has_a_file_looked_at_that_another_sent(world: World, ada: Person) -> None:
    sent(ada)
    bob = Person(world, "bob@example.com")
    bob.sign_up()
    assert asked(bob).json()["code"] == "inputs-missing"
    own = looking(ada)
    assert bob.call("GET", f"/inspections/{own.id}").status_code == 404
    bob.close()


def test_a_viewer_sends_no_files(world: World, ada: Person) -> None:
    bob = Person(world, "bob@example.com")
    bob.sign_up()
    bob.joins(ada, "viewer")
    assert asked(bob).json()["code"] == "scope-missing"
    bob.close()


def test_only_the_operators_machines_look(world: World, ada: Person) -> None:
    waiting = looking(ada)
    answer = world.http.get("/v1/inspections/next", headers=world.sign_in(CUSTOMER))
    assert (answer.status_code, answer.json()["code"]) == (403, "not-an-inspector")
    task = taken(world)
    assert task is not None
    assert told(world, task, CUSTOMER, seen=SEEN).status_code == 403
    assert told(world, task, OPERATOR, seen=SEEN).json()["code"] == "inspection-over"
    assert of(ada, waiting.id).state == "running"


def test_a_silent_machine_is_followed_by_another_once(world: World, ada: Person) -> None:
    waiting = looking(ada)
    first = taken(world)
    assert first is not None
    assert taken(world, OPERATOR) is None
    world.clock.now += leased("look")
    second = taken(world, OPERATOR)
    assert second is not None
    assert (second.id, second.number) == (first.id, 2)
    assert told(world, first, seen=SEEN).json()["code"] == "inspection-over"
    world.clock.now += leased("look")
    assert taken(world) is None
    lost = of(ada, waiting.id)
    assert (lost.state, lost.reason and lost.reason.code) == ("failed", "inspection-lost")


def test_an_account_has_only_so_many_at_once_and_old_ones_are_gone(world: World, ada: Person) -> None:
    first = looking(ada)
    for _ in range(MOST_OPEN - 1):
        looking(ada)
    assert asked(ada).status_code == 429
    world.clock.now += KEPT_SECONDS
    ada.sign_in()
    assert ada.call("GET", f"/inspections/{first.id}").status_code == 404
    looking(ada)
    assert world.services.inspections.sweep() == MOST_OPEN
    assert world.services.inspections.sweep() == 0


def wallet(number: int) -> str:
    return f"0x{number:040x}"


def wallet_asks(world: World, owner: str, times: int = 1) -> list[str]:
    """The inspections of a wallet whose file is there."""
    sha256 = sha256_hex(CONTENT)
    with world.store.write() as connection:
        grant(connection, [sha256], owner)
    request = InspectionRequest(bundle="echo", step="look", name="a.csv", sha256=sha256)
    return [world.services.inspections.ask(owner, request).id for _ in range(times)]


def served(world: World, number: int) -> list[str]:
    """Those that are taken next, a second after another, and answered."""
    made = []
    for _ in range(number):
        world.clock.now += 1
        task = world.services.inspections.next(STRANGER.address)
        assert task is not None
        made.append(task.id)
        answer = InspectionAnswer(number=task.number, seen=Seen.model_validate(SEEN))
        world.services.inspections.answer(STRANGER.address, task.id, answer)
    return made


def test_wallets_that_ask_for_much_keep_neither_accounts_nor_other_wallets_waiting(
    world: World, ada: Person
) -> None:
    sent(ada)
    first = wallet_asks(world, wallet(1), MOST_OPEN)
    second = wallet_asks(world, wallet(2), MOST_OPEN)
    world.clock.now += 1
    (late,) = wallet_asks(world, wallet(3))
    own = looking(ada).id
    order = served(world, 4)
    assert order[0] == own
    assert len({*order[1:3]} & {*first}) == len({*order[1:3]} & {*second}) == 1
    assert order[3] == late
    again = {looking(ada).id, looking(ada).id}
    order = served(world, 4)
    assert {order[0], order[2]} == again  # nor do accounts keep wallets waiting
    assert {order[1], order[3]} < {*first, *second}


def test_wallets_that_come_later_are_served_later(world: World, ada: Person) -> None:
    sent(ada)
    wallet_asks(world, wallet(1))
    served(world, 1)
    (own,) = wallet_asks(world, wallet(1))
    world.clock.now += 1
    for number in range(2, 5):
        wallet_asks(world, wallet(number))
    assert served(world, 1) == [own]


def test_what_waits_of_all_wallets_is_bounded_and_leaves_room_for_accounts(world: World, ada: Person) -> None:
    sent(ada)
    for number in range(1, 1 + MOST_WAITING // MOST_OPEN):
        wallet_asks(world, wallet(number), MOST_OPEN)
    with pytest.raises(TooManyRequests, match="files of others wait") as caught:
        wallet_asks(world, wallet(100))
    assert caught.value.retry_after > 1
    looking(ada)
    assert world.services.inspections.sweep() == 0
    served(world, 2)  # the account's, and a wallet's
    wallet_asks(world, wallet(100))


@pytest.mark.parametrize("step", ["look", "make"])
def test_a_step_has_a_time_of_its_own_and_its_machine_keeps_it_for_longer(
    world: World, ada: Person, step: Step
) -> None:
    sent(ada)
    limits = {"milli_vcpu": 1000, "memory_mib": 512, "disk_mib": 256, "max_seconds": 1200}
    world.publish(id="long", inputs=TABLES, limits=limits, service_level=3600)
    assert asked(ada, step=step, bundle="long", parameters={"word": "x"}).status_code == 201
    task = taken(world)
    assert task is not None
    assert task.product.max_seconds == STEP_SECONDS[step]
    assert (task.product.milli_vcpu, task.product.memory_mib) == (1000, 512)
    world.clock.now += task.product.max_seconds + TRANSFER_SECONDS - 1
    assert taken(world, OPERATOR) is None
    world.clock.now += 1
    assert taken(world, OPERATOR) is not None


def test_a_bundles_time_counts_where_it_is_shorter(world: World, ada: Person) -> None:
    sent(ada)
    assert asked(ada, step="make", parameters={"word": "x"}).status_code == 201
    task = taken(world)
    assert task is not None
    assert task.product.max_seconds == 120 < STEP_SECONDS["make"]


@pytest.mark.parametrize("answer", [{}, {"seen": SEEN, "made": None, "reason": None, "more": 1}])
def test_an_answer_without_a_form_is_refused(world: World, ada: Person, answer: dict[str, Any]) -> None:
    looking(ada)
    task = taken(world)
    assert task is not None
    assert told(world, task, **answer).status_code == 422


def test_without_inspectors_no_file_is_taken(tmp_path: Path) -> None:
    made = World(tmp_path)
    made.publish(inputs=TABLES)
    person = Person(made, "ada@example.com")
    person.sign_up()
    sent(person)
    assert asked(person).json()["code"] == "no-inspectors"
    person.close()
    made.close()
