"""The command `orograph watch`: a run in progress, seen from another terminal through nothing but its files.

What is done is what has a record; how fast it goes is when the latest records were written; who works on it is in its lock.
"""

import itertools
import os
import re
import socket
import statistics
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orograph.branches.schedule import in_words
from orograph.commands.settings import WatchSettings
from orograph.commands.tensorboard import TensorBoardLog
from orograph.errors import ConfigurationError, RunError, shown
from orograph.reading import read_file
from orograph.store.branch import ATLAS, ATLAS_FILE, BRANCH, courses
from orograph.store.connection import CONNECTION, curves
from orograph.store.connection import planned as planned_curves
from orograph.store.connection_quantities import WAYS
from orograph.store.escape import ESCAPE, cohorts, planned, wells
from orograph.store.lock import LOCK_NAME
from orograph.store.lookup import quantity
from orograph.store.records import FOLDER
from orograph.store.run import Run
from orograph.store.track import TRACK, moments
from orograph.sweep.progress import describe
from orograph.work.progress import duration

_LATEST = 8  # records shown
_WIDTH = 60  # of the bar
_PACE = 21  # records whose times tell the pace
_TOLD = ("train_loss", "gradient_norm", "lambda_max", "stability", "critical_sharpness")  # of a track
_Recorded = tuple[Path, str, str, bool]  # the file, its name, what it says in half a line, whether it failed


@dataclass(frozen=True)
class Glance:
    """A run at one moment.

    Attributes:
        run: as read. planned, done, failed: its points; of a track, whose end nobody knows, what was measured up to now.
        seconds: between two records, lately; NaN before the second.
        writer: who holds the lock, empty when nobody does.
        latest: the newest records first: name, the record in half a line, whether it failed, its age in seconds.
    """

    run: Run
    planned: int
    done: int
    failed: int
    seconds: float
    writer: str
    latest: tuple[tuple[str, str, bool, float], ...]

    @property
    def finished(self) -> bool:
        return self.done >= self.planned and not self.writer


def watch(settings: WatchSettings) -> int:
    """The command. Returns the exit code.

    Raises:
        OrographError: there is no such run.
    """
    if not settings.run:
        raise ConfigurationError("watch needs a run: the directory that a sweep, a study or follow writes.")
    if not settings.every >= 0.1:
        raise ConfigurationError(f"`every` {settings.every} must be at least 0.1 seconds.")
    console = Console()
    seen = look(settings.run)
    with TensorBoardLog(settings.tensorboard) if settings.tensorboard else nullcontext() as log:
        if log:
            log.update(seen.run)
        if settings.once or seen.finished or not (console.is_terminal or log):
            console.print(view(seen))
            return 0
        with Live(view(seen), console=console, auto_refresh=False) as live:
            while not seen.finished:
                time.sleep(settings.every)
                try:
                    seen = look(settings.run)
                except RunError:  # read between two writes; the next look is whole
                    continue
                live.update(view(seen), refresh=True)
                if log:
                    log.update(seen.run)
    return 0


def look(path: str | Path) -> Glance:
    """A run now."""
    run = Run.open(path)
    now = time.time()
    records = _RECORDED.get(run.kind, _points)(run)
    dated = [(file.stat().st_mtime, name, text, failed) for file, name, text, failed in records]
    ordered = sorted(dated, key=lambda each: each[0], reverse=True)
    gaps = [a[0] - b[0] for a, b in itertools.pairwise(ordered[:_PACE])]
    return Glance(
        run=run,
        planned=_planned(run, len(records)),
        done=len(records),
        failed=sum(failed for *_, failed in records),
        seconds=statistics.fmean(gaps) if gaps else float("nan"),
        writer=writer_of(run.path),
        latest=tuple((name, text, failed, max(0.0, now - moment)) for moment, name, text, failed in ordered[:_LATEST]),
    )


def _points(run: Run) -> list[_Recorded]:
    """The records of a sweep or a study."""
    found: list[_Recorded] = []
    for cell, record in run.records.items():
        name = f"{cell.configuration} {cell.seed}" if cell.configuration else f"{cell.model_id}, λ = {cell.strength:g}"
        text = describe({"status": record.status, **record.scalars}, run.score)
        found.append((run.path / FOLDER / f"{run.plan.name(cell)}.json", name, text, record.status == "failed"))
    return found


def _moments(run: Run) -> list[_Recorded]:
    """What was measured along a training."""
    found: list[_Recorded] = []
    for step, each in moments(run).items():
        told = [f"{quantity(name).heading} {each.scalars[name]:.4g}" for name in _TOLD if name in each.scalars]
        text = f"failed: {each.scalars.get('error')}" if each.status == "failed" else ", ".join(told)
        found.append((run.path / f"{each.key.stem}.json", f"step {step}", text, each.status == "failed"))
    return found


def _along(run: Run) -> list[_Recorded]:
    """The points of branches."""
    return [
        (run.path / f"{each.key.stem}.json", f"{course.name}, point {number}", in_words(each.scalars), False)
        for course in courses(run).values()
        for number, each in enumerate(course.points)
    ]


def _joined(run: Run) -> list[_Recorded]:
    """What was measured for an atlas, and the graph once it is there."""
    measured: list[_Recorded] = [
        (run.path / f"{key.stem}.json", f"{key.kind} {key.name}", f"λ {found.scalars['strength']:.6g}", False)
        for key, found in run.findings.items()
    ]
    graph = run.path / ATLAS_FILE
    return (
        [*measured, (graph, "the graph", f"{len(run.configuration['runs'])} runs joined", False)] if graph.is_file() else measured
    )


def _escaped(run: Run) -> list[_Recorded]:
    """The states that chains leave, and the cohorts of these."""
    found: list[_Recorded] = []
    for each in wells(run):
        told = f"q {each.scalars['order_parameter']:.6g}, height {each.scalars['height']:.4g}"
        found.append((run.path / f"{each.key.stem}.json", f"state at λ = {each.scalars['strength']:g}", told, False))
    for each in cohorts(run):
        at = each.scalars
        name = f"λ = {at['strength']:g}, batch {at['batch_size']:g}, learning rate {at['lr']:g}"
        found.append((run.path / f"{each.key.stem}.json", name, f"{sum(at['escaped'])} of {len(at['escaped'])} escaped", False))
    return found


def _connected(run: Run) -> list[_Recorded]:
    """The curves between two minima."""
    found: list[_Recorded] = []
    for name, each in curves(run).items():
        failed = each.status == "failed"
        told = f"failed: {each.scalars['error']}" if failed else f"barrier {each.scalars[f'{name}_barrier']:.4g}"
        found.append((run.path / f"{each.key.stem}.json", WAYS[name], told, failed))
    return found


_RECORDED = {TRACK: _moments, BRANCH: _along, ATLAS: _joined, ESCAPE: _escaped, CONNECTION: _connected}


def _planned(run: Run, done: int) -> int:
    """How many records there will be: nobody knows the end of a training, and a branch may end before all its points."""
    if run.kind == BRANCH:
        most = run.configuration.get("branch", {}).get("points", 0)
        return sum(len(course.points) if course.ended else max(most, len(course.points)) for course in courses(run).values())
    if run.kind == ESCAPE:
        return planned(run)
    if run.kind == CONNECTION:
        return planned_curves(run)
    return done if run.kind in (TRACK, ATLAS) else len(run.plan.cells)


def writer_of(path: Path) -> str:
    """Who is writing to a run, as its lock says; empty when nobody is, or when that process has ended on this machine.

    The lock itself is not tried: that could make a writer fail that begins just then.
    """
    try:
        text = shown(read_file(path / LOCK_NAME, 1000).decode(errors="replace").strip())
    except OSError:
        return ""
    found = re.fullmatch(r"process (\d+) on (.+)", text)
    if found and found[2] == socket.gethostname():
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
    return text


def view(seen: Glance) -> Group:
    """What is shown of it."""
    unit = {"study": "networks", CONNECTION: "curves"}.get(seen.run.kind, "points")
    counts = f"{seen.done} measurements" if seen.run.kind == TRACK else f"{seen.done} of {seen.planned} {unit}"
    head = Text.assemble((str(seen.run.path), "bold"), f": {counts}")
    if seen.failed:
        head.append(f", {seen.failed} failed", "bold red")
    if seen.writer:
        head.append(f", written by {seen.writer}")
    elif seen.done < seen.planned:
        head.append(", nobody is writing: the same command resumes it", "yellow")
    left = seen.planned - seen.done
    if left and seen.writer and seen.seconds == seen.seconds:
        head.append(f", {duration(seen.seconds)} each, about {duration(left * seen.seconds)} left")
    full = round(_WIDTH * seen.done / max(seen.planned, 1))
    bar = Text.assemble(("━" * full, "green"), ("─" * (_WIDTH - full), "dim"))
    parts: list[Text | Table] = [head] if seen.run.kind == TRACK else [head, bar]
    kinds = "" if seen.run.kind in _RECORDED else _findings(seen.run)
    if kinds:
        parts.append(Text(f"besides: {kinds}"))
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("latest", overflow="fold")
    table.add_column("", overflow="fold", ratio=1)
    table.add_column("ago", justify="right", no_wrap=True)
    for name, text, failed, age in seen.latest:
        table.add_row(name, Text(text, "red" if failed else ""), duration(age))
    return Group(*parts, table)


def _findings(run: Run) -> str:
    counts: dict[str, int] = {}
    for key in run.findings:
        counts[key.kind] = counts.get(key.kind, 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
