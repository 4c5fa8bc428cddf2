"""What a worker sees wrong with its surroundings, and when it is over: without any of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from prixfixe.errors import Unavailable
from worker.containers import EngineLost
from worker.room import Room
from worker.states import States, read_states
from worker.watch import Watch


@dataclass
class World:
    """Everything that a watch looks at, as a test wants it. chain_id: not a local one."""

    folder: Path
    skew: float = 0.0
    chain_ahead: float = 0.0
    engine_answers: bool = True
    node_answers: bool = True
    gas: int = 10**18
    events: list[tuple[str, bool]] = field(default_factory=list)
    chain_id: int = 10

    def ping(self) -> None:
        if not self.engine_answers:
            raise EngineLost("could not reach the engine")

    def now(self) -> int:
        if not self.node_answers:
            raise Unavailable("no node")
        return int(time.time() + self.chain_ahead)

    def emit(self, event: str, facts: dict[str, Any]) -> None:
        self.events.append((facts["name"], facts["entered"]))

    def room(self) -> Room:
        room = SimpleNamespace(
            settings=SimpleNamespace(data=self.folder),
            states=States(self.folder, self.emit),
            hands=self,
            client=SimpleNamespace(skew_seconds=self.skew),
            chain=SimpleNamespace(now=self.now, gas_balance=lambda key: self.gas, gas_price=lambda: 10**9),
            domain=SimpleNamespace(chain_id=self.chain_id),
            signer=SimpleNamespace(address="0xKEY"),
        )
        return cast(Room, room)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def looked(world: World) -> Room:
    room = world.room()
    Watch(room).look()
    return room


def test_a_healthy_worker_is_in_no_state(world: World) -> None:
    room = looked(world)
    assert (room.states.trouble(), world.events, read_states(world.folder)) == (None, [], [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"skew": 31.0}, "31 s behind the service's"),
        ({"skew": -95.0}, "95 s ahead of the service's"),
        ({"chain_ahead": 120.0}, "s behind the chain's"),
    ],
)
def test_a_clock_that_is_wrong_ends_the_asking(world: World, change: dict[str, float], words: str) -> None:
    for name, value in change.items():
        setattr(world, name, value)
    room = looked(world)
    assert words in str(room.states.trouble())
    assert world.events == [("clock-skew", True)]


@pytest.mark.parametrize(
    "change",
    [
        {"skew": 29.0},
        {"chain_ahead": -3600.0},  # the newest block of a quiet chain
        {"chain_ahead": 3600.0, "chain_id": 31337},  # a local chain's clock may be anywhere
        {"chain_ahead": 3600.0, "node_answers": False},
    ],
)
def test_a_clock_that_may_be_right_does_not(world: World, change: dict[str, Any]) -> None:
    for name, value in change.items():
        setattr(world, name, value)
    assert looked(world).states.trouble() is None


def test_an_engine_that_is_away_ends_the_asking_until_it_answers(world: World) -> None:
    world.engine_answers = False
    room = world.room()
    watch = Watch(room)
    watch.look()
    assert "until the container engine answers" in str(room.states.trouble())
    world.engine_answers = True
    watch._due["engine"] = 0.0
    watch.look()
    assert room.states.trouble() is None
    assert world.events == [("engine-away", True), ("engine-away", False)]


def test_without_gas_money_work_goes_on_and_status_says_where_to_send_it(world: World) -> None:
    world.gas = 10**9
    assert looked(world).states.trouble() is None
    assert [(state["name"], "0xKEY" in state["message"]) for state in read_states(world.folder)] == [
        ("no-gas", True)
    ]
