"""`scripts/test` closes with one line that is true, and fails when anything failed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from toolchain import areas, counting, testing
from toolchain.areas import Area
from toolchain.counting import Counts
from toolchain.project import ROOT, ScriptError

QUICK = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:schemathesis")
FORGE = "Ran 3 test suites in 1.20s (3.1s CPU time): 41 tests passed, 1 failed, 2 skipped (44 total tests)"


def test_forges_closing_line_is_read() -> None:
    assert counting.read_closing(f"Suite result: ok. 1 passed; 0 failed; 0 skipped\n{FORGE}\n") == Counts(
        41, 1, 2
    )


def test_a_runner_that_died_counts_as_one_failure() -> None:
    assert counting.believed(Counts(), 134) == Counts(failed=1)
    assert counting.believed(Counts(3, 2, 0), 1) == Counts(3, 2, 0)
    assert counting.believed(Counts(3), 0) == Counts(3)


def test_a_word_that_is_no_area_is_refused_with_the_areas() -> None:
    with pytest.raises(ScriptError, match=r"protocl is neither.*protocol"):
        areas.choose(["protocl"])


def test_no_word_means_every_area_and_every_folder_of_tests() -> None:
    paths = {path for area in areas.choose([]) for path in area.paths}
    folders = {file.relative_to(areas.TESTS).parts[0] for file in areas.TESTS.rglob("test_*.py")}
    assert {name for name in folders if areas.TESTS / name not in paths} == set()


def test_passed_failed_skipped_and_broken_tests_are_counted(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "@pytest.mark.skip\ndef test_left(): pass\n"
        "def test_broken(nothing): pass\n"
    )
    done = subprocess.run(
        [ROOT / "scripts" / "test", tmp_path, "--", *QUICK],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "1 passed, 2 failed, 1 skipped"
    assert re.search(
        r"== failed: .*test_sample::test_bad\n(.*\n)*E +assert False\n(.*\n)*"
        r"== 2 of pytest failed: .*test_sample::test_bad, .*test_sample::test_broken\n"
        r"== \d+ s in all",
        done.stderr,
    )


def test_nothing_to_run_is_no_success(tmp_path: Path) -> None:
    command = [ROOT / "scripts" / "test", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "0 passed, 0 failed, 0 skipped"
    assert "nothing ran" in done.stderr


def test_what_is_named_has_its_full_size_and_pictures_have_a_folder(tmp_path: Path) -> None:
    assert testing.given(tmp_path, False, None).keys() == {"PRIXFIXE_HOME", "PRIXFIXE_TEST_WHOLE"}
    pictures = tmp_path / "new" / "pictures"
    said = testing.given(tmp_path, True, pictures)
    assert (said["PRIXFIXE_TEST_SIZE"], said["PRIXFIXE_SCREENSHOTS"]) == ("full", str(pictures))
    assert pictures.is_dir()


def test_a_path_needs_the_engine_that_its_area_needs() -> None:
    from toolchain import areas

    chosen = areas.choose(
        [str(ROOT / "tests" / "system" / "test_endings.py"), str(ROOT / "tests" / "protocol")]
    )
    assert [areas.needs_engine(area) for area in chosen] == [True, False]


def test_what_waits_for_others_is_in_processes_of_its_own_and_nothing_runs_twice() -> None:
    own = [area for area in areas.choose([]) if area.runner == "pytest"]
    lanes = areas.lanes(own)
    assert [{area.name for area in lane} for lane in lanes.values()][1:] == [
        {"devnet", "system"},
        {"tables", "client", "cli", "worker", "cage", "bundles", "scripts"},
        {"faults", "compose", "browser"},
    ]
    every = [area.name for lane in lanes.values() for area in lane]
    assert sorted(every) == sorted(area.name for area in own)
    assert list(areas.lanes(lanes["pytest of workers"])) == ["pytest of workers"]


def test_the_tests_of_all_processes_are_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    chosen = []
    tests = (("computing", "pass"), ("waiting", "assert False"), ("working", "pass"), ("showing", "pass"))
    for (name, body), lane in zip(tests, areas.LANES, strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_{name}.py").write_text(
            f"def test_good(): pass\ndef test_{name}(): {body}\n"
        )
        chosen.append(Area(name, "", (tmp_path / name,), lane=lane))
    assert testing.run_pytest(chosen, QUICK, dict(os.environ), tmp_path) == Counts(7, 1, 0)
    shown = capfd.readouterr()
    assert "test_waiting.py::test_waiting" in shown.out
    assert "== pytest of markets: 1 passed, 1 failed, 0 skipped" in shown.err
