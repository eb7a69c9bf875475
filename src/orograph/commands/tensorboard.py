"""The records of a run as TensorBoard events, written as they appear: one group for the ladder, one for each point's epochs."""

import math
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from orograph.errors import ConfigurationError
from orograph.store.branch import courses
from orograph.store.cells import Cell
from orograph.store.run import Run
from orograph.store.track import moments

# Not typing.Self: the runtime checker of the tests sees functions one by one and cannot resolve it.
Log = TypeVar("Log", bound="TensorBoardLog")


class TensorBoardLog:
    """Event files in a folder; a record is written once.

    Raises:
        ConfigurationError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigurationError(
                "`tensorboard` needs the package tensorboard: pip install 'orograph[tensorboard]'."
            ) from None
        self._writer: Any = SummaryWriter(str(folder))
        self._written: set[Cell] = set()
        self._steps: set[int] = set()  # of a track
        self._followed: dict[str, int] = {}  # points by branch

    def __enter__(self: Log) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()

    def update(self, run: Run) -> None:
        """Writes the records that are new: the numbers of a point at its place on the ladder, and its history by epoch."""
        places: dict[str, int] = {}
        for cell in run.plan.cells:
            group = cell.configuration or cell.model_id
            place = places[group] = places.get(group, -1) + 1
            if cell in self._written or cell not in run.records:
                continue
            self._written.add(cell)
            scalars = run.records[cell].scalars
            for name, value in {"strength": cell.strength, **scalars}.items():
                self._number(f"{group}/{name}", value, place)
            history = scalars.get("history")
            for record in history if isinstance(history, list) else []:
                for name, value in record.items():
                    self._number(f"epochs of {group}, {place}/{name}", value, int(record["epoch"]))
        for step, moment in moments(run).items():
            if step in self._steps:
                continue
            self._steps.add(step)
            for name, value in moment.scalars.items():
                self._number(f"training/{name}", value, step)
        for course in courses(run).values():
            for number in range(self._followed.get(course.name, 0), len(course.points)):
                for name, value in course.points[number].scalars.items():
                    self._number(f"{course.name}/{name}", value, number)
            self._followed[course.name] = len(course.points)
        self._writer.flush()

    def _number(self, tag: str, value: Any, step: int) -> None:
        if isinstance(value, int | float) and math.isfinite(value):
            self._writer.add_scalar(tag, value, step)
