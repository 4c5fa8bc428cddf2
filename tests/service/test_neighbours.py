"""Processes on one database: each hears what the others wrote, and they write one after the other."""

from __future__ import annotations

import threading

import pytest

from marketplace.store.database import Store
from tests.support.neighbours import add, is_heard
from tests.support.scheduling import until

pytestmark = pytest.mark.both_databases


def test_a_commit_of_one_process_wakes_the_other(pair: tuple[Store, Store]) -> None:
    first, second = pair
    until(lambda: is_heard(first, second), "the other process to listen")
    mark = second.sequence()
    woken: list[set[str]] = []
    thread = threading.Thread(target=lambda: woken.append(second.wait(["nonces", "asks"], 20, since=mark)))
    thread.start()
    add(first, "a")
    thread.join(timeout=20)
    assert woken == [{"nonces"}]


def test_a_write_that_fails_wakes_nobody(pair: tuple[Store, Store]) -> None:
    first, second = pair
    until(lambda: is_heard(first, second), "the other process to listen")
    mark = second.sequence()

    def fail() -> None:
        with first.write() as connection:
            first.notify(connection, "nonces")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    until(lambda: is_heard(first, second), "the other process to be heard")
    assert second.wait(["nonces"], 0, since=mark) == set()


def test_thousands_of_topics_of_one_commit_come_over(pair: tuple[Store, Store]) -> None:
    first, second = pair
    until(lambda: is_heard(first, second), "the other process to listen")
    mark, topics = second.sequence(), [f"job:0x{number:064x}" for number in range(3000)]
    add(first, "a", *topics)
    until(lambda: second.wait(topics, 5, since=mark) == set(topics), "all of them")
