"""λ_max along a training, against the learning rate: training at the edge of stability (Cohen et al., 2021, 2022).

Gradient descent on a quadratic is stable while λ_max·lr/2 ≤ 1, with momentum β while it is at most 1 + β. Adam and AdamW divide
the gradient by P = (1 − β₁ᵗ)(diag √v̂ + ε); for them the largest eigenvalue of P⁻¹H counts, and the edge lies where it equals
(2 + 2β₁)/((1 − β₁)·lr), which is 38/lr. H is the Hessian of what is minimised: of L_eff = L + λ‖θ − θ_ref‖² where there is a
penalty, and of that with w/2‖θ‖² more where SGD or Adam has a weight decay w, which both add to the gradient. AdamW's decay is
decoupled: it shrinks θ beside the preconditioned step and belongs to no function that is minimised, so that H is without it.
"""

import copy
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from orograph.curvature.hessian import HessianOperator
from orograph.curvature.operator import FunctionOperator, LinearOperator
from orograph.objective import Objective
from orograph.spectral.eigenpairs import lanczos
from orograph.training.moment import Moment
from orograph.training.settings import OptimizerSettings

TOLERANCE = 1e-2  # ‖Hv − λv‖/λ: the eigenvalue itself is then good to about 1e-4
PRODUCTS = 60  # at most, for one eigenvalue
COUPLED = ("SGD", "Adam")  # whose weight decay w is the gradient of w/2‖θ‖²
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # as `update` sets them


class StabilityObserver:
    """Measures λ_max, and for Adam and AdamW the preconditioned one, where a training stands.

    Args:
        objective: on the training data.
        settings: of the training.
    """

    def __init__(self, objective: Objective, settings: OptimizerSettings) -> None:
        self._objective, self._settings = objective, settings
        self._operator: HessianOperator | None = None

    def __call__(self, moment: Moment) -> dict[str, float]:
        """`lambda_max`, `stability` = λ_max·lr/2 and its `edge`; for Adam and AdamW `preconditioned_lambda_max` and
        `preconditioned_stability`, which is 1 at the edge.
        """
        plain, settings = self._hessian(moment), self._settings
        shift = 2 * moment.strength + (settings.weight_decay if settings.optimizer in COUPLED else 0.0)
        hessian: LinearOperator = plain.shifted(shift) if shift else plain
        largest = _largest(hessian)
        found = {"lambda_max": largest, "stability": largest * moment.lr / 2, "edge": 1 + settings.momentum}
        if settings.optimizer != "SGD":
            scales = preconditioner(moment.moments[1], moment.steps).rsqrt()
            size, dtype, device = hessian.size, hessian.dtype, hessian.device
            similar = FunctionOperator(lambda v: scales * (hessian @ (scales * v)), size, dtype=dtype, device=device)
            largest = _largest(similar)
            found["preconditioned_lambda_max"] = largest
            found["preconditioned_stability"] = largest * moment.lr * (1 - BETA1) / (2 + 2 * BETA1)
        return found

    def _hessian(self, moment: Moment) -> HessianOperator:
        if moment.buffers:  # constants of the trace: each network has its own
            return HessianOperator.of(with_buffers(self._objective, moment.buffers)).at(moment.theta.clone())
        if self._operator is None:
            self._operator = HessianOperator.of(self._objective)
        return self._operator.at(moment.theta.clone())


def preconditioner(second: Float[Tensor, " P"], steps: int) -> Float[Tensor, " P"]:
    """The diagonal of P, by which Adam divides, from its uncorrected second moments.

    Args:
        second: `(P,)`, Adam's second moments as they are kept.
        steps: taken so far.

    Returns:
        `(P,)`, positive.
    """
    return (1 - BETA1**steps) * ((second / (1 - BETA2**steps)).sqrt() + EPSILON)


def with_buffers(objective: Objective, buffers: Mapping[str, Tensor]) -> Objective:
    """The same objective, evaluated with other buffers of the module (BatchNorm's statistics)."""
    other = copy.copy(objective)
    other.traces = {}
    other.constants = {name: buffers.get(name, value) for name, value in objective.constants.items()}
    return other


def _largest(operator: LinearOperator) -> float:
    return lanczos(operator, 1, which="LA", tolerance=TOLERANCE, max_products=PRODUCTS).eigenvalues[0].item()
