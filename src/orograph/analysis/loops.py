"""The loops of every seed that was gone both ways, with the barrier between their branches."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from orograph.analysis.chain import Chain
from orograph.analysis.survey import loops_of
from orograph.ladder.barrier import branch_barrier
from orograph.ladder.hysteresis import Loop
from orograph.store.analysis import Analysis, fingerprint
from orograph.store.run import Run
from orograph.sweep.bench import Bench
from orograph.sweep.record import committed_state

BARRIER = "barrier"  # the part in which barriers are kept


@dataclass(frozen=True)
class MeasuredLoop:
    """A loop of one seed, and the barrier of L_eff between its branches.

    Attributes:
        seed: whose.
        loop: its strengths.
        barrier_at: the strength nearest to the Maxwell point, or to the loop's middle where there is none.
        barrier: scalars of `branch_barrier` there, and what an atlas says of it.
    """

    seed: int
    loop: Loop
    barrier_at: float
    barrier: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {"seed": self.seed, **asdict(self.loop), "barrier_at": self.barrier_at, "barrier": self.barrier}


def measured_loops(
    bench: Bench,
    run: Run,
    analysis: Analysis,
    all_chains: Sequence[Chain],
    *,
    steps: int,
    seed: int,
    say: Callable[[str], None],
) -> list[MeasuredLoop]:
    """All loops; a barrier that is known already is not computed again."""
    found = []
    for up in (chain for chain in all_chains if chain.direction == "up"):
        down = next((chain for chain in all_chains if (chain.seed, chain.direction) == (up.seed, "down")), None)
        if down is None:
            continue
        strengths, loops = loops_of(up, down, run.score)
        for loop in loops:
            middle = loop.maxwell if np.isfinite(loop.maxwell) else (loop.low + loop.high) / 2
            inside = strengths[(strengths >= loop.low) & (strengths <= loop.high)]
            place = float(inside[np.abs(inside - middle).argmin()])
            say(f"barrier at λ = {place:g}")
            found.append(MeasuredLoop(up.seed, loop, place, _barrier(bench, run, analysis, up, down, place, steps, seed)))
    return found


def _barrier(
    bench: Bench, run: Run, analysis: Analysis, up: Chain, down: Chain, strength: float, steps: int, seed: int
) -> dict[str, float]:
    cells = [next(cell for cell in chain.cells if cell.strength == strength) for chain in (up, down)]
    settings = {"steps": steps, "seed": seed, "other": fingerprint(run, cells[1])}
    if not analysis.current(BARRIER, cells[0], settings):
        thetas = [bench.states.theta(state) for cell in cells if (state := committed_state(bench, run, cell)) is not None]
        objective = bench.instruments.train.penalised(strength, bench.anchor)
        barrier = branch_barrier(objective, thetas[0], thetas[1], steps=steps, seed=seed)
        scalars = {f"barrier_{name}": value for name, value in {**asdict(barrier), "best": barrier.best}.items()}
        analysis.write(BARRIER, cells[0], settings, scalars, {})
    return {name: float(value) for name, value in analysis.scalars(BARRIER, cells[0]).items()}
