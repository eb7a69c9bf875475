"""∫ q dλ along a branch, by which alone L_eff changes: dL_eff = q dλ, since the gradient vanishes.

λ and q are each a cubic spline in the arclength, smooth through folds and turns, and ∫ q(s) λ'(s) ds is exact for them.
It does not depend on how s is counted, where q·dλ/ds at the points would: steps are counted along tangents, λ' along the branch.
"""

import numpy as np
from jaxtyping import Float64
from scipy.interpolate import CubicHermiteSpline, CubicSpline, PPoly

FEWEST = 4  # points through which a cubic spline goes
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)  # exact to the fifth degree: a cubic by the derivative of one

Values = Float64[np.ndarray, " n"]


def work_along(arclength: Values, strength: Values, order: Values) -> Values:
    """∫ q dλ from the first point to each.

    Args:
        arclength: s, increasing.
        strength: λ at each.
        order: q at each.

    Returns:
        `(n,)`, the first 0.
    """
    return _area(CubicSpline(arclength, strength), CubicSpline(arclength, order))


def work_again(arclength: Values, strength: Values, order: Values, rate: Values) -> Values:
    """The same by another rule, which shares no spline with the first: how far the two are apart says how well either is known.

    Args:
        arclength: s, increasing.
        strength: λ at each.
        order: q at each; its slopes are those of parabolas through neighbours.
        rate: dλ/ds at each.

    Returns:
        `(n,)`, the first 0.
    """
    slope = np.gradient(order, arclength, edge_order=2)
    return _area(CubicHermiteSpline(arclength, strength, rate), CubicHermiteSpline(arclength, order, slope))


def _area(strength: PPoly, order: PPoly) -> Values:
    ends = order.x
    half = np.diff(ends)[:, None] / 2
    places = ends[:-1, None] + half * (1 + _NODES)
    parts = (order(places) * strength(places, 1) * _WEIGHTS * half).sum(1)
    return np.concatenate([[0.0], np.cumsum(parts)])
