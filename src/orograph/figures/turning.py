"""Principal angles between the spans of the eigenpairs at neighbouring points, as a heat map."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orograph.figures.marks import strength_axis
from orograph.figures.style import Picture, styled
from orograph.store.lookup import quantity


def angles(line: xr.Dataset, title: str = "") -> Figure:
    """How far the subspace of the pairs turns from point to point: 0° is a direction that both share, 90° one that is new.

    Args:
        line: one seed and direction of what `open_run` gives for an analysed sweep, without missing points.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    strengths, values = line.strength.values, line.principal_angle.values[1:]
    with styled():
        figure = Picture(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        rank = np.arange(values.shape[1] + 1) + 0.5
        mesh = axes.pcolormesh(strengths, rank, values.T, cmap="viridis", vmin=0, vmax=90)
        axes.grid(visible=False)
        axes.set(ylabel="principal angle, from the smallest", title="Turning of the eigenspace between neighbours")
        strength_axis(axes, strengths)
        bar = figure.colorbar(mesh, ax=axes, ticks=[0, 30, 60, 90])
        bar.set_label(quantity("principal_angle").units)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure
