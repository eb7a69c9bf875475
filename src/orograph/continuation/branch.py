"""What following finds: points along a branch, and the events between them."""

from dataclasses import dataclass

from jaxtyping import Float, Float64
from torch import Tensor

from orograph.brief import brief

_TOLD = 8  # events that a branch shows


@brief
@dataclass(frozen=True, eq=False)
class BranchPoint:
    """A critical point of L_eff(·; λ) on a branch.

    Attributes:
        theta: `(P,)`.
        strength: λ.
        arclength: s from the start, ds² = ‖dθ‖² + ‖2(θ − θ_ref)‖² dλ².
        rate: dλ/ds; its sign changes at a fold.
        distance2: q = ‖θ − θ_ref‖².
        loss: L.
        objective: L_eff = L + λq.
        residual: ‖∇L_eff‖.
        eigenvalues: `(k,)`, the lowest of H + 2λI, ascending, continuous symmetries left out; empty if none were asked for.
        index: how many of H + 2λI are negative, beyond residual and rounding; None if none were asked for.
        index_is_bound: all the eigenvalues looked at are negative: there may be more.
        turned: cosine of the angle between the tangent here and that of the point before.
        products: Hessian-vector products spent so far.
    """

    theta: Float[Tensor, " P"]
    strength: float
    arclength: float
    rate: float
    distance2: float
    loss: float
    objective: float
    residual: float
    eigenvalues: Float64[Tensor, " k"]
    index: int | None
    index_is_bound: bool
    turned: float
    products: int


@brief
@dataclass(frozen=True, eq=False)
class Event:
    """Where a branch changes its kind.

    Attributes:
        kind: `fold` (λ turns, and an eigenvalue of H + 2λI passes zero), `turn` (q turns; nothing loses its stability), `branch`
            (an eigenvalue passes zero and λ goes on: other branches meet here), `end` (θ reaches θ_ref) or, of steps in q alone,
            `jump` (the next sphere holds no critical point nearby).
        after: number of the point that it follows.
        arclength: s there.
        theta: `(P,)`.
        strength: λ.
        distance2: q.
        objective: L_eff.
        eigenvalue: that of H + 2λI which is nearest to zero there, continuous symmetries left out; nan for a turn.
        kernel: `(m, P)`, orthonormal: what H + 2λI maps to zero, up to the precision with which the event was found.
        residual: ‖∇L_eff‖.
        turns: whether λ turns at a branch point, as on the arms of a pitchfork: what goes on in λ is another branch then.
    """

    kind: str
    after: int
    arclength: float
    theta: Float[Tensor, " P"]
    strength: float
    distance2: float
    objective: float
    eigenvalue: float
    kernel: Float[Tensor, "m P"]
    residual: float
    turns: bool = False


@dataclass(frozen=True, eq=False)
class Branch:
    """A branch of critical points, in the order in which it was followed.

    Attributes:
        points: at least the start.
        events: between them, in order.
        ended: why it ends, in words.
        products: Hessian-vector products spent.
        gradients: passes over the data for ∇L.
    """

    points: tuple[BranchPoint, ...]
    events: tuple[Event, ...]
    ended: str
    products: int
    gradients: int

    def __repr__(self) -> str:
        first, last = self.points[0], self.points[-1]
        kinds = ", ".join(f"{event.kind} at λ = {event.strength:.6g}" for event in self.events[:_TOLD]) or "no event"
        kinds += f", {len(self.events) - _TOLD} more" if len(self.events) > _TOLD else ""
        return f"Branch of {len(self.points)} points, λ from {first.strength:.6g} to {last.strength:.6g}: {kinds}; {self.ended}"
