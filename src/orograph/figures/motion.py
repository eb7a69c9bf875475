"""Where along a ladder something happens: of a long even ladder that is often a small part of it."""

from collections.abc import Sequence

import numpy as np

_LEAST = 30  # points of a ladder that is looked at
_SMOOTH = 9  # points over which noise is taken out by their median
_MOST, _WITHIN = 0.9, 0.1  # so much of the motion within so much of the ladder
_DECADE = 10.0  # ratio from which a positive series moves by its logarithm


def moving_stretch(strengths: Sequence[float] | np.ndarray, series: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """The shortest stretch that holds nine tenths of the motion, where that is at most a tenth of the ladder.

    Args:
        strengths: λ, ascending.
        series: what moves, each with one value a strength; NaN where there is none. All count alike, by their total variation
            once noise is taken out; of positive ones that span a decade, that of the logarithm.

    Returns:
        Both ends; None where the motion is spread over more, or nothing moves.
    """
    x = np.asarray(strengths, dtype=float)
    if len(x) < _LEAST:
        return None
    ways = [way for values in series if (way := _way(np.asarray(values, dtype=float))) is not None]
    if not ways:
        return None
    gone = np.concatenate([[0.0], np.cumsum(np.mean(ways, axis=0))])
    ends = np.searchsorted(gone, gone + _MOST - 1e-9)
    starts = np.flatnonzero(ends < len(x))
    widths = x[ends[starts]] - x[starts]
    best = int(np.argmin(widths))
    if widths[best] > _WITHIN * (x[-1] - x[0]):
        return None
    return float(x[starts[best]]), float(x[ends[starts[best]]])


def _way(values: np.ndarray) -> np.ndarray | None:
    """Which part of its way a series goes in each step; None of one that does not move."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2:
        return None
    if values[known].min() > 0 and values[known].max() > _DECADE * values[known].min():
        values = np.log(values)
    whole = np.interp(np.arange(len(values)), known, values[known])
    padded = np.pad(whole, _SMOOTH // 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, _SMOOTH), axis=-1)
    steps = np.abs(np.diff(smooth))
    total = float(steps.sum())
    return steps / total if total > 0 else None
