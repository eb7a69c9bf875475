"""The density of eigenvalues by stochastic Lanczos quadrature (Lin, Saad & Yang 2016; Ghorbani, Krishnan & Xiao 2019).

Of a random unit vector z every eigenvalue λ of A holds a share: μ = Σᵢ (vᵢᵀz)² δ(λ − λᵢ), in expectation the density (1/P) Σᵢ
δ(λ − λᵢ). s Lanczos steps from z give a tridiagonal matrix; its eigenvalues θ and the squared first entries τ of its
eigenvectors are the nodes and weights of Gauss's quadrature of μ (Golub & Welsch 1969): it has the first 2s moments of μ, so
that P Σ τ θ = Pzᵀ A z and P Σ τ θ² = P‖Az‖² are what Hutchinson's estimators of tr A and tr A² are made of. One run gives both,
each with the standard error over probes.

Full reorthogonalisation: every new vector is projected against all of its chain, twice, in matrix–vector calls. Probes advance
in step, so that their products are blocks, as many at a time as fit into the memory budget.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.curvature.counting import OnProduct, counter
from orograph.curvature.operator import LinearOperator, not_finite, require_digits
from orograph.curvature.shards import Shards, shards_of
from orograph.errors import ConfigurationError
from orograph.memory import DEFAULT_MEMORY, parse_bytes
from orograph.spectral.basis import Basis, require_room
from orograph.spectral.intervals import Estimate, estimate, from_variances
from orograph.spectral.spectrum import Spectrum
from orograph.spectral.traces import limit_of, rademacher

_TAIL = 6  # standard deviations of broadening that the grid extends beyond the nodes: 2e-9 of the mass is lost
_SPAN = 1 << 12  # columns summed in the rows' own dtype
_RESOLUTION = 200  # default: the broadening is the spread of the nodes divided by this


@brief
@dataclass(frozen=True, eq=False)
class Density:
    """The density of the eigenvalues of a P × P operator, normalised to 1.

    Attributes:
        grid: `(points,)`, centres of `points` equal cells.
        values: `(points,)`, the density broadened by a Gaussian, averaged over each cell, so that Σ values · spacing = 1 for
            any width.
        errors: `(points,)`, standard error of the values over probes. It knows nothing of the broadening, nor of what s
            steps cannot resolve.
        nodes: `(probes, s)`, Ritz values, ascending, one probe a row.
        weights: `(probes, s)`, their weights, each row sums to 1; 0 where a chain ended before its last step and the
            node only fills the row.
        width: σ of the Gaussian.
        size: P.
        products: matrix–vector products spent.
        known: `(k,)`, eigenvalues λ that were known beforehand.
        overlaps: `(probes, k)`, (vᵀz)² of their vectors with the signs z of each probe, 1 on average; None where none were known.

    Examples:
        >>> import torch, orograph as og
        >>> found = og.density(og.MatrixOperator(torch.diag(torch.arange(1.0, 101.0))), steps=40)
        >>> round(found.mass(0.0, 200.0), 6), round(found.trace.value / 5050, 3)
        (1.0, 1.0)
    """

    grid: Float64[Tensor, " points"]
    values: Float64[Tensor, " points"]
    errors: Float64[Tensor, " points"]
    nodes: Float64[Tensor, "probes steps"]
    weights: Float64[Tensor, "probes steps"]
    width: float
    size: int
    products: int
    known: Float64[Tensor, " k"] = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))
    overlaps: Float64[Tensor, "probes k"] | None = None

    @property
    def trace(self) -> Estimate:
        """tr A, one sample a probe."""
        return self.trace_of(lambda values: values)

    @property
    def frobenius(self) -> Estimate:
        """tr A² = ‖A‖_F², one sample a probe."""
        return self.trace_of(torch.square)

    def trace_of(self, function: Callable[[Float64[Tensor, "*n"]], Float64[Tensor, "*n"]]) -> Estimate:
        """tr f(A) = P Σ τ f(θ), one sample a probe; exact for the probe's zᵀf(A)z where f is a polynomial of degree below 2s.

        Of known pairs, what a probe happens to hold of them is replaced by f(λ): only the others are estimated, without a bias
        however good the pairs are, because (vᵀz)² is 1 on average for any unit vector.

        Args:
            function: f, of values of any shape `(…)`, one by one.

        Returns:
            The estimate, with its standard error. Of known pairs it is by the spread over probes. Without, it is by ‖f(A)z‖²,
            whose mean tr f(A)² is half of the variance of zᵀf(A)z; too large where f(A) is nearly diagonal, of which signs tell
            the trace exactly.
        """
        values = function(self.nodes)
        samples = self.size * (self.weights * values).sum(1)
        if self.overlaps is None:
            squares = self.size * (self.weights * values.square()).sum(1)
            # of a matrix with this trace the diagonal holds at least (tr f)²/P, which signs do not vary by
            variances = 2 * (squares - samples.mean().square() / self.size).clamp(min=0)
            return from_variances(samples, variances, self.products)
        known = function(self.known)
        floor = float(known.sum()) if bool((values >= 0).all()) else -math.inf
        return estimate(samples + (1 - self.overlaps) @ known, self.products, floor=floor)

    def mass(self, a: float, b: float) -> float:
        """The share of eigenvalues in [a, b], by the quadrature without broadening; times P, it counts them.

        Args:
            a: lower end, included.
            b: upper end, included.

        Returns:
            Between 0 and 1.
        """
        inside = (self.nodes >= a) & (self.nodes <= b)
        return float((self.weights * inside).sum(1).mean())

    def quantile(self, q: float, *, below: float = math.inf) -> float:
        """The smallest node with at least the share q of all weight at or under it; `below`: of the nodes under that value only.

        Args:
            q: between 0 and 1.
            below: of the nodes under this value only.

        Returns:
            A node, in the unit of an eigenvalue.

        Raises:
            ConfigurationError: q is outside [0, 1], or nothing lies below.
        """
        if not 0 <= q <= 1:
            raise ConfigurationError(f"quantile {q} must lie between 0 and 1.")
        counted = (self.weights > 0) & (self.nodes < below)
        if not counted.any():
            raise ConfigurationError(f"no eigenvalue lies below {below}; the lowest node is {float(self.nodes.min()):.3g}.")
        nodes, order = self.nodes[counted].sort()
        shares = self.weights[counted][order].cumsum(0)
        reached = int(torch.searchsorted(shares, q * shares[-1]))
        return float(nodes[min(reached, len(nodes) - 1)])


@checked
def density(
    operator: LinearOperator,
    *,
    probes: int | None = None,
    products: int | None = None,
    steps: int = 80,
    width: float | None = None,
    points: int = 1024,
    tolerance: float | None = None,
    max_products: int | None = None,
    seed: int = 0,
    memory: str | int = DEFAULT_MEMORY,
    spectrum: Spectrum | None = None,
    on_product: OnProduct | None = None,
) -> Density:
    """The density of eigenvalues of a symmetric operator; tr A and tr A² come with it.

    Stochastic Lanczos quadrature (Lin, Saad & Yang, 2016; Ghorbani, Krishnan & Xiao, 2019).

    Args:
        operator: A, `P × P`.
        probes: random signs, each with `steps` products (default 8).
        products: in place of probes, as many of these as can be had for so many products; with a tolerance, those of the first
            round, while `max_products` holds for all rounds.
        steps: s, at most P; what lies closer together than about the spread/s is resolved only at the ends of the spectrum.
        width: σ of the Gaussian that broadens the nodes; default: a 200th of their spread.
        points: cells of the grid, which covers all nodes and 6 σ beyond.
        tolerance: double the probes until the standard error, integrated over the grid, is at most this (the density integrates
            to 1).
        max_products: only with a tolerance: no round begins that would go beyond it (default 8·probes·steps).
        seed: of the probes.
        memory: budget of the Krylov vectors, steps·P numbers a probe; at least one probe is kept, memory-mapped if it must be.
        spectrum: pairs of the same operator, which make traces of functions, and ranks, many times sharper.
        on_product: called with "density" and the products so far; see `orograph.curvature.counting`.

    Returns:
        The density and its standard errors on a grid, in 1 per unit of an eigenvalue, and the nodes `(probes, steps)` it is made
        of.

    Raises:
        ConfigurationError: an argument is out of range, or two contradict each other.
        DataError: a product is not finite.

    Examples:
        >>> import torch, orograph as og
        >>> found = og.density(og.MatrixOperator(torch.diag(torch.arange(1.0, 101.0))), probes=4, steps=40)
        >>> found.grid.shape, found.products
        (torch.Size([1024]), 160)
    """
    require_digits(operator, "the density")
    if products is not None:
        if probes is not None:
            raise ConfigurationError(f"`probes` {probes} and `products` {products} say the same thing twice; give one of them.")
        each = max(1, min(steps, operator.size))
        if products < 2 * each:
            raise ConfigurationError(f"`products` {products} are fewer than two probes of {each} steps need; give {2 * each}.")
        probes = products // each
    probes = 8 if probes is None else probes
    if probes < 2:
        raise ConfigurationError(f"`probes` {probes} must be at least 2, for a standard error.")
    if steps < 1 or points < 2:
        raise ConfigurationError(f"`steps` {steps} must be at least 1 and `points` {points} at least 2.")
    if width is not None and not (width > 0 and math.isfinite(width)):
        raise ConfigurationError(f"`width` {width} must be positive and finite.")
    if tolerance is not None and not tolerance > 0:
        raise ConfigurationError(f"`tolerance` {tolerance} must be positive.")
    limit = limit_of(probes * min(steps, operator.size), tolerance, max_products, 8 * probes * steps)
    operator.examine()
    told = counter(on_product, "density")
    chains = _Chains(operator, min(steps, operator.size), torch.Generator().manual_seed(seed), memory, spectrum, told)
    chains.run(probes)
    result = _profile(chains, width, points)
    while tolerance is not None and 2 * chains.products <= limit:
        if float(result.errors.sum() * (result.grid[1] - result.grid[0])) <= tolerance:
            break
        chains.run(len(chains.nodes))
        result = _profile(chains, width, points)
    return result


def require_density(operator: LinearOperator, steps: int, memory: str | int) -> None:
    """Check, before other work is done, that the Krylov vectors of one probe can be held.

    Args:
        operator: of the density.
        steps: as `density` takes them.
        memory: likewise.

    Raises:
        RunError: they would lie in a file that does not fit on the disk.
    """
    require_room(min(steps, operator.size), shards_of(operator), dtype=operator.dtype, memory=memory)


class _Chains:
    """Lanczos chains of random signs, and the quadratures that they give."""

    def __init__(
        self,
        operator: LinearOperator,
        steps: int,
        generator: torch.Generator,
        memory: str | int,
        spectrum: Spectrum | None,
        told: Callable[[int], Any],
    ) -> None:
        self.operator, self.steps, self.generator, self.memory, self.told = operator, steps, generator, memory, told
        self.spectrum, self.overlaps = spectrum, list[Float64[Tensor, "b k"]]()
        self.nodes: list[Float64[Tensor, " steps"]] = []
        self.weights: list[Float64[Tensor, " steps"]] = []
        self.products = 0

    def run(self, probes: int) -> None:
        """So many further chains, in groups that fit into memory."""
        operator = self.operator
        shards = shards_of(operator)
        fitting = max(1, parse_bytes(self.memory) // (self.steps * shards.width * operator.dtype.itemsize))
        while probes > 0:
            group = min(probes, fitting)
            starts = rademacher(shards, group, operator, self.generator).T / math.sqrt(operator.size)
            self._run_group(starts, shards)
            if self.spectrum is not None:
                shares = starts.double() @ self.spectrum.eigenvectors.T.to(starts).double()
                self.overlaps.append(operator.size * shards.total(shares).square().cpu())
            probes -= group

    def _run_group(self, starts: Float[Tensor, "b W"], shards: Shards) -> None:
        """Chains in step; one ends where it closes in an invariant subspace, and takes no further products."""
        b, size = starts.shape
        rows = Basis(b * self.steps, shards, dtype=starts.dtype, device=starts.device, memory=self.memory).rows
        rows = rows.view(b, self.steps, size)
        diagonal, couplings = torch.zeros(2, b, self.steps, dtype=torch.float64)
        lengths = torch.full((b,), self.steps)
        rows[:, 0] = starts
        growing = torch.ones(b, dtype=torch.bool)
        for step in range(self.steps):
            block = torch.zeros(b, size, dtype=rows.dtype, device=rows.device)
            given = shards.given(rows[growing, step].to(self.operator.device))
            block[growing] = shards.taken(self._multiply(given, shards)).to(rows.device)
            scales = shards.norms(block).cpu()
            known = rows[:, : step + 1]
            coefficients = _project_out(known, block, shards) + _project_out(known, block, shards)
            norms = shards.norms(block)
            diagonal[:, step] = coefficients[:, -1]
            closed = growing & (norms.cpu() <= 10 * torch.finfo(rows.dtype).eps * scales)
            lengths[closed] = step + 1
            growing &= ~closed
            if step + 1 == self.steps or not growing.any():
                break
            couplings[growing, step] = norms.cpu()[growing]
            rows[:, step + 1] = torch.where(growing.to(rows.device)[:, None], block / norms.to(block)[:, None], 0.0)
        for i, length in enumerate(lengths.tolist()):
            self._add(diagonal[i, :length], couplings[i, : length - 1])

    def _add(self, diagonal: Float64[Tensor, " n"], couplings: Float64[Tensor, " m"]) -> None:
        """The Gauss quadrature of a tridiagonal matrix, filled up to all steps with nodes of no weight."""
        nodes, vectors = torch.linalg.eigh(torch.diag(diagonal) + torch.diag(couplings, 1) + torch.diag(couplings, -1))
        missing = self.steps - len(nodes)
        self.nodes.append(torch.cat([nodes, nodes[-1:].expand(missing)]))
        self.weights.append(torch.cat([vectors[0].square(), torch.zeros(missing, dtype=torch.float64)]))

    def _multiply(self, block: Float[Tensor, "b V"], shards: Shards) -> Float[Tensor, "b V"]:
        images = (self.operator @ block[0])[None] if len(block) == 1 else (self.operator @ block.T).T
        self.products += len(block)
        self.told(self.products)
        if not shards.longest(images) < math.inf:
            raise not_finite(self.operator, self.products)
        return images


def _project_out(rows: Float[Tensor, "b n W"], block: Float[Tensor, "b W"], shards: Shards) -> Float64[Tensor, "b n"]:
    """Subtract (in place) from each vector its components along the rows of its own chain; returns these.

    In the rows' dtype over spans of columns, whose sums are taken in float64: a long float32 sum on a CPU loses small terms.
    """
    span = _SPAN if rows.device.type == "cpu" else rows.shape[2]
    total = torch.zeros(rows.shape[:2], dtype=torch.float64, device=rows.device)
    for part, columns in zip(rows.split(span, dim=2), block.split(span, dim=1), strict=True):
        total += torch.bmm(part, columns[:, :, None])[:, :, 0]
    total = shards.total(total)
    block -= torch.bmm(total.to(rows.dtype)[:, None], rows)[:, 0]
    return total.cpu()


def _profile(chains: _Chains, width: float | None, points: int) -> Density:
    """The broadened quadratures on a grid."""
    nodes, weights = torch.stack(chains.nodes), torch.stack(chains.weights)
    low, high = float(nodes.min()), float(nodes.max())
    if width is None:
        width = (high - low) / _RESOLUTION or 1e-3 * abs(high) or 1e-3
    edges = torch.linspace(low - _TAIL * width, high + _TAIL * width, points + 1, dtype=torch.float64)
    cumulative = torch.stack(
        [torch.special.ndtr((edges[:, None] - theta) / width) @ tau for theta, tau in zip(nodes, weights, strict=True)]
    )
    profiles = cumulative.diff(dim=1).clamp(min=0) / edges.diff()  # rounding of the sums may leave −1e-16
    errors = profiles.std(0) / math.sqrt(len(profiles))
    return Density(
        (edges[1:] + edges[:-1]) / 2,
        profiles.mean(0),
        errors,
        nodes,
        weights,
        width,
        chains.operator.size,
        chains.products,
        torch.empty(0, dtype=torch.float64) if chains.spectrum is None else chains.spectrum.eigenvalues,
        torch.cat(chains.overlaps) if chains.overlaps else None,
    )
