"""λ_max along a training, against the learning rate: training at the edge of stability (Cohen et al., 2021, 2022).

Gradient descent on a quadratic is stable while λ_max·lr/2 ≤ 1, with momentum β while it is at most 1 + β. Adam and AdamW divide
the gradient by P = (1 − β₁ᵗ)(diag √v̂ + ε); for them the largest eigenvalue of P⁻¹H counts, and the edge lies where it equals
(2 + 2β₁)/((1 − β₁)·lr), which is 38/lr. H is the Hessian of what is minimised: of L_eff = L + λ‖θ − θ_ref‖² where there is a
penalty, and of that with w/2‖θ‖² more where SGD or Adam has a weight decay w, which both add to the gradient. AdamW's decay is
decoupled: it shrinks θ beside the preconditioned step and belongs to no function that is minimised, so that H is without it.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orograph.arguments import checked
from orograph.curvature.hessian import HessianOperator
from orograph.curvature.operator import LinearOperator, TrustedOperator
from orograph.objective import Objective
from orograph.spectral.eigenpairs import lanczos
from orograph.training.moment import Moment
from orograph.training.settings import OptimizerSettings

TOLERANCE = 1e-2  # ‖Hv − λv‖/λ: the eigenvalue itself is then good to about 1e-4
PRODUCTS = 60  # at most, for one eigenvalue
COUPLED = ("SGD", "Adam")  # whose weight decay w is the gradient of w/2‖θ‖²
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # as `update` sets them


@dataclass(frozen=True, eq=False)
class Rule:
    """How an optimiser makes a step of a gradient, at one moment.

    Attributes:
        lr: the learning rate.
        edge: the largest stable λ_max·lr/2 without a preconditioner.
        decay: w of the w/2‖θ‖² that it minimises besides the objective.
        scale: `(P,)`, P of the preconditioner; None for gradient descent.
        beta: β₁ of the preconditioned step.
    """

    lr: float
    edge: float
    decay: float = 0.0
    scale: Float[Tensor, " P"] | None = None
    beta: float = BETA1

    def to(self, like: Tensor) -> "Rule":
        """The same in the dtype and on the device of a vector."""
        return self if self.scale is None else replace(self, scale=self.scale.to(like))


Beside = Callable[[Objective, Moment, float, Tensor, Rule], dict[str, float]]


def stability(
    hessian: LinearOperator, rule: Rule, near: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """λ_max and what it means for an optimiser.

    Args:
        hessian: of what is minimised, the rule's decay left out.
        rule: of the optimiser.
        near: eigenvectors that an earlier call gave, from which this one begins.

    Returns:
        `lambda_max`, `stability` = λ_max·lr/2 and its `edge`; where there is a preconditioner `preconditioned_lambda_max` and
        `preconditioned_stability`, which is 1 at the edge. And the eigenvectors by name.
    """
    near, plain = near or {}, hessian.shifted(rule.decay) if rule.decay else hessian
    largest, vector = _largest(plain, near.get("lambda_max"))
    found, vectors = {"lambda_max": largest, "stability": largest * rule.lr / 2, "edge": rule.edge}, {"lambda_max": vector}
    if rule.scale is not None:
        scales = rule.scale.rsqrt()
        size, dtype, device = plain.size, plain.dtype, plain.device
        similar = TrustedOperator(lambda v: scales * (plain @ (scales * v)), size, dtype=dtype, device=device)
        largest, vector = _largest(similar, near.get("preconditioned_lambda_max"))
        found["preconditioned_lambda_max"], vectors["preconditioned_lambda_max"] = largest, vector
        found["preconditioned_stability"] = largest * rule.lr * (1 - rule.beta) / (2 + 2 * rule.beta)
    return found, vectors


class StabilityObserver:
    """Measures λ_max, and for Adam and AdamW the preconditioned one, where a training stands.

    Args:
        objective: on the training data.
        settings: of the training.
        beside: what else is measured of plain gradient descent, with or without momentum: of the objective, the moment,
            λ_max, its eigenvector and the rule.
    """

    def __init__(self, objective: Objective, settings: OptimizerSettings, beside: Beside | None = None) -> None:
        self._objective, self._settings, self._beside = objective, settings, beside
        self._operator: HessianOperator | None = None

    def __call__(self, moment: Moment) -> dict[str, float]:
        """`lambda_max`, `stability` = λ_max·lr/2 and its `edge`; for Adam and AdamW `preconditioned_lambda_max` and
        `preconditioned_stability`, which is 1 at the edge.
        """
        settings = self._settings
        shift = 2 * moment.strength + (settings.weight_decay if settings.optimizer in COUPLED else 0.0)
        scale = None if settings.optimizer == "SGD" else preconditioner(moment.moments[1], moment.steps)
        rule = Rule(moment.lr, 1 + settings.momentum, shift, scale)
        found, vectors = stability(self._hessian(moment), rule)
        if self._beside is None or scale is not None:
            return found
        here = with_buffers(self._objective, moment.buffers) if moment.buffers else self._objective
        return found | self._beside(here, moment, found["lambda_max"], vectors["lambda_max"], rule)

    def _hessian(self, moment: Moment) -> HessianOperator:
        if moment.buffers:  # constants of the trace: each network has its own
            return HessianOperator.of(with_buffers(self._objective, moment.buffers)).at(moment.theta.clone())
        if self._operator is None:
            self._operator = HessianOperator.of(self._objective)
        return self._operator.at(moment.theta.clone())


def rule_of(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> Rule | None:
    """What one of torch's optimisers does to these parameters.

    Args:
        optimizer: after its step.
        parameters: those that make up θ, in its order.

    Returns:
        The rule; None where it is not known (another class than SGD, Adam and AdamW) or not one (groups of several learning
        rates, parameters that have no step).
    """
    kind = type(optimizer).__name__ if type(optimizer).__module__.startswith("torch.optim") else ""
    groups = {id(each): group for group in optimizer.param_groups for each in group["params"]}
    if kind not in ("SGD", "Adam", "AdamW") or any(id(each) not in groups for each in parameters):
        return None
    own = [groups[id(each)] for each in parameters]
    coupled = kind in COUPLED and not own[0].get("decoupled_weight_decay", False)
    facts = [_facts(group, coupled) for group in own]
    if any(each != facts[0] for each in facts) or own[0].get("maximize") or own[0].get("dampening"):
        return None
    lr, decay, momentum, nesterov, (beta1, beta2), epsilon = facts[0]
    if kind == "SGD":
        return Rule(lr, (1 + momentum) / (1 + 2 * momentum) if nesterov else 1 + momentum, decay)
    states = [optimizer.state.get(each, {}) for each in parameters]
    second = "max_exp_avg_sq" if own[0].get("amsgrad") else "exp_avg_sq"
    if any(second not in state for state in states):
        return None
    scale = torch.cat(
        [
            preconditioner(state[second].detach().flatten(), int(state["step"]), (beta1, beta2), epsilon).to(parameters[0].device)
            for state in states
        ]
    )
    return Rule(lr, 1.0, decay, scale, beta1)


def _facts(group: Mapping[str, Any], coupled: bool) -> tuple[float, float, float, bool, tuple[float, float], float]:
    beta1, beta2 = group.get("betas", (BETA1, BETA2))
    decay = float(group.get("weight_decay", 0.0)) if coupled else 0.0
    momentum, nesterov = float(group.get("momentum", 0.0)), bool(group.get("nesterov", False))
    return float(group["lr"]), decay, momentum, nesterov, (float(beta1), float(beta2)), float(group.get("eps", EPSILON))


@checked
def preconditioner(
    second: Float[Tensor, " P"], steps: int, betas: tuple[float, float] = (BETA1, BETA2), epsilon: float = EPSILON
) -> Float[Tensor, " P"]:
    """The diagonal of P, by which Adam divides, from its uncorrected second moments.

    Args:
        second: `(P,)`, Adam's second moments as they are kept.
        steps: taken so far.
        betas: β₁ and β₂.
        epsilon: ε.

    Returns:
        `(P,)`, positive.
    """
    return (1 - betas[0] ** steps) * ((second / (1 - betas[1] ** steps)).sqrt() + epsilon)


def with_buffers(objective: Objective, buffers: Mapping[str, Tensor]) -> Objective:
    """The same objective, evaluated with other buffers of the module (BatchNorm's statistics)."""
    other = copy.copy(objective)
    other.traces = {}
    other.constants = {name: buffers.get(name, value) for name, value in objective.constants.items()}
    return other


def _largest(operator: LinearOperator, start: Tensor | None) -> tuple[float, Tensor]:
    found = lanczos(operator, 1, which="LA", tolerance=TOLERANCE, max_products=PRODUCTS, start=start)
    return found.eigenvalues[0].item(), found.eigenvectors[0]
