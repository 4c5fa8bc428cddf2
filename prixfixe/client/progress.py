"""How far something is, for whoever waits: ready-made bars of rich and tqdm, and what they are told.

    with progress.rich() as bar:
        client.run("pivot", "sales.csv", parameters=..., progress=bar)
        client.download(job, "out", progress=bar.bytes("downloading"))

`rich` and `tqdm` are imported when a bar is made. Of your own: any function of a `Step` for `run`, any
function of bytes done and bytes in all (None: not known) for transfers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from prixfixe.client.endings import clean
from prixfixe.client.preparing import needed

if TYPE_CHECKING:
    from prixfixe.client.calls import Progress
    from prixfixe.protocol.wire import JobEvent


@dataclass(frozen=True, slots=True)
class Step:
    """Where a run is. stage: in a few words. fraction: of this stage, 0 to 1, None when not known."""

    stage: str
    fraction: float | None = None


Watch: TypeAlias = Callable[[Step], None]


def of_bytes(watch: Watch, stage: str) -> Progress:
    """What a transfer tells, as steps of a stage."""

    def update(done: int, total: int | None) -> None:
        watch(Step(stage, done / total if total else None))

    return update


def of_events(watch: Watch) -> Callable[[JobEvent], None]:
    """What a job's events tell, as steps. The service's words are shown without control characters."""
    stage = "waiting for a worker"

    def hear(event: JobEvent) -> None:
        nonlocal stage
        if event.kind == "state":
            stage = clean(str(event.data.get("stage") or event.data.get("state") or stage))
            watch(Step(stage))
        elif event.kind == "progress":
            told = event.data.get("fraction")
            fraction = min(1.0, max(0.0, float(told))) if isinstance(told, int | float) else None
            watch(Step(stage, fraction))

    return hear


class Bar:
    """A bar for each stage: call it with a `Step`, and close it, as leaving its `with` does."""

    def __init__(self) -> None:
        self._stage: str | None = None

    def __call__(self, step: Step) -> None:
        if step.stage != self._stage:
            if self._stage is not None:
                self._end()
            self._begin(step.stage)
            self._stage = step.stage
        if step.fraction is not None:
            self._move(step.fraction)

    def bytes(self, stage: str) -> Progress:
        """For `upload` and `download`, which tell of bytes."""
        return of_bytes(self, stage)

    def close(self) -> None:
        """End the last stage."""
        if self._stage is not None:
            self._end()
            self._stage = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, stage: str) -> None:
        raise NotImplementedError

    def _move(self, fraction: float) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError


class _Rich(Bar):
    def __init__(self, console: Any) -> None:
        super().__init__()
        made = needed("rich.progress", "this bar")
        # Without markup: a stage is the service's words, and a bracket in it means nothing.
        columns = (
            made.TextColumn("{task.description}", markup=False),
            made.BarColumn(),
            made.TimeElapsedColumn(),
        )
        self._bars = made.Progress(*columns, console=console)
        self._bars.start()
        self._task: Any = None

    def _begin(self, stage: str) -> None:
        self._task = self._bars.add_task(stage, total=None)

    def _move(self, fraction: float) -> None:
        self._bars.update(self._task, total=1.0, completed=fraction)

    def _end(self) -> None:
        self._bars.update(self._task, total=1.0, completed=1.0)

    def close(self) -> None:
        super().close()
        self._bars.stop()


class _Tqdm(Bar):
    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        self._make = needed("tqdm.auto", "this bar").tqdm
        self._options = {"bar_format": "{desc}: {percentage:3.0f}% |{bar}| {elapsed}", **options}
        self._bar: Any = None

    def _begin(self, stage: str) -> None:
        self._bar = self._make(total=1.0, desc=stage, **self._options)

    def _move(self, fraction: float) -> None:
        self._bar.update(fraction - self._bar.n)

    def _end(self) -> None:
        self._move(1.0)
        self._bar.close()


def rich(console: Any = None) -> Bar:
    """Bars of rich. console: a `rich.console.Console`; else the terminal or notebook."""
    return _Rich(console)


def tqdm(**options: Any) -> Bar:
    """Bars of tqdm, in a notebook its own. options: of `tqdm.tqdm`, such as `file` or `leave`."""
    return _Tqdm(options)
