"""The local learning coefficient of a minimum, and beside it what a quadratic of the same spectrum would give.

λ̂ = nβ (E[L_eff(w)] − L_eff(θ)) over w ~ exp(−nβ L_eff − ½γ‖w − θ‖²) (Lau, Furman, Wang, Murfet & Wei, arXiv 2308.12108): as nβ
grows and γ stays, the learning coefficient of Watanabe (2009), half the number of parameters of a regular minimum and less of a
singular one. At the temperature and localisation that one can afford it is another number, and for a quadratic it is known:

    λ_quadratic = ½ Σ nβλ_i/(nβλ_i + γ),   over eigenvalues λ_i of H_eff,

half the number of directions that curve more than γ/nβ. That sum is a trace, tr f(H_eff), which the density gives with an error.
The difference of both is what the spectrum does not know: flat directions that rise by higher powers (the difference is
positive), steep ones that bend away (negative).

What it is not: a limit. It is a number at nβ and γ, and a scan over both shows how much it is theirs
(`scan_learning_coefficient`). Chains that have not mixed (R̂ above 1.05) say nothing but that.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from orograph.arguments import checked
from orograph.blockwise.block_operator import BlockOperator
from orograph.blockwise.parts import partition
from orograph.brief import brief
from orograph.curvature.counting import OnProduct
from orograph.curvature.hessian import HessianOperator
from orograph.curvature.operator import LinearOperator
from orograph.degeneracy.mixing import effective_size, split_rhat
from orograph.degeneracy.sampling import Chains, OnStep, Sampler, langevin
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.spectral.densities import Density, density
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.intervals import Estimate, welch_degrees

RHAT = 1.05  # chains that differ by less are taken for mixed
_STEP = 0.2  # default ε in units of 1/(nβ λ_max + γ): in the sharpest direction the chain is 5 % too wide
_SPAN = 300.0  # default nβ λ_max/γ: in the flattest direction a chain forgets in 3,000 steps


@brief
@dataclass(frozen=True, eq=False)
class LearningCoefficient:
    """A local learning coefficient with what tells how far to believe it.

    Attributes:
        estimate: λ̂, a pure number, with its standard error from the effective size.
        quadratic: ½ Σ nβλ_i/(nβλ_i + γ) from the density; nan where H_eff has eigenvalues below −γ/nβ.
        step_bias: by how much the quadratic's number grows because the step is finite; 0 with Metropolis's test,
            nan with `rmsprop`, where it is not known.
        nbeta: nβ.
        localisation: γ.
        step: ε.
        chains: differences of losses, where the chains ended, gradients spent.
        density: of H_eff, that `quadratic` is from.
        products: of the Hessian.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(3, 1), torch.nn.MSELoss(), [(torch.eye(3), torch.zeros(3, 1))])
        >>> given = {"nbeta": 100.0, "batch_size": None, "metropolis": True}
        >>> og.local_learning_coefficient(objective, torch.zeros(4), **given).mixed
        True
    """

    estimate: Estimate
    quadratic: Estimate
    step_bias: float
    nbeta: float
    localisation: float
    step: float
    chains: Chains
    density: Density
    products: int

    @cached_property
    def rhat(self) -> float:
        """Split R̂ of the chains; see `mixed`."""
        return split_rhat(self.chains.differences)

    @cached_property
    def effective_size(self) -> float:
        """How many independent draws the chains are worth."""
        return effective_size(self.chains.differences)

    @property
    def mixed(self) -> bool:
        """Whether R̂ is below 1.05."""
        return self.rhat < RHAT

    @property
    def singularity(self) -> Estimate:
        """λ̂ less the quadratic's: what the spectrum does not know, with the error of both."""
        both = (self.estimate, self.quadratic)
        errors, degrees = [each.error for each in both], [each.degrees for each in both]
        error = math.hypot(*errors)
        known = welch_degrees(errors, degrees) if math.isfinite(error) else math.nan
        return Estimate(self.estimate.value - self.quadratic.value, error, self.products, degrees=known)


@checked
def local_learning_coefficient(
    objective: Objective,
    theta: Float[Tensor, " P"] | None = None,
    *,
    nbeta: float | None = None,
    localisation: float | None = None,
    step: float | None = None,
    chains: int = 4,
    draws: int = 2000,
    burn_in: int = 1000,
    batch_size: int | None = 512,
    sampler: Sampler = "sgld",
    metropolis: bool = False,
    seed: int = 0,
    parameters: str | Int[Tensor, " p"] | None = None,
    curvature: Density | None = None,
    on_step: OnStep | None = None,
    on_product: OnProduct | None = None,
) -> LearningCoefficient:
    """λ̂ by Langevin chains, and the quadratic's number from the density, at the same temperature and localisation.

    Costs `chains`·(`draws` + `burn_in`) gradients of a mini-batch, twice over for the control variates, and some 330 products. Of
    some parameters alone it is the number of the loss as a function of these, the others held at θ, and no share of the whole:
    those of layers need not add up.

    Args:
        objective: L with its data and penalty.
        theta: θ, `(P,)`, a minimum of L_eff; the objective's own when None.
        nbeta: nβ; by default n/log n of n samples.
        localisation: γ; by default nβ λ_max/300.
        step: ε; by default 0.2/(nβ λ_max + γ).
        chains: how many; at least 2, or R̂ knows only whether one drifts.
        draws: steps of each that count.
        burn_in: steps of each before.
        batch_size: samples of a step; None for all.
        sampler: `sgld` or `rmsprop`; see `orograph.degeneracy.langevin`.
        metropolis: whether steps may be refused, which takes away what the step does; with all data only.
        seed: of chains and probes.
        parameters: that move, as comma-separated globs of their names or as their places in θ, `(p,)`; all when None.
        curvature: the density of H_eff at θ, of the block of these parameters, where it is known, as from an earlier call;
            computed when None.
        on_step: called every 50 steps with their number.
        on_product: called with "lambda_max" and "density" and the products so far.

    Returns:
        λ̂, the quadratic's number, both with errors, and how well the chains have mixed.

    Raises:
        ConfigurationError: an argument is out of range, or the point has no positive curvature to choose the step by.
        DataError: a chain diverged, or a product is not finite.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(3, 1), torch.nn.MSELoss(), [(torch.eye(3), torch.zeros(3, 1))])
        >>> found = og.local_learning_coefficient(objective, torch.zeros(4), nbeta=100.0, draws=3000, batch_size=None)
        >>> bool(abs(found.singularity.value - found.step_bias) < 4 * found.singularity.error)  # a quadratic
        True
    """
    where = objective.theta if theta is None else theta.to(objective.theta)
    if nbeta is None:
        if objective.count < 3:
            raise ConfigurationError(f"n/log n of {objective.count} samples is no temperature; give `nbeta`.")
        nbeta = objective.count / math.log(objective.count)
    if draws < 4:
        raise ConfigurationError(f"`draws` {draws} must be at least 4, for R̂.")
    places = partition(objective.layout, {"": parameters})[""] if isinstance(parameters, str) else parameters
    spent = 0
    if None in (step, localisation, curvature):
        operator: LinearOperator = HessianOperator.of(objective.moved(where)).shifted(2 * objective.strength)
        if places is not None:
            operator = BlockOperator(operator, places)
    if step is None or localisation is None:
        sharpest = lanczos(operator, 1, which="LA", tolerance=1e-2, seed=seed, on_product=on_product)
        spent, largest = sharpest.products, sharpest.eigenvalues[0].item()
        if not largest > 0:
            raise ConfigurationError(
                f"the largest eigenvalue is {largest:.3g}: there is no curvature to choose by; give `localisation` and `step`."
            )
        localisation = nbeta * largest / _SPAN if localisation is None else localisation
        step = _STEP / (nbeta * largest + localisation) if step is None else step
    if curvature is None:
        curvature = density(operator, steps=min(40, operator.size), probes=8, seed=seed, on_product=on_product)
        spent += curvature.products
    walked = langevin(
        objective,
        where,
        nbeta=nbeta,
        localisation=localisation,
        step=step,
        chains=chains,
        draws=draws,
        burn_in=burn_in,
        batch_size=batch_size,
        sampler=sampler,
        metropolis=metropolis,
        seed=seed,
        places=places,
        on_step=on_step,
    )
    found = mean_of(nbeta * walked.differences)
    exact, finite = quadratic_value(curvature, nbeta, localisation), quadratic_value(curvature, nbeta, localisation, step=step)
    bias = 0.0 if metropolis else math.nan if sampler == "rmsprop" else finite.value - exact.value
    return LearningCoefficient(
        found,
        exact,
        bias,
        nbeta,
        localisation,
        step,
        walked,
        curvature,
        spent,
    )


def mean_of(draws: Float[np.ndarray, "C T"]) -> Estimate:
    """The mean of what chains saw, with the standard error of as many independent draws as they are worth; a sample a chain."""
    size = effective_size(draws)
    error = float(draws.std(ddof=1)) / math.sqrt(size)
    return Estimate(float(draws.mean()), error, 0, torch.from_numpy(draws.mean(1)), max(1.0, size - 1))


def quadratic_value(curvature: Density, nbeta: float, localisation: float, *, step: float = 0.0) -> Estimate:
    """½ Σ nβλ/(nβλ + γ); with a step ε, of the wider law that its chain has: A = nβλ + γ becomes A(1 − εA/4).

    Nan where an eigenvalue lies below −γ/nβ, and the quadratic has no law, or where the step is too large for one.
    """

    def share(values: Tensor) -> Tensor:
        rate = nbeta * values + localisation
        return nbeta * values / (2 * rate * (1 - step * rate / 4))

    held = curvature.nodes[curvature.weights > 0]
    ends = torch.cat([held, curvature.known])
    rates = nbeta * ends + localisation
    if not bool((rates > 0).all()) or not bool((step * rates < 4).all()):
        return Estimate(math.nan, math.nan, curvature.products)
    return curvature.trace_of(share)
