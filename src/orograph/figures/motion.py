"""Where along a ladder something happens: of a long even ladder that is often a small part of it."""

from collections.abc import Sequence

import numpy as np

_LEAST = 30  # points of a ladder that is looked at
_SMOOTH = 9  # points over which noise is taken out by their median
_REST = 0.05  # of the range of a series, which it may move on either side of the stretch
_WITHIN = 0.1  # of the ladder, at most
_LATER = 0.25  # of the range of a series that begins fast, which it may move later

Ends = tuple[float, float]


def moving_stretch(strengths: Sequence[float] | np.ndarray, series: Sequence[np.ndarray]) -> Ends | None:
    """The stretch that holds nine tenths of the motion of most series, where that is at most a tenth of the ladder.

    Of series that begin fast and end slowly the beginning that holds three quarters of it, where that is a tenth at most.

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
    smooth = [each for values in series if (each := _smoothed(np.asarray(values, dtype=float))) is not None]
    return _most_of(x, [_ends(each) for each in smooth]) or _most_of(x, [_beginning(each) for each in smooth])


def _most_of(x: np.ndarray, found: list[tuple[int, int]]) -> Ends | None:
    """The stretch around those of most series that are short enough; None where it is not, or there are no such."""
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


def _smoothed(values: np.ndarray) -> np.ndarray | None:
    """A series without its noise; None of one that does not move at all."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2:
        return None
    whole = np.interp(np.arange(len(values)), known, values[known])
    padded = np.pad(whole, _SMOOTH // 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, _SMOOTH), axis=-1)
    return smooth if np.ptp(smooth) > 0 else None


def _ends(smooth: np.ndarray) -> tuple[int, int]:
    """Before which place, and behind which other, a series hardly moves."""
    rest = _REST * np.ptp(smooth)
    return _still(smooth, rest), len(smooth) - 1 - _still(smooth[::-1], rest)


def _beginning(smooth: np.ndarray) -> tuple[int, int]:
    """From the first place to the one behind which a series moves little."""
    return 0, len(smooth) - 1 - _still(smooth[::-1], _LATER * np.ptp(smooth))


def _still(values: np.ndarray, rest: float) -> int:
    """The last place up to which a series stays within so much."""
    reach = np.maximum.accumulate(values) - np.minimum.accumulate(values)
    return int(np.searchsorted(reach, rest, side="right")) - 1
