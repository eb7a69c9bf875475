"""What long work shows: results done, what is in hand, and the time left by the work that each result is."""

import time
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

# Not typing.Self: the runtime checker of the tests sees functions one by one and cannot resolve it.
Display = TypeVar("Display", bound="WorkProgress")


class WorkProgress:
    """A live display on a terminal, one line a result elsewhere, nothing when quiet.

    Args:
        unit: what is counted, in the plural.
        total: how many there are.
        work: what all of them take, in any unit; each counts for one where it is not given.
        quiet: show nothing.
        console: where to; standard error if not given.
    """

    def __init__(
        self,
        unit: str,
        total: int,
        *,
        work: float | None = None,
        quiet: bool = False,
        console: Console | None = None,
    ) -> None:
        self.console = console or Console(stderr=True)
        self.quiet, self.total, self.done = quiet, total, 0
        self._remaining = float(total if work is None else work)
        self._finished = 0.0  # work done by this process
        self._began = time.monotonic()
        self._drawn = 0.0
        self._live: Progress | None = None
        if not quiet and self.console.is_terminal:
            self._live = Progress(
                SpinnerColumn(),
                TextColumn(f"[bold]{unit}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn(
                    "{task.fields[left]}  [dim]{task.fields[detail]}",
                    table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
                ),
                console=self.console,
                expand=True,
            )
            self._task = self._live.add_task("", total=total, completed=0, detail="", left="")

    def __enter__(self: Display) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """What is going on now; drawn at most ten times a second."""
        if self._live and time.monotonic() - self._drawn > 0.1:
            self._drawn = time.monotonic()
            self._live.update(self._task, detail=text, left=self._left())

    def passed(self, count: int, work: float) -> None:
        """Results that an earlier process left, and what they took; known before the display begins."""
        self.done += count
        self._remaining -= work
        if self._live:
            self._live.update(self._task, completed=self.done)

    def more(self, count: int, work: float) -> None:
        """Further results, and what they take."""
        self.total += count
        self._remaining += work
        if self._live:
            self._live.update(self._task, total=self.total)

    def completed(self, name: str, text: str, work: float = 1.0) -> None:
        """A result is there, and what it took."""
        self.done += 1
        self._finished += work
        self._remaining -= work
        if self._live:
            self._live.update(self._task, completed=self.done, left=self._left())
        elif not self.quiet:
            line = f"[{self.done}/{self.total}] {name}: {text} {self._left()}"
            self.console.print(line.rstrip(), markup=False, soft_wrap=True)

    def _left(self) -> str:
        """The time left, by the work that this process has done in its time."""
        if not self._finished:
            return ""
        seconds = (time.monotonic() - self._began) * max(0.0, self._remaining) / self._finished
        return f"ETA {duration(seconds)}"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`, `3.1 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    return f"{seconds / 86400:.1f} days"
