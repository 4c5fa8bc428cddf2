"""What a hostile job may try on a real engine, and what comes of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.cage.conftest import LABEL, Bench
from tests.support.devnet import wait_for
from worker.cage import GVISOR
from worker.containers import ContainerState, Run
from worker.engine import Engine
from worker.outcomes import Limits as ProductLimits
from worker.outcomes import judge
from worker.outputs import OutputRefused
from worker.runner import Runner
from worker.settings import Limits
from worker.stopping import Stopper

pytestmark = pytest.mark.engine

PRODUCT = ProductLimits(seconds=20, memory_mib=64, disk_mib=16)


def _cpu_share(engine: Engine, container: str) -> float:
    """Processors that it used between the engine's last two samples; 0 before there are two."""
    told = engine._api.stats(container, stream=False)
    now, before = told["cpu_stats"], told["precpu_stats"]
    if not before.get("system_cpu_usage"):
        return 0.0
    whole = now["system_cpu_usage"] - before["system_cpu_usage"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    return float(used / whole * now["online_cpus"]) if whole else 0.0


def status(run: Run) -> int:
    return int(judge(run, PRODUCT)[0])


class TestWhoAJobIs:
    def test_it_is_nobody_with_no_capability_and_can_gain_none(self, bench: Bench) -> None:
        ended = bench.run(
            "id -u; id -g; grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp:' /proc/self/status"
        )
        lines = ended.log.split()
        assert ended.run.exit_code == 0
        assert lines[:2] == (
            ["65532", "65532"] if os.geteuid() == 0 else [str(os.getuid()), str(os.getgid())]
        )
        facts = dict(zip(lines[2::2], lines[3::2], strict=True))
        assert {facts[name] for name in facts if name.startswith("Cap")} == {"0" * 16}
        assert {"CapInh:", "CapPrm:", "CapEff:", "CapBnd:"} <= facts.keys()
        if bench.runtime == "runc":  # gVisor's own kernel answers on the other, and has no such fields
            assert facts["CapAmb:"] == "0" * 16
            assert facts["NoNewPrivs:"] == "1"
            assert facts["Seccomp:"] == "2"

    def test_a_set_user_id_program_in_its_image_does_not_make_it_root(self, bench: Bench) -> None:
        # busybox itself carries the bit; su and mount would use it.
        ended = bench.run(
            "su -c id root; busybox id -u; mount -t tmpfs none /mnt; mknod /tmp/d b 7 0; chroot / id"
        )
        assert "uid=0" not in ended.log
        assert "65532" in ended.log or os.geteuid() != 0

    def test_its_surroundings_are_the_same_everywhere(self, bench: Bench) -> None:
        ended = bench.run("hostname; env | sort", milli_vcpu=500, memory_mib=64)
        lines = ended.log.splitlines()
        assert lines[0] == "task"
        assert {
            "TZ=UTC",
            "LANG=C.UTF-8",
            "PYTHONHASHSEED=0",
            "HOME=/tmp",
            "PRIXFIXE_CPUS=1",
            "PRIXFIXE_MEMORY_MIB=64",
            "OPENBLAS_NUM_THREADS=1",
        } <= set(lines[1:])


class TestWhatAJobSees:
    def test_there_is_no_network(self, bench: Bench) -> None:
        ended = bench.run(
            "cat /proc/net/dev | tail -n +3 | cut -d: -f1; cat /proc/net/route | tail -n +2;"
            " for at in 127.0.0.1:2375 172.17.0.1:22 1.1.1.1:53; do"
            ' nc -w 2 ${at%:*} ${at#*:} </dev/null && echo "reached $at"; done;'
            " nslookup example.org 2>&1 | grep -i address; ping -c 1 -W 1 172.17.0.1 && echo pinged; exit 0"
        )
        assert ended.run.exit_code == 0
        assert "eth0" not in ended.log
        assert "reached" not in ended.log
        assert "pinged" not in ended.log

    def test_its_root_its_inputs_and_its_parameters_are_read_only(self, bench: Bench) -> None:
        ended = bench.run(
            "for at in / /bin /etc /job /job/inputs /proc/sys/kernel /sys; do"
            ' ( : > $at/new ) 2>/dev/null && echo "wrote $at"; done;'
            " ( echo x >> /job/inputs/table.csv ) 2>/dev/null && echo changed;"
            " rm -f /job/inputs/table.csv 2>/dev/null; cat /job/inputs/table.csv"
        )
        assert ended.log == "a,b\n1,2\n"

    def test_the_engines_socket_and_the_hosts_files_are_nowhere(self, bench: Bench) -> None:
        ended = bench.run(
            "find / -xdev -name '*.sock' 2>/dev/null; ls /var/run/docker.sock /run/docker.sock 2>/dev/null;"
            " cat /etc/shadow 2>/dev/null; ls /root /home 2>/dev/null;"
            " ls -d /proc/[0-9]* | wc -l; ls /dev | sort | tr '\\n' ' '"
        )
        assert ".sock" not in ended.log
        assert "root:" not in ended.log
        lines = ended.log.splitlines()
        assert int(lines[-2]) < 10  # its own processes only
        own = {"fuse"} if bench.runtime == GVISOR else set()  # a device of gVisor's kernel, not of the host's
        assert not {"mem", "kmsg", "sda", "vda", "fuse", "kvm", "loop0"} - own & set(lines[-1].split())

    def test_the_only_places_to_write_are_its_disk_and_bounded_memory(self, bench: Bench) -> None:
        ended = bench.run(
            "for at in $(cut -d' ' -f2 /proc/mounts | sort -u) /dev/shm /run /var /usr /home /opt; do"
            ' ( : > "$at/new" ) 2>/dev/null && echo "$at"; done; exit 0'
        )
        assert set(ended.log.split()) <= {"/job/outputs", "/tmp", "/dev/shm", "/dev/mqueue"}
        assert {"/job/outputs", "/tmp"} <= set(ended.log.split())


class TestHowMuchAJobGets:
    def test_memory_ends_where_it_was_bought(self, bench: Bench) -> None:
        ended = bench.run("head -c 300m /dev/zero | tail -c 200m > /dev/null; exit $?", memory_mib=32)
        # tail holds 200 MiB; the shell that waits for it survives or not, the run is out of memory.
        assert ended.run.oom_killed
        assert status(ended.run) == 2

    def test_memory_that_ended_is_told_when_the_engine_hears_of_it_too_late_for_its_state(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heard = Engine.state

        def late(engine: Engine, container: str) -> ContainerState | None:
            state = heard(engine, container)
            return None if state is None else replace(state, oom_killed=False)

        monkeypatch.setattr(Engine, "state", late)
        hog = bench.run("head -c 300m /dev/zero | tail -c 200m > /dev/null; exit $?", memory_mib=32)
        assert hog.run.oom_killed
        # What is killed for another reason is not called that.
        killed = bench.run("kill -9 $$")
        assert (killed.run.exit_code, killed.run.oom_killed) == (137, False)

    def test_memory_in_shared_files_counts_too(self, bench: Bench) -> None:
        ended = bench.run("dd if=/dev/zero of=/dev/shm/hog bs=1M count=60; echo survived", memory_mib=32)
        assert ended.run.oom_killed or "survived" in ended.log
        assert "60+0 records out" not in ended.log

    def test_a_fork_bomb_meets_the_limit_and_its_neighbour_does_not_notice(self, bench: Bench) -> None:
        neighbour: list[float] = []

        def live_on() -> None:
            neighbour.append(
                bench.run("i=0; while [ $i -lt 20 ]; do i=$((i+1)); done; echo fine").run.seconds
            )

        bomb = bench.job("bomb() { bomb | bomb & }; bomb; sleep 200", seconds=3.0, processes=32)
        runner = Runner(bench.engine)
        container = runner.create(bomb.cage)
        thread = threading.Thread(target=live_on)
        thread.start()
        run = runner.run(container, bomb, Stopper())
        thread.join()
        bench.engine.remove(container)
        assert run.seconds < 150
        assert run.stopped_for == "time" or run.exit_code != 0
        assert len(neighbour) == 1

    def test_more_processes_than_bought_are_refused(self, bench: Bench) -> None:
        ended = bench.run(
            "i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done; echo all", processes=16, seconds=60
        )
        assert "all" not in ended.log
        if bench.runtime == GVISOR:  # its kernel dies of its own lack of threads, and the task with it
            assert status(ended.run) == 1
        else:
            assert "can't fork" in ended.log

    def test_processor_time_is_the_share_that_was_bought(self, bench: Bench, engine: Engine) -> None:
        job = bench.job("while :; do :; done & while :; do :; done", seconds=200, milli_vcpu=500)
        runner, stopper = Runner(engine), Stopper()
        container = runner.create(job.cage)
        thread = threading.Thread(target=runner.run, args=(container, job, stopper))
        thread.start()
        try:
            # Two samples a second apart, by the engine: what a job reads inside is gVisor's word. Of three
            # such the middle one: a machine with much to do may read its counters late.
            _, told, _ = sorted(
                wait_for(lambda: _cpu_share(engine, container), 60, "the engine's two samples")
                for _ in range(3)
            )
        finally:
            stopper.stop("given up")
            thread.join(60)
        assert told < 0.7, f"{told:.2f} processors of the half that was bought"

    def test_a_spin_that_ignores_signals_is_killed_at_its_time(self, bench: Bench) -> None:
        ended = bench.run("trap '' TERM INT HUP; while :; do :; done", seconds=1.0)
        assert ended.run.stopped_for == "time"
        assert 1.0 <= ended.run.seconds < 30
        assert status(ended.run) == 3

    def test_one_that_was_stopped_before_it_began_ends_at_once(self, bench: Bench) -> None:
        job, stopper = bench.job("sleep 20"), Stopper()
        runner = Runner(bench.engine)
        container = runner.create(job.cage)
        stopper.stop("drain")
        run = runner.run(container, job, stopper)
        bench.engine.remove(container)
        assert (run.stopped_for, run.exit_code) == ("drain", 137)

    def test_a_job_that_closes_its_output_is_still_stopped_at_its_time(self, bench: Bench) -> None:
        ended = bench.run("exec >/dev/null 2>&1; sleep 60", seconds=1.0)
        assert ended.run.stopped_for == "time"
        assert ended.run.seconds < 30

    def test_open_files_are_bounded_and_no_core_is_written(self, bench: Bench) -> None:
        assert bench.run("ulimit -n; ulimit -c").log.split() == ["4096", "0"]


class TestItsDisk:
    def test_output_ends_at_the_disk_that_was_bought(self, bench: Bench) -> None:
        ended = bench.run(
            "dd if=/dev/zero of=/job/outputs/big bs=1M count=64 2>&1; ls -l /job/outputs", disk_mib=16
        )
        assert "64+0 records out" not in ended.log
        if ended.disk.kind == "loop":
            assert sum(f.stat().st_size for f in ended.disk.outputs.iterdir()) <= 16 << 20

    def test_outputs_and_temporary_files_share_that_disk(self, bench: Bench) -> None:
        if bench.pool.kind != "loop":
            pytest.skip("a watched disk has no hard end")
        ended = bench.run(
            "dd if=/dev/zero of=/tmp/a bs=1M count=10 2>/dev/null && echo first;"
            " dd if=/dev/zero of=/job/outputs/b bs=1M count=10 2>/dev/null && echo second; exit 0"
        )
        assert "first" in ended.log
        assert "second" not in ended.log

    def test_a_program_on_its_disk_cannot_be_executed(self, bench: Bench) -> None:
        if bench.pool.kind != "loop":
            pytest.skip("a watched disk is a plain folder")
        ended = bench.run(
            "cp /bin/busybox /tmp/sh; /tmp/sh echo ran; cp /bin/busybox /job/outputs/x; /job/outputs/x"
        )
        assert "ran" not in ended.log
        # gVisor reads the file and meets the mount's flag when it maps it.
        assert ("Segmentation fault" if bench.runtime == GVISOR else "Permission denied") in ended.log

    def test_a_million_files_end_at_the_disks_inodes_and_are_refused(self, bench: Bench) -> None:
        ended = bench.run("cd /job/outputs; i=0; while [ $i -lt 300 ]; do : > f$i; i=$((i+1)); done")
        with pytest.raises(OutputRefused, match="more than 100"):
            _ = ended.outputs

    def test_a_sparse_giant_is_refused_by_its_length(self, bench: Bench) -> None:
        ended = bench.run("truncate -s 1T /job/outputs/giant; truncate -s 15M /job/outputs/a;"
                          " truncate -s 15M /job/outputs/b; ls /job/outputs")  # fmt: skip
        assert "giant" not in ended.log or ended.disk.outputs.joinpath("giant").stat().st_size == 0
        with pytest.raises(OutputRefused, match="more than 16777216 bytes"):
            _ = ended.outputs


class TestItsOutputs:
    def test_plain_files_and_folders_are_taken(self, bench: Bench) -> None:
        ended = bench.run("cd /job/outputs; mkdir -p a/b; echo hello > a/b/c.txt; : > empty")
        assert [(file.path, file.size) for file in ended.outputs.files] == [("a/b/c.txt", 6), ("empty", 0)]

    @pytest.mark.parametrize(
        ("script", "says"),
        [
            ("ln -s /etc/shadow /job/outputs/result.csv", "symbolic link"),
            ("ln -s / /job/outputs/root", "symbolic link"),
            ("echo x > /job/outputs/a; ln /job/outputs/a /job/outputs/b", "several names"),
            ("mkfifo /job/outputs/pipe", "named pipe"),
            ("touch \"$(printf '/job/outputs/two\\nlines')\"", "control character"),
            ("touch \"$(printf '/job/outputs/\\377\\376')\"", "not valid UTF-8"),
            ("touch '/job/outputs/a\\b'", "backslash"),
        ],
    )
    def test_anything_else_is_refused(self, bench: Bench, script: str, says: str) -> None:
        ended = bench.run(script)
        if bench.runtime == GVISOR and "mkfifo" in script:
            assert ended.outputs.files == (), "gVisor makes no named pipe on a folder of the host"
            return
        with pytest.raises(OutputRefused, match=says):
            _ = ended.outputs


class TestItsLog:
    def test_text_arrives_while_the_job_runs(self, bench: Bench) -> None:
        said: list[str] = []
        job = bench.job("echo first; sleep 90", seconds=120, said=said)
        runner, stopper = Runner(bench.engine), Stopper()
        container = runner.create(job.cage)
        thread = threading.Thread(target=runner.run, args=(container, job, stopper))
        thread.start()
        until = time.monotonic() + 60
        while "first\n" not in said and time.monotonic() < until:
            time.sleep(0.01)
        assert "".join(said) == "first\n"
        stopper.stop("given up")
        thread.join(60)
        assert not thread.is_alive()
        bench.engine.remove(container)

    def test_a_burst_is_cut_and_the_job_stopped(self, bench: Bench) -> None:
        limits = Limits(log_bytes=10_000, log_flood_bytes=4 << 20)
        ended = bench.run("yes 'a line of some length' | head -c 1000m", limits=limits)
        assert ended.run.stopped_for == "log"
        assert len(ended.log) < 10_200
        assert "log cut here" in ended.log
        assert status(ended.run) == 4

    def test_one_endless_line_is_cut(self, bench: Bench) -> None:
        limits = Limits(line_bytes=1000, log_flood_bytes=64 << 20)
        ended = bench.run("head -c 20m /dev/zero | tr '\\0' x; echo; echo after", limits=limits)
        assert ended.run.exit_code == 0
        assert ended.log.endswith("... (line cut)\nafter\n")
        assert len(ended.log) < 1100


class TestItsEnd:
    @pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (2, 1), (64, 5), (65, 5)])
    def test_exit_codes_become_statuses(self, bench: Bench, code: int, expected: int) -> None:
        ended = bench.run(f"exit {code}")
        assert ended.run.exit_code == code
        assert status(ended.run) == expected

    def test_the_last_line_of_stderr_says_what_was_wrong_with_the_input(self, bench: Bench) -> None:
        ended = bench.run(
            "echo reading >&2;"
            ' echo \'{"code":"bad-number","message":"row 7 has text in amount","hint":"correct it",'
            '"file":"table.csv","row":7,"column":"amount","value":"abc"}\' >&2; exit 65'
        )
        _, reason = judge(ended.run, PRODUCT)
        assert reason is not None
        assert (reason.code, reason.fault, reason.details["row"]) == ("bad-number", "customer", 7)

    def test_nothing_of_a_job_is_left_on_the_engine(self, bench: Bench, engine: Engine) -> None:
        bench.run("sleep 100 & exit 0")
        assert engine.labelled("prixfixe.worker", LABEL) == {}


@pytest.fixture(autouse=True)
def _no_container_is_left(engine: Engine) -> Iterator[None]:
    yield
    for container in engine.labelled("prixfixe.worker", LABEL):
        engine.remove(container)
