"""The spectra of many operators of one size, such as the Hessians of a cohort of models: Lanczos in step.

On a GPU, or on few data, a step of Lanczos is bound by its launches: a product, passes over the basis, norms, a hundred in
all, and the waits for a number. Here they are launched once for all operators, whose bases lie in one array. Each has a
decomposition (`Krylov`) and decisions (`Iteration`) of its own. They go in step until fewer than half of them are still at it;
each is then finished by itself, with its own products: what is left is a search for copies and the verification, about a tenth
of all products.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.utils._pytree import tree_leaves

from orograph.arguments import checked
from orograph.curvature.counting import OnProduct, counter
from orograph.curvature.operator import LinearOperator
from orograph.curvature.shards import summing_span
from orograph.errors import ConfigurationError, unknown
from orograph.memory import DEFAULT_MEMORY, format_bytes, parse_bytes
from orograph.objective import Objective
from orograph.spectral.eigenpairs import begin, least_rows, spectrum_of
from orograph.spectral.iteration import Iteration, Which
from orograph.spectral.krylov import ENOUGH, Krylov
from orograph.spectral.spectrum import Spectrum

Products = Callable[[Float[Tensor, "M P"]], Float[Tensor, "M P"]]


@checked
def lanczos_cohort(
    operators: Sequence[LinearOperator],
    multiply: Products,
    k: int,
    *,
    which: Which = "LM",
    tolerance: float = 1e-3,
    seed: int = 0,
    max_products: int | None = None,
    memory: str | int = DEFAULT_MEMORY,
    verification: Literal["sampled", "full"] = "sampled",
    on_product: OnProduct | None = None,
) -> list[Spectrum]:
    """k extreme eigenpairs of each operator, as `lanczos` finds them.

    Args:
        operators: symmetric, of one size, dtype and device.
        multiply: the product of row m with operator m, for all of them: `CohortHessian.__matmul__`.
        k: how many pairs of each.
        which: as of `lanczos`.
        tolerance: as of `lanczos`.
        seed: as of `lanczos`.
        max_products: as of `lanczos`, for each operator.
        verification: as of `lanczos`.
        memory: budget of all bases together, which are not memory-mapped.
        on_product: called with "spectra" and the products so far, of all operators together; see
            `orograph.curvature.counting`.

    Returns:
        One spectrum for each operator, in order.

    Raises:
        ConfigurationError: as of `lanczos`; operators differ in size, dtype or device, or are shared among processes; the bases
            do not fit.
        DataError: a product is not finite.
    """
    if verification not in ("sampled", "full"):
        raise unknown("verification", str(verification), ("sampled", "full"))
    kinds = {(operator.size, operator.dtype, operator.device) for operator in operators}
    if len(kinds) != 1 or any(operator.group is not None for operator in operators):
        raise ConfigurationError(f"{len(operators)} operators of {len(kinds)} kinds: one size, dtype and device are needed.")
    models, first, budget = len(operators), operators[0], parse_bytes(memory)
    needed = models * least_rows(k) * first.size * first.dtype.itemsize
    if needed > budget:
        raise ConfigurationError(
            f"{models} bases of {least_rows(k)} vectors take {format_bytes(needed)}, more than `memory` {format_bytes(budget)}; "
            "give more memory or fewer operators."
        )
    iterations: list[Iteration] = []

    tell = counter(on_product, "spectra")

    def counted(_: int) -> None:
        tell(sum(iteration.krylov.products for iteration in iterations))

    rows: Tensor | None = None
    for number, operator in enumerate(operators):
        iteration = begin(operator, k, which, tolerance, seed, 1, max_products, budget // models, counted)
        own = iteration.krylov.basis.rows
        if rows is None:
            rows = own.new_zeros(models, *own.shape)  # not empty: rows that are not there are multiplied by zero
        rows[number, 0] = own[0]
        iteration.krylov.basis.rows = rows[number]
        iterations.append(iteration)
    assert rows is not None
    active = list(range(models))
    while 2 * len(active) >= models and (active := [i for i in active if iterations[i].proceed(1)]):
        _expand([iteration.krylov for iteration in iterations], active, rows, multiply)
        for i in active:
            iterations[i].look()
        active = [i for i in active if not iterations[i].settled]
    for iteration in iterations:
        iteration.run()
    return [spectrum_of(iteration, full=verification == "full") for iteration in iterations]


def _expand(krylovs: Sequence[Krylov], active: Sequence[int], rows: Float[Tensor, "M n P"], multiply: Products) -> None:
    """Multiply the first vector of the pool of each active decomposition, as `Krylov.expand` does.

    A product is orthogonalised by classical Gram–Schmidt, twice; what that does not suffice for is left to `Krylov.enter`.
    """
    device = rows.device
    chosen = torch.tensor(active, device=device)
    counts = [krylovs[i].count if i in active else 0 for i in range(len(krylovs))]
    vectors = rows.new_zeros(len(rows), rows.shape[2])
    vectors[chosen] = rows[chosen, torch.tensor([krylovs[i].multiplied for i in active], device=device)]
    products = multiply(vectors).to(rows, copy=True)
    held = rows[:, : max(counts)]
    known = torch.arange(held.shape[1], device=device) < torch.tensor(counts, device=device)[:, None]
    norms, columns = [_norms(products)], torch.zeros(known.shape, dtype=torch.float64, device=device)
    for _ in range(2):
        along = _dots(held, products) * known
        products[:, None].baddbmm_(along[:, None].to(rows.dtype), held, alpha=-1)
        columns += along
        norms.append(_norms(products))
    columns, (first, middle, last) = columns.cpu(), torch.stack(norms).tolist()
    plain = []
    for i in active:
        krylov = krylovs[i]
        krylov.seen(1, first[i])
        krylov.coefficients[: counts[i], krylov.multiplied] = columns[i, : counts[i]]
        if last[i] > krylov.floor and last[i] > ENOUGH * middle[i] and krylov.room:
            krylov.coefficients[counts[i], krylov.multiplied] = last[i]
            krylov.count += 1
            plain.append(i)
        else:
            krylov.enter(krylov.multiplied, products[i : i + 1], known=counts[i], before=middle[i])
        krylov.multiplied += 1
    grown = torch.tensor(plain, dtype=torch.int64, device=device)
    places = torch.tensor([counts[i] for i in plain], dtype=torch.int64, device=device)
    lengths = torch.tensor([last[i] for i in plain], dtype=rows.dtype, device=device)
    rows[grown, places] = products[grown] / lengths[:, None]


def _norms(vectors: Float[Tensor, "M P"]) -> Float64[Tensor, " M"]:
    return torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float64)


def _dots(held: Float[Tensor, "M n P"], vectors: Float[Tensor, "M P"]) -> Float64[Tensor, "M n"]:
    """Dot products of each vector with the rows of its own basis."""
    span = summing_span(held)
    total = torch.zeros(held.shape[:2], dtype=torch.float64, device=held.device)
    for part, columns in zip(held.split(span, dim=2), vectors.split(span, dim=1), strict=True):
        total += torch.bmm(part, columns[:, :, None])[:, :, 0]
    return total


def fitting_spectra(objective: Objective, k: int) -> int:
    """How many spectra are computed in step where that is left open: on a CPU only narrow networks gain by company."""
    if objective.device.type == "cpu" or not k:
        return 1
    inputs = sum(leaf.nbytes for leaf in tree_leaves(next(iter(objective.batches(1)))[0]))  # of a sample; all models share them
    residuals = 3 * max(0, objective.activation_bytes() - inputs) * objective.count
    return max(1, objective.memory // (least_rows(k) * objective.theta.nbytes + residuals))
