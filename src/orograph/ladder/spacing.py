"""Strengths at equal ways along a branch: more of them where θ moves, turns, or where classes or the branch are lost.

The way is the arclength of (θ, log λ), each relative to the whole of its own, and what happens on it is added: a right angle by
which θ turns, a class that is lost and a lost branch count as a tenth of the whole each. Points at equal ways of such a monitor
function equidistribute it (de Boor 1974, "Good approximation by splines with variable knots").
"""

import math

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

_HAPPENING = 0.1  # of the whole arclength


def branch_ways(
    strengths: Float[ndarray, " T"],
    moved: Float[ndarray, " steps"],
    angles: Float[ndarray, " steps"],
    changes: Float[ndarray, " steps"],
    kept: Bool[ndarray, " steps"],
) -> Float[ndarray, " steps"]:
    """How much way lies between neighbours.

    Args:
        strengths: λ > 0, ascending or descending.
        moved: ‖Δθ‖ of each step.
        angles: by which θ's motion turns, shared between both steps, in radians.
        changes: the largest change of a class's accuracy, as a share of 1.
        kept: whether both ends are on one branch; where they are not, ‖Δθ‖ is no way along one.
    """
    smooth = np.where(kept, moved, 0.0)
    raised = np.abs(np.diff(np.log(strengths)))
    arc = np.hypot(smooth / (smooth.sum() or 1.0), raised / raised.sum())
    return arc / arc.sum() + _HAPPENING * (angles / (math.pi / 2) + changes + ~kept)


def equal_ways(strengths: Float[ndarray, " T"], ways: Float[ndarray, " steps"], count: int) -> list[float]:
    """So many strengths, the first and the last among them, with equal ways between; log λ goes evenly within a step.

    Args:
        strengths: λ > 0, ascending.
        ways: between neighbours, positive.
        count: at least 2.
    """
    reached = np.concatenate([[0.0], np.cumsum(ways)])
    between = np.interp(np.linspace(0.0, reached[-1], count)[1:-1], reached, np.log(strengths))
    found = [float(strengths[0]), *np.exp(between).tolist(), float(strengths[-1])]
    rounded = [found[0], *(float(f"{value:.6g}") for value in found[1:-1]), found[-1]]
    return rounded if all(np.diff(rounded) > 0) else found
