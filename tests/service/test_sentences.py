"""What the service says of a job, in the reader's language: every sentence of ours, and of nobody else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from marketplace import ends
from marketplace.console.languages import ENGLISH, LANGUAGES
from marketplace.console.sentences import said
from prixfixe.market import rules

ROOT = Path(__file__).parents[2]
CHINESE = LANGUAGES["zh"]
# Nobody reads these on a job's page: of inspections, of attempts, and of rehearsals without a market.
ELSEWHERE = ("inspections.py", "inspector.py", "rehearsal.py", "rounds.py")
# Put together from pieces of code; of each, a test here or of `worker` has one as it is put together.
COMPOSED = {
    f"said.{name}"
    for name in (
        *(
            "ask",
            "asks",
            "failed_one",
            "failed_all",
            "no_worker_why",
            "too_late_why",
            "over_log",
            "over_disk",
        ),
        *("input_refused", "input_refused_why", "parameters_refused", "parameters_refused_why"),
    )
}
PIECES = {": 7", "the program refused its 7", "the task 7 and was stopped"}


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ("waiting for a worker", "等待机器"),
        ("running on w1, <b>w2</b>", "正在 w1, <b>w2</b> 上运行"),
        ("1,200 of 5,000 tasks done", "已完成 5,000 个任务中的 1,200 个"),
        ("looking for another worker: w1 fell silent", "正在寻找另一台机器：w1 失去联系"),
        (
            "3 workers were tried; the last: the program ended with exit code 3: {x}",
            "已试过 3 台机器；最后一次：程序以退出码 3 结束：{x}",
        ),
        (
            "all 2 workers that could take it failed; the last: the program refused its input: no rows",
            "能接此任务的全部 2 台机器都失败；最后一次：程序拒绝了其输入：no rows",
        ),
        (
            "no worker was found before the order's end; 1 ask: 1 heartbeat lost",
            "订单到期前没有找到机器；1 个卖单：1 失去联系",
        ),
        ("the task wrote more than 64 MiB and was stopped", "任务写入超过 64 MiB，已被停止"),
        ("line 4 of sales.csv has no amount", "line 4 of sales.csv has no amount"),  # an application's own
        ("x" * 3000, "x" * 3000),
        ("", ""),
    ],
)
def test_a_known_sentence_is_told_and_another_stays_as_it_is(kept: str, told: str) -> None:
    assert said(CHINESE, kept) == told
    assert said(ENGLISH, kept) == kept


def test_why_an_order_waits_is_told_ask_by_ask() -> None:
    excluded = ["busy", "at zero, which a disputable bundle refuses", "busy"]
    told = said(CHINESE, f"waiting for a worker: {rules.explain(excluded)}")
    assert told == "等待机器：3 个卖单：2 忙碌, 1 价格为零，可质疑的应用不接受"
    assert said(CHINESE, rules.explain(["busy"])) == "1 个卖单：1 忙碌"
    assert said(CHINESE, rules.explain([])) == "没有机器出售此规格"


def test_every_sentence_of_ours_has_words() -> None:
    known = [*(rule.reason for rule in rules.RULES), rules.UNPAID]
    known += [message for _, message, _ in ends.TOLD]
    known += [sentence for sentence in spoken() if sentence not in PIECES]
    assert len(known) > 60
    assert [each for each in known if said(CHINESE, each) == each] == []


def test_every_sentence_that_has_words_is_one_that_is_said() -> None:
    """The English of `[said]` is what the code writes, part by part."""
    written = "".join(
        file.read_text()
        for folder in ("marketplace", "scheduler", "worker", "prixfixe/market")
        for file in (ROOT / folder).rglob("*.py")
    )
    written = re.sub(r'"\n\s*f?"', "", written)
    for key, text in ENGLISH.words.items():
        if key.startswith("said.") and key not in COMPOSED:
            for part, *_ in Formatter().parse(text):
                assert part in written, key


def spoken() -> Iterator[str]:
    """Stages and reasons as the code writes them, with a number for every value."""
    for folder in ("marketplace", "scheduler", "worker"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if file.name in ELSEWHERE and "store" not in file.parts:
                continue
            for call in ast.walk(ast.parse(file.read_text())):
                if not isinstance(call, ast.Call):
                    continue
                name = ast.unparse(call.func).rpartition(".")[2]
                if name in ("stage_said", "stages_said"):
                    yield from (text for each in call.args for text in sentences(each))
                elif name == "Reason":
                    told = [each.value for each in call.keywords if each.arg in ("message", "hint")]
                    yield from (text for each in told for text in sentences(each))


def sentences(node: ast.expr) -> Iterator[str]:
    """Those written in an expression: more than one word, so that no key is one."""
    if isinstance(node, ast.JoinedStr):
        parts = [each.value if isinstance(each, ast.Constant) else "7" for each in node.values]
        yield "".join(map(str, parts))
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str) and " " in node.value:
            yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from sentences(child)
