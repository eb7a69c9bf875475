"""The free energy F(λ), its slope the order parameter, its curvature the susceptibility, and how well they agree."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from orograph.figures.labels import label
from orograph.figures.marks import Band, logarithmic_scale, mark_bands, strength_axis, thinned
from orograph.figures.motion import by_logarithm, moving_stretch
from orograph.figures.style import PALETTE, Picture, styled

_WAYS = {"up": ("-", "o"), "down": ("--", "s")}


def thermodynamics(lines: Sequence[xr.Dataset], bands: Sequence[Band] = (), title: str = "") -> Figure:
    """F, the order parameter, the susceptibility and the defect of the envelope identity against λ.

    Args:
        lines: one or both directions of one seed of what `open_run` gives for an analysed sweep, without missing points.
        bands: transitions.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    with styled():
        figure = Picture(figsize=(10, 7), layout="constrained")
        ((energy, order), (response, defect)) = figure.subplots(2, 2, sharex=True)
        longest = max(lines, key=lambda line: line.sizes["strength"])
        moving = moving_stretch(longest.strength.values, [by_logarithm(longest.order_parameter.values)])
        for line in lines:
            way = str(line.direction.values)
            style, marker = _WAYS[way]
            colour = PALETTE[0] if way == "up" else PALETTE[1]
            look = {"ls": style, "ms": 3, "color": colour, "label": way, **thinned(marker, line.strength.values, moving)}
            strengths = line.strength.values
            energy.plot(strengths, line.objective.values, **look)
            order.plot(strengths, line.order_parameter.values, **look)
            if "susceptibility" in line:
                response.plot(strengths, line.susceptibility.values, **look)
                open_ended = line.susceptibility_converged.values != 1
                response.plot(
                    strengths[open_ended], line.susceptibility.values[open_ended], "o", mfc="white", mec=colour, ms=6, ls=""
                )
            defect.plot(strengths, np.where(line.envelope_defect.values > 0, line.envelope_defect.values, np.nan), **look)
        energy.set(title=r"Free energy $F = \min L_{\mathrm{eff}}$", ylabel="F")
        order.set(
            title=r"Order parameter $q = \|\theta-\theta_{\mathrm{ref}}\|^2 = dF/d\lambda$", ylabel=label("order_parameter")
        )
        response.set(title=r"Susceptibility $\chi = -dq/d\lambda$", ylabel=label("susceptibility"))
        defect.set(title="Defect of the envelope identity", ylabel="relative, between neighbours")
        for axes in (order, response, defect):
            if axes.lines:
                logarithmic_scale(axes)
            else:
                axes.text(0.5, 0.5, "not computed", transform=axes.transAxes, ha="center", va="center", color="#555555")
                axes.set_yticks([])
        for axes in (response, defect):
            strength_axis(axes, np.concatenate([line.strength.values for line in lines]), moving)
        for axes in (energy, order, response, defect):
            mark_bands(axes, bands)
        energy.legend(loc="best")
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure
