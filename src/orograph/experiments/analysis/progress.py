"""What an analysis shows while it works: results done, what is in hand, and the time left by the products that each takes."""

import time
from collections.abc import Sequence

from rich.console import Console

from orograph.experiments.analysis.visit import Part
from orograph.experiments.progress import SweepProgress, duration


class AnalysisProgress(SweepProgress):
    """A live display on a terminal, one line a result elsewhere, nothing when quiet."""

    unit = "results"

    def __init__(self, work: Sequence[Part], *, quiet: bool, console: Console | None = None) -> None:
        super().__init__(len(work), 0, quiet=quiet, console=console)
        self._work, self._finished = sum(weight(part) for part in work), 0.0

    def more(self, work: Sequence[Part], points: int = 0) -> None:
        """Further results, and points that are trained first."""
        self.total += len(work) + points
        self._work += sum(weight(part) for part in work)
        if self._live:
            self._live.update(self._task, total=self.total)

    def completed(self, part: Part, name: str, text: str) -> None:
        """A result is committed."""
        self._finished += weight(part)
        self._advance(name, text)

    def _left(self) -> str:
        if not self._finished:
            return ""
        seconds = (time.monotonic() - self._began) * (self._work - self._finished) / self._finished
        return f"ETA {duration(max(0.0, seconds))}"


def weight(part: Part) -> float:
    """What a part takes, in products; every part reads its point and writes its results."""
    return 2 + part.products
