"""A job as a person reads it: live while it runs, and what became of the money when it is over."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import click

from prixfixe.cli.output import Progress, moment
from prixfixe.cli.times import reached
from prixfixe.client.endings import clean, money_sentence

if TYPE_CHECKING:
    from prixfixe.protocol.wire import Job, JobDispute, JobEvent, PastRuns

# What the service calls the stage of a job of many tasks.
_OF_ONE_LOT: Final = ("assigned to", "paying into", "running on", "settling")
_COUNTED: Final = re.compile(r"([0-9]+) of ([0-9]+) tasks done")


def follow(events: Iterable[JobEvent], progress: Progress) -> frozenset[str]:
    """Show events as they come, until the job's end. The lines of the log that were shown: of several
    replicas, those of the first to speak."""
    stage, logged = "waiting", set()
    speakers: dict[object, object] = {}  # by task
    shown: object = None
    counting = False
    for event in events:
        data = event.data
        if event.kind == "state":
            stage = clean(str(data.get("stage") or data.get("state") or stage))
            if counted := _COUNTED.fullmatch(stage):
                progress.count(int(counted[1]), int(counted[2]), "tasks done")
                counting = True
                continue
            if counting and stage.startswith(_OF_ONE_LOT):
                continue  # of one of many lots: the count says more
            progress.show(stage)
            reached(stage)
            if stage.startswith("assigned"):
                speakers.clear()  # a new deal: others run it
        elif event.kind == "progress":
            fraction = data.get("fraction")
            known = float(fraction) if isinstance(fraction, int | float) else None
            progress.show(stage, known, clean(str(data.get("text") or "")))
        elif event.kind == "log":
            task = data.get("task")
            if speakers.setdefault(task, data.get("attempt")) != data.get("attempt"):
                continue  # another replica says the same
            if task != shown and (task or len(speakers) > 1):
                progress.line(f"  --- task {task} on {clean(str(data.get('worker') or 'a worker'))} ---")
            shown = task
            for line in clean(str(data.get("text") or "")).splitlines():
                # Progress lines of the application have moved the bar already.
                if not line.startswith("progress:"):
                    progress.line(f"  | {line}")
                    logged.add(line)
    progress.close()
    return frozenset(logged)


def follow_log(events: Iterable[JobEvent], task: int | None) -> None:
    """Print the log as it comes, until the job's end: of several replicas of a task, that of the first to
    speak, and of several tasks each under a line that names it. task: only of this one."""
    speakers: dict[object, object] = {}
    shown: object = 0
    for event in events:
        data = event.data
        if event.kind == "state" and str(data.get("stage") or "").startswith("assigned"):
            speakers.clear()  # a new deal: others run it
        if event.kind != "log" or (task is not None and data.get("task", 0) != task):
            continue
        of = data.get("task", 0)
        if speakers.setdefault(of, data.get("attempt")) != data.get("attempt"):
            continue
        if task is None and of != shown:
            click.echo(f"--- task {of} on {clean(str(data.get('worker') or 'a worker'))} ---")
        shown = of
        text = clean(str(data.get("text") or ""))
        click.echo(text, nl=not text.endswith("\n") and len(speakers) > 1)


def dispute_sentence(dispute: JobDispute) -> str:
    """A challenge of the job's result and how it stands."""
    what = {
        "wrong": f"task {dispute.task} is said to be wrong",
        "missing": f"the output of task {dispute.task} is said to be missing",
        "count": "fewer tasks are said to have succeeded than were paid",
    }[dispute.ground]
    state = {
        "open": f"the arbiter has until {moment(dispute.until)} (chain time)",
        "guilty": f"judged guilty, {dispute.returned} went back to the customer",
        "acquitted": "judged not guilty",
        "lapsed": "the arbiter said nothing in time, so the result stands",
    }[dispute.state]
    return f"{what}: {state}"


def past_words(past: PastRuns, what: str) -> str:
    """How long earlier runs of an image took."""
    low, high = past.low_ms / 1000, past.high_ms / 1000
    return f"{low:.1f} to {high:.1f} s {what}, of {past.sample} before"


def sold_as(job: Job, *, short: bool = False) -> str:
    """What was bought: a bundle's tier, or an image. short: for a table."""
    if job.kind == "bundle":
        return f"{job.bundle} {job.tier}" if short else f"{job.bundle} {job.version}, tier {job.tier}"
    image = job.image.rpartition("/")[2]
    name = image[:19] if image.startswith("sha256:") else image.partition("@")[0]
    tasks = f"{job.tasks} task{'' if job.tasks == 1 else 's'}"
    return f"{name} {tasks}" if short else f"{tasks} of image {job.image}"


def job_json(job: Job) -> dict[str, Any]:
    """A job for programs: the wire's own form, its id also as `job`."""
    return {"job": job.id, **job.model_dump(mode="json")}


def job_rows(job: Job) -> list[tuple[str, str]]:
    """A job's facts, one a line."""
    rows = [
        ("job", job.id),
        ("state", f"{job.state}" + (f": {clean(job.stage)}" if job.stage else "")),
        ("bundle" if job.kind == "bundle" else job.kind, sold_as(job)),
        ("price", str(job.quoted)),
        ("money", money_sentence(job)),
        ("bought", moment(job.created_at)),
    ]
    if job.ended_at is not None:
        rows.append(("ended", moment(job.ended_at)))
    if job.attempts > 1:
        rows.append(("attempts", str(job.attempts)))
    rows += [("disputed", dispute_sentence(dispute)) for dispute in job.disputes]
    if len(job.ends) > 1:
        for end in job.ends:
            whose = "" if end.fault == "none" else f" (the {end.fault}'s fault)"
            cost = f", {end.charged}" if end.charged.units else ", nothing charged"
            rows.append(
                (f"{end.tasks:,} task{'' if end.tasks == 1 else 's'}", f"{clean(end.message)}{whose}{cost}")
            )
    if job.reason is not None:
        rows.append(("reason", clean(job.reason.message)))
        if job.reason.hint:
            rows.append(("what to do", clean(job.reason.hint)))
    return rows
