"""Extreme eigenpairs of a symmetric operator by thick-restart (block) Lanczos with full reorthogonalisation (Wu & Simon
2000).

Three things that textbook Lanczos lets pass are seen to here.

*Noise* (`noise`). Where wanted pairs are so small that the demanded residual lies at the rounding of the operator's dtype,
its noise is measured, and pairs below it are marked and no longer iterated on: a collapsed network has a handful of
eigenvalues and then nothing.

*Missed copies* (`copies`). After convergence a random direction, orthogonal to all that is known, is followed. If it meets
a missed eigenvalue, more and more of them are taken up together, which is a random block Krylov run on the deflated
operator within one projected problem; iteration goes on until the wanted pairs have converged again and another search
finds nothing.

*Residuals* (`verification`) are checked with true products of random vectors, each of which tests all pairs.

The projected problem is solved in float64 on the CPU, the basis is in the operator's dtype on its device.
"""

from collections.abc import Callable
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.curvature.counting import OnProduct, counter
from orograph.curvature.operator import LinearOperator, require_digits
from orograph.curvature.shards import shards_of
from orograph.errors import ConfigurationError, unknown
from orograph.memory import DEFAULT_MEMORY, parse_bytes
from orograph.spectral.iteration import WHICH, Iteration, Which
from orograph.spectral.krylov import Krylov
from orograph.spectral.spectrum import Spectrum, certified
from orograph.spectral.verification import verified_residuals

_WIDEST = 32  # random directions taken up at once


@checked
def lanczos(
    operator: LinearOperator,
    k: int,
    *,
    which: Which = "LM",
    tolerance: float = 1e-3,
    seed: int = 0,
    block: int = 1,
    max_products: int | None = None,
    memory: str | int = DEFAULT_MEMORY,
    verification: Literal["sampled", "full"] = "sampled",
    start: Float[Tensor, " P"] | None = None,
    on_product: OnProduct | None = None,
) -> Spectrum:
    """k extreme eigenpairs of a symmetric operator, every copy of a multiple eigenvalue included.

    Thick-restart Lanczos with full reorthogonalisation (Wu & Simon, 2000); the module says how copies are found and residuals
    verified.

    Args:
        operator: symmetric, `P × P`, known by its products.
        k: how many pairs, 1 ≤ k < P; 1 where P is 1.
        which: `LM` largest magnitude, `LA` largest, `SA` smallest, `BE` both ends (the odd one from the top).
        tolerance: a pair has converged when ‖Hv − λv‖ ≤ tolerance·|λ|.
        seed: of the random starts; the same seed gives the same spectrum.
        block: vectors multiplied together; more than one pays where a block product costs little more than a single one.
        max_products: stop after about so many products (default 50·k + 500); what has not converged by then is marked. By
            default, too, copies of multiple eigenvalues of large operators (P > 5,000) are followed to 5·k products in all (at
            least 100), or k/2 more than without them; then the spectrum is `cut`, and of `LM` pairs that have converged go before
            larger ones that have not. A number given here is spent on them if need be.
        memory: budget of the basis; one that does not fit is memory-mapped from a temporary file.
        verification: `sampled` tests all pairs by a few random products and multiplies only those left in doubt; `full`
            multiplies each.
        start: `(P,)`, the first direction, as an eigenvector of an operator nearby; a random one when None. It saves products
            where one pair is followed.
        on_product: called with "spectrum" and the products so far; see `orograph.curvature.counting`.

    Returns:
        k pairs in descending order: eigenvalues `(k,)`, unit eigenvectors `(k, P)`, one a row, absolute residuals `(k,)`, and
        what they certify.

    Raises:
        ConfigurationError: k, tolerance, block, which or max_products is out of range.
        DataError: a product is not finite.

    Examples:
        >>> import torch, orograph as og
        >>> matrix = og.MatrixOperator(torch.diag(torch.arange(1.0, 101.0, dtype=torch.float64)))
        >>> og.lanczos(matrix, k=3, which="LA", tolerance=1e-8).eigenvalues.round(decimals=6)
        tensor([100.,  99.,  98.], dtype=torch.float64)
    """
    if verification not in ("sampled", "full"):
        raise unknown("verification", str(verification), ("sampled", "full"))
    iteration = begin(operator, k, which, tolerance, seed, block, max_products, memory, counter(on_product, "spectrum"), start)
    iteration.run()
    return spectrum_of(iteration, full=verification == "full")


def begin(
    operator: LinearOperator,
    k: int,
    which: str,
    tolerance: float,
    seed: int,
    block: int,
    max_products: int | None,
    memory: str | int,
    told: Callable[[int], Any],
    start: Float[Tensor, " P"] | None = None,
) -> Iteration:
    """The computation before its first product, a random block in its basis; `told` of the products so far, else as `lanczos`.

    Raises:
        ConfigurationError: k, tolerance, block, which or max_products is out of range.
    """
    require_digits(operator, "eigenpairs")
    if which not in WHICH:
        raise unknown("which", which, WHICH)
    if not 1 <= k < max(2, operator.size):  # of one parameter, the only pair there is
        most = f"below P = {operator.size}" if operator.size > 1 else "no more than P = 1"
        raise ConfigurationError(f"`k` {k} must be at least 1 and {most}, the size of the operator.")
    if not 0 < tolerance < 1:
        raise ConfigurationError(f"`tolerance` {tolerance} must lie between 0 and 1.")
    if not 1 <= block <= operator.size:
        raise ConfigurationError(f"`block` {block} must lie between 1 and P = {operator.size}.")
    if max_products is not None and max_products < 1:
        raise ConfigurationError(f"`max_products` {max_products} must be at least 1, or left out.")
    shards = shards_of(operator)
    if start is not None and (start.shape != (operator.width,) or not 0 < shards.longest(start[None]) < float("inf")):
        raise ConfigurationError(f"`start` must be a finite vector of P = {operator.size} numbers, not all 0.")
    operator.examine()
    widest = max(block, min(k + 1, _WIDEST))
    least, pool = _rows(k, widest)
    fitting = parse_bytes(memory) // (shards.width * operator.dtype.itemsize) - pool
    longest = min(operator.size, max(least, min(2 * least, fitting)))
    krylov = Krylov(operator, longest + pool, seed=seed, memory=memory, told=told)
    if start is not None:
        krylov.add(krylov.shards.taken(start.detach()[None]))
    krylov.add_random(block - krylov.count)
    return Iteration(
        krylov,
        k,
        which,
        tolerance,
        block=block,
        widest=widest,
        longest=longest,
        pool=pool,
        max_products=50 * k + 500 if max_products is None else max_products,
        seed=seed,
        thorough=max_products is not None,
    )


def least_rows(k: int) -> int:
    """The length of the shortest basis that k pairs are computed in, without blocks."""
    return sum(_rows(k, min(k + 1, _WIDEST)))


def _rows(k: int, widest: int) -> tuple[int, int]:
    """The least number of multiplied vectors before a restart, twice as many being the most, and the length of the pool."""
    return 2 * k + 2 * widest + 10, 2 * k + 3 * widest


def spectrum_of(iteration: Iteration, *, full: bool) -> Spectrum:
    """The wanted pairs in descending order, verified."""
    krylov, tolerance = iteration.krylov, iteration.tolerance
    pairs, others, spent = iteration.pairs(), iteration.others(), krylov.products
    residuals = verified_residuals(
        krylov,
        pairs,
        tolerance=tolerance,
        exempt=pairs.values.abs() <= iteration.noise,
        full=full,
        seed=iteration.seed + spent,  # that of the basis would give its first vector again
    )
    return certified(
        pairs.values,
        pairs.vectors,
        residuals,
        tolerance=tolerance,
        which=iteration.which,
        products=krylov.products,
        certificate_products=iteration.certifying + krylov.products - spent,
        missing=iteration.missing,
        noise_level=iteration.noise_by(residuals),
        rounding=iteration.rounding,
        others=others,
        doubts=iteration.doubts,
        basis_bytes=krylov.basis.rows.nbytes,
        searched=iteration.searched or krylov.multiplied >= krylov.operator.size,
        shared_size=krylov.operator.size if krylov.shards.group is not None else 0,
    )
