"""What a sweep shows while it works: points done, the epoch and the product in hand, and the time left."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

# Not typing.Self: the runtime checker of the tests sees functions one by one and cannot resolve it.
Display = TypeVar("Display", bound="SweepProgress")


class SweepProgress:
    """A live display on a terminal, one line a point elsewhere, nothing when quiet."""

    unit = "points"

    def __init__(self, total: int, done: int, *, quiet: bool, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.quiet = quiet
        self.total, self.done, self._already = total, done, done
        self._began = time.monotonic()
        self._drawn = 0.0
        self._live: Progress | None = None
        if not quiet and self.console.is_terminal:
            self._live = Progress(
                SpinnerColumn(),
                TextColumn(f"[bold]{self.unit}"),
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
            self._task = self._live.add_task("", total=total, completed=done, detail="", left="")

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

    def _left(self) -> str:
        """The time left, from the points finished by this process."""
        finished = self.done - self._already
        if not finished:
            return ""
        seconds = (time.monotonic() - self._began) / finished * (self.total - self.done)
        return f"ETA {duration(seconds)}"

    def finished(self, name: str, record: Mapping[str, Any]) -> None:
        """A point is committed."""
        self._advance(name, describe(record))

    def _advance(self, name: str, text: str) -> None:
        self.done += 1
        if self._live:
            self._live.update(self._task, completed=self.done, left=self._left())
        elif not self.quiet:
            line = f"[{self.done}/{self.total}] {name}: {text} {self._left()}"
            self.console.print(line.rstrip(), markup=False, soft_wrap=True)


def describe(record: Mapping[str, Any]) -> str:
    """One point in half a line."""
    if record["status"] == "failed":
        return f"failed: {failure(record)}"
    text = f"train {record['train_loss']:.4f}, test {record['test_loss']:.4f}, accuracy {record['test_accuracy']:.2f} %"
    return text + (f", λ₁ {record['lambda_first']:.4g}" if "lambda_first" in record else "")


def failure(record: Mapping[str, Any]) -> str:
    """Why a point failed."""
    return record.get("error") or f"the loss was not finite in epoch {record['failed_epoch']}"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`, `3.1 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    return f"{seconds / 86400:.1f} days"


def summary_table(rows: Sequence[Mapping[str, Any]], *, most: int = 24) -> Table:
    """The points of a run as a table; of long runs, `most` of them evenly spread, and every failure."""
    keep = set(range(len(rows)))
    if len(rows) > most:
        keep = {round(i * (len(rows) - 1) / (most - 1)) for i in range(most)}
        keep |= {index for index, row in enumerate(rows) if row["status"] == "failed"}
    legend = "‖∇‖ is that of L_eff; cut: k splits a cluster of eigenvalues; noise: pairs that are rounding"
    table = Table(caption=legend, caption_justify="left", header_style="bold", box=None, padding=(0, 1, 0, 0))
    table.add_column("ID")
    for column in ("λ", "L", "L_eff", "test L", "acc. %", "‖∇‖", "λ₁", "λ_k", "ep."):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("remarks", overflow="fold")
    for index in sorted(keep):
        row = rows[index]
        point = (row["ID"], f"{row['L2_strength']:.5g}")
        if row["status"] == "failed":
            table.add_row(*point, *[""] * 8, f"[red]failed: {failure(row)}")
            continue
        table.add_row(
            *point,
            f"{row['train_loss']:.4f}",
            f"{row['objective']:.4f}",
            f"{row['test_loss']:.4f}",
            f"{row['test_accuracy']:.2f}",
            f"{row['objective_gradient_norm']:.0e}",
            f"{row['lambda_first']:.3g}" if "lambda_first" in row else "",
            f"{row['lambda_last']:.2g}" if "lambda_last" in row else "",
            str(row["epochs"]),
            ", ".join(remarks(row)),
        )
    return table


def remarks(record: Mapping[str, Any]) -> list[str]:
    """What a reader should know about a point."""
    found = [
        (record.get("frozen"), "frozen"),
        (record.get("noise_pairs"), f"{record.get('noise_pairs')} noise"),
        (record.get("unconverged_pairs"), f"{record.get('unconverged_pairs')} unconverged"),
        (record.get("cut"), "cut"),
        (record.get("polish_converged") is False, "not a critical point"),
    ]
    return [text for holds, text in found if holds]
