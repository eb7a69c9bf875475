"""Functions with known critical points, and what topology is by definition, slowly: levels are gone through one by one."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy import ndarray
from scipy import ndimage

BOX = tuple[tuple[float, float], ...]


def six_hump_camel(x: ndarray, y: ndarray) -> ndarray:
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2


def muller_brown(x: ndarray, y: ndarray) -> ndarray:
    """Müller & Brown (1979)."""
    terms = [
        (-200, -1, 0, -10, 1, 0),
        (-100, -1, 0, -10, 0, 0.5),
        (-170, -6.5, 11, -6.5, -0.5, 1.5),
        (15, 0.7, 0.6, 0.7, -1, 1),
    ]
    return sum(A * np.exp(a * (x - p) ** 2 + b * (x - p) * (y - q) + c * (y - q) ** 2) for A, a, b, c, p, q in terms)


def sampled(function: Callable[..., ndarray], box: BOX, points: Sequence[int]) -> tuple[ndarray, list[ndarray]]:
    """Heights on a grid, and its axes."""
    axes = [np.linspace(low, high, count) for (low, high), count in zip(box, points, strict=True)]
    return function(*np.meshgrid(*axes, indexing="ij")), axes


def components(heights: ndarray, joined: int = 1) -> list[tuple[float, float]]:
    """(birth, death) of the components of {f ≤ level}, sorted: each level in turn is labelled, and compared with the last."""
    cross = ndimage.generate_binary_structure(heights.ndim, joined)
    finite = heights[np.isfinite(heights)]
    alive, pairs = {}, []  # by the place of any lowest point: its height
    for level in np.unique(finite):
        parts, count = ndimage.label(heights <= level, cross)
        after = {}
        for part in range(1, count + 1):
            inside = [place for place in alive if parts[place] == part]
            if not inside:
                after[tuple(int(each) for each in np.argwhere((parts == part) & (heights == level))[0])] = level
                continue
            elder = min(inside, key=lambda place: alive[place])
            after[elder] = alive[elder]
            pairs += [(alive[place], level) for place in inside if place != elder]
        alive = after
    return sorted((float(birth), float(death)) for birth, death in [*pairs, *((birth, np.inf) for birth in alive.values())])


def loops(heights: ndarray) -> list[tuple[float, float]]:
    """(birth, death) of the loops of {f ≤ level} in the plane, sorted, by duality: what is above a level and not outside.

    A hole is a component of {f > level}, points that touch at a corner being joined, which does not reach the border.
    """
    turned = -np.pad(heights, 1, constant_values=np.inf)
    turned = np.where(np.isfinite(turned), turned, -1e6)  # walls are what is highest, and stay
    found = [(-death, -birth) for birth, death in components(turned, joined=2) if np.isfinite(death)]
    return sorted((birth, np.inf if death == 1e6 else death) for birth, death in found)


def minimax(heights: ndarray) -> ndarray:
    """`(N, N)`, the lowest level at which two points are joined, by Floyd & Warshall's algorithm."""
    flat, places = heights.ravel(), np.argwhere(np.ones(heights.shape, dtype=bool))
    beside = np.abs(places[:, None] - places).sum(-1) <= 1
    found = np.where(beside, np.maximum(flat[:, None], flat), np.inf)
    for middle in range(len(flat)):
        found = np.minimum(found, np.maximum(found[:, middle, None], found[middle]))
    return found
