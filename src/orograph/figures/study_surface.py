"""A slice of the landscape: contours, the surface above them, and profiles along its axes."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from orograph.figures.labels import label, said, title_of
from orograph.figures.style import PALETTE, Picture, styled
from orograph.store.wording import Wording

COLOURS = "cividis"  # its lightness rises steadily, so that a greyscale print keeps the order
_LEVELS = 14


def surface(
    arrays: Mapping[str, ArrayLike],
    title: str = "",
    *,
    quantity: str = "train_loss",
    axes_names: tuple[str, str] = ("along the first direction", "along the second direction"),
    marks: Sequence[str] | None = None,
    wording: Wording | None = None,
) -> Figure:
    """Contours and the surface in three dimensions; and the profiles along both axes where there are any.

    Args:
        arrays: of a slice or a plane: `x`, `y`, the quantity `(n, m)` at (x_i, y_j), `marks` `(p, 2)`; `path` `(m, 2)`,
            `profile_x` and `profile_…` where they are there.
        title: the line above the figure.
        quantity: `train_loss`, `test_loss`, `train_accuracy` or `test_accuracy`.
        axes_names: what the axes are; coordinates are distances in parameter space.
        marks: names of the marked points.
        wording: how the run is spoken of; as a classification of images when None.

    Returns:
        A matplotlib figure.
    """
    found = {name: np.asarray(values, dtype=float) for name, values in arrays.items()}
    x, y, values = found["x"], found["y"], found[quantity]
    profiles = quantity.endswith("_loss") and "profile_x" in found
    with styled():
        figure = Picture(figsize=(13 if profiles else 10, 4.2), layout="constrained")
        columns = 3 if profiles else 2
        flat = figure.add_subplot(1, columns, 1)
        levels, scale = _levels(values)
        _contours(flat, x, y, values, levels, scale, figure, label(quantity, of=wording))
        _marked(flat, found, marks)
        flat.set(xlabel=axes_names[0], ylabel=axes_names[1], aspect="equal", title="Contours")
        raised: Any = figure.add_subplot(1, columns, 2, projection="3d")
        _raised(raised, x, y, values, scale)
        raised.set(xlabel=axes_names[0], ylabel=axes_names[1])
        raised.set_title(title_of(quantity, of=wording), loc="left")
        if profiles:
            _profiles(figure.add_subplot(1, columns, 3), found, axes_names, said("profile_train_loss", wording).units)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, color="#555555")
        return figure


def _levels(values: np.ndarray) -> tuple[np.ndarray, mpl.colors.Normalize]:
    """Levels of contours: at equal ratios where values span more than a decade, else at equal steps."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if high <= low:
        high = low + (abs(low) or 1.0) * 1e-6
    if low > 0 and high > 10 * low:
        return np.geomspace(low, high, _LEVELS), mpl.colors.LogNorm(low, high)
    return np.linspace(low, high, _LEVELS), mpl.colors.Normalize(low, high)


def _contours(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    values: np.ndarray,
    levels: np.ndarray,
    scale: mpl.colors.Normalize,
    figure: Figure,
    name: str,
) -> None:
    filled = axes.contourf(x, y, values.T, levels, cmap=COLOURS, norm=scale)
    lines = axes.contour(x, y, values.T, levels[1:-1:2], colors="white", linewidths=0.7, norm=scale)
    axes.clabel(lines, fmt=lambda value: f"{value:.3g}", fontsize=7)
    bar = figure.colorbar(filled, ax=axes, shrink=0.85, format=mpl.ticker.FuncFormatter(lambda value, _: f"{value:.3g}"))
    bar.set_label(name)
    bar.set_ticks(levels[::3].tolist())
    bar.minorticks_off()
    axes.grid(visible=False)


def _marked(axes: Axes, found: Mapping[str, np.ndarray], names: Sequence[str] | None) -> None:
    """The minima, and the path between the first two with the straight line beside it."""
    marks = found.get("marks", np.empty((0, 2)))
    if "path" in found:
        axes.plot(*marks[:2].T, ":", color="white", lw=1.3, label="straight line")
        axes.plot(*found["path"].T, "-", color=PALETTE[1], lw=2, path_effects=_outlined(), label="trained path, projected")
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, facecolor="#888888", frameon=True, labelcolor="white"
        )
    for place, (x, y) in enumerate(marks):
        axes.plot(x, y, "o", ms=7, mfc="white", mec="black", mew=1.2)
        if len(marks) > 1 or names:
            name = names[place] if names else str(place + 1)
            axes.annotate(
                name, (x, y), (6, 6), textcoords="offset points", color="white", weight="bold", path_effects=_outlined()
            )


def _outlined() -> list[Any]:
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=3, foreground="black")]


def _raised(axes: Any, x: np.ndarray, y: np.ndarray, values: np.ndarray, scale: mpl.colors.Normalize) -> None:
    """The surface, on a logarithmic height where its contours are logarithmic."""
    height = np.log10(values) if isinstance(scale, mpl.colors.LogNorm) else values
    across, along = np.meshgrid(x, y, indexing="ij")
    colours = mpl.colormaps[COLOURS](scale(values))
    axes.plot_surface(
        across, along, height, facecolors=colours, rstride=1, cstride=1, lw=0.15, edgecolor="#33333355", shade=False
    )
    if isinstance(scale, mpl.colors.LogNorm):
        axes.zaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{10**value:.2g}"))
        axes.zaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
    axes.view_init(elev=32, azim=-58)
    axes.tick_params(labelsize=7.5, pad=0)
    axes.set_box_aspect((1, 1, 0.75), zoom=0.9)


def _profiles(axes: Axes, found: Mapping[str, np.ndarray], names: tuple[str, str], units: str) -> None:
    sets = [(kind, line) for kind, line in (("train", "-"), ("test", "--")) if f"profile_{kind}_loss" in found]
    for index, (name, marker) in enumerate(zip(names, ("o", "s"), strict=True)):
        for kind, line in sets:
            values = found[f"profile_{kind}_loss"][index]
            every = max(1, len(values) // 8)
            options: dict[str, Any] = {"color": PALETTE[index], "ls": line, "marker": marker, "markevery": every}
            axes.plot(found["profile_x"], values, label=f"{name}, {kind}", **options)
    axes.set(title="Profiles", xlabel="distance from the minimum", ylabel="loss" if units == "1" else units)
    axes.legend()
