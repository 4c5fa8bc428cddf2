"""`prixfixe run`: what a person sees, decides and gets, against a real service over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketplace.chain import AccountView
from prixfixe import keys
from prixfixe.cli import buying, running
from prixfixe.client import Client
from prixfixe.client.verification import read_receipt
from prixfixe.protocol import wire
from tests.cli.conftest import Terminal, worker
from tests.support.finished import RESULT, deliver, refuse
from tests.support.service import CUSTOMER, DOLLAR, PRICING, STRANGER, World

ECHO = ("run", "echo", "table.csv", "--word", "hello")


def jobs_of(world: World) -> int:
    return len(world.services.jobs.page(CUSTOMER.address, None, 10)[0])


def test_the_whole_way_from_price_to_proof(
    types: Terminal, world: World, table: Path, tmp_path: Path
) -> None:
    with worker(world, deliver):
        shown = types(*ECHO, "--out", "result.csv", answer="y\n")
    assert shown.code == 0, shown.err
    assert "price      $4.00, and nothing beside it" in shown.err
    assert "balance    $100.00, then $96.00" in shown.err
    assert "Buy for $4.00?" in shown.err
    assert "$4.00 was charged, as quoted" in shown.err
    assert "2 rows in, 2 rows used." in shown.err
    assert shown.out == ""
    assert (tmp_path / "result.csv").read_bytes() == RESULT
    assert read_receipt(tmp_path / "receipt.json").outcome == "settled"
    verified = types("verify", "receipt.json", "result.csv")
    assert verified.code == 0
    assert "The receipt is valid." in verified.out


def test_one_json_object_is_all_that_a_program_gets(types: Terminal, world: World, table: Path) -> None:
    with worker(world, deliver):
        shown = types(*ECHO, "--out", "result.csv", "--yes", "--json")
    found = shown.json
    assert (found["state"], found["quoted"], found["charged"]) == ("settled", "4000000", "4000000")
    assert (found["input_rows"], found["output_rows"]) == (1, 1)
    assert found["receipt_valid"] is True
    assert types("verify", "receipt.json", "result.csv", "--json").json["valid"] is True


def test_saying_no_orders_nothing(types: Terminal, world: World, table: Path, tmp_path: Path) -> None:
    for answer in ("n\n", ""):
        shown = types(*ECHO, answer=answer)
        assert shown.code == 130
        assert "nothing was ordered and nothing was charged" in shown.err
    assert jobs_of(world) == 0
    assert not (tmp_path / "receipt.json").exists()


def test_a_refused_input_ends_with_the_reason_and_the_money_back(
    types: Terminal, world: World, table: Path, tmp_path: Path
) -> None:
    with worker(world, refuse):
        shown = types(*ECHO, "--yes", "--json")
    assert shown.code == 3
    error = shown.json["error"]
    assert "there is no column 'x'" in error["detail"]
    assert "nothing was charged: $4.00 is back in your account" in error["detail"]
    assert error["charged"] == "0"
    assert types("verify", "receipt.json").code == 0


def test_too_little_money_is_told_before_anything_is_uploaded(
    types: Terminal, world: World, table: Path
) -> None:
    world.chain.accounts[CUSTOMER.address] = AccountView(DOLLAR, 0, 3)
    shown = types(*ECHO, "--yes")
    assert shown.code == 4
    assert "$3.00 is missing" in shown.err
    assert "uploading" not in shown.err


def test_a_quote_that_expired_while_the_person_thought_buys_nothing(
    types: Terminal, world: World, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import click

    def think(*_: object, **__: object) -> bool:
        world.clock.now += 3600
        return True

    monkeypatch.setattr(click, "confirm", think)
    shown = types(*ECHO)
    assert shown.code == 4
    assert "nothing was charged" in shown.err
    assert jobs_of(world) == 0


def test_a_file_that_changed_while_the_person_thought_buys_nothing(
    types: Terminal, world: World, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import click

    def think(*_: object, **__: object) -> bool:
        table.write_bytes(b"a,b\n9,9\n")
        return True

    monkeypatch.setattr(click, "confirm", think)
    shown = types(*ECHO)
    assert shown.code == 3
    assert "was changed after it was priced" in shown.err
    assert jobs_of(world) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--out", "nowhere/result.csv"), 2, "cannot be written"),
        (("--out", "table.csv"), 3, "is the input and would be replaced"),
        (("--out", "taken.csv"), 6, "exists already"),
        (("--out", "x.csv", "--receipt", "x.csv"), 3, "result and receipt would both be"),
        (("--colour", "red"), 3, "no option --colour"),
        (("--times", "many"), 3, "--times"),
        (("second.csv", "third.csv"), 3, "takes 1 to 2 files"),
        (("absent.csv",), 3, "absent.csv does not exist"),
        (("--version", "9.9.9"), 6, "no bundle echo of version 9.9.9"),
    ],
)
def test_what_is_wrong_on_this_side_is_told_before_the_price(
    types: Terminal,
    world: World,
    table: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    (tmp_path / "taken.csv").write_text("mine")
    (tmp_path / "second.csv").write_text("a\n")
    shown = types(*ECHO, *arguments, "--yes")
    assert (shown.code, told in shown.err) == (code, True), shown.err
    assert "price" not in shown.err
    assert (tmp_path / "taken.csv").read_text() == "mine"


def test_force_replaces_result_and_receipt(
    types: Terminal, world: World, table: Path, tmp_path: Path
) -> None:
    for name in ("result.csv", "receipt.json"):
        (tmp_path / name).write_text("old")
    with worker(world, deliver):
        assert types(*ECHO, "--out", "result.csv", "--yes", "--force").code == 0
    assert (tmp_path / "result.csv").read_bytes() == RESULT


def test_without_a_name_the_result_lies_beside_the_table(
    types: Terminal, world: World, table: Path, tmp_path: Path
) -> None:
    with worker(world, deliver):
        assert types(*ECHO, "--yes").code == 0
    assert (tmp_path / "table-echo.csv").read_bytes() == RESULT


def test_ctrl_c_while_it_runs_says_that_it_goes_on_and_where_the_money_is(
    types: Terminal, world: World, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("prixfixe.cli.jobview.follow", interrupted)
    shown = types(*ECHO, "--yes")
    assert shown.code == 130
    assert "goes on by itself" in shown.err
    assert "nothing is charged until a worker is found; $4.00 waits in your account" in shown.err
    assert "prixfixe jobs watch 0x" in shown.err
    assert jobs_of(world) == 1


def test_ctrl_c_while_uploading_orders_nothing(
    types: Terminal, world: World, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("prixfixe.client.Client.upload", interrupted)
    shown = types(*ECHO, "--yes")
    assert shown.code == 130
    assert "nothing was ordered and nothing was charged" in shown.err
    assert jobs_of(world) == 0


def test_ctrl_c_while_buying_names_the_order(
    types: Terminal, world: World, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("prixfixe.client.Client.buy", interrupted)
    shown = types(*ECHO, "--yes")
    assert shown.code == 130
    assert "bought at most once" in shown.err
    assert "prixfixe jobs show 0x" in shown.err


def test_a_service_that_falls_silent_does_not_leave_the_person_in_the_dark(
    types: Terminal, world: World, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prixfixe.client.refund import Returned
    from prixfixe.errors import Unavailable
    from prixfixe.protocol.money import Money

    def silent(*_: object) -> int:
        raise Unavailable("the service is out of reach")

    monkeypatch.setattr("prixfixe.cli.jobview.follow", silent)
    waiting = types(*ECHO, "--yes")
    assert waiting.code == 7
    assert "the job goes on without being watched" in waiting.err
    assert "prixfixe jobs refund 0x" in waiting.err
    returned = (Returned(0, Money(4 * DOLLAR), "0x" + "ab" * 32),)
    monkeypatch.setattr("prixfixe.client.Client.refund", lambda *_: returned)
    late = types(*ECHO, "--yes")
    assert late.code == 4
    assert "its $4.00 were sent back to your account" in late.err


def test_a_full_disk_keeps_the_job_for_a_later_download(
    types: Terminal, world: World, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from prixfixe.client.files import IncomingFile

    def full(self: IncomingFile, chunk: bytes) -> None:
        from prixfixe.client.files import unwritable

        raise unwritable(self._call.target, OSError(errno.ENOSPC, "No space left on device"))

    with monkeypatch.context() as patch, worker(world, deliver):
        patch.setattr(IncomingFile, "write", full)
        shown = types(*ECHO, "--out", "result.csv", "--yes")
    assert shown.code == 2
    assert "no space left" in shown.err
    assert not (tmp_path / "result.csv").exists()
    job = read_receipt(tmp_path / "receipt.json").job
    again = types("jobs", "download", job[:10], "--file", "out.csv", "--out", "result.csv")
    assert again.code == 0, again.err
    assert (tmp_path / "result.csv").read_bytes() == RESULT


def test_detached_jobs_are_listed_watched_shown_and_fetched(
    types: Terminal, world: World, table: Path, tmp_path: Path
) -> None:
    job = types(*ECHO, "--yes", "--detach", "--json").json["job"]
    assert types("jobs", "list", "--json").json["jobs"][0]["job"] == job
    assert job[:12] in types("jobs", "list").out
    with worker(world, deliver):
        watched = types("jobs", "watch", job[:8])
    assert "$4.00 was charged, as quoted" in watched.out
    shown = types("jobs", "show", job, "--json").json
    assert (shown["state"], [file["path"] for file in shown["outputs"]]) == (
        "settled",
        ["out.csv", "totals.json"],
    )
    assert "out.csv" in types("jobs", "show", job).out
    fetched = types("jobs", "download", job, "--out", "all", "--json").json["files"]
    assert sorted(Path(name).name for name in fetched) == ["out.csv", "totals.json"]
    assert types("jobs", "download", job, "--out", "all").code == 0, "nothing is missing, so nothing is sent"
    Path("all/out.csv").write_text("another file")
    assert types("jobs", "download", job, "--out", "all").code == 6
    assert types("jobs", "receipt", job, "--out", "r.json").code == 0
    assert types("jobs", "log", job).code == 0
    assert types("jobs", "cancel", job).code == 6
    early = types("jobs", "forget", job, "--yes")
    assert early.code == 6
    assert "can be challenged for" in early.err


def test_a_waiting_job_is_cancelled_and_costs_nothing(types: Terminal, world: World, table: Path) -> None:
    job = types(*ECHO, "--yes", "--detach").out.strip()
    shown = types("jobs", "cancel", job)
    assert shown.code == 0
    assert "nothing was charged" in shown.err
    assert types("jobs", "forget", job, answer="n\n").code == 130, "it asks first"
    forgotten = types("jobs", "forget", job, "--yes")
    assert "deleted: 1 file(s) and 0 log(s)" in forgotten.err
    again = types("jobs", "forget", job, "--yes", "--json").json
    assert (again["kept"], [each["kind"] for each in again["deletions"]["items"]]) == ([], ["file"])
    assert types("jobs", "forget", job, "--yes", "--key", "dev:5").code == 6


def test_a_stranger_sees_nothing_of_a_job(types: Terminal, world: World, table: Path) -> None:
    job = types(*ECHO, "--yes", "--detach").out.strip()
    assert STRANGER.address
    assert types("jobs", "show", job, "--key", "dev:5").code == 6
    assert types("jobs", "list", "--key", "dev:5", "--json").json == {"jobs": []}
    assert types("jobs", "show", "0xabc").code == 6
    assert types("jobs", "show", "../../etc/passwd").code == 6


def test_a_retired_bundle_is_not_for_sale_and_its_file_is_not_read(types: Terminal, world: World) -> None:
    world.http.post("/v1/bundles/echo/retire", headers=world.sign_in(PRICING))
    shown = types(*ECHO, "--yes")  # there is no table.csv
    assert shown.code == 6
    assert "no longer for sale" in shown.err


def test_a_bundles_options_and_prices_are_shown_on_request(types: Terminal, world: World) -> None:
    shown = types("run", "echo", "--options")
    assert shown.code == 0
    assert "--word TEXT" in shown.out
    assert "$9.00" in shown.out
    assert types("run", "echo", "--options", "--json").json["bundle"] == "echo"


def test_what_a_job_prints_cannot_command_the_terminal(types: Terminal, world: World, table: Path) -> None:
    def printing(world: World, job: wire.Job) -> None:
        assignment = world.running(job)
        chunk = wire.LogChunk(offset=0, text="\x1b]0;owned\x07\x1b[2Jred\n")
        world.worker_post(f"{assignment.attempt}/log", chunk.model_dump(mode="json"))
        world.services.close_streams()

    job = types(*ECHO, "--yes", "--detach").out.strip()
    with worker(world, printing):
        pass
    shown = types("jobs", "log", job)
    assert "red" in shown.out
    assert "\x1b" not in shown.out
    assert "\x07" not in shown.out


def test_a_second_run_in_a_folder_takes_names_that_are_free_and_says_them(
    types: Terminal, world: World, table: Path, tmp_path: Path
) -> None:
    (tmp_path / "table-echo.csv").write_text("mine")
    (tmp_path / "receipt.json").write_text("mine")
    with worker(world, deliver):
        shown = types(*ECHO, "--yes")
    assert shown.code == 0, shown.err
    assert (tmp_path / "table-echo-2.csv").read_bytes() == RESULT
    assert read_receipt(tmp_path / "receipt-2.json").outcome == "settled"
    assert [name in shown.err for name in ("table-echo-2.csv", "receipt-2.json")] == [True, True]
    assert {(tmp_path / name).read_text() for name in ("table-echo.csv", "receipt.json")} == {"mine"}


def test_control_totals_that_the_log_has_shown_are_not_said_again(
    types: Terminal, world: World, table: Path
) -> None:
    with worker(world, lambda world, job: deliver(world, job, log="2 rows in, 2 rows used.\n")):
        shown = types(*ECHO, "--yes")
    assert shown.code == 0, shown.err
    assert shown.err.count("2 rows in, 2 rows used.") == 1


def test_while_a_large_file_is_checked_the_customer_is_signed_in(
    types: Terminal, world: World, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready: list[bool] = []
    begin = buying.get_ready

    def get_ready(client: Client | None = None, *, sign_in: bool = False) -> None:
        if client is not None:
            ready.append(sign_in)
        begin(client, sign_in=sign_in)

    monkeypatch.setattr(buying, "get_ready", get_ready)
    assert types(*ECHO, "--yes", "--detach").code == 0
    assert ready == [], "a small one is checked sooner"
    monkeypatch.setattr(running, "_LONG_BYTES", 0)
    assert types(*ECHO, "--yes", "--detach").code == 0
    assert types(*ECHO, "--detach", answer="y").code == 0
    assert ready == [True, False], "nobody signs anything before a yes"


def test_getting_ready_leaves_a_session(types: Terminal, world: World, tmp_path: Path) -> None:
    with Client(keep_sessions=True) as client:
        buying._make_ready(client, sign_in=False)
        assert not (keys.home() / "sessions.json").exists()
        buying._make_ready(client, sign_in=True)
    assert (keys.home() / "sessions.json").exists()
