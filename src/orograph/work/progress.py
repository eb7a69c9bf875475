"""What long work shows: results done, what is in hand, and the time left by the work that each result is.

On a terminal a bar; elsewhere a line a minute, besides those of the first result, of the last and of what failed; in a notebook
one line that is rewritten; under `logging` records in place of lines.
"""

import html
import logging
import sys
import time
from types import TracebackType
from typing import Any, Literal, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

# Not typing.Self: the runtime checker of the tests sees functions one by one and cannot resolve it.
Display = TypeVar("Display", bound="WorkProgress")


# `terminal` is the command line, whose commands print tables too; the others are of calls in Python.
Show = Literal["terminal", "lines", "notebook", "log"]
LOG = logging.getLogger("orograph")

_MINUTE = 60.0  # seconds between lines where there is no terminal
_CELL = 0.3  # seconds between two states of a notebook's line, each of which is sent to the browser
_NEWEST = 0.3  # the weight of the newest pace in the time left: kinds of work are guessed one by one


def suited() -> Show:
    """How a call in Python tells its progress: as a notebook's line where it runs in one, as log records where a program has
    set up logging and nobody looks at a terminal, else in lines."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is not None:
        return "notebook"
    return "log" if logging.getLogger().handlers and not sys.stderr.isatty() else "lines"


class CellLine:
    """One line below a notebook's cell, rewritten in place."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, done: int, total: int, text: str) -> None:
        """Text beside a bar, which is gone when all is done."""
        from IPython.display import display

        bar = f'<progress value="{done}" max="{max(total, 1)}" style="width: 10em"></progress> ' if done < total else ""
        bundle = {"text/plain": text, "text/html": f'<div style="font-family: monospace">{bar}{html.escape(text)}</div>'}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class Working:
    """One long piece of work: its stage on a terminal, a line a minute elsewhere, nothing when quiet."""

    def __init__(self, text: str, *, console: Console, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._began = self._told = time.monotonic()
        self._status = console.status(text) if console.is_terminal and not quiet else None

    def __enter__(self: "Working") -> "Working":
        if self._status:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._status:
            self._status.stop()

    def say(self, text: str) -> None:
        """What is going on now."""
        now = time.monotonic()
        line = f"{text}, {duration(now - self._began)}"
        if self._status:
            self._status.update(escape(line))
        elif not self._quiet and now - self._told >= _MINUTE:
            self._told = now
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class WorkProgress:
    """A live display on a terminal, one line a minute elsewhere or as `show` says, nothing when quiet.

    Args:
        unit: what is counted, in the plural.
        total: how many there are.
        work: what all of them take, in any unit; each counts for one where it is not given.
        quiet: show nothing.
        console: where to; standard error if not given.
        show: a line of a notebook, or records of `logging`, in place of the console.
    """

    console: Console
    quiet: bool
    total: int
    done: int

    def __init__(
        self,
        unit: str,
        total: int,
        *,
        work: float | None = None,
        quiet: bool = False,
        console: Console | None = None,
        show: Show = "terminal",
    ) -> None:
        self.console = console or Console(stderr=True)
        self.quiet, self.total, self.done = quiet, total, 0
        self._remaining = float(total if work is None else work)
        self._finished = 0.0  # work done by this process
        self._began = self._told = time.monotonic()
        self._end: float | None = None  # when all is done, as far as is known
        self._drawn = 0.0
        self._unit, self._log, self._first = unit, show == "log", True
        self._cell = CellLine() if show == "notebook" and not quiet else None
        self._live: Progress | None = None
        if not quiet and show in ("terminal", "lines") and self.console.is_terminal:
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
        if self._cell:
            took = duration(time.monotonic() - self._began)
            self._cell.show(1, 1, f"{self.done} of {self.total} {self._unit}, {took}" + (", stopped" if error else ""))

    def say(self, text: str) -> None:
        """What is going on now; drawn at most ten times a second, and told once a minute where nothing is drawn."""
        now = time.monotonic()
        if self._live and now - self._drawn > 0.1:
            self._drawn = now
            self._live.update(self._task, detail=escape(text), left=self._left())
        elif self._cell:
            self._rewrite(text)
        elif not self._live and not self.quiet and now - self._told >= _MINUTE:
            self._tell(f"[{self.done}/{self.total}] {text} {self._left()}")

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

    def completed(self, name: str, text: str, work: float = 1.0, *, failed: bool = False) -> None:
        """A result is there, and what it took; one that failed is always told."""
        self.done += 1
        self._finished += work
        self._remaining -= work
        self._estimate()
        if self._live:
            self._live.update(self._task, completed=self.done, left=self._left())
        elif self._cell:
            self._rewrite(f"{name}: {text}", always=True)
        elif not self.quiet and (failed or self._is_due()):
            self._tell(f"[{self.done}/{self.total}] {name}: {text} {self._left()}")

    def _is_due(self) -> bool:
        """Whether a line is to be told of a result: the first that this process made, the last, and one a minute."""
        first, self._first = self._first, False
        return first or self.done >= self.total or time.monotonic() - self._told >= _MINUTE

    def _rewrite(self, text: str, always: bool = False) -> None:
        """The line of a cell, a few times a second at most."""
        now = time.monotonic()
        if self._cell and (always or now - self._drawn > _CELL):
            self._drawn = now
            self._cell.show(
                self.done, self.total, "  ".join(filter(None, [f"{self.done}/{self.total} {self._unit}", self._left(), text]))
            )

    def _tell(self, line: str) -> None:
        self._told = time.monotonic()
        if self._log:
            LOG.info(line.rstrip())
        else:
            self.console.print(line.rstrip(), markup=False, soft_wrap=True)

    def _estimate(self) -> None:
        """The end by the work that this process has done in its time; one result moves it by a part of the way only."""
        now = time.monotonic()
        if not self._finished:
            return
        end = now + (now - self._began) * max(0.0, self._remaining) / self._finished
        self._end = end if self._end is None or self._remaining <= 0 else self._end + _NEWEST * (end - self._end)

    def _left(self) -> str:
        """The time until the end that was estimated last."""
        return "" if self._end is None else f"ETA {duration(max(0.0, self._end - time.monotonic()))}"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`, `3.1 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    return f"{seconds / 86400:.1f} days"
