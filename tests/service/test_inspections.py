"""Files that people send from a page: who may have one looked at, who looks, and what each side learns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from marketplace.inspections import KEPT_SECONDS, MOST_OPEN, TAKEN_SECONDS
from prixfixe.protocol.hashing import sha256_hex
from prixfixe.protocol.inspections import Inspection, InspectionTask
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
    made.http.close()
    made.store.close()


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
    made.http.close()
    made.store.close()


def test_who_has_many_wallets_has_one_share(tmp_path: Path) -> None:
    made = World(tmp_path, inspectors=(STRANGER.address,), inspections_per_minute=2)
    body = {"bundle": "echo", "step": "look", "name": "a.csv", "sha256": sha256_hex(CONTENT)}
    answers = [
        made.http.post("/v1/account/inspections", json=body, headers=made.sign_in(signer)).status_code
        for signer in (CUSTOMER, STRANGER, OPERATOR)
    ]
    assert answers == [404, 404, 429]  # there is no such bundle yet
    made.http.close()
    made.store.close()


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
    world.clock.now += TAKEN_SECONDS
    second = taken(world, OPERATOR)
    assert second is not None
    assert (second.id, second.number) == (first.id, 2)
    assert told(world, first, seen=SEEN).json()["code"] == "inspection-over"
    world.clock.now += TAKEN_SECONDS
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
    made.http.close()
    made.store.close()
