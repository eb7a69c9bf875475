"""What each training sample does to a loss, as the response of a minimum (Cook & Weisberg 1982; Koh & Liang, arXiv 1703.04730).

At a minimum of L + λ‖θ − θ_ref‖² let sample n weigh ε more: L + ε ℓ_n + λ‖θ − θ_ref‖². Then dθ/dε = −A⁻¹∇ℓ_n with A = H + 2λI,
and any other function f of θ answers with

    df/dε = −∇f·A⁻¹∇ℓ_n = −s·∇ℓ_n,    s = A⁻¹∇f,

so that one solve a function f, by conjugate gradients, and one forward pass for the slopes of all samples along s give the
influence of every sample. Left out of a mean over N samples, sample n changes the gradient by (∇L − ∇ℓ_n)/(N − 1).

What it is not: the result of training again. It is the first order in 1/N, exact in the limit of small weights, for the minimum
that is followed; where A is not positive definite there is none. For a quadratic loss a sample with leverage h_n moves θ by
1/(1 − h_n) times as much when it is left out.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.curvature.counting import OnProduct, renamed
from orograph.curvature.hessian import HessianOperator
from orograph.errors import ConfigurationError
from orograph.geometry.classes import class_gradients
from orograph.geometry.directional import sample_slopes
from orograph.objective import Objective
from orograph.spectral.cg import conjugate_gradient


@brief
@dataclass(frozen=True, eq=False)
class Influence:
    """The influence of N training samples on m losses.

    Attributes:
        values: `(m, N)` float64, df/dε: how much the loss rises for each unit of weight ε on a sample's loss.
        removed: `(m, N)` float64, to first order, by how much the loss rises when the sample is left out of the mean.
        residuals: `(m,)`, of the solves, ‖∇f − A s‖/‖∇f‖ by a true product.
        converged: all of them are within the tolerance.
        gradient_norm: ‖∇L_eff(θ)‖ at the point; the formulas are those of a critical point, where it is 0.
        polishing: `(m,)` float64, −s·∇L_eff: to first order, what a Newton step to the critical point nearby would change each
            loss by; 0 at a critical point. Where it is not small beside the influences, these are not those of the point.
        products: of the Hessian.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [0.0]]))]
        >>> objective = og.Objective(torch.nn.Linear(1, 1, bias=False), torch.nn.MSELoss(), data, strength=0.5)
        >>> og.influence(objective, torch.tensor([1 / 6])).top_samples(1).tolist()  # it leans on the first
        [[0]]
    """

    values: Float64[Tensor, "m N"]
    removed: Float64[Tensor, "m N"]
    residuals: Float64[Tensor, " m"]
    converged: bool
    gradient_norm: float
    polishing: Float64[Tensor, " m"]
    products: int

    def top_samples(self, count: int = 10) -> Int[Tensor, "m count"]:
        """The samples whose loss would raise each loss the most by being left out: those that it leans on.

        Args:
            count: how many for each loss.

        Returns:
            `(m, count)` indices of samples, the strongest first.
        """
        return self.removed.topk(min(count, self.removed.shape[1]), dim=1).indices


@checked
def influence(
    objective: Objective,
    theta: Float[Tensor, " P"] | None = None,
    *,
    on: Objective | None = None,
    labels: Int[Tensor, " n"] | None = None,
    hessian: HessianOperator | None = None,
    tolerance: float = 1e-6,
    max_products: int | None = None,
    on_product: OnProduct | None = None,
) -> Influence:
    """dL_test/dε of every training sample, of the whole test loss or of each class of it.

    One solve by conjugate gradients and one forward pass over the training data for each loss.

    Args:
        objective: the training loss with its penalty, whose minimum θ is; each sample has a loss of its own.
        theta: `(P,)`, the minimum; the objective's own when None. It must be polished: see `polishing`.
        on: loss and data whose loss is looked at, of the same parameters; the training data when None.
        labels: `(n,)` int64, the class of each sample of `on`: then one loss a class, the mean over its samples; when None one
            loss, the mean over all. A class without samples has no loss, and influences of 0.
        hessian: of L at θ, where it has been made.
        tolerance: of the solves, relative.
        max_products: of each solve (default 1000).
        on_product: called with "influence" and the products of the solve so far.

    Returns:
        Influences `(m, N)` in the unit of the loss, m = 1 or the number of classes, with the residuals of the solves.

    Raises:
        ConfigurationError: a loss that only gives a mean, other parameters in `on`, or a point that is no minimum.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [0.0]]))]
        >>> objective = og.Objective(torch.nn.Linear(1, 1, bias=False), torch.nn.MSELoss(), data, strength=0.5)
        >>> [round(each, 3) for each in og.influence(objective, torch.tensor([1 / 6])).removed[0].tolist()]
        [0.042, -0.042]
    """
    objective.require_samples("the influence of single samples needs")
    where = objective.theta if theta is None else theta.to(objective.theta)
    target = objective if on is None else on
    if target.layout != objective.layout:
        raise ConfigurationError("`on` is a loss of other parameters than the objective; give the same network and parameters.")
    if objective.count < 2:
        raise ConfigurationError("the influence of a sample is against the others: the data have 1 sample, give at least 2.")
    gradients = (
        target.gradient(where.to(target.theta))[None]
        if labels is None
        else class_gradients(target, where.to(target.theta), labels=labels).gradients
    ).to(where)
    own = HessianOperator.of(objective.moved(where)) if hessian is None else hessian
    operator = own.shifted(2 * objective.strength)
    solutions, residuals, spent, converged = [], [], 0, True
    for gradient in gradients:
        told = renamed(on_product, "influence")
        found = conjugate_gradient(operator, gradient, tolerance=tolerance, max_products=max_products, on_product=told)
        if found.negative_curvature:
            raise ConfigurationError(
                f"the point is no minimum at λ = {objective.strength:g}: conjugate gradients met a direction of no or "
                "negative curvature; polish it, or take a larger λ."
            )
        solutions.append(found.solution)
        residuals.append(found.residual)
        spent, converged = spent + found.products, converged and found.converged
    answers, slope = torch.stack(solutions), objective.value_gradient(where).double()
    values = -sample_slopes(objective, where, answers).cpu()
    removed = (values.mean(1, keepdim=True) - values) / (objective.count - 1)
    polishing = -(answers.double() @ slope).cpu()
    norm = torch.linalg.vector_norm(slope).item()
    return Influence(values, removed, torch.tensor(residuals, dtype=torch.float64), converged, norm, polishing, spent)
