"""The figures, each a function that takes an opened run or its results and returns a matplotlib figure.

`orograph.figures.sweep(orograph.open_run("runs/demo"))` draws a sweep; `save` writes a figure as PNG and PDF in the one style
that all share. Modules are named after their functions, so these names are taken here, at once, and not looked up later.
"""

from orograph.figures.angles import angles
from orograph.figures.branches import branches
from orograph.figures.class_shares import class_shares
from orograph.figures.curvature import curvature
from orograph.figures.hysteresis import hysteresis
from orograph.figures.images import images
from orograph.figures.spectrum import spectrum
from orograph.figures.study import by_setting
from orograph.figures.study_connectivity import connectivity, instability
from orograph.figures.study_correlations import correlations
from orograph.figures.study_spectra import spectra
from orograph.figures.study_surface import surface
from orograph.figures.study_training import training_curves
from orograph.figures.style import save, styled
from orograph.figures.sweep import sweep
from orograph.figures.thermodynamics import thermodynamics

__all__ = [
    "angles",
    "branches",
    "by_setting",
    "class_shares",
    "connectivity",
    "correlations",
    "curvature",
    "hysteresis",
    "images",
    "instability",
    "save",
    "spectra",
    "spectrum",
    "styled",
    "surface",
    "sweep",
    "thermodynamics",
    "training_curves",
]
