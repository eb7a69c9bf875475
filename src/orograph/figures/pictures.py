"""The images that carry each direction most, one direction a row."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from orograph.figures.style import Picture, styled

_MOST = 10  # directions drawn


def images(
    pictures: ArrayLike, shares: ArrayLike, labels: Sequence[Sequence[str]], eigenvalues: ArrayLike, title: str = ""
) -> Figure:
    """Images with the class of each and its share of the eigenvalue.

    Args:
        pictures: `(k, m, H, W)` or `(k, m, H, W, 3)`, from 0 to 1.
        shares: `(k, m)`, of the eigenvalue, in its own units.
        labels: `(k, m)` names of the classes.
        eigenvalues: `(k,)`.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    shown, parts, values = np.asarray(pictures)[:_MOST], np.asarray(shares)[:_MOST], np.asarray(eigenvalues)[:_MOST]
    rows, columns = shown.shape[:2]
    with styled():
        figure = Picture(figsize=(0.95 * columns + 1.1, 1.12 * rows + 0.7), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for row in range(rows):
            for column in range(columns):
                axes = grid[row, column]
                axes.imshow(shown[row, column], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.grid(visible=False)
                for spine in axes.spines.values():
                    spine.set_visible(False)
                percent = 100 * parts[row, column] / values[row] if values[row] else np.nan
                axes.set_title(f"{labels[row][column]}  {percent:.2g} %", fontsize=7, fontweight="normal", loc="center", pad=2)
            text = rf"$\lambda_{{{row + 1}}}$ = {values[row]:.3g}"
            grid[row, 0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8, labelpad=6)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9, color="#555555")
        return figure
