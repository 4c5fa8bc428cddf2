"""The API is what it says that it is: schemathesis asks every route, as nobody and as everybody, with what
its description allows and with what it does not; and every example in it is true.

Everybody's run draws one request of each kind for a route, and has each of those who are there send it.
`scripts/test tests/service/test_api_contract.py` draws eight, and PRIXFIXE_API_EXAMPLES any number.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from pydantic import TypeAdapter
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from marketplace.api.app import _ROUTERS, api_description
from marketplace.api.openapi import _routes, operation_id
from marketplace.chain import AccountView
from marketplace.settings import ServiceSettings
from prixfixe.protocol import wire
from tests.support.accounts import Person
from tests.support.finished import deliver
from tests.support.service import CUSTOMER, DOLLAR, PRICING, SEED, WORKER, World

DESCRIBED = api_description("0.1.0")
_FULL = os.environ.get("PRIXFIXE_TEST_SIZE") == "full"
EXAMPLES = int(os.environ.get("PRIXFIXE_API_EXAMPLES", "8" if _FULL else "1"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
schemathesis.serializer.alias("application/partial-upload", "application/octet-stream")
# After which those who asked are somebody no longer: asked last.
LAST = (
    "accounts_switch",
    "accounts_change_password",
    "accounts_end_session",
    "accounts_end_other_sessions",
    "accounts_sign_out",
    "sessions_close_session",
)


def _named(operation: Any) -> str:
    name: str = operation.definition.raw["operationId"]
    return name


_FOUND: Any = schemathesis.openapi.from_dict(DESCRIBED).get_all_operations()
OPERATIONS = sorted((found.ok() for found in _FOUND), key=lambda each: _named(each) in LAST)


@dataclass
class Town:
    """A service with something of everything. people: headers of each who asks. real: ids that are there."""

    world: World
    people: list[dict[str, str]]
    real: dict[str, str]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    shares = [each.name for each in fields(ServiceSettings) if each.name.endswith("_per_minute")]
    settings_: Any = dict.fromkeys(shares, 10**6)
    inspectors = (WORKER.address,)
    world = World(tmp_path_factory.mktemp("town"), max_wait_seconds=0.01, inspectors=inspectors, **settings_)
    ada = Person(world, "ada@example.com")
    ada.sign_up()
    address = SEED.signer(1).address
    world.chain.accounts[address] = AccountView(100 * DOLLAR, 0, 2)
    world.publish()
    over = world.placed()
    deliver(world, over)
    running = world.placed(b"c,d\n", nonce=2)
    world.open_deal(running.id)
    attempt = world.assignment().attempt
    hook = {"url": "https://example.com/"}
    made = world.http.post("/v1/webhooks", json=hook, headers=world.sign_in(CUSTOMER)).json()
    people = [
        {},
        ada.key("read", "order", "manage"),
        {"Cookie": f"prixfixe_session={ada.cookie}", "X-CSRF-Token": ada.csrf},
        *(world.sign_in(each) for each in (CUSTOMER, WORKER, PRICING)),
    ]
    real = {
        "job": over.id,
        "order": running.id,
        "attempt": attempt,
        "bundle": "echo",
        "product": "cpu-1x1/2m",
        "endpoint": made["endpoint"]["id"],
        "sha256": world.upload(CUSTOMER, b"a,b\n"),
        "path": "out.csv",
        "day": "0",
    }
    yield Town(world, people, real)
    ada.close()
    world.close()


def _asked(town: Town, case: Any, person: dict[str, str], real: bool) -> Any:
    """What the service answers."""
    for name in case.path_parameters or {}:
        if real and name in town.real:
            case.path_parameters[name] = town.real[name]
        if name == "key" and real:
            case.path_parameters[name] = WORKER.address
    given_ = case.as_transport_kwargs(base_url=str(town.world.http.base_url))
    given_.pop("timeout", None)
    prepared = requests.Request(
        **{name: given_.get(name) for name in ("method", "url", "headers", "params", "json", "data", "files")}
    ).prepare()
    headers: Any = {name: value for name, value in prepared.headers.items() if name.lower() not in _SAID}
    body: Any = prepared.body or b""
    answer = town.world.http.request(
        str(prepared.method), str(prepared.url), headers={**headers, **person}, content=body
    )
    answer.elapsed = timedelta()  # which is read of an answer, and which this transport does not measure
    return answer


_SAID = ("authorization", "cookie", "x-csrf-token", "content-length", "transfer-encoding")


@pytest.fixture
def brief(town: Town, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Streams of the book end when they have told once how it stands."""
    services, changes = town.world.services, town.world.services.book.changes

    def told(*asked: Any) -> Any:
        services.closing.set()
        return changes(*asked)

    monkeypatch.setattr(services.book, "changes", told)
    monkeypatch.setattr("marketplace.api.book._PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("marketplace.api.book.HEARTBEAT_SECONDS", 0.0)
    yield
    services.closing.clear()


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=_named)
def test_a_route_answers_everybody_as_its_description_says(
    town: Town, operation: Any, mode: GenerationMode
) -> None:
    @seed(0)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        # Of an id that is nobody's, all but nobody are alike.
        asked = [(person, True) for person in town.people]
        if case.path_parameters:
            asked = [*((person, False) for person in town.people[:2]), *asked]
        for person, real in asked:
            answer = _asked(town, case, person, real)
            case.validate_response(answer, checks=CHECKS)
            if "ratelimit" in answer.headers:
                said = operation.definition.raw["responses"][str(answer.status_code)]
                assert "RateLimit" in said["headers"]

    with suppress(Unsatisfiable):  # of a route that takes nothing, nothing can be wrong
        ask()


def test_every_route_that_counts_says_so() -> None:
    routes = [route for route, _ in _routes([each.router for each in _ROUTERS])]
    counting = {operation_id(route) for route in routes if "count_a" in inspect.getsource(route.endpoint)}
    assert "inspections_ask" in counting
    said = {name for name, operation in _operations() if "429" in operation["responses"]}
    assert counting - said == set()


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for methods in DESCRIBED["paths"].values():
        for operation in methods.values():
            yield operation["operationId"], operation


def test_every_operation_says_what_it_is_who_may_ask_and_what_it_answers() -> None:
    for name, operation in _operations():
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["security"] or operation["security"] == [], name
        answers = operation["responses"]
        assert any(status.startswith("2") for status in answers), name
        assert "500" in answers, name
        for status, answer in answers.items():
            if status in ("204", "416") or "$ref" in answer:
                continue
            assert answer["content"], (name, status)


def _without_refs(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "components": DESCRIBED["components"]}


def test_every_example_is_what_its_schema_says() -> None:
    missing = []
    for name, operation in _operations():
        contents = [("request", operation.get("requestBody", {}).get("content", {}))]
        contents += [(status, each.get("content", {})) for status, each in operation["responses"].items()]
        for where, content in contents:
            found = content.get("application/json")
            if found is None:
                continue
            if "example" not in found and "example" not in found["schema"]:
                missing.append(f"{name} {where}")
                continue
            example = found.get("example", found["schema"].get("example"))
            jsonschema.validate(example, _without_refs(found["schema"]), jsonschema.Draft202012Validator)
    assert missing == []


def _values(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of an example that holds no others, with its place."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from _values(each, f"{place}.{name}")
    if not isinstance(value, (dict, list)):
        yield place, value


def _fillers(example: Any) -> Iterator[str]:
    """What in an example was put there for want of a value."""
    values = list(_values(example))
    if example and not any(value for _, value in values):
        yield "nothing in it says anything"
    if isinstance(example, dict) and example.get("items") == []:
        yield "a page without an item"
    for place, value in values:
        if not isinstance(value, str):
            continue
        digits = value.removeprefix("sha256:").removeprefix("0x")
        repeated = len(digits) >= 32 and digits == digits[:2] * (len(digits) // 2) and set(digits) != {"0"}
        # The word is a value where a schema or a field of typed data has its type.
        if repeated or (value.lower() in ("string", "text", "lorem ipsum") and not place.endswith(".type")):
            yield f"{place}: {value}"


def test_no_example_is_a_filler() -> None:
    found = []
    for name, operation in _operations():
        contents = [("request", operation.get("requestBody", {}).get("content", {}))]
        contents += [(status, each.get("content", {})) for status, each in operation["responses"].items()]
        for where, content in contents:
            for kind in ("application/json", "text/csv"):
                if kind in content:
                    schema = content[kind].get("schema", {})
                    example = content[kind].get("example", schema.get("example"))
                    found += [f"{name} {where}: {filler}" for filler in _fillers(example)]
                    assert example is not None, (name, where, kind)
    assert found == []


@pytest.mark.parametrize(
    "filler",
    [
        {"name": "string"},
        {"id": "0x" + "5b" * 32},
        {"image": "sha256:" + "ab" * 32},
        {"count": 0, "reason": ""},
        {"items": [], "next": None},
    ],
    ids=str,
)
def test_a_filler_is_seen(filler: dict[str, Any]) -> None:
    assert list(_fillers(filler)) != []


def test_every_argument_of_a_path_has_an_example_that_fits() -> None:
    for name, operation in _operations():
        for each in operation.get("parameters", ()):
            if each["in"] == "path":
                assert "example" in each, (name, each["name"])
            if "example" in each:
                jsonschema.validate(each["example"], _without_refs(each["schema"]))


def test_every_example_of_a_body_is_taken_by_its_model() -> None:
    bodies: dict[str, Any] = {
        operation_id(route): route.body_field for route, _ in _routes([each.router for each in _ROUTERS])
    }
    for name, operation in _operations():
        example = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if example.get("example") is not None and bodies[name] is not None:
            TypeAdapter(bodies[name].field_info.annotation).validate_python(example["example"])


def test_a_problem_is_shown_as_it_is_answered() -> None:
    for name, answer in DESCRIBED["components"]["responses"].items():
        content = answer["content"]["application/problem+json"]
        jsonschema.validate(
            content["example"], _without_refs(content["schema"]), jsonschema.Draft202012Validator
        )
        assert content["example"]["status"] == int(name.removeprefix("Problem"))


def test_the_description_is_where_it_is_looked_for(town: Town) -> None:
    for path in ("/openapi.json", "/v1/openapi.json"):
        assert town.world.http.get(path).json()["paths"].keys() == DESCRIBED["paths"].keys()
    assert wire.Market.model_validate(town.world.http.get("/v1/market").json()).contract
