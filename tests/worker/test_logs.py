"""A job's text on its way to the customer: bounded, live, never waited for."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.logs import HeldLog, LogSender, LogTail, Piece
from worker.settings import Limits

LIMITS = Limits(log_bytes=100, log_flood_bytes=1000, line_bytes=20)


def heard(tail: LogTail, *chunks: bytes, stderr: bool = False) -> str:
    pieces = [tail.feed(stderr, chunk) for chunk in chunks]
    return "".join(piece.text for piece in pieces if piece is not None)


def test_part_of_a_line_is_sent_without_waiting_for_its_end() -> None:
    assert heard(LogTail(LIMITS), b"half") == "half"


def test_offsets_count_bytes_and_leave_no_gap() -> None:
    tail = LogTail(LIMITS)
    pieces = [tail.feed(False, text.encode()) for text in ("a\n", "é\n", "z\n")]
    assert [piece.offset for piece in pieces if piece] == [0, 2, 5]


def test_a_character_that_two_chunks_share_is_kept_together() -> None:
    both = "é€😀".encode()
    assert heard(LogTail(LIMITS), *(both[at : at + 1] for at in range(len(both)))) == "é€😀"


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert heard(LogTail(LIMITS), b"\xff\xfe\0\n") == "���\n"


def test_a_long_line_is_cut_and_the_next_one_is_whole() -> None:
    assert heard(LogTail(LIMITS), b"x" * 30, b"x" * 30 + b"\nnext\n") == "x" * 20 + " ... (line cut)\nnext\n"


def test_a_long_log_is_cut_once_and_says_so() -> None:
    text = heard(LogTail(LIMITS), *[b"0123456789\n"] * 30)
    assert text.startswith("0123456789\n" * 9)
    assert text.count("log cut here") == 1
    assert len(text) < 200


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60)), max_size=30))
def test_no_chunks_break_it(chunks: list[tuple[bool, bytes]]) -> None:
    tail, at = LogTail(LIMITS), 0
    for stderr, data in chunks:
        piece = tail.feed(stderr, data)
        if piece is not None and piece.text:
            assert piece.offset == at
            at += len(piece.text.encode())
    assert at <= 200
    assert tail.flooded == (sum(len(data) for _, data in chunks) > 1000)


def test_progress_is_read_from_standard_error_only() -> None:
    tail = LogTail(LIMITS)
    assert tail.feed(False, b"progress: 0.5 x\n") == Piece(0, "progress: 0.5 x\n", None)
    said = tail.feed(True, b"progress: 0.25 reading\n")
    assert said is not None
    assert said.progress == 0.25
    for bad in (b"progress: 1.5\n", b"progress: -0.1\n", b"progress: nan\n", b"x progress: 0.5\n"):
        found = LogTail(LIMITS).feed(True, bad)
        assert found is None or found.progress is None


def test_the_last_line_of_standard_error_is_the_jobs_own_word() -> None:
    tail = LogTail(Limits())
    tail.feed(True, b'noise\n{"code":"c","message"')
    tail.feed(False, b"other\n")
    tail.feed(True, b':"m"}\n\n')
    assert tail.last_error() == {"code": "c", "message": "m"}
    for text in (b"[1]", b"{", b"plain", b"[" * 3000):
        other = LogTail(Limits())
        other.feed(True, text)
        assert other.last_error() is None


class TestTheSender:
    def test_what_comes_while_a_post_is_under_way_leaves_with_the_next(self) -> None:
        release, posts = threading.Event(), []

        def post(piece: Piece) -> None:
            posts.append(piece)
            release.wait(10)

        sender = LogSender(post)
        sender.put(Piece(0, "first", None))
        for at, text in ((5, " and"), (9, " more")):
            sender.put(Piece(at, text, 0.5))
        release.set()
        sender.close(10)
        assert "".join(piece.text for piece in posts) == "first and more"
        assert [piece.offset for piece in posts] == sorted({piece.offset for piece in posts})
        assert len(posts) <= 3

    def test_a_large_text_leaves_in_pieces_that_the_wire_takes(self) -> None:
        posts: list[Piece] = []
        sender = LogSender(posts.append)
        sender.put(Piece(0, "é" * 100_000, None))
        sender.close(10)
        assert max(len(piece.text) for piece in posts) <= 32768
        assert [piece.offset for piece in posts] == [2 * 32768 * at for at in range(len(posts))]

    def test_a_post_that_fails_ends_the_log_and_nothing_else(self) -> None:
        def post(piece: Piece) -> None:
            raise RuntimeError("no")

        sender = LogSender(post)
        sender.put(Piece(0, "x", None))
        sender.close(10)
        sender.put(Piece(1, "y", None))


@pytest.mark.parametrize("told", [rb'{"message": "\ud800"}', b'{"a":' * 100 + b"1" + b"}" * 100])
def test_an_error_that_no_market_could_store_is_none(told: bytes) -> None:
    tail = LogTail(Limits())
    tail.feed(True, told + b"\n")
    assert tail.last_error() is None


def held(text: str, *, paid: bool) -> list[Piece]:
    """What goes out of a log that is held back: live, and at its end."""
    sent: list[Piece] = []
    log = HeldLog(sent.append)
    for at in range(0, len(text), 700):
        log.put(Piece(at, text[at : at + 700], None))
    log.end(paid=paid)
    return sent


def test_a_held_log_shows_its_beginning_live_and_the_rest_once_it_is_paid() -> None:
    text = "".join(f"line {number:05}\n" for number in range(1000))
    pieces = held(text, paid=True)
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.offset for piece in pieces] == [
        sum(len(before.text) for before in pieces[:at]) for at in range(len(pieces))
    ]
    assert len(pieces[-1].text) == len(text) - 2048


def test_a_held_log_of_a_task_that_is_not_paid_shows_its_last_lines() -> None:
    text = "".join(f"line {number:05}\n" for number in range(1000))
    told = "".join(piece.text for piece in held(text, paid=False))
    assert told.startswith("line 00000\n")
    assert told.endswith("line 00999\n")
    assert f"({len(text) - 4096} bytes are not shown: the task is not paid)" in told
    assert len(told) < 4200
    assert "".join(piece.text for piece in held("short\n", paid=False)) == "short\n"
