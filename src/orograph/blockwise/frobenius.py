"""How large every block A_AB of a matrix is, by random signs: squared Frobenius norms, and what a block-diagonal one leaves out.

For signs z on the columns of block B, zero elsewhere, E‖(Az)_A‖² = tr A_ABᵀA_AB = ‖A_AB‖_F² for every A at once, and
E z_Bᵀ(Az)_B = tr A_BB without the noise of the other blocks (Hutchinson 1990). So m products a block give all traces, all norms
and, with ‖A‖_F² = Σ‖A_AB‖_F², the share of it outside the diagonal blocks: what a block-diagonal approximation is wrong by, in
the norm that weighs every entry alike. Norms of A_AB and A_BA are the same number, estimated twice, independently.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from orograph.arguments import checked
from orograph.blockwise.block_operator import BlockOperator, spread
from orograph.brief import brief
from orograph.curvature.counting import OnProduct, counter
from orograph.curvature.operator import LinearOperator, require_digits
from orograph.curvature.shards import Shards
from orograph.errors import ConfigurationError
from orograph.spectral.intervals import Estimate, estimate, from_crossed, from_variances, jackknifed, welch_degrees
from orograph.spectral.traces import COLUMNS, EntryVariances, Products, diagonal, gram, rademacher


@brief
@dataclass(frozen=True, eq=False)
class Couplings:
    """Traces of diagonal blocks and squared norms of all.

    Attributes:
        names: of the n blocks.
        sizes: parameters of each.
        traces: tr A_BB of each, with its error.
        squares: `(n, n)` float64, ‖A_AB‖_F², symmetric.
        square_errors: `(n, n)` float64, standard errors of them.
        square_degrees: `(n, n)` float64, degrees of freedom of these; see `square`.
        samples: `(m, n, n)` float64, ‖(Az)_A‖² for the m-th signs z on B, the last dimension.
        products: of A, m for each block.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    traces: tuple[Estimate, ...]
    squares: Float64[Tensor, "n n"]
    square_errors: Float64[Tensor, "n n"]
    square_degrees: Float64[Tensor, "n n"]
    samples: Float64[Tensor, "m n n"]
    products: int

    @property
    def trace(self) -> Estimate:
        """Σ tr A_BB: tr A where the blocks make up all of θ."""
        errors = [each.error for each in self.traces]
        value, degrees = sum(each.value for each in self.traces), [each.degrees for each in self.traces]
        return Estimate(value, sum(error**2 for error in errors) ** 0.5, self.products, degrees=welch_degrees(errors, degrees))

    @cached_property
    def off_diagonal(self) -> Estimate:
        """Σ_{A≠B}‖A_AB‖_F² / Σ‖A_AB‖_F², between 0 and 1: 0 of a block-diagonal matrix."""

        def share(off: Float64[Tensor, " m"], whole: Float64[Tensor, " m"]) -> Float64[Tensor, ""]:
            return off.mean() / whole.mean()

        whole = self.samples.sum((1, 2))
        return estimate(jackknifed(share, whole - self.samples.diagonal(dim1=1, dim2=2).sum(1), whole), self.products, floor=0.0)

    @property
    def cosines(self) -> Float64[Tensor, "n n"]:
        """‖A_AB‖_F / √(‖A_AA‖_F ‖A_BB‖_F), `(n, n)`; at most 1 for a positive semidefinite A."""
        own = self.squares.diagonal().sqrt().sqrt()
        return self.squares.sqrt() / torch.outer(own, own)

    def square(self, one: str, other: str) -> Estimate:
        """‖A_AB‖_F² with its 95 % interval.

        Args:
            one: A, the name of a block.
            other: B, likewise; the same for a diagonal block.

        Returns:
            In the square of the unit of A.
        """
        at = self.names.index(one), self.names.index(other)
        value, error, degrees = (each[at].item() for each in (self.squares, self.square_errors, self.square_degrees))
        return Estimate(value, error, self.products, degrees=degrees, floor=0.0)

    def effective_rank(self, name: str) -> Estimate:
        """(tr A_BB)²/‖A_BB‖_F², the participation ratio of the block's eigenvalues.

        The error is that of the square of a trace that is normally distributed, also where it is no more than its own error, and
        of the norm.

        Args:
            name: of the block.

        Returns:
            A pure number, at most the number of the block's parameters.
        """
        found, norm = self.traces[self.names.index(name)], self.square(name, name)
        if not norm.value > 0:
            return Estimate(float("nan"), float("nan"), found.products)
        variance = found.error**2
        value = max(0.0, found.value**2 - variance) / norm.value  # the square of a mean is too large by its variance
        of_trace = (4 * found.value**2 * variance + 2 * variance**2) ** 0.5 / norm.value
        errors = of_trace, value * norm.error / norm.value
        degrees = welch_degrees(errors, (found.degrees, norm.degrees))
        return Estimate(value, math.hypot(*errors), found.products, degrees=degrees, floor=0.0)


@checked
def couplings(
    operator: LinearOperator,
    blocks: Mapping[str, Int[Tensor, " p"]],
    *,
    probes: int = 16,
    seed: int = 0,
    on_product: OnProduct | None = None,
) -> Couplings:
    """Traces of the diagonal blocks and squared norms of all blocks of A, with errors.

    Args:
        operator: A, symmetric.
        blocks: by name the places in θ, `(p,)` int64, as `partition` gives them, none in two.
        probes: m, random signs for each block, at least 3; each costs one product of A. A block of at most m parameters is
            multiplied column by column instead, and exact.
        seed: of the signs.
        on_product: called with "blocks" and the products so far; see `orograph.curvature.counting`.

    Returns:
        Traces `(n,)` and squared norms `(n, n)`, in the unit of A and its square.

    Raises:
        ConfigurationError: fewer than 3 probes, no blocks, or places shared or outside A.
        DataError: a product is not finite.

    Examples:
        >>> import torch, orograph as og
        >>> A = og.MatrixOperator(torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 4.0]]))
        >>> found = og.blockwise.couplings(A, {"first": torch.tensor([0]), "rest": torch.tensor([1, 2])})
        >>> found.trace.value, found.squares.tolist()
        (9.0, [[4.0, 1.0], [1.0, 25.0]])
    """
    require_digits(operator, "the couplings of the blocks")
    if probes < 3:
        raise ConfigurationError(f"`probes` {probes} must be at least 3, for the error of a ratio.")
    places = [BlockOperator(operator, each).places for each in blocks.values()]
    if not places:
        raise ConfigurationError("there are no blocks; give at least one, as partition does.")
    if len(torch.cat(places).unique()) < sum(map(len, places)):
        raise ConfigurationError("two blocks share a place of θ; give blocks without common entries.")
    operator.examine()
    generator, multiply = torch.Generator().manual_seed(seed), Products(operator, counter(on_product, "blocks"))
    count = len(places)
    norms, errors = torch.zeros(2, count, count, dtype=torch.float64)
    degrees, traces = torch.full_like(norms, math.inf), []
    samples = torch.zeros(probes, count, count, dtype=torch.float64)
    exact = [len(own) <= probes for own in places]
    for column, own in enumerate(places):
        if exact[column]:
            signs = torch.eye(len(own), dtype=operator.dtype, device=operator.device)
        else:
            signs = rademacher(Shards(len(own)), probes, operator, generator)
        parts = signs.split(COLUMNS, dim=1)  # spread one by one
        image = torch.cat([multiply(spread(part, own, operator.size)) for part in parts], dim=1)
        traces.append(_trace(signs, image[own], exact[column]))
        for row, other in enumerate(places):
            crossed = gram(image[other], image[other], Shards(len(other)))
            if exact[column]:
                samples[:, row, column] = norms[row, column] = crossed.trace()
            else:
                found = from_crossed(crossed.diagonal(), crossed, len(own), probes)
                samples[:, row, column], norms[row, column] = crossed.diagonal(), found.value
                errors[row, column], degrees[row, column] = found.error, found.degrees
    # The variances of both estimates of ‖A_AB‖_F are equal but for what the diagonals of A_ABᵀA_AB and A_ABA_ABᵀ add. Weighed by
    # errors that were estimated the smaller one would count for more, and the mean be too small.
    certain = torch.tensor(exact, dtype=torch.float64)
    weights = 0.5 + (certain[None, :] - certain[:, None]) / 2
    merged = weights * norms + weights.T * norms.T
    variances = (weights * errors).square()
    both = variances + variances.T
    merged.diagonal().copy_(norms.diagonal())
    both.diagonal().copy_(errors.diagonal().square())
    shares = variances.square() / degrees
    known = (both.square() / (shares + shares.T)).nan_to_num(math.inf)  # as `welch_degrees`; 0 by 0 of two exact ones
    known.diagonal().copy_(degrees.diagonal())
    names, sizes = tuple(blocks), tuple(map(len, places))
    return Couplings(names, sizes, tuple(traces), merged, both.sqrt(), known, samples, multiply.count)


def _trace(signs: Float[Tensor, "p m"], images: Float[Tensor, "p m"], exact: bool) -> Estimate:
    if exact:
        return Estimate(images.double().trace().item(), 0.0, signs.shape[1])
    variances = EntryVariances()
    variances.add(signs, images)
    return from_variances(diagonal(signs, images, Shards(len(signs))), variances.variances(), signs.shape[1])
