"""The figures of an analysed run, drawn from its dataset."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from orograph.analysis.chain import Chain
from orograph.analysis.loops import MeasuredLoop
from orograph.analysis.series import CURVATURE, ORDER, score_series
from orograph.analysis.survey import Survey
from orograph.figures.curvatures import curvature
from orograph.figures.eigenvalue_branches import branches
from orograph.figures.free_energy import thermodynamics
from orograph.figures.loops import LoopMarks, hysteresis
from orograph.figures.marks import Band
from orograph.figures.pictures import images
from orograph.figures.shares import class_shares
from orograph.figures.style import save
from orograph.figures.turning import angles
from orograph.store.dataset import open_sweep
from orograph.store.run import Run
from orograph.store.wording import Score
from orograph.sweep.bench import Bench
from orograph.sweep.pictures import title_of

FOLDER = "figures"
_POINTS = 3  # of a chain whose images are drawn


def draw(bench: Bench, run: Run, found: Sequence[Survey], measured: Sequence[MeasuredLoop]) -> list[Path]:
    """All figures of a run; returns the files written."""
    ds = open_sweep(Run.open(run.path))
    title = title_of(bench.settings, bench.instruments.train.count)
    folder, written = run.path / FOLDER, []
    for each in found:
        chain = each.chain
        line, name = chain_line(ds, chain), f"{chain.seed}-{chain.direction}"
        head = f"{title}; {chain.direction}"
        bands = transition_bands(each)
        if each.branches is not None and len(chain.cells) > 1:
            met = [(meeting.kind, meeting.strength, meeting.value) for meeting in each.meetings]
            written += save(branches(line, met, bands, head), folder / f"branches-{name}")
            written += save(angles(line, head), folder / f"angles-{name}")
        if "class_share" in line and np.isfinite(line.class_share.values).all():
            written += save(class_shares(line, bands, head), folder / f"classes-{name}")
        if "top_image" in line and bench.problem.shows and np.isfinite(line.top_image.values).all():
            for place in telling_points(each):
                written += save(
                    _images(bench, line, place, head), folder / f"images-{name}-{run.plan.texts[place].replace('.', '_')}"
                )
        if "scalar_curvature" in line:
            written += save(curvature(line, [*bands, *curvature_bands(each, run.score)], head), folder / f"curvature-{name}")
    for seed in dict.fromkeys(each.chain.seed for each in found):
        own = [each for each in found if each.chain.seed == seed]
        lines = [chain_line(ds, each.chain) for each in own]
        bands = [band for each in own for band in transition_bands(each)]
        written += save(thermodynamics(lines, bands, title), folder / f"thermodynamics-{seed}")
        by_way = {each.chain.direction: line for each, line in zip(own, lines, strict=True)}
        if len(by_way) == 2:
            marks = [loop_marks(loop) for loop in measured if loop.seed == seed]
            written += save(hysteresis(by_way["up"], by_way["down"], marks, title), folder / f"hysteresis-{seed}")
    return written


def chain_line(ds: xr.Dataset, chain: Chain) -> xr.Dataset:
    """The points of one chain, in ascending order of λ."""
    return ds.sel(seed=chain.seed, direction=chain.direction, strength=list(chain.strengths))


def transition_bands(each: Survey) -> list[Band]:
    """Transitions of the order parameter, as narrow as they are known."""
    return [(one.judgement.low, one.judgement.high, ORDER) for one in each.transitions]


def curvature_bands(each: Survey, score: Score | None) -> list[Band]:
    """Change points of the scalar curvature and of the first metric, with their intervals."""
    changes = each.changes.found
    told = next((name for name in score_series(score) if name in changes), "")
    names = ((CURVATURE[0], "curvature"), (told, score.label if score else ""))
    return [(change.low, change.high, label) for name, label in names for change in changes.get(name, ())]


def telling_points(each: Survey) -> list[float]:
    """Strengths whose images are drawn: the first, and those just before a transition; at most `_POINTS`."""
    strengths = each.chain.strengths
    places = [float(strengths[0])]
    for one in each.transitions:
        before = strengths[strengths <= one.judgement.low]
        if len(before):
            places.append(float(before[-1]))
    return list(dict.fromkeys(places))[:_POINTS]


def loop_marks(measured: MeasuredLoop) -> LoopMarks:
    """The strengths of a loop, for drawing."""
    loop = measured.loop
    return LoopMarks(loop.maxwell, loop.spinodal_up.estimate, loop.spinodal_down.estimate, loop.escape_up, loop.escape_down)


def _images(bench: Bench, line: xr.Dataset, strength: float, head: str) -> Figure:
    point = line.sel(strength=strength)
    numbers = point.top_image.values.astype(int)
    pixels = bench.problem.pixels(torch.from_numpy(numbers.ravel())).numpy()
    channels = np.moveaxis(pixels, 1, -1) if pixels.shape[1] == 3 else pixels[:, 0]
    groups = bench.instruments.groups
    names = [["" if groups is None else groups.names[groups.train[number]] for number in row] for row in numbers]
    return images(
        channels.reshape(*numbers.shape, *channels.shape[1:]),
        point.top_image_share.values,
        names,
        point.eigenvalue.values,
        f"{head}, λ = {strength:g}",
    )
