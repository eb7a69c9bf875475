"""More eigenpairs at the points of a sweep that is there: nothing is trained, every point is measured again where it stands.

Each spectrum is computed as that of a new run is, from the same random start, so that its pairs, its certificates and all its
files are those of a run that was asked for so many pairs from the start, byte for byte on the same machine. To deflate by the
pairs that are known would save a fifth: 50 pairs of 50,890 parameters take 168 products, and 20 further ones beside 30 known 117
and a few that certify them together. Most of the work is to resolve the bulk in which the further ones lie.

The points lie in an extension of the run (`store.extension`) until all of them are there: killed at any moment, the run is what
it was, or what it is to be.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from orograph.store.cells import Cell
from orograph.store.encoding import decode
from orograph.store.names import TIMINGS
from orograph.store.run import Run
from orograph.sweep.bench import Bench
from orograph.sweep.point import Measured
from orograph.sweep.progress import describe
from orograph.sweep.record import commit_measured, committed_state, row
from orograph.sweep.stages import title
from orograph.sweep.states import State
from orograph.work.behind import Behind
from orograph.work.loop import Task, work_through
from orograph.work.pools import Workers
from orograph.work.progress import WorkProgress

_MEASURED = ("failures",)  # what a record has only where something could not be measured


def good(run: Run, cell: Cell) -> bool:
    """Whether a point is recorded, with a network."""
    return cell in run.records and run.records[cell].status == "done"


def companies(run: Run, groups: Sequence[Sequence[Cell]], together: int) -> list[list[Cell]]:
    """The points that have a network, those whose spectra are computed in step in one list, as when they were made.

    Args:
        run: that is there.
        groups: points that were trained together; those that an analysis inserted are in none, and stand alone.
        together: how many spectra are computed in step.
    """
    grouped = {cell for group in groups for cell in group}
    alone = [[cell] for cell in run.plan.cells if cell not in grouped]
    parts = [group[i : i + together] for group in [*groups, *alone] for i in range(0, len(group), together)]
    found = ([cell for cell in part if good(run, cell)] for part in parts)
    return [company for company in found if company]


def measure_again(
    bench: Bench, old: Run, new: Run, groups: Sequence[Sequence[Cell]], workers: Workers, progress: WorkProgress
) -> None:
    """Measures every point of a run where it stands, into another run of the same plan, as far as it is not there yet.

    Args:
        bench: of the new run, its anchor settled.
        old: the run.
        new: the other, open for writing.
        groups: points that were trained together.
        workers: who measures.
        progress: told of each point.
    """
    waiting = [
        company
        for company in companies(old, groups, bench.settings.numerics.together)
        if not all(cell in new.records for cell in company)
    ]
    with Behind() as behind:

        def done(company: Sequence[Cell], states: Sequence[State], found: Sequence[Measured], seconds: float) -> None:
            for cell, state, measured in zip(company, states, found, strict=True):
                if cell in new.records:
                    continue

                def write(work: Any, cell: Cell = cell) -> None:
                    behind.do(partial(written, work, cell))

                scalars, timings = _scalars(old, cell, measured), _timings(old, cell) | measured.seconds
                commit_measured(bench, new, cell, state, measured, scalars, timings, write)

        def written(work: Any, cell: Cell) -> None:
            work()
            progress.completed(title(cell), describe(row(new, cell), new.score))

        def take() -> Task | None:
            if not waiting:
                return None
            company = waiting.pop(0)
            states = [state for cell in company if (state := committed_state(bench, old, cell)) is not None]
            return Task("measure", (company, states), partial(done, company, states), f"{title(company[0])}, measure")

        work_through(workers, take, undone=waiting.clear)


def _scalars(old: Run, cell: Cell, measured: Measured) -> dict[str, Any]:
    """What was recorded of how a point was reached, with what is measured there now."""
    known = {name: value for name, value in old.records[cell].scalars.items() if name not in _MEASURED}
    now = dict(measured.scalars)
    if "final_train_loss" in known:  # the published tables hold averages over the moving model, which is gone
        now |= {"final_train_loss": now.pop("train_loss"), "final_objective": now.pop("objective")}
    return known | now


def _timings(old: Run, cell: Cell) -> dict[str, Any]:
    file = old.path / TIMINGS / f"{old.plan.name(cell)}.json"
    found: dict[str, Any] = decode(file) if file.is_file() else {}
    return found
