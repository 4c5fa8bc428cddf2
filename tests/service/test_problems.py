"""Whatever goes wrong is a problem document, and tells nothing that it should not."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError

from marketplace.api.app import _ROUTERS
from prixfixe.errors import PrixfixeError
from tests.support.service import CUSTOMER, World


def test_an_unknown_route_is_a_problem(world: World) -> None:
    answer = world.http.get("/v1/nothing")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-route")
    assert "/v1/nothing" in answer.json()["detail"]


def test_a_wrong_method_is_a_problem(world: World) -> None:
    answer = world.http.delete("/v1/market")
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]


def test_no_stranger_makes_up_a_label_of_the_figures(world: World) -> None:
    for method in ("GET", "MADE-UP", "get", "TRACE"):
        world.http.request(method, "/v1/health")
    samples = world.app.state.times.family().samples
    assert {sample.labels["method"] for sample in samples} == {"GET", "other"}


def test_a_body_that_is_no_json_is_a_problem(world: World) -> None:
    answer = world.http.post("/v1/quotes", content=b"{nonsense", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")


def test_a_large_body_is_refused_whether_declared_or_not(world: World) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    for content in (b" " * 1_100_000, pieces()):
        answer = world.http.post("/v1/quotes", content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_a_fault_of_ours_shows_a_number_and_not_itself(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_given: object) -> None:
        raise KeyError("the password is hunter2")

    monkeypatch.setattr(type(world.services.bundles), "page", broken)
    with caplog.at_level(logging.ERROR, logger="prixfixe.api"):
        answer = world.http.get("/v1/bundles")
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["retryable"]) == (500, "internal", True)
    assert "hunter2" not in answer.text
    assert problem["instance_id"] in problem["detail"]
    assert problem["instance_id"] in caplog.text


def test_an_error_of_the_services_own_is_logged_for_whoever_asked_a_page_or_the_api(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_given: object) -> None:
        raise PrixfixeError("the moon is down", code="moon")

    for each in ("listings", "page"):
        monkeypatch.setattr(type(world.services.bundles), each, broken)
    with caplog.at_level(logging.ERROR, logger="prixfixe.api"):
        for path in ("/pricing", "/v1/bundles"):
            assert world.http.get(path).status_code == 500
            assert world.http.get("/market/nonsense").status_code == 422
    assert [each.message for each in caplog.records] == [
        "GET /pricing: the moon is down",
        "GET /v1/bundles: the moon is down",
    ]


@pytest.mark.parametrize("error", [PrixfixeError("the moon is down", code="moon"), KeyError("moon")])
def test_the_log_of_a_fault_does_not_open_shared_files(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def broken(*_given: object) -> None:
        raise error

    monkeypatch.setattr(type(world.services.share_links), "open", broken)
    token = "a" * 43
    with caplog.at_level(logging.ERROR, logger="prixfixe.api"):
        for path in (f"/shared/{token}", f"/shared/{token}/outputs/result.csv"):
            assert world.http.get(path).status_code == 500
    assert token not in caplog.text
    assert caplog.text.count("GET /shared/…") == 2


def test_a_store_that_is_locked_is_unavailable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_given: object) -> None:
        with world.store.read():
            raise OperationalError("SELECT secret", {}, Exception("database is locked"))

    monkeypatch.setattr(type(world.services.bundles), "page", locked)
    answer = world.http.get("/v1/bundles")
    assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")
    assert "secret" not in answer.text
    assert answer.headers["retry-after"] == "1"


def test_a_problem_becomes_the_same_error_at_the_client(world: World) -> None:
    problem = world.http.get("/v1/jobs/0x" + "0" * 64, headers=world.sign_in(CUSTOMER)).json()
    error = PrixfixeError.from_problem(problem)
    assert (type(error).__name__, error.code, error.exit_code) == ("NotFound", "job-unknown", 6)


def test_health_says_what_is_wrong(world: World) -> None:
    well = world.http.get("/v1/health")
    assert (well.status_code, well.json()["status"], well.json()["chain_block"]) == (200, "ok", 7)
    world.chain.silent = True
    unwell = world.http.get("/v1/health")
    assert (unwell.status_code, unwell.json()["status"]) == (503, "unwell")


def test_the_market_is_described(world: World) -> None:
    assert world.http.get("/v1/market").json()["policy"]["surety"] == "5000000"


def test_the_api_describes_itself(world: World) -> None:
    described = world.http.get("/v1/openapi.json").json()
    assert "/v1/jobs/{job}/receipt" in described["paths"]


@pytest.mark.parametrize(
    "body",
    [
        rb'{"quote": "\ud800", "bundle": "\ud800"}',
        rb'{"\udfff": 1}',
        b'{"bundle": "\xed\xa0\x80"}',
        rb'{"bundle": "\ud800"}'.decode().encode("utf-16"),
        b'{"details": ' + b'{"a":' * 300 + b"1" + b"}" * 301,
    ],
    ids=["half a pair", "as a name", "in bytes", "in UTF-16", "nested"],
)
@pytest.mark.parametrize("route", ["quotes", "jobs", "workers", "workers/heartbeat", "attempts/ab/open"])
def test_text_that_cannot_be_stored_is_refused_at_the_door(world: World, route: str, body: bytes) -> None:
    headers = {**world.sign_in(CUSTOMER), "Content-Type": "application/json"}
    answer = world.http.post(f"/v1/{route}", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")


def test_a_whole_surrogate_pair_is_a_character_like_any_other(world: World) -> None:
    world.publish()
    body = {
        "customer": CUSTOMER.address,
        "bundle": "echo",
        "parameters": {"word": "\\ud800 \U0001f600"},
        "inputs": [{"name": "table.csv", "sha256": "ab" * 32, "size": 4}],
        "units": 1,
    }
    headers = {"Content-Type": "application/json"}
    answer = world.http.post("/v1/quotes", content=json.dumps(body).encode(), headers=headers)
    assert answer.json()["manifest"]["parameters"]["word"] == "\\ud800 \U0001f600"


def test_every_body_is_of_a_model_that_is_made_as_the_service_starts() -> None:
    taken = [
        model
        for module in _ROUTERS
        for route in module.router.routes
        if isinstance(route, APIRoute) and route.body_field is not None
        for model in models_in(route.body_field.field_info.annotation)
    ]
    assert len(taken) > 10
    assert [model.__name__ for model in taken if model.model_config.get("defer_build")] == [], "not a `Body`"


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)
