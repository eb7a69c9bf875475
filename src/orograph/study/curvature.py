"""The second-order numbers of one minimum within a budget of Hessian products.

In this order: the k largest eigenvalues (λ_max means `LA`), λ_min, trace, tr H² and scalar curvature by probes confined to what
is orthogonal to the pairs, and, where it is wanted, the density. A network of 20 million parameters takes seconds a product and
80 MB a vector: of the basis of ten pairs about one vector a product is ever written to, and no other part keeps more.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from orograph.curvature.counting import OnProduct
from orograph.curvature.hessian import HessianOperator
from orograph.geometry.ricci import ScalarCurvature, scalar_curvature
from orograph.geometry.scale import scaled_sharpness
from orograph.geometry.smoothness import FINITE_RADIUS, finite_curvatures, is_smooth
from orograph.objective import Objective
from orograph.spectral.densities import Density, density
from orograph.spectral.effective_ranks import effective_rank, entropy_rank
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.intervals import Estimate, estimate_fields
from orograph.spectral.iteration import Which
from orograph.spectral.spectrum import Spectrum
from orograph.study.budget import Budget, BudgetSpent

WEIGHTS = {"top": 5.0, "lowest": 3.0, "trace": 2.0, "density": 1.5}

_RESERVE = 10  # what Lanczos may spend after its last step: a search for copies (8), and a product or two of verification
_SMALL = 5000  # parameters up to which a search for copies may take as many steps as all that came before
_BASIS = "8GiB"  # so that the basis of 20 million parameters is no file; what is not written to takes no memory
_LONGEST = 80  # steps of a chain of the density
_SHORTEST = 8
_POINTS = 256  # of the density's grid


@dataclass(frozen=True, eq=False)
class Curvature:
    """What was found.

    Attributes:
        scalars: by name; what the budget did not reach is missing.
        arrays: eigenvalues with their residuals, and the density on its grid.
        top: the pairs of the largest eigenvalues; None where none was finished.
    """

    scalars: dict[str, Any]
    arrays: dict[str, np.ndarray]
    top: Spectrum | None


def measure_curvature(
    objective: Objective,
    theta: Float[Tensor, " P"],
    *,
    products: int,
    k: int = 10,
    tolerance: float = 1e-3,
    probes: int = 30,
    with_density: bool = True,
    finite_pairs: int | None = None,
    seed: int = 0,
    on_product: OnProduct | None = None,
) -> Curvature:
    """Spectrum, trace, ranks, scalar curvature and density of the Hessian of L.

    Args:
        objective: over the samples that are meant.
        theta: where.
        products: never spend more Hessian products than this.
        k: pairs of the upper end; one less than the parameters at most.
        tolerance: of ‖Hv − λv‖/|λ|.
        probes: of the trace, at most.
        with_density: whether to estimate the density.
        finite_pairs: along how many eigenvectors the curvature is taken at a finite radius; all when None.
        seed: of all random vectors.
        on_product: called with the part and the products spent so far.

    Raises:
        ConfigurationError: the budget is not positive.
        DataError: a product is not finite.
    """
    weights = {name: weight for name, weight in WEIGHTS.items() if with_density or name != "density"}
    budget = Budget(products, weights, on_product)
    operator = HessianOperator.of(objective).at(theta)
    smooth = is_smooth(objective)
    top = _top(budget, operator, min(k, operator.size - 1), tolerance, seed)
    lowest = _lowest(budget, operator, tolerance, seed)
    total = _trace(budget, operator, top, probes, seed)
    profile = _density(budget, operator, seed) if with_density else None
    scalars: dict[str, Any] = {"smooth": smooth}
    if top is not None:
        scalars |= _top_fields(top)
        vectors = top.eigenvectors[:finite_pairs]
        radius = FINITE_RADIUS * theta.double().norm().item()
        if radius > 0:
            finite = finite_curvatures(objective, theta, vectors, radius).tolist()
            scalars |= {"finite_lambda_max": finite[0], "finite_eigenvalues": finite, "finite_radius": radius}
    if lowest is not None:
        scalars |= {"lambda_min": lowest.eigenvalues[0].item(), "lambda_min_residual": lowest.residuals[0].item()}
    scalars["condition_number"], scalars["condition_number_note"] = condition_number(top, lowest)
    scalars |= _trace_fields(total)
    scalars |= _scaled(theta, top, total)
    arrays: dict[str, np.ndarray] = {}
    if top is not None:
        arrays |= {"eigenvalues": top.eigenvalues.numpy(), "residuals": top.residuals.numpy()}
    if profile is not None:
        arrays |= {f"density_{name}": getattr(profile, name).numpy() for name in ("grid", "values", "errors")}
        scalars |= {"density_probes": len(profile.nodes), "density_steps": profile.nodes.shape[1]}
    scalars |= {"products": budget.fields(), "plan": operator.plan}
    return Curvature(scalars, arrays, top)


def condition_number(top: Spectrum | None, lowest: Spectrum | None) -> tuple[float, str]:
    """λ_max/λ_min where the Hessian is certainly positive definite; else NaN, and why it means nothing."""
    if top is None or lowest is None:
        return math.nan, "one of the ends of the spectrum was not found"
    value, residual = lowest.eigenvalues[0].item(), lowest.residuals[0].item()
    sign = int(lowest.signs[0])
    if sign < 0:
        return math.nan, f"λ_min = {value:.3g} is negative: a ratio to it says nothing of conditioning"
    if sign == 0 or bool(lowest.noise[0]):
        return math.nan, f"λ_min = {value:.3g} cannot be told from 0 (its residual is {residual:.1e}): the Hessian is singular"
    if not bool(lowest.converged[0]):
        return math.nan, f"λ_min = {value:.3g} is an upper bound only: its pair has not converged"
    return top.eigenvalues[0].item() / value, ""


def _steps(products: int, size: int) -> int:
    """How many steps Lanczos may take where all it does shall cost so many products."""
    rest = products - _RESERVE
    return rest // 2 if size <= _SMALL else rest


def _pairs(
    budget: Budget,
    operator: HessianOperator,
    part: str,
    k: int,
    which: Which,
    planned: int,
    tolerance: float,
    seed: int,
) -> Spectrum | None:
    """Pairs at one end, by about as many products as are planned; None where the budget ended before them."""
    common: dict[str, Any] = {"tolerance": tolerance, "seed": seed, "max_products": planned, "memory": _BASIS}
    try:
        return lanczos(budget.operator(operator, part), k, which=which, **common)
    except BudgetSpent:
        return None


def _top(budget: Budget, operator: HessianOperator, k: int, tolerance: float, seed: int) -> Spectrum | None:
    planned = max(k, _steps(budget.share("top") - k, operator.size))
    found = _pairs(budget, operator, "top", k, "LA", planned, tolerance, seed)
    if found is None:
        budget.cut["top"] = f"no pair: {budget.limit} products did not suffice for {k}"
        return None
    loose = int((~found.converged).sum())
    if loose:
        budget.cut["top"] = f"{loose} of {k} pairs have not reached the tolerance {tolerance:g}: see their residuals"
    return found


def _lowest(budget: Budget, operator: HessianOperator, tolerance: float, seed: int) -> Spectrum | None:
    planned = max(1, _steps(budget.share("lowest") - 1, operator.size))
    found = _pairs(budget, operator, "lowest", 1, "SA", planned, tolerance, seed)
    if found is None:
        budget.cut["lowest"] = "no λ_min: the products ran out"
        return None
    if not bool(found.converged[0]):
        budget.cut["lowest"] = f"λ_min is an upper bound: its residual is {found.residuals[0].item():.1e}"
    return found


def _trace(budget: Budget, operator: HessianOperator, top: Spectrum | None, probes: int, seed: int) -> ScalarCurvature | None:
    affordable = min(probes, budget.share("trace") - 1)  # one product more is for the terms in ∇L
    if affordable < 3:
        budget.cut["trace"] = f"no trace: {budget.share('trace')} products are left for it, 4 are needed"
        return None
    if affordable < probes:
        budget.cut["trace"] = f"{affordable} probes in place of {probes}: the errors are larger"
    return scalar_curvature(budget.operator(operator, "trace"), operator.gradient, probes=affordable, seed=seed, spectrum=top)


def _density(budget: Budget, operator: HessianOperator, seed: int) -> Density | None:
    share = budget.share("density")
    chains = max(2, min(8, share // _LONGEST))
    steps = min(_LONGEST, share // chains, operator.size)
    if steps < min(_SHORTEST, operator.size):
        budget.cut["density"] = f"no density: {share} products are left for it, {2 * _SHORTEST} are needed"
        return None
    if steps < min(_LONGEST, operator.size):
        budget.cut["density"] = f"{chains} chains of {steps} steps in place of {_LONGEST}: less is resolved"
    return density(budget.operator(operator, "density"), probes=chains, steps=steps, points=_POINTS, seed=seed, memory=_BASIS)


def _top_fields(top: Spectrum) -> dict[str, Any]:
    k = len(top.eigenvalues)
    return {
        "lambda_max": top.eigenvalues[0].item(),
        "lambda_max_residual": top.residuals[0].item(),
        "eigenvalues": top.eigenvalues.tolist(),
        "residuals": top.residuals.tolist(),
        "converged": top.converged.tolist(),
        "copies_searched": top.searched,
        "noise_level": top.noise_level,
        "tolerance": top.tolerance,
        f"effective_rank_top_{k}": effective_rank(top.eigenvalues),
        f"entropy_rank_top_{k}": entropy_rank(top.eigenvalues),
    }


def _trace_fields(total: ScalarCurvature | None) -> dict[str, Any]:
    if total is None:
        return {}
    trace, square = total.trace, total.frobenius_square
    estimates: dict[str, Estimate | ScalarCurvature] = {
        "trace": trace,
        "frobenius_square": square,
        "participation_ratio": total.participation_ratio,
        "scalar_curvature": total,
    }
    return {name: value for key, each in estimates.items() for name, value in estimate_fields(key, each).items()}


def _scaled(theta: Float[Tensor, " P"], top: Spectrum | None, total: ScalarCurvature | None) -> dict[str, Any]:
    """The companions that do not change with the overall scale."""
    largest = math.nan if top is None else top.eigenvalues[0].item()
    trace = Estimate(math.nan, math.nan) if total is None else total.trace
    found = scaled_sharpness(theta, largest=largest, trace=trace.value, trace_error=trace.error, degrees=trace.degrees)
    return {
        "parameter_norm": math.sqrt(found.squared_norm),
        "scaled_lambda_max": found.scaled_largest,
        **estimate_fields("scaled_trace", found.scaled_trace),
    }
