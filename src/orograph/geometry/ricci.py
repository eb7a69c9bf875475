"""Scalar (Ricci) curvature of the graph of the loss, the hypersurface (θ, L(θ)) in P + 1 dimensions.

    R = β[(tr H)² − tr H²] − 2β²[∇Lᵀ(tr(H)·H − H²)∇L],    β = 1/(1 + ‖∇L‖²)

(Pouplin et al., 2023; Ersoy & Wiesner, 2025). Of the plain loss, never of the penalised objective, where the penalty's 2λP
swamps it. From k eigenpairs alone comes a different number, R_top_k.
"""

import math
import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.curvature.counting import OnProduct, counter
from orograph.curvature.operator import LinearOperator
from orograph.curvature.shards import Shards
from orograph.errors import ConfigurationError
from orograph.geometry.perturbations import seeded
from orograph.spectral.effective_ranks import quotient
from orograph.spectral.intervals import Estimate, estimate, from_crossed, from_variances, half_width, jackknifed, skewed
from orograph.spectral.spectrum import Spectrum
from orograph.spectral.traces import EntryVariances, rademacher


@brief
@dataclass(frozen=True)
class ScalarCurvature:
    """R with what it is made of.

    Attributes:
        value: R.
        error: jackknife standard error over the probes.
        trace: tr H.
        frobenius_square: tr H².
        participation_ratio: (tr H)²/tr H², by the jackknife.
        gradient_norm: ‖∇L‖.
        beta: 1/(1 + ‖∇L‖²).
        products: how many Hessian products were spent.
        with_pairs: whether eigenpairs were known.
    """

    value: float
    error: float
    trace: Estimate
    frobenius_square: Estimate
    participation_ratio: Estimate
    gradient_norm: float
    beta: float
    products: int
    with_pairs: bool = True

    @property
    def margin(self) -> float:
        """Half of the 95 % interval value ± margin, by Student's quantile; wider without pairs, where it is skewed."""
        half = half_width(self.error, len(self.frobenius_square.samples) - 1)
        return half if self.with_pairs else skewed(half, self.value)

    @property
    def squared_trace(self) -> Estimate:
        """Deprecated: `frobenius_square`."""
        warnings.warn("squared_trace is deprecated: write frobenius_square.", DeprecationWarning, stacklevel=2)
        return self.frobenius_square


@checked
def scalar_curvature(
    operator: LinearOperator,
    gradient: Float[Tensor, " P"],
    *,
    probes: int = 30,
    seed: int = 0,
    spectrum: Spectrum | None = None,
    on_product: OnProduct | None = None,
) -> ScalarCurvature:
    """R by `probes + 1` products.

    From signs z_i come t_i = z_iᵀHz_i and q_i = ‖Hz_i‖², whose means are tr H and tr H². (tr H)² is the mean over i ≠ j of
    t_i t_j, because the square of a mean is biased; the terms in ∇L take one exact product. With known eigenpairs the probes
    are confined to what is orthogonal to them, which leaves the estimate unbiased and its error far smaller. Without them
    (tr H)² − tr H² is the mean of t_i t_j − (z_iᵀHz_j)², in which one direction that holds most cancels as it does in R. Signs
    and products, 3 bytes a parameter, are then kept. Of as many parameters as probes, or fewer, all columns are taken, and the
    result is exact.

    Args:
        operator: H of the plain loss.
        gradient: `(P,)`, ∇L.
        probes: at least 3.
        seed: of the signs.
        spectrum: pairs of the same operator, at no further product.
        on_product: called with "scalar curvature" and the products so far; see `orograph.curvature.counting`.

    Returns:
        R with its standard error, tr H, tr H² and the gradient's norm that it is made of.

    Raises:
        ConfigurationError: fewer than 3 probes.

    Examples:
        >>> import torch, orograph as og
        >>> matrix = og.MatrixOperator(torch.eye(3, dtype=torch.float64))
        >>> found = og.scalar_curvature(matrix, torch.zeros(3, dtype=torch.float64))
        >>> round(found.value, 6)  # at a critical point (tr H)² − tr H²
        6.0
    """
    if probes < 3:
        raise ConfigurationError(f"{probes} probes give no standard error; take at least 3.")
    known_trace, known_squares, basis = 0.0, 0.0, None
    if spectrum is not None:
        # ‖Hv‖² = λ² + ‖r‖² for a Rayleigh pair, so that nothing is lost where a pair has not converged.
        basis = spectrum.eigenvectors.to(gradient)
        values = spectrum.eigenvalues.double()
        known_trace = values.sum().item()
        known_squares = (values.square() + spectrum.residuals.double().square()).sum().item()

    told = counter(on_product, "scalar curvature")
    traces, squares, size = [], [], len(gradient)
    spent, former, entries = min(size, probes), list[tuple[Tensor, Tensor, float]](), EntryVariances()
    crossed, turned = torch.zeros(2, probes, probes, dtype=torch.float64)  # z_iᵀHz_j and z_iᵀH²z_j, i ≠ j
    for probe in range(probes if size > probes else 0):
        signs = rademacher(Shards(len(gradient)), 1, gradient, seeded(seed, probe))[:, 0]
        if basis is not None:
            signs = signs - (basis @ signs) @ basis
        image = (operator @ signs).double()
        if basis is None:
            for index, (each, direction, scale) in enumerate(former):
                crossed[index, probe] = crossed[probe, index] = torch.dot(each.double(), image).item()
                turned[index, probe] = turned[probe, index] = scale * torch.dot(direction.double(), image).item()
            # in half precision: of these products come nothing but errors
            length = torch.linalg.vector_norm(image).item() or 1.0
            former.append((signs.to(torch.int8), (image / length).to(torch.bfloat16), length))
            entries.add(signs[:, None], image[:, None])
        traces.append(known_trace + torch.dot(signs.double(), image))
        squares.append(known_squares + torch.dot(image, image))
        told(probe + 1)
    if size <= probes:  # every column is had for no more, and then nothing is estimated
        columns = torch.stack(
            [(operator @ row).double() for row in torch.eye(size, dtype=gradient.dtype, device=gradient.device)]
        )
        traces, squares = [columns.trace()] * probes, [columns.square().sum()] * probes

    direct = gradient.double()
    image = (operator @ gradient).double()
    told(spent + 1)
    norm_square = torch.dot(direct, direct).item()
    bent, bent_square = torch.dot(direct, image).item(), torch.dot(image, image).item()
    beta = 1 / (1 + norm_square)

    t, q = torch.stack(traces), torch.stack(squares)

    def combined(keep: Tensor) -> float:
        first, count = t[keep], int(keep.sum())
        product = (first.sum().square() - first.square().sum()).item() / (count * (count - 1))
        square = crossed[keep][:, keep].square().sum().item() / (count * (count - 1)) if former else q[keep].mean().item()
        return beta * (product - square) - 2 * beta**2 * (first.mean().item() * bent - bent_square)

    whole = torch.ones(probes, dtype=torch.bool)
    without = torch.tensor([combined(whole.index_fill(0, torch.tensor(i), False)) for i in range(probes)], dtype=torch.float64)
    error = math.sqrt((probes - 1) / probes * (without - without.mean()).square().sum().item())
    squared, ratio = estimate(q, probes, floor=known_squares), jackknifed(quotient, t.cpu(), q.cpu())
    participation = estimate(ratio, probes, floor=0.0)
    if former:
        squared = from_crossed(q.cpu(), turned, size, probes)
        # the quotient changes with tr H and tr H² as the trace of this polynomial of H does
        part = (t.mean() / q.mean()).item()
        participation = from_crossed(ratio, 2 * part * crossed - part**2 * turned, size, probes)
    return ScalarCurvature(
        value=combined(whole),
        error=error,
        trace=from_variances(t.cpu(), entries.variances(), probes) if former else estimate(t, probes),
        frobenius_square=squared,
        participation_ratio=participation,
        gradient_norm=math.sqrt(norm_square),
        beta=beta,
        products=spent + 1,
        with_pairs=basis is not None,
    )


@checked
def scalar_curvature_top_k(spectrum: Spectrum, gradient: Float[Tensor, " P"]) -> float:
    """R_top_k: the same formula with H replaced by Σ λ_i v_i v_iᵀ over the k pairs; not an estimate of R.

    Args:
        spectrum: k pairs of H, of the plain loss.
        gradient: `(P,)`, ∇L.

    Returns:
        R_top_k.
    """
    values = spectrum.eigenvalues.double()
    parts = (spectrum.eigenvectors @ gradient).cpu().double()
    beta = 1 / (1 + gradient.double().square().sum().item())
    trace = values.sum()
    bent = (values * parts.square()).sum()
    bent_square = (values * parts).square().sum()
    return (beta * (trace**2 - values.square().sum()) - 2 * beta**2 * (trace * bent - bent_square)).item()
