"""The whole worker: a fake service over real HTTP, a real chain, a real engine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from prixfixe.errors import ConfigurationError, Conflict, Forbidden, Unavailable
from prixfixe.protocol.deals import Due, refusal_root
from prixfixe.protocol.money import Money
from prixfixe.protocol.outputs import leaf, merkle_root
from prixfixe.protocol.reports import LotReport
from prixfixe.protocol.signatures import parse_signature, recover
from prixfixe.protocol.wire import Assignment, Reason
from tests.support.devnet import wait_for
from tests.worker.conftest import Stage
from tests.worker.killing import killed_while_running
from tests.worker.orders import WORKER, assignment, open_deal
from worker.containers import container_name
from worker.daemon import installation
from worker.engine import Engine
from worker.hands import Hands
from worker.journal import Journal

pytestmark = [pytest.mark.engine, pytest.mark.chain]

ROWS = b"a,b\n1,2\n"
MAIN_JOB = (
    "cat /job/parameters.json; cat /job/task.json; echo 'progress: 0.5 half way' >&2;"
    " cp /job/inputs/table.csv /job/outputs/copy.csv;"
    " mkdir /job/outputs/more; echo 7 > /job/outputs/more/n.txt"
)


def settle(stage: Stage, given: Assignment, report: LotReport) -> tuple[int, int]:
    """Settle on the chain with what the worker signed, by a stranger: what the provider earned, and what the
    customer got back."""
    client = stage.market.client
    provider, customer = stage.market.provider.address, stage.market.customer.address

    def held(owner: str) -> int:
        account = client.account(owner)
        return account.free.units + account.cur.units

    before = held(provider), held(customer)
    signature = parse_signature(report.signature)
    client.settle(
        stage.market.stranger, given.deal, given.due, report.result.root, report.result.done, [signature]
    )
    return held(provider) - before[0], held(customer) - before[1]


class TestTheMainJob:
    def test_it_is_run_uploaded_signed_and_paid_by_the_contract(self, stage: Stage) -> None:
        with stage.worker():
            given = stage.assign(MAIN_JOB, data=ROWS)
            report = stage.report_of(given)
        assert (report.status, report.tasks[0].exit_code, report.reason) == (0, 0, None)
        assert [file.path for file in report.tasks[0].outputs.files] == ["copy.csv", "more/n.txt"]
        assert stage.service.blobs[report.tasks[0].outputs.files[0].sha256] == ROWS
        assert report.result.root == merkle_root([leaf(0, 0, report.tasks[0].outputs.digest)])
        assert (
            recover(report.result.digest(stage.market.client.domain), parse_signature(report.signature))
            == WORKER.address
        )
        log = stage.service.logs[given.attempt].decode()
        assert '{"n":7}' in log
        assert json.loads(log[log.index('{"index"') :].splitlines()[0].partition("}")[0] + "}") == {
            "index": 0,
            "count": 1,
            "limit_units": 100,
        }
        assert stage.service.progress[given.attempt] == 0.5
        assert stage.service.started == [given.attempt]
        assert report.cage["network"] == "none"
        assert settle(stage, given, report) == (Money.parse("1.00").units, 0)

    def test_nothing_is_left_on_the_machine(self, stage: Stage) -> None:
        with stage.worker():
            stage.report_of(stage.assign(MAIN_JOB, data=ROWS))
        data = stage.settings.data
        assert list((data / "runs").iterdir()) == []
        assert list((data / "disks").iterdir()) == []
        assert [entry.stat().st_nlink for entry in (data / "inputs").iterdir()] == [1]
        assert str(data) not in Path("/proc/mounts").read_text()

    def test_two_slots_run_two_tasks_side_by_side(self, stage: Stage) -> None:
        logs, two = stage.service.logs, {"slots": 2, "milli_vcpu": 1000, "memory_mib": 512, "disk_mib": 128}
        with stage.worker(**two, drain_seconds=0.1):  # nobody waits for them to end
            given = [stage.assign("echo here; sleep 60", max_seconds=60) for _ in range(2)]
            stage.service.until(lambda: all(b"here" in logs.get(each.attempt, b"") for each in given))
            assert stage.service.reports == {}, "neither has ended"

    @pytest.mark.parametrize("old", [False, True], ids=["several in a call", "an older service"])
    def test_free_slots_take_what_waits_for_them(self, stage: Stage, old: bool) -> None:
        stage.service.old = old
        given = [stage.assign("true") for _ in range(3)]
        with stage.worker(slots=2, milli_vcpu=1000, memory_mib=512, disk_mib=128):
            reports = [stage.report_of(each) for each in given]
        assert [report.status for report in reports] == [0, 0, 0]
        assert sorted(stage.service.started) == sorted(each.attempt for each in given)
        calls = [path for _, path in stage.service.calls if path.endswith("/start")]
        assert (len(calls), "attempts/start" in calls) == ((3, False) if old else (2, True))


class TestAsks:
    def test_what_the_market_wants_is_quoted_at_once_by_the_worker_key(self, stage: Stage) -> None:
        product = stage.buy("true").definition.limits.product
        stage.service.products = (product,)
        with stage.worker():
            stage.service.until(lambda: product.to_bytes() in stage.service.asks, 60)
            signed = stage.service.asks[product.to_bytes()]
            domain = stage.market.client.domain
            assert recover(signed.ask.digest(domain), parse_signature(signed.signature)) == WORKER.address
            assert signed.ask.matcher == stage.market.deployment.market
            assert signed.ask.expiry > stage.market.chain.time
            count = len(stage.service.beats)
            stage.service.until(lambda: len(stage.service.beats) >= count + 3)
            assert sum(len(beat.asks) for beat in stage.service.beats[-3:]) == 0  # it rests

    def test_a_product_that_does_not_fit_is_not_quoted(self, stage: Stage) -> None:
        stage.service.products = (stage.buy("true").definition.limits.product,)
        with stage.worker(memory_mib=32):
            stage.service.until(lambda: len(stage.service.beats) > 3)
        assert stage.service.asks == {}

    def test_a_draining_worker_says_so(self, stage: Stage) -> None:
        with stage.worker() as daemon:
            daemon.stop()
            stage.service.until(lambda: stage.service.beats and stage.service.beats[-1].draining, 60)


class TestAFullDisk:
    def test_no_work_is_taken_until_there_is_room_again(self, stage: Stage, tmp_path: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("a small disk needs root")
        data = tmp_path / "small"
        data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "none", str(data)], check=True)
        stage.service.products = (stage.buy("true").definition.limits.product,)
        try:
            with stage.worker(data=data, scratch="watched"):
                stage.service.until(lambda: bool(stage.service.asks), 60)
                filler = data / "filler"
                filler.write_bytes(bytes(110 * 2**20))
                stage.service.until(lambda: stage.service.beats[-1].trouble is not None, 60)
                assert stage.service.beats[-1].draining
                assert "MiB left" in str(stage.service.beats[-1].trouble)
                given = stage.assign("true")
                count = len(stage.service.beats)
                stage.service.until(lambda: len(stage.service.beats) > count + 5, 60)
                assert given.attempt not in stage.service.started
                filler.unlink()
                assert stage.report_of(given).status == 0
                assert not stage.service.beats[-1].draining
        finally:
            subprocess.run(["umount", "--lazy", str(data)], check=True)


class TestARefusal:
    """The money goes back by the worker's own signature, with the reason."""

    def refused(self, stage: Stage, script: str, status: int, *, max_seconds: int = 20) -> Reason:
        with stage.worker():
            given = stage.assign(script, max_seconds=max_seconds)
            report = stage.report_of(given)
        assert report.status == status
        assert (report.result.done, report.result.root) == (0, refusal_root(given.due))
        assert settle(stage, given, report) == (0, given.deal.total.units)
        assert report.reason is not None
        return report.reason

    def test_bad_data_is_the_customers_with_row_and_column(self, stage: Stage) -> None:
        told = json.dumps({"code": "not-a-number", "message": "row 3 is text", "hint": "fix it", "row": 3})
        reason = self.refused(stage, f"echo '{told}' >&2; exit 65", 5)
        assert (reason.code, reason.fault, reason.details["row"]) == ("not-a-number", "customer", 3)

    def test_a_program_that_fails(self, stage: Stage) -> None:
        reason = self.refused(stage, "echo broken >&2; exit 3", 1)
        assert "exit code 3: broken" in reason.message

    def test_out_of_memory(self, stage: Stage) -> None:
        reason = self.refused(stage, "head -c 500m /dev/zero | tail -c 400m > /dev/null || exit 9", 2)
        assert "64 MiB" in reason.message

    def test_out_of_time(self, stage: Stage) -> None:
        reason = self.refused(stage, "trap '' TERM; sleep 60", 3, max_seconds=1)
        assert "1 seconds" in reason.message

    def test_a_link_to_the_hosts_secrets_in_the_outputs(self, stage: Stage) -> None:
        reason = self.refused(stage, "ln -s /etc/shadow /job/outputs/result.csv", 4)
        assert "symbolic link" in reason.message

    def test_an_input_that_the_service_sends_wrong(self, stage: Stage, engine: Engine) -> None:
        with stage.worker():
            bought = stage.buy("true", data=b"right")
            stage.service.blobs[bought.manifest.inputs[0].sha256] = b"wrong"
            deal, due = open_deal(stage.market, bought)
            given = assignment(bought, deal, due)
            stage.service.assign(given)
            report = stage.report_of(given)
        assert report.status == 6
        assert report.reason is not None
        assert report.reason.code == "blob-mismatch"
        mine = installation(stage.settings.data)
        assert engine.labelled("prixfixe.worker", mine) == {}, "its container was made meanwhile"

    def test_an_image_that_is_nowhere(self, stage: Stage) -> None:
        stage.image = "sha256:" + "ab" * 32
        with stage.worker():
            report = stage.report_of(stage.assign("true"))
        assert report.status == 6
        assert report.reason is not None
        assert report.reason.code == "image-missing"

    def test_one_whose_deal_was_hastened_meanwhile_is_signed_anew(self, stage: Stage) -> None:
        hastened: list[int] = []

        def refuse(report: object) -> Conflict | None:
            if hastened:
                return None
            deal = given.deal
            done = stage.market.client.hasten(stage.market.scheduler, deal, given.due)
            hastened.append(next(event.due for event in done.events))  # type: ignore[union-attr]
            return Conflict("hastened", code="due-changed", due=hastened[0])

        stage.service.refuse_report = refuse
        with stage.worker():
            given = stage.assign("exit 1", max_seconds=600)
            report = stage.report_of(given)
        assert Due.unpack(hastened[0]).hastened
        assert report.result.root == refusal_root(hastened[0])


class TestAnAssignmentThatIsNotReal:
    def test_a_deal_that_the_chain_does_not_know_is_neither_run_nor_signed(self, stage: Stage) -> None:
        from tests.worker.orders import unopened_deal

        with stage.worker():
            bought = stage.buy("true")
            deal = unopened_deal(bought, stage.market.client.domain)
            given = assignment(bought, deal, stage.market.chain.time + 600)
            stage.service.assign(given)
            stage.service.until(lambda: given.attempt in stage.service.started)
            real = stage.assign("true")
            stage.report_of(real)
        assert given.attempt not in stage.service.reports

    def test_another_workers_deal_is_left_alone(self, stage: Stage) -> None:
        with stage.worker():
            bought = stage.buy("true")
            deal, due = open_deal(stage.market, bought)
            stage.service.assign(assignment(bought, deal, due, deal_id="0x" + "00" * 32))
            beats = len(stage.service.beats)
            stage.service.until(lambda: len(stage.service.beats) > beats + 3)
        assert stage.service.started == []
        assert stage.service.reports == {}


class TestBadLuck:
    def test_a_service_that_restarts_gets_the_result_once_it_is_back(self, stage: Stage) -> None:
        with stage.worker():
            stage.service.refuse_report = lambda report: Unavailable("down, and the test does not know yet")
            given = stage.assign("echo x > /job/outputs/x")
            stage.service.until(lambda: given.attempt in stage.service.started)
            stage.service.down = True
            wait_for(lambda: any("/blobs/" in path for path in stage.service.missed), what="a lost upload")
            assert given.attempt not in stage.service.reports
            stage.service.refuse_report = lambda report: None
            stage.service.down = False
            stage.service.forget_sessions = True
            assert stage.report_of(given).status == 0

    def test_a_job_that_the_market_gives_up_is_stopped_and_not_reported(self, stage: Stage) -> None:
        with stage.worker():
            given = stage.assign("sleep 240", max_seconds=240)
            stage.service.until(lambda: any(given.attempt in beat.running for beat in stage.service.beats))
            stage.service.stop.add(given.attempt)
            stage.service.until(lambda: given.attempt not in stage.service.beats[-1].running, 60)
        assert given.attempt not in stage.service.reports

    def test_a_drain_lets_the_running_task_end(self, stage: Stage) -> None:
        with stage.worker() as daemon:
            given = stage.assign("sleep 1; echo x > /job/outputs/x")
            stage.service.until(lambda: given.attempt in stage.service.started)
            daemon.stop()
            stage.service.until(lambda: stage.service.beats[-1].stops_at is not None)
            assert stage.report_of(given).status == 0
            stops_at = stage.service.beats[-1].stops_at
            assert stops_at is not None
            assert abs(stops_at - time.time()) < 30

    def test_a_drain_without_patience_refuses_so_that_the_money_is_back_at_once(self, stage: Stage) -> None:
        with stage.worker(drain_seconds=0.3) as daemon:
            given = stage.assign("sleep 60", max_seconds=60)
            stage.service.until(lambda: any(given.attempt in beat.running for beat in stage.service.beats))
            daemon.stop()
            report = stage.report_of(given)
        assert (report.result.done, report.status) == (0, 6)
        assert report.reason is not None
        assert report.reason.fault == "provider"

    def test_stopped_at_once_it_begins_again_at_the_next_start(self, stage: Stage) -> None:
        with stage.worker() as daemon:
            given = stage.assign(
                "if [ -e /job/inputs/x ]; then :; fi; sleep 3; echo x > /job/outputs/x", max_seconds=60
            )
            stage.service.until(lambda: any(given.attempt in beat.running for beat in stage.service.beats))
            daemon.stop()
            daemon.stop()
        assert given.attempt not in stage.service.reports
        with stage.worker():
            assert stage.report_of(given).status == 0

    def test_a_killed_worker_finds_its_container_again(
        self, stage: Stage, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What a kill leaves: a journal that says running, a container that runs, a disk that is mounted."""
        given = killed_while_running(
            stage, engine, "echo before; sleep 3; echo after; echo x > /job/outputs/x"
        )
        remove, early = Hands.remove, []

        def noted(hands: Hands, container: str) -> None:
            if given.attempt not in stage.service.reports:
                early.append(container)
            remove(hands, container)

        monkeypatch.setattr(Hands, "remove", noted)
        with stage.worker():
            report = stage.report_of(given)
        assert early == [], "container and disk stay until what is on it was sent"
        assert report.status == 0
        assert report.tasks[0].seconds >= 3
        assert stage.service.logs[given.attempt] == b"before\nafter\n"

    def test_a_killed_worker_whose_container_is_gone_begins_again(self, stage: Stage, engine: Engine) -> None:
        given = killed_while_running(stage, engine, "echo x > /job/outputs/x")
        engine.remove(container_name(given.attempt))
        with stage.worker():
            assert stage.report_of(given).status == 0

    def test_a_finished_result_that_the_service_never_confirmed_is_sent_again(self, stage: Stage) -> None:
        stage.service.refuse_report = lambda report: (_ for _ in ()).throw(SystemError("lost"))
        with stage.worker() as daemon:
            given = stage.assign("echo x > /job/outputs/x", max_seconds=60)
            stage.service.until(lambda: stage.service.blobs)
            daemon.stop()
            daemon.stop()
        stage.service.blobs.clear()
        stage.service.refuse_report = lambda report: None
        with stage.worker():
            report = stage.report_of(given)
        assert report.status == 0
        assert set(stage.service.blobs) == {file.sha256 for file in report.tasks[0].outputs.files}

    def test_a_container_that_nobody_knows_is_removed_at_the_start(
        self, stage: Stage, engine: Engine, image: str
    ) -> None:
        stage.settings.data.mkdir()
        mine = installation(stage.settings.data)
        labels = {"prixfixe.worker": mine, "prixfixe.attempt": "f" * 32}
        request = {
            "Image": image,
            "Cmd": ["sleep", "1000"],
            "Labels": labels,
            "HostConfig": {"NetworkMode": "none"},
        }
        engine.start(engine.create(request, "prixfixe-" + "f" * 32))
        with stage.worker():
            assert engine.labelled("prixfixe.worker", mine) == {}

    def test_two_daemons_never_share_a_journal(self, stage: Stage) -> None:
        told = f"another worker runs on .*: process {os.getpid()}$"
        with stage.worker(), pytest.raises(Conflict, match=told), stage.worker():
            pass


class TestAWrongSetUp:
    def test_a_key_that_the_provider_never_authorised(self, stage: Stage) -> None:
        with pytest.raises(Forbidden, match="never authorised") as caught, stage.worker(key="dev:11"):
            pass
        assert "worker init" in str(caught.value.hint)

    def test_a_service_of_another_market(self, stage: Stage) -> None:
        with pytest.raises(ConfigurationError, match="not of"), stage.worker(contract=WORKER.address):
            pass


def test_the_journal_never_promises_two_successes_for_one_deal(stage: Stage) -> None:
    with stage.worker():
        given = stage.assign("echo x > /job/outputs/x")
        report = stage.report_of(given)
    journal = Journal(stage.settings.data / "journal.db")
    try:
        from dataclasses import replace

        journal.promise(report.result, given.due)
        with pytest.raises(Conflict):
            journal.promise(replace(report.result, root=b"\x01" * 32), given.due)
    finally:
        journal.close()
