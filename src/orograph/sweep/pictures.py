"""The picture of a sweep, written beside its points as PNG and PDF."""

from pathlib import Path

from orograph.figures.style import save
from orograph.figures.sweeps import sweep as draw_sweep
from orograph.store.dataset import open_run
from orograph.store.run import Run
from orograph.store.wording import wording_of
from orograph.sweep.settings import SweepSettings

FOLDER = "figures"


def draw(run: Run, settings: SweepSettings, count: int) -> list[Path]:
    """All points of a run on so many training images."""
    return save(draw_sweep(open_run(run.path), title_of(settings, count)), run.path / FOLDER / "sweep")


def title_of(settings: SweepSettings, count: int) -> str:
    """The line above every figure of a sweep."""
    sample = wording_of(settings.configuration(), None).sample
    return (
        f"{settings.model.model} on {settings.data.dataset} ({count:,} {sample}s), anchor {Path(settings.anchor.anchor).name}, "
        f"start {settings.anchor.start}, seeds {', '.join(map(str, settings.anchor.seeds))}"
    )
