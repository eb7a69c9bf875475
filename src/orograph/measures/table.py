"""The field's measures of a point by their names: each a function of the same point that gives plain numbers for a record.

What each of them is, its formula and its source stand where it is computed; here is how much of it a point of a run is worth:

- `layers`: λ_max, trace and effective rank of each module's block of H, and what lies between blocks (`orograph.blockwise`).
- `llc`: the local learning coefficient of L_eff beside that of its quadratic (`orograph.degeneracy`), by chains that are held
  more closely than `local_learning_coefficient` holds them by default: γ = nβ λ_max/10, so that they mix in hundreds of steps.
- `llc-layers`: the same of each module alone, the others held at θ, at the same temperature, localisation and step.
- `sharpening`: how λ_max changes along gradient flow (`orograph.response`).
- `sam`: the rise of the loss by one step of sharpness-aware minimisation, beside its prediction (`orograph.geometry`).
- `asymmetry`: how unequal both sides of the valley are along v₁ (`orograph.geometry`); its sign would be that of v₁.
- `influence`: how the test loss of each class answers when the samples of a training class weigh more (`orograph.response`):
  dL_b/dε where those of class a weigh 1 + ε, (1/N) Σ over them of dL_b/dε_n. Over all classes a that sums to −dL_b/d ln λ.
- `kfac`: how far Kronecker factors are from the Gauss–Newton matrix, whole and by layer (`orograph.blockwise`).

All but `llc`, `llc-layers` and `influence` are of L without its penalty. What they cost is said before by
`orograph.measures.seconds`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from orograph.arguments import checked
from orograph.blockwise.block_operator import BlockOperator
from orograph.blockwise.curvature import block_curvature
from orograph.blockwise.kronecker import Kind, kfac_audit
from orograph.blockwise.parts import By, partition
from orograph.curvature.counting import OnProduct, renamed
from orograph.curvature.hessian import HessianOperator
from orograph.degeneracy.coefficient import LearningCoefficient, local_learning_coefficient
from orograph.degeneracy.sampling import Sampler
from orograph.errors import ConfigurationError, DataError, OrographError
from orograph.geometry.classes import class_labels
from orograph.geometry.finite_radius import valley_asymmetry
from orograph.geometry.gradient_step import sam_sharpness
from orograph.geometry.smoothness import FINITE_RADIUS
from orograph.measures.settings import chosen
from orograph.objective import Objective
from orograph.problem import Groups
from orograph.response.reweighing import influence
from orograph.response.third_order import sharpening
from orograph.spectral.densities import density
from orograph.spectral.eigenpairs import lanczos
from orograph.spectral.intervals import Estimate, estimate_fields
from orograph.spectral.spectrum import Spectrum

PROBES = 4  # signs of each block: three is the least that gives a ratio its error
CHAINS, DRAWS, BURN_IN, BATCH = 4, 1000, 500, 64  # of Langevin dynamics
SPAN = 10.0  # nβ λ_max/γ: in the flattest direction a chain forgets in 100 steps
STEP = 0.2  # ε in units of 1/(nβ λ_max + γ)
QUADRATURE = (4, 20)  # probes and steps of the density under `llc`
RADIUS = 8 * FINITE_RADIUS  # of ‖θ‖, at which a valley is asymmetric
TOLERANCE = 1e-3  # of λ_max, where it is not known
BLOCK_TOLERANCE = 1e-2  # of the λ_max of blocks
SOLVE_TOLERANCE = 1e-2  # of the solves for influences, of one class each
SOLVE_PRODUCTS = 100  # of one solve, at most
SOLVED = 0.1  # residual above which influences are none
EXTREMES = 5  # samples that are named, at each end
PAIRS = 5  # eigenvectors that Kronecker factors are to span
SAMPLES = ("helpful_samples", "harmful_samples")  # which are numbers of samples of the objective
_OF_PAIRS = ("eigenvalues", "eigenvectors", "residuals", "converged", "noise", "bounds", "signs")  # of a spectrum
_DEGREES = 15  # of a noise that 16 draws tell


@dataclass(frozen=True, eq=False)
class _Point:
    """Where measures are taken, and what they share."""

    objective: Objective  # L_eff
    theta: Float[Tensor, " P"]
    known: Spectrum | None
    seed: int
    on_product: OnProduct | None
    traced: HessianOperator | None
    on: Objective | None  # the loss on test data
    groups: Groups | None
    blocks: By
    sampler: Sampler
    kfac: Kind

    @cached_property
    def plain(self) -> Objective:
        return self.objective.penalised(0.0)

    @cached_property
    def hessian(self) -> HessianOperator:
        """Of L."""
        return HessianOperator.of(self.plain.moved(self.theta)) if self.traced is None else self.traced

    @cached_property
    def largest(self) -> Spectrum:
        """Pairs of H whose first is that of λ_max."""
        if self.known is not None and self.known.holds_largest:
            return self.known
        told = renamed(self.on_product, "λ_max")
        return lanczos(self.hessian, 1, which="LA", tolerance=TOLERANCE, seed=self.seed, on_product=told)


def _layers(at: _Point) -> dict[str, Any]:
    blocks = partition(at.plain.layout, at.blocks)
    told = renamed(at.on_product, "layers")
    found = block_curvature(at.hessian, blocks, k=1, probes=PROBES, tolerance=BLOCK_TOLERANCE, seed=at.seed, on_product=told)
    tops = [found.spectra[name].eigenvalues[0].item() for name in blocks]
    effective = [found.couplings.effective_rank(name) for name in blocks]
    largest = at.largest.eigenvalues[0].item()
    return {
        **estimate_fields("off_diagonal_share", found.couplings.off_diagonal),
        "largest_block_share": max(tops) / largest if largest > 0 else math.nan,
        "block_names": ", ".join(blocks),
        "block_lambda_max": tops,
        "block_lambda_max_residual": [found.spectra[name].residuals[0].item() for name in blocks],
        "block_trace": [each.value for each in found.couplings.traces],
        "block_trace_error": [each.error for each in found.couplings.traces],
        "block_effective_rank": [each.value for each in effective],
        "block_effective_rank_error": [each.error for each in effective],
    }


def _coefficient(at: _Point, name: str, places: Int[Tensor, " p"] | None = None) -> LearningCoefficient:
    """Of all parameters or of some, at the temperature, localisation and step that suit all."""
    objective, count = at.objective, at.objective.count
    if count < 3:
        raise ConfigurationError(f"n/log n of {count} samples is no temperature: `{name}` needs 3 samples at least.")
    nbeta, shift = count / math.log(count), 2 * objective.strength
    largest = at.largest.eigenvalues[0].item() + shift
    if not largest > 0:
        raise ConfigurationError(f"the largest eigenvalue is {largest:.3g}: there is no curvature to choose a step by.")
    localisation, whole = nbeta * largest / SPAN, at.hessian.shifted(shift)
    operator = whole if places is None else BlockOperator(whole, places)
    probes, steps = QUADRATURE
    told = renamed(at.on_product, name)
    curved = density(operator, probes=probes, steps=min(steps, operator.size), seed=at.seed, on_product=told)
    return local_learning_coefficient(
        objective,
        at.theta,
        nbeta=nbeta,
        localisation=localisation,
        step=STEP / (nbeta * largest + localisation),
        chains=CHAINS,
        draws=DRAWS,
        burn_in=BURN_IN,
        batch_size=BATCH,
        sampler=at.sampler,
        seed=at.seed,
        parameters=places,
        curvature=curved,
    )


def _llc(at: _Point) -> dict[str, Any]:
    found = _coefficient(at, "llc")
    return {
        **estimate_fields("learning_coefficient", found.estimate),
        **estimate_fields("quadratic_coefficient", found.quadratic),
        **estimate_fields("singularity", found.singularity),
        "coefficient_step_bias": found.step_bias,
        "coefficient_nbeta": found.nbeta,
        "coefficient_localisation": found.localisation,
        "coefficient_rhat": found.rhat,
        "coefficient_draws": found.effective_size,
    }


def _llc_layers(at: _Point) -> dict[str, Any]:
    blocks = partition(at.plain.layout, at.blocks)
    found = [_coefficient(at, "llc-layers", places) for places in blocks.values()]
    return {
        "block_names": ", ".join(blocks),
        "block_learning_coefficient": [each.estimate.value for each in found],
        "block_learning_coefficient_error": [each.estimate.error for each in found],
        "block_quadratic_coefficient": [each.quadratic.value for each in found],
        "block_quadratic_coefficient_error": [each.quadratic.error for each in found],
        "block_coefficient_rhat": [each.rhat for each in found],
    }


def _sharpening(at: _Point) -> dict[str, Any]:
    top = at.largest
    if any(start == 0 for start, _ in top.clusters) or (len(top.eigenvalues) == 1 and top.cut):
        raise ConfigurationError("λ_max is one of several eigenvalues that cannot be told apart, and has no rate of its own.")
    first = {name: getattr(top, name)[:1] for name in _OF_PAIRS}
    found = sharpening(at.plain, at.theta, replace(top, **first, clusters=()))
    return {
        "sharpening_rate": found.rates[0].item(),
        "sharpness_gradient_norm": found.norms[0].item(),
        "sharpening_oscillation": found.oscillation,
    }


def _sam(at: _Point) -> dict[str, Any]:
    found = sam_sharpness(at.plain, at.theta, seed=at.seed, hessian=at.hessian)
    rise = Estimate(found.rise, found.error, degrees=_DEGREES)
    return {**estimate_fields("sam_rise", rise), "sam_predicted": found.predicted, "sam_radius": found.radius}


def _asymmetry(at: _Point) -> dict[str, Any]:
    radius = RADIUS * torch.linalg.vector_norm(at.theta.double()).item()
    if not radius > 0:
        raise ConfigurationError("θ is zero, and 8 thousandths of its norm are no radius.")
    found = valley_asymmetry(at.plain, at.theta, at.largest.eigenvectors[:1], radii=(radius,), seed=at.seed)
    size = Estimate(found.without_slope[0, 0].abs().item(), found.without_slope_errors[0, 0].item(), degrees=_DEGREES)
    return {**estimate_fields("valley_asymmetry", size), "valley_radius": radius}


def _influence(at: _Point) -> dict[str, Any]:
    if at.on is None:
        raise ConfigurationError("influence is that on the loss of test data, and there are none.")
    if at.groups and at.groups.test is None:
        raise ConfigurationError("influence goes by group, and these are of the training samples alone.")
    of_training = _labels(at.objective, at.groups.train if at.groups else None)
    of_test = _labels(at.on, at.groups.test if at.groups else None)
    classes = len(at.groups.names) if at.groups else 1 + int(max(of_training.max(), of_test.max()))
    given: dict[str, Any] = {"tolerance": SOLVE_TOLERANCE, "max_products": SOLVE_PRODUCTS, "on_product": at.on_product}
    found = influence(at.objective, at.theta, on=at.on, labels=of_test, hessian=at.hessian, **given)
    if not found.residuals.max() < SOLVED:
        raise ConfigurationError(
            f"conjugate gradients left a residual of {found.residuals.max():.2g} after {SOLVE_PRODUCTS} products a class: there "
            "is too little curvature; a larger λ would add some."
        )
    tested = torch.bincount(of_test, minlength=classes)
    matrix = torch.zeros(classes, len(found.values), dtype=torch.float64).index_add_(0, of_training, found.values.T)
    matrix = nn.functional.pad(matrix / at.objective.count, (0, classes - len(found.values)))
    matrix[:, tested == 0] = math.nan  # of no test sample there is no loss
    polishing = found.polishing[tested[: len(found.polishing)] > 0].abs().max().item()
    if not polishing < (largest := matrix.nan_to_num().abs().max().item()):
        raise ConfigurationError(
            f"the point is not polished: a Newton step to the critical point nearby would change the test loss of a class by "
            f"{polishing:.2g}, and twice the weight of a class by {largest:.2g} at most; polish it."
        )
    removed = (tested[: len(found.removed)].double() / len(of_test)) @ found.removed
    ends = removed.topk(min(EXTREMES, len(removed))), (-removed).topk(min(EXTREMES, len(removed)))
    own = torch.eye(classes, dtype=torch.bool)
    return {
        "influence": matrix.tolist(),
        "influence_own": matrix[own].nanmean().item(),
        "influence_other": matrix[~own].nanmean().item(),
        "influence_polishing": _padded(found.polishing, tested),
        "influence_residual": _padded(found.residuals, tested),
        "helpful_samples": ends[0].indices.tolist(),
        "helpful_rises": ends[0].values.tolist(),
        "harmful_samples": ends[1].indices.tolist(),
        "harmful_rises": (-ends[1].values).tolist(),
        "influence_products": found.products,
    }


def _labels(objective: Objective, given: Int[Tensor, " N"] | None) -> Int[Tensor, " N"]:
    """The class of each sample."""
    try:
        found = class_labels(objective, given).cpu()
    except DataError:
        raise ConfigurationError("influence goes by class, and the targets are no classes; give groups of the samples.") from None
    if found.min() < 0:
        raise ConfigurationError("influence goes by class, and the loss ignores the targets of some samples.")
    return found


def _padded(values: Float[Tensor, " m"], tested: Int[Tensor, " C"]) -> list[float]:
    """One of each class, NaN where it has no test samples."""
    return [values[place].item() if count else math.nan for place, count in enumerate(tested.tolist())]


def _kfac(at: _Point) -> dict[str, Any]:
    told = renamed(at.on_product, "kfac")
    pairs = min(PAIRS, at.plain.layout.size - 1)
    found = kfac_audit(at.plain, at.theta, k=pairs, kind=at.kfac, tolerance=BLOCK_TOLERANCE, seed=at.seed, on_product=told)
    by_layer = {
        "block_names": ", ".join(each.name for each in found.blocks),
        "block_kfac_error": [each.error for each in found.blocks],
    }
    norms = [(each.curvature, each.difference) for each in found.blocks] + [(found.curvature, found.difference)]
    return {
        "kfac_error": found.error,
        "kfac_block_error": found.block_error,
        "kfac_overlap": found.overlap,
        "kfac_cut": found.cut,
        "kfac_residual": max(
            ((norm.residual + apart.residual) / norm.value for norm, apart in norms if norm.value), default=math.nan
        ),
        "kfac_products": found.products,
        **(by_layer if at.blocks == "module" else {}),  # groups have names of their own
    }


_TABLE: dict[str, Callable[[_Point], dict[str, Any]]] = {
    "layers": _layers,
    "llc": _llc,
    "llc-layers": _llc_layers,
    "sharpening": _sharpening,
    "sam": _sam,
    "asymmetry": _asymmetry,
    "influence": _influence,
    "kfac": _kfac,
}


@checked
def take(
    names: Sequence[str],
    objective: Objective,
    theta: Float[Tensor, " P"],
    *,
    spectrum: Spectrum | None = None,
    hessian: HessianOperator | None = None,
    on: Objective | None = None,
    groups: Groups | None = None,
    blocks: By = "module",
    sampler: Sampler = "sgld",
    kfac: Kind = "kfac",
    seed: int = 0,
    on_product: OnProduct | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Measures of a point, by their names.

    Args:
        names: of `layers`, `llc`, `llc-layers`, `sharpening`, `sam`, `asymmetry`, `influence`, `kfac`; or `all` alone.
        objective: L_eff; a penalty is part of `llc`, `llc-layers` and `influence` alone.
        theta: `(P,)`, where.
        spectrum: pairs of the Hessian of L there, where some are known: so λ_max is not computed again.
        hessian: of L there, where it has been made.
        on: the same network's loss on test data, which `influence` is on; None where there are none.
        groups: of training and test samples, in place of the classes that targets are, for `influence`.
        blocks: of `layers` and `llc-layers`, as `orograph.blockwise.partition` takes them: `module`, `tensor`, or globs by name.
        sampler: of `llc` and `llc-layers`: `sgld` or `rmsprop`; see `orograph.degeneracy.langevin`.
        kfac: what `kfac` is of: `kfac`, or `ekfac`; see `orograph.blockwise.kfac_audit`.
        seed: of all that is random.
        on_product: called with what is being computed and its Hessian products so far.

    Returns:
        Numbers, lists and texts by the names of the registry of quantities, `{name}_error` and `{name}_margin` beside what has
        an error; and of each measure that this point or network does not have, why.

    Raises:
        ConfigurationError: no such measure, or blocks that are none.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(2, 1, bias=False), torch.nn.MSELoss(), [(torch.eye(2), torch.zeros(2, 1))])
        >>> values, failures = og.measures.take(["sam"], objective, torch.tensor([3.0, 4.0]))
        >>> round(values["sam_rise"], 4), failures  # L = ½‖θ‖²: 5·0.05 + ½·0.05²
        (0.2512, {})
    """
    at = _Point(objective, theta, spectrum, seed, on_product, hessian, on, groups, blocks, sampler, kfac)
    values: dict[str, Any] = {}
    failures: dict[str, str] = {}
    partition(objective.layout, blocks)
    for name in chosen(tuple(names)):
        try:
            values |= _TABLE[name](at)
        except OrographError as error:
            failures[name] = str(error)
    return values, failures
