"""Loops of a run that was gone both ways, held against a slower run and against a null; and the commands that make these."""

import itertools
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orograph.analysis.chain import Chain, chains
from orograph.errors import ConfigurationError, RunError, a
from orograph.ladder.hysteresis import Comparison, compared, loop_area, on_common
from orograph.store.analysis import Analysis
from orograph.store.resume import recorded_settings
from orograph.store.run import Run
from orograph.sweep.settings import SweepSettings


@dataclass(frozen=True)
class LoopAreas:
    """∮ |q_up − q_down| dλ of one seed, and what it is held against.

    Attributes:
        seed: whose.
        area: of this run, over all strengths gone both ways.
        rate: against a run of half the step and a third of the learning rate; what shrinks is the optimiser's, what stays the
            landscape's. None without such a run.
        null: against two ways up: what is left of a loop where there is none. None without such a run.
    """

    seed: int
    area: float
    rate: Comparison | None
    null: Comparison | None


def other_run(path: str, flag: str, run: Run) -> Run | None:
    """A run to compare with, None for `none`.

    Raises:
        RunError: there is none at that path.
        ConfigurationError: it is of another model or data set.
    """
    if path == "none":
        return None
    other = Run.open(path)
    if other.kind != "sweep":
        raise RunError(f"{path} holds {a(other.kind)}; {flag} needs a sweep.")
    ours, theirs = (recorded_settings(each, SweepSettings) for each in (run, other))
    for key in ("data", "model"):
        if getattr(theirs, key) != getattr(ours, key):
            raise ConfigurationError(f"{flag} {path} is of another {key} ({getattr(theirs, key)}); compare like with like.")
    return other


def loop_areas(run: Run, all_chains: Sequence[Chain], rate: Run | None, null: Run | None) -> tuple[LoopAreas, ...]:
    """The areas of all seeds that were gone both ways."""
    others = {name: None if other is None else _chains(other) for name, other in (("rate", rate), ("null", null))}
    found = []
    for up in (chain for chain in all_chains if chain.direction == "up"):
        down = _find(all_chains, up.seed, "down")
        if down is None:
            continue
        area = _area(up, down)
        slow = others["rate"]
        slow_up, slow_down = (None, None) if slow is None else (_find(slow, up.seed, "up"), _find(slow, up.seed, "down"))
        again = None if others["null"] is None else _other_way_up(others["null"], up)
        found.append(
            LoopAreas(
                up.seed,
                area,
                None if slow_up is None or slow_down is None else compared(area, _area(slow_up, slow_down)),
                None if again is None else compared(area, _area(up, again)),
            )
        )
    return tuple(found)


def _chains(run: Run) -> list[Chain]:
    return chains(run, Analysis(run), recorded_settings(run, SweepSettings).ladder.ladder())


def _find(found: Sequence[Chain], seed: int, direction: str) -> Chain | None:
    return next((chain for chain in found if (chain.seed, chain.direction) == (seed, direction)), None)


def _other_way_up(found: Sequence[Chain], up: Chain) -> Chain | None:
    """A way up that is not this one: of the same seed where that run has it."""
    return _find(found, up.seed, "up") or next((chain for chain in found if chain.direction == "up"), None)


def _area(one: Chain, other: Chain) -> float:
    series = [dict(zip(chain.strengths.tolist(), chain.order_parameter.tolist(), strict=True)) for chain in (one, other)]
    strengths, first, second = on_common(*series)
    return loop_area(strengths, first, second) if len(strengths) > 1 else math.nan


def commands(run: Run) -> dict[str, str]:
    """The commands that make the runs to compare with: `rate`, and `null`, which climbs with another order of mini-batches."""
    settings = recorded_settings(run, SweepSettings)
    ladder = settings.ladder.ladder()
    between = [float(f"{(a + b) / 2:.10g}") for a, b in itertools.pairwise(ladder)]
    halved = sorted({*ladder, *between})
    base = ["orograph", "sweep", "--config", str(run.path / "configuration.toml")]
    numerics = ["--threads", str(settings.numerics.threads), "--dtype", settings.numerics.dtype]
    seeds = settings.anchor.seeds
    others = ",".join(str(seed) for seed in range(max(seeds) + 1, max(seeds) + 1 + len(seeds)))
    if settings.ladder.strengths or settings.ladder.spacing != "linear":
        steps = ["--strengths", ",".join(f"{strength:.10g}" for strength in halved)]
    else:
        steps = ["--points", str(len(halved))]
    slower = ["--lr", f"{settings.training.lr / 3:.6g}"]

    def out(ending: str) -> list[str]:
        return ["--out", str(Path(run.path).with_name(f"{Path(run.path).name}-{ending}"))]

    return {
        "rate": shlex.join([*base, *steps, *slower, *numerics, *out("rate")]),
        "null": shlex.join([*base, "--direction", "up", "--seeds", others, *numerics, *out("null")]),
    }
