"""Where along a ladder something happens: of a long even ladder that is often a small part of it."""

from collections.abc import Sequence

import numpy as np

_LEAST = 30  # points of a ladder that is looked at
_SMOOTH = 9  # points over which noise is taken out by their median
_REST = 0.05  # of the range of a series, which it may move on either side of the stretch
_WITHIN = 0.1  # of the ladder, at most

Ends = tuple[float, float]


def moving_stretch(strengths: Sequence[float] | np.ndarray, series: Sequence[np.ndarray]) -> Ends | None:
    """The stretch that holds nine tenths of the motion of most series, where that is at most a tenth of the ladder.

    Args:
        strengths: λ, ascending.
        series: what moves, each with one value a strength, NaN where there is none; as it is drawn, by its logarithm on such an
            axis.

    Returns:
        Both ends; None where the motion is spread over more, or nothing moves.
    """
    x = np.asarray(strengths, dtype=float)
    if len(x) < _LEAST:
        return None
    found = [ends for values in series if (ends := _ends(np.asarray(values, dtype=float))) is not None]
    most = _WITHIN * (x[-1] - x[0])
    small = [(first, last) for first, last in found if x[last] - x[first] <= most]
    if not small or 2 * len(small) <= len(found):
        return None
    low, high = float(x[min(first for first, _ in small)]), float(x[max(last for _, last in small)])
    return (low, high) if high - low <= most else None


def by_logarithm(values: np.ndarray) -> np.ndarray:
    """A series as it is drawn on a logarithmic axis: its logarithm where all of it is positive."""
    known = np.asarray(values, dtype=float)
    return np.log(known) if np.nanmin(known, initial=np.inf) > 0 else known


def _ends(values: np.ndarray) -> tuple[int, int] | None:
    """Before which place, and behind which other, a series hardly moves; None of one that does not move at all."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2:
        return None
    whole = np.interp(np.arange(len(values)), known, values[known])
    padded = np.pad(whole, _SMOOTH // 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, _SMOOTH), axis=-1)
    rest = _REST * np.ptp(smooth)
    if rest == 0:
        return None
    return _still(smooth, rest), len(smooth) - 1 - _still(smooth[::-1], rest)


def _still(values: np.ndarray, rest: float) -> int:
    """The last place up to which a series stays within so much."""
    reach = np.maximum.accumulate(values) - np.minimum.accumulate(values)
    return int(np.searchsorted(reach, rest, side="right")) - 1
