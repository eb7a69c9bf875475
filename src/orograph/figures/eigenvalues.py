"""The spectrum of one minimum: its eigenpairs with their residuals, and the spectral density."""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from orograph.figures.labels import label
from orograph.figures.style import PALETTE, Picture, styled


def spectrum(
    eigenvalues: ArrayLike,
    residuals: ArrayLike,
    *,
    noise_level: float = float("nan"),
    density: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    edge: float | None = None,
    title: str = "",
) -> Figure:
    """Eigenvalues by rank, and the density of the whole spectrum where it is given.

    Args:
        eigenvalues: the k eigenvalues, descending.
        residuals: ‖Hv − λv‖ of each, drawn as error bars.
        noise_level: eigenvalues within it are rounding; drawn as a grey band.
        density: grid, values and standard error of the spectral density (their integral is 1).
        edge: the bulk edge, drawn as a line.
        title: the line above the figure.

    Returns:
        A matplotlib figure.
    """
    values, errors = np.asarray(eigenvalues), np.asarray(residuals)
    with styled():
        figure = Picture(figsize=(10, 4), layout="constrained")
        axes = figure.subplots(1, 1 if density is None else 2, squeeze=False)[0]
        rank = np.arange(1, len(values) + 1)
        for sign, colour, words in ((1, PALETTE[0], "positive"), (-1, PALETTE[1], "negative")):
            chosen = np.sign(values) == sign
            if chosen.any():
                axes[0].errorbar(
                    rank[chosen], np.abs(values[chosen]), yerr=errors[chosen], fmt="o", ms=4, color=colour, label=words, capsize=2
                )
        if np.isfinite(noise_level) and noise_level > 0:
            axes[0].axhspan(min(noise_level, np.abs(values[values != 0]).min()) / 2, noise_level, color="#dddddd", label="noise")
        axes[0].margins(y=0.12)
        axes[0].set(yscale="log", xlabel="rank", ylabel="|λ|", title=f"{len(values)} eigenpairs")
        axes[0].xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        if axes[0].get_legend_handles_labels()[0]:  # none where every eigenvalue is 0
            axes[0].legend()
        if density is not None:
            grid, height, error = (np.asarray(part) for part in density)
            floor = max(height.max() * 1e-8, 1e-300)  # far below one eigenvalue of the whole
            axes[1].plot(grid, np.maximum(height, floor), color=PALETTE[0])
            axes[1].fill_between(
                grid,
                np.maximum(height - error, floor),
                height + error,
                color=PALETTE[0],
                alpha=0.25,
                lw=0,
                label="± standard error",
            )
            if edge is not None:
                axes[1].axvline(edge, color=PALETTE[1], ls="--", lw=1.2, label="bulk edge")
            axes[1].set(
                yscale="log",
                ylim=(floor, 3 * (height + error).max()),
                xlabel=label("density_grid"),
                ylabel=label("density"),
                title="Spectral density",
            )
            axes[1].legend()
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure
