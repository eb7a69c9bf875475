"""A sweep at a glance: losses, the first metric, gradient norm and the eigenvalues against λ."""

from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orograph.figures.labels import label, said, short_label
from orograph.figures.marks import FEW, mark_stretch, strength_axis, stretched, thinned
from orograph.figures.motion import Ends, by_logarithm, moving_stretch
from orograph.figures.style import PALETTE, Picture, styled
from orograph.metrics import ACCURACY

# Direction is told by the line and the marker, not by colour alone.
_LINES = {"up": ("-", "o"), "down": ("--", "s")}
_NOISE: dict[str, Any] = {"color": "#aaaaaa", "ms": 4, "zorder": 5}
_LOOSE: dict[str, Any] = {"mfc": "white", "mec": "#777777", "ms": 5, "zorder": 6}
_MOVING = ("train_loss", "test_loss")  # and the first metric, and the largest eigenvalue


def sweep(ds: xr.Dataset, title: str = "") -> Figure:
    """Loss, accuracy or another first metric, gradient norm and the k eigenvalues against the strength λ.

    Where a tenth of a long ladder holds nine tenths of what moves, the axis of λ is stretched towards its beginning if that is
    where it lies (logarithmic, from the first step on); elsewhere the same panels are drawn once more of that stretch alone.

    Args:
        ds: what `open_run` gives for a sweep.
        title: the line above the figure.

    Returns:
        A matplotlib figure. Failed points are crosses on the axis, frozen ones hollow, and eigenpairs that are unconverged or
        at the noise level are drawn as small grey triangles and dots. Of long ladders not every point has its mark.
    """
    strengths = ds.strength.values
    moving = moving_stretch(strengths, _moving(ds))
    closer = moving is not None and not stretched(strengths, moving)
    with styled():
        figure = Picture(figsize=(10, 13.5 if closer else 7), layout="constrained")
        if moving is not None and closer:
            halves: Any = figure.subfigures(2, 1)
            whole, near = halves
            _panels(whole.subplots(2, 2, sharex=True), ds, None)
            for axes in whole.axes:
                mark_stretch(axes, *moving)
            margin = 0.05 * (moving[1] - moving[0])
            inside = (strengths >= moving[0] - margin) & (strengths <= moving[1] + margin)
            _panels(near.subplots(2, 2, sharex=True), ds.isel(strength=inside), None)
            near.suptitle(f"λ from {moving[0]:.4g} to {moving[1]:.4g}, where most of it happens", x=0.01, ha="left", fontsize=9.5)
        else:
            _panels(figure.subplots(2, 2, sharex=True), ds, moving)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def stretched_from(ds: xr.Dataset) -> float | None:
    """Where the axis of λ of a sweep begins to be logarithmic because most happens near its beginning: the ladder's first step.

    Args:
        ds: what `open_run` gives for a sweep, or a part of it.

    Returns:
        λ; None where the axis is another.
    """
    strengths = ds.strength.values
    moving = moving_stretch(strengths, _moving(ds))
    return None if moving is None or not stretched(strengths, moving) else float(strengths[strengths > 0].min())


def _moving(ds: xr.Dataset) -> list[np.ndarray]:
    """What moves along each chain."""
    name = ds.attrs.get("score", ACCURACY.name)
    names = [each for each in (*_MOVING, f"test_{name}", f"train_{name}") if each in ds]
    chains = [chain for _, chain in _chains(ds)]
    largest = [by_logarithm(chain.lambda_first.values) for chain in chains if "lambda_first" in chain]
    return [*(chain[each].values for chain in chains for each in names), *largest]


def _panels(grid: Any, ds: xr.Dataset, moving: Ends | None) -> None:
    ((loss, score), (gradient, spectrum)) = grid
    losses = ("train_loss", "objective", "test_loss")
    _curves(loss, ds, losses if "test_loss" in ds or "train_loss" not in ds else losses[:2], moving)
    loss.set(title="Loss", ylabel=_unit("train_loss", ds))
    _score(score, ds, moving)
    _curves(gradient, ds, ("gradient_norm", "objective_gradient_norm"), moving)
    gradient.set(title="Gradient norm", yscale="log")
    _eigenvalues(spectrum, ds, moving)
    for axes in (gradient, spectrum):
        strength_axis(axes, ds.strength.values, moving)
    for axes in (loss, score, gradient):
        _mark_failures(axes, ds)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best")


def _unit(name: str, ds: xr.Dataset) -> str:
    units = said(name, ds).units
    return "" if units == "1" else units


def _score(axes: Axes, ds: xr.Dataset, moving: Ends | None) -> None:
    """The first metric of the run; that it has none, where it has none."""
    name = ds.attrs.get("score", ACCURACY.name)
    found = tuple(f"{place}_{name}" for place in ("train", "test"))
    if not name:
        axes.set(title="Metrics")
        axes.text(0.5, 0.5, "none recorded", transform=axes.transAxes, ha="center", color="#777777")
        return
    known = [each for each in found if each in ds] or list(found)  # all points failed
    _curves(axes, ds, tuple(known), moving)
    axes.set(title=title_of_metric(known[-1], ds), ylabel=_unit(known[-1], ds))


def title_of_metric(name: str, ds: xr.Dataset) -> str:
    """A metric as the title of a panel that shows it on both sets."""
    text = said(name, ds).long_name.removeprefix("test ").removeprefix("training ")
    return text[:1].upper() + text[1:]


def _chains(ds: xr.Dataset) -> list[tuple[str, xr.Dataset]]:
    """One dataset of dims (strength, …) a seed and direction."""
    return [
        (str(direction), ds.sel(seed=seed, direction=direction))
        for seed in ds.seed.values
        for direction in ds.direction.values
        if (ds.status.sel(seed=seed, direction=direction) != "missing").any()
    ]


def _curves(axes: Axes, ds: xr.Dataset, names: tuple[str, ...], moving: Ends | None) -> None:
    chains = _chains(ds)
    fade = 1.0 if len(chains) <= 2 else 0.6
    for colour, name in zip(PALETTE, names, strict=False):
        label, seen = short_label(name), set()
        for direction, chain in chains:
            line, marker = _LINES[direction]
            shown = label if len(ds.direction) == 1 else f"{label}, {direction}"
            values = chain[name].values if name in chain else np.full(chain.sizes["strength"], np.nan)  # all points failed
            look: dict[str, Any] = {"color": colour, "alpha": fade, "label": None if shown in seen else shown}
            axes.plot(chain.strength, values, line, **thinned(marker, chain.strength.values, moving), **look)
            seen.add(shown)
            frozen = chain.frozen.values == 1 if "frozen" in chain else np.zeros(len(values), dtype=bool)
            hollow: dict[str, Any] = {"ls": "", "mfc": "white", "mec": colour, "ms": 6}
            where = chain.strength.values[frozen]
            axes.plot(where, values[frozen], **hollow, **thinned("o", where, moving, of=chain.strength.values))


def _eigenvalues(axes: Axes, ds: xr.Dataset, moving: Ends | None) -> None:
    axes.set(title="Hessian eigenvalues", ylabel=label("eigenvalue"))
    if "eigenvalue" not in ds or not np.isfinite(ds.eigenvalue.values).any():
        axes.text(0.5, 0.5, "none recorded", transform=axes.transAxes, ha="center", color="#777777")
        return
    values = ds.eigenvalue.values
    if np.nanmin(values) > 0:
        axes.set_yscale("log")
    else:
        if largest := np.nanmax(np.abs(values)):  # else all are zero
            axes.set_yscale("symlog", linthresh=largest * 1e-3)
        axes.axhline(0, color="#555555", lw=0.8, zorder=2)
    k = ds.sizes["eigen"]
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, k))
    for direction, chain in _chains(ds):
        line, marker = _LINES[direction]
        ladder = chain.strength.values
        every = thinned(marker, ladder, moving) if len(ladder) <= FEW or len(ds.direction) > 1 else {}
        for index in reversed(range(k)):
            pair = chain.isel(eigen=index)
            look = {"color": colours[index], "lw": 1.0, "ms": 2.5, "zorder": 3 + 0.01 * index}
            axes.plot(ladder, pair.eigenvalue, line, **look, **every)
            noise = pair.noise.values == 1
            loose = (pair.converged.values == 0) & ~noise
            for chosen, flag, seen in ((noise, ".", _NOISE), (loose, "^", _LOOSE)):
                flags = thinned(flag, ladder[chosen], moving, of=ladder)
                axes.plot(ladder[chosen], pair.eigenvalue.values[chosen], ls="", **seen, **flags)
    handles = [
        mpl.lines.Line2D([], [], color=colours[0], label=r"$\lambda_1$"),
        mpl.lines.Line2D([], [], color=colours[-1], label=rf"$\lambda_{{{k}}}$"),
    ]
    if (ds.noise.values == 1).any():
        handles.append(mpl.lines.Line2D([], [], color="#aaaaaa", marker=".", ls="", label="at the noise level"))
    if ((ds.converged.values == 0) & (ds.noise.values != 1)).any():
        handles.append(mpl.lines.Line2D([], [], mfc="white", mec="#777777", marker="^", ls="", label="unconverged"))
    axes.legend(handles=handles, loc="best")


def _mark_failures(axes: Axes, ds: xr.Dataset) -> None:
    failed = (ds.status == "failed").any(["seed", "direction"]).values
    if failed.any():
        where = axes.get_xaxis_transform()
        axes.plot(ds.strength[failed], np.full(failed.sum(), 0.02), "x", color="#b00020", transform=where, label="failed")
