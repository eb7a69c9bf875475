"""Whether the two ends of a step in λ lie on one branch: along it dL_eff = q dλ, q = ‖θ − θ_ref‖², since the gradient vanishes.

So L_eff changes by what lies between q Δλ of both ends, where q goes one way between them. On a branch of minima that is down: q
falls as λ grows.
"""

from dataclasses import dataclass

from orograph.training.polishing import LOSS_ROUNDING


@dataclass(frozen=True)
class End:
    """An end of a step.

    Attributes:
        level: L_eff.
        q: ‖θ − θ_ref‖².
        residual: the ‖∇L_eff‖ that is left, or may be.
    """

    level: float
    q: float
    residual: float


def one_branch(old: End, new: End, step: float, length: float, *, rounding: float = LOSS_ROUNDING, minima: bool = True) -> bool:
    """Whether L_eff changed by what lies between q Δλ of both ends, up to rounding and to what their gradients leave.

    Args:
        old: where the step begins.
        new: where it ends.
        step: Δλ.
        length: of the way in θ.
        rounding: of L_eff, relative; that of L_eff in float64 if not given.
        minima: whether the branch is one of minima, and q must not rise with λ; if not, q may go either way.
    """
    low, change, high = new.q * step, new.level - old.level, old.q * step
    if not minima:
        low, high = sorted((low, high))
    slack = rounding * (abs(new.level) + abs(old.level) + abs(high)) + (new.residual + old.residual) * length
    return low - slack <= change <= high + slack
