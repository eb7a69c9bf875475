"""Which classes make the landscape curved, beside how well they are classified, against λ."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orograph.figures.labels import label, said
from orograph.figures.marks import Band, class_colours, mark_bands, strength_axis, thinned
from orograph.figures.motion import moving_stretch
from orograph.figures.style import Picture, styled
from orograph.metrics import ACCURACY


def class_shares(line: xr.Dataset, bands: Sequence[Band] = (), title: str = "") -> Figure:
    """Contributions of classes or groups to λ₁, their fractions of the Gauss–Newton part of all pairs, and their first metric.

    Contributions have signs and add up to the eigenvalue. Where it belongs to a cluster, they are means over the cluster, since
    no single direction of it means anything.

    Args:
        line: one seed and direction of what `open_run` gives for an analysed sweep, without missing points.
        bands: transitions.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    strengths = line.strength.values
    grouping, score = line.attrs.get("grouping", "class"), line.attrs.get("score", ACCURACY.name)
    by_class = f"{grouping}_{score}" if f"{grouping}_{score}" in line else ""
    names = [str(name) for name in line["class"].values]
    colours = class_colours(len(names))
    largest = _largest_share(line.class_share.values, line.cluster.values)
    gauss_newton = np.maximum(line.class_gauss_newton.values.sum(-1), 0)
    total = gauss_newton.sum(1, keepdims=True)
    parts = np.divide(gauss_newton, total, out=np.zeros_like(gauss_newton), where=total > 0)
    with styled():
        figure = Picture(figsize=(11, 4.2), layout="constrained")
        panels = figure.subplots(1, 3 if by_class else 2, sharex=True)
        first, stacked = panels[:2]
        moving = moving_stretch(strengths, [*largest.T, *([*line[by_class].values.T] if by_class else [])])
        few = thinned("o", strengths, moving)
        for index, (name, colour) in enumerate(zip(names, colours, strict=True)):
            first.plot(strengths, largest[:, index], **few, ms=2.5, color=colour, label=name)
            if by_class:
                panels[2].plot(strengths, line[by_class].values[:, index], **few, ms=2.5, color=colour, label=name)
        first.axhline(0, color="#555555", lw=0.8)
        first.set(title=r"Contribution to $\lambda_1$, signed", ylabel=label("class_share", of=line))
        stacked.stackplot(strengths, parts.T, colors=colours, lw=0)
        stacked.set(title="Gauss–Newton part of all pairs", ylabel="fraction", ylim=(0, 1))
        stacked.margins(x=0)
        stacked.grid(visible=False)
        if by_class:
            known = said(by_class, line)
            text = known.long_name.replace(f" of a {grouping}", f" of the {grouping}")
            panels[2].set(title=text[:1].upper() + text[1:], ylabel=label(by_class, of=line))
            if known.units == "%":
                panels[2].set(ylim=(-3, 103))
        for axes in panels:
            strength_axis(axes, strengths, moving)
        for axes in (first, *panels[2:]):
            mark_bands(axes, bands)
        lines = [each for each in panels[-1 if by_class else 0].get_lines() if each.get_label() in names]
        figure.legend(lines, names, loc="outside right center", title=grouping)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _largest_share(shares: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """`(T, C)`: of the first pair, or the mean over its cluster."""
    members = clusters == clusters[:, :1]
    return np.where(members[:, None], shares, 0).sum(-1) / members.sum(1, keepdims=True)
