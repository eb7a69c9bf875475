"""A part of a run: some of its seeds, and some strengths of its ladder."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from orograph.errors import ConfigurationError
from orograph.store.cells import Cell
from orograph.store.run import Run

_NEAR = 1e-6  # relative: a strength as a person writes it


@dataclass(frozen=True)
class Part:
    """What is chosen of a run.

    Attributes:
        seeds: those chosen; None for all.
        strengths: those chosen; None for all.
    """

    seeds: frozenset[int] | None = None
    strengths: frozenset[float] | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.seeds is None and self.strengths is None

    def holds(self, cell: Cell) -> bool:
        """Whether a point belongs to it."""
        return self.has_seed(cell.seed) and (self.strengths is None or cell.strength in self.strengths)

    def has_seed(self, seed: int) -> bool:
        """Whether a seed belongs to it."""
        return self.seeds is None or seed in self.seeds

    def meets(self, low: float, high: float) -> bool:
        """Whether a stretch of the ladder reaches into that between its least and its largest strength."""
        return self.strengths is None or (low <= max(self.strengths) and high >= min(self.strengths))

    def in_words(self, run: Run) -> str:
        """What it is of which run; empty of the whole."""
        told = []
        if self.seeds is not None:
            every = {cell.seed for cell in run.plan.cells}
            several = "s" if len(self.seeds) > 1 else ""
            told.append(f"seed{several} {', '.join(map(str, sorted(self.seeds)))} of {len(every)}")
        if self.strengths is not None:
            every_strength = {cell.strength for cell in run.plan.cells}
            chosen = sorted(self.strengths)
            place = f"λ = {chosen[0]:g}" if len(chosen) == 1 else f"from λ = {chosen[0]:g} to {chosen[-1]:g}"
            told.append(f"{len(chosen)} of {len(every_strength)} strengths, {place}")
        return "; ".join(told)


WHOLE = Part()


def part_of(run: Run, seeds: Sequence[int] = (), points: Sequence[str] = ()) -> Part:
    """The part of a run that a person names.

    Args:
        run: a sweep, or of seeds alone a study.
        seeds: empty for all.
        points: strengths as `0.01`, and stretches as `0.01:0.03`, either end of which may be left out; empty for all.

    Raises:
        ConfigurationError: the run has no such seed or strength, or no parts; says what it has.
    """
    if not seeds and not points:
        return WHOLE
    if run.kind not in ("sweep", "study"):
        raise ConfigurationError(f"`seeds` and `points` are of sweeps and studies, and {run.path} is a run of kind {run.kind}.")
    known = sorted({cell.seed for cell in run.records})
    for seed in seeds:
        if seed not in known:
            raise ConfigurationError(f"`seeds` {seed} is no seed of {run.path}, which has {', '.join(map(str, known))}.")
    if points and run.kind != "sweep":
        raise ConfigurationError(f"`points` are strengths of a sweep, and {run.path} is a study; choose `seeds` of it.")
    ladder = sorted({cell.strength for cell in run.records})
    chosen = {strength for each in points for strength in _chosen(each, ladder, run)}
    return Part(frozenset(seeds) or None, frozenset(chosen) or None)


def chosen_of(ds: xr.Dataset, part: Part) -> xr.Dataset:
    """A run's labelled arrays without the seeds and strengths that do not belong to a part."""
    if part.seeds is not None:
        ds = ds.isel(seed=np.flatnonzero([part.has_seed(int(seed)) for seed in ds.seed.values]))
    if part.strengths is not None:
        ds = ds.isel(strength=np.flatnonzero([float(strength) in part.strengths for strength in ds.strength.values]))
    return ds


def _chosen(text: str, ladder: Sequence[float], run: Run) -> list[float]:
    """The strengths of a ladder that one word names."""
    first, colon, last = text.partition(":")
    try:
        low, high = float(first or 0), float(last or math.inf) if colon else float(first)
        if math.isnan(low) or math.isnan(high):
            raise ValueError
    except ValueError:
        raise ConfigurationError(f"`points` {text} is neither a strength, as 0.01, nor a stretch, as 0.01:0.03.") from None
    if colon:
        found = [each for each in ladder if low * (1 - _NEAR) <= each <= high * (1 + _NEAR)]
    else:
        found = [each for each in ladder if math.isclose(each, low, rel_tol=_NEAR, abs_tol=1e-15)]
    if found:
        return found
    if colon:
        raise ConfigurationError(
            f"`points` {text} holds no strength of {run.path}, which go from {ladder[0]:g} to {ladder[-1]:g}."
        )
    near = min(ladder, key=lambda each: abs(each - low))
    raise ConfigurationError(
        f"`points` {text} is no strength of {run.path}; the nearest is {near:g}. All of a stretch are taken by "
        f"{min(low, near):g}:{max(low, near):g}."
    )
