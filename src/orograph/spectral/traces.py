"""The trace of an operator by random vectors, with a standard error.

*Hutchinson* (Girard 1989; Hutchinson 1990): the mean of zᵀAz over random signs z. Its error falls like ‖A‖_F/√m. The variance of
zᵀAz is 2 Σ a_kl² over k ≠ l, twice the sum of the variances of the entries of z∘Az, which are products' to tell: P of them a
vector, where zᵀAz is one number whose own spread is far too small where it happens to miss the few large eigenvalues.

*Hutch++* (Meyer, Musco, Musco & Woodruff 2021): with Q an orthonormal basis of AS for random S, tr A = tr QᵀAQ + tr (I −
QQᵀ)A(I − QQᵀ), the first exactly, the second by Hutchinson. Where few large eigenvalues dominate, most is in the first.

*XTrace* (Epperly, Tropp & Webber 2024): Q from AΩ, and every column ω of Ω is the Hutchinson vector of the remainder of the
basis that is left when it is taken out. With s the unit vector orthogonal to the other columns of R in AΩ = QR, that basis has
the projector Q(I − ssᵀ)Qᵀ, and all leave-one-out estimates follow from the small matrices QᵀΩ, R and QᵀAQ. What is left of a
Gaussian ω has a random direction in P − m + 1 dimensions, so only its direction is used and its length is known.

Its standard error has no formula. The leave-one-out estimates share all but one vector and vary together, so that their
variance over m falls short of that of their mean (measured: errors too small by a factor of 1.0 to 1.3). The jackknife over
vectors exceeds it (Efron & Stein 1981; measured: by a factor of 1.2 to 2.1). What is stated is a geometric mean of the two in
which the jackknife has a third of the weight: with Student's quantile it covers what it should (measured: the page on coverage).

The last two keep their vectors and grow by further ones, so that a `tolerance` wastes no product. P-long vectors are in the
operator's dtype, all that is small is summed in float64.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from orograph.arguments import checked
from orograph.curvature.counting import OnProduct, counter
from orograph.curvature.operator import LinearOperator, not_finite, require_digits
from orograph.curvature.shards import Shards, shards_of
from orograph.errors import ConfigurationError, unknown
from orograph.spectral.intervals import Estimate, from_variances

Method = Literal["xtrace", "hutch++", "hutchinson"]
METHODS = ("xtrace", "hutch++", "hutchinson")

COLUMNS = 8  # multiplied at once
_ROWS = 1 << 14  # converted to float64 at once
_MAX_PRODUCTS = 1000
_GROUPS = 32  # of the jackknife; each costs a small decomposition


def rademacher(shards: Shards, count: int, like: LinearOperator | Tensor, generator: torch.Generator) -> Float[Tensor, "W m"]:
    """Random signs in columns, drawn on the CPU so that they do not depend on the device; of each this process's part."""
    return shards.signs(count, generator).T.to(like.device, like.dtype)


class EntryVariances:
    """What random signs z and their images Az tell of the variance of zᵀAz, by the entries of z∘Az (Welford 1962).

    Args:
        shards: where processes have parts of them.
    """

    def __init__(self, shards: Shards | None = None) -> None:
        self.count = 0
        self._shards = shards
        self._mean: Float64[Tensor, " P"] = torch.zeros(1, dtype=torch.float64)
        self._steps: list[Float64[Tensor, ""]] = []

    def add(self, signs: Float[Tensor, "W b"], images: Float[Tensor, "W b"]) -> None:
        """A block of them, in columns."""
        for entries in (signs * images).T:
            self._mean = self._mean.to(entries.device)
            change = entries.double() - self._mean
            self.count += 1
            self._mean = self._mean + change / self.count
            step = (1 - 1 / self.count) * change.square().sum()
            self._steps.append(step if self._shards is None else self._shards.total(step))

    def variances(self) -> Float64[Tensor, " n"]:
        """An estimate of the variance of zᵀAz for every vector but the first; each is unbiased."""
        return 2 * torch.stack(self._steps[1:]).cpu() if self.count > 1 else torch.empty(0, dtype=torch.float64)


@checked
def trace(
    operator: LinearOperator,
    *,
    method: Method = "xtrace",
    probes: int | None = None,
    products: int | None = None,
    tolerance: float | None = None,
    max_products: int | None = None,
    seed: int = 0,
    on_product: OnProduct | None = None,
) -> Estimate:
    """tr A, with a standard error.

    Args:
        operator: A, symmetric.
        method: see the module; XTrace is the best where eigenvalues decay, Hutchinson the cheapest in memory.
        probes: random vectors (default 16). Hutchinson spends one product each, Hutch++ three on two of them, XTrace two on
            each. XTrace and Hutch++ hold 2 to 3 vectors of length P for each.
        products: in place of probes, as many of these as the method affords for so many products; with a tolerance, those of
            the first round, while `max_products` holds for all rounds.
        tolerance: double the probes until error ≤ tolerance·|value|. Stopping at a small error picks runs whose error happens
            to come out small, so that coverage then is somewhat below that of a fixed number.
        max_products: only with a tolerance: no round begins that would go beyond it (default 1000, or the first round).
        seed: of the random vectors.
        on_product: called with "trace" and the products so far; see `orograph.curvature.counting`.

    Returns:
        tr A, its standard error, the products spent and one sample a random vector.

    Raises:
        ConfigurationError: an argument is out of range, or two contradict each other.
        DataError: a product is not finite.

    Examples:
        >>> import torch, orograph as og
        >>> matrix = torch.diag(torch.arange(1.0, 101.0, dtype=torch.float64) ** -2)
        >>> found = og.trace(og.MatrixOperator(matrix))
        >>> assert abs(found.value - matrix.trace()) < 5 * found.error
    """
    require_digits(operator, "the trace")
    if method not in METHODS:
        raise unknown("method", str(method), METHODS)
    probes = _probes(method, probes, products)
    if tolerance is not None and not 0 < tolerance < 1:
        raise ConfigurationError(f"`tolerance` {tolerance} must lie between 0 and 1.")
    limit = limit_of(_cost(method, probes, operator.size), tolerance, max_products, _MAX_PRODUCTS)
    estimator = _ESTIMATORS[method](Products(operator, counter(on_product, "trace")), torch.Generator().manual_seed(seed))
    estimator.grow(probes)
    result = estimator.result()
    while tolerance is not None and not result.error <= tolerance * abs(result.value) and not estimator.exhausted:
        if result.products * 2 > limit:
            break
        probes *= 2
        estimator.grow(probes)
        result = estimator.result()
    return result


def _probes(method: Method, probes: int | None, products: int | None) -> int:
    """How many random vectors are meant; the inverse of what the method spends on them."""
    if products is None:
        probes = 16 if probes is None else probes
        if probes < 2:
            raise ConfigurationError(f"`probes` {probes} must be at least 2, for a standard error.")
        return probes
    if probes is not None:
        raise ConfigurationError(f"`probes` {probes} and `products` {products} say the same thing twice; give one of them.")
    least = {"hutchinson": 2, "hutch++": 3, "xtrace": 4}[method]
    if products < least:
        raise ConfigurationError(f"`products` {products} must be at least {least}, for a standard error by {method}.")
    # Hutch++ spends p + ⌊p/2⌋ on p of them
    return {"hutchinson": products, "hutch++": (2 * products + 1) // 3, "xtrace": products // 2}[method]


def _cost(method: Method, probes: int, size: int) -> int:
    """What so many random vectors cost in products; no basis has more vectors than a P × P matrix has columns."""
    sketch = min(probes // 2, size)
    return {"hutchinson": probes, "hutch++": 2 * sketch + probes - probes // 2, "xtrace": 2 * min(probes, size)}[method]


def limit_of(first: int, tolerance: float | None, max_products: int | None, default: int) -> int:
    """The most products that all rounds may take, of which the first takes so many.

    Raises:
        ConfigurationError: a limit without a tolerance, which nothing would look at, or one that the first round is beyond.
    """
    if max_products is None:
        return max(first, default)
    if tolerance is None:
        raise ConfigurationError(
            f"`max_products` {max_products} ends rounds that a `tolerance` asks for; give one, or `products` for a fixed cost."
        )
    if first > max_products:
        raise ConfigurationError(f"`max_products` {max_products} are fewer than the {first} of the first round; give more.")
    return max_products


class Products:
    """Block products of an operator, counted and checked; of a sharded one all vectors here are this process's part."""

    def __init__(self, operator: LinearOperator, told: Callable[[int], Any]) -> None:
        self.operator, self.count, self._told = operator, 0, told
        self.shards = shards_of(operator) if operator.sharded else Shards(operator.size)

    @property
    def empty(self) -> Float[Tensor, "W 0"]:
        """No vector."""
        return torch.empty(self.operator.width, 0, dtype=self.operator.dtype, device=self.operator.device)

    def __call__(self, block: Float[Tensor, "W b"]) -> Float[Tensor, "W b"]:
        parts = []
        for columns in block.split(COLUMNS, dim=1):
            parts.append(self.operator @ columns)
            self.count += columns.shape[1]
            self._told(self.count)
        result = torch.cat(parts, dim=1) if parts else block
        if self.shards.total((~torch.isfinite(result)).sum()) > 0:
            raise not_finite(self.operator, self.count)
        return result


class _Estimator(Protocol):
    """Grows to a number of random vectors, and gives the estimate from them. `exhausted`: more of them cannot help."""

    def __init__(self, multiply: Products, generator: torch.Generator) -> None: ...

    @property
    def exhausted(self) -> bool: ...

    def grow(self, probes: int) -> None: ...

    def result(self) -> Estimate: ...


class _Hutchinson:
    def __init__(self, multiply: Products, generator: torch.Generator) -> None:
        self.multiply, self.generator = multiply, generator
        self.samples, self.entries = torch.empty(0, dtype=torch.float64), EntryVariances(multiply.shards)

    @property
    def exhausted(self) -> bool:
        return False

    def grow(self, probes: int) -> None:
        while (missing := min(probes - len(self.samples), COLUMNS)) > 0:
            signs = rademacher(self.multiply.shards, missing, self.multiply.operator, self.generator)
            images = self.multiply(signs)
            self.samples = torch.cat([self.samples, diagonal(signs, images, self.multiply.shards)])
            self.entries.add(signs, images)

    def result(self) -> Estimate:
        return from_variances(self.samples, self.entries.variances(), self.multiply.count)


class _HutchPlusPlus:
    """A third of the products each for AS, AQ and the vectors of the remainder: half of the probes are S."""

    def __init__(self, multiply: Products, generator: torch.Generator) -> None:
        self.multiply, self.generator = multiply, generator
        self.basis = multiply.empty  # Q
        self.images, self.signs, self.turned = self.basis, self.basis, self.basis  # AQ, the vectors g of the remainder and Ag

    @property
    def exhausted(self) -> bool:
        return self.basis.shape[1] == self.multiply.operator.size

    def grow(self, probes: int) -> None:
        operator, shards = self.multiply.operator, self.multiply.shards
        sketch = min(probes // 2, operator.size) - self.basis.shape[1]
        if sketch > 0:
            image = self.multiply(rademacher(shards, sketch, operator, self.generator))
            _, _, fresh = _extend(self.basis, image, shards)
            self.basis = torch.cat([self.basis, fresh], dim=1)
            self.images = torch.cat([self.images, self.multiply(fresh)], dim=1)
        signs = rademacher(shards, probes - probes // 2 - self.signs.shape[1], operator, self.generator)
        self.turned = torch.cat([self.turned, self.multiply(signs)], dim=1)
        self.signs = torch.cat([self.signs, signs], dim=1)

    def result(self) -> Estimate:
        shards = self.multiply.shards
        inner = gram(self.basis, self.images, shards)
        weights, couplings = gram(self.basis, self.signs, shards), gram(self.images, self.signs, shards)
        # xᵀAx for x = (I − QQᵀ)g, of what is known
        remainder = diagonal(self.signs, self.turned, shards) - 2 * (weights * couplings).sum(0)
        remainder += (weights * (inner @ weights)).sum(0)
        entries = EntryVariances(shards)
        for columns in torch.arange(self.signs.shape[1]).split(COLUMNS):
            left = self.turned[:, columns] - self.images @ weights[:, columns].to(self.images)
            entries.add(self.signs[:, columns], left - self.basis @ gram(self.basis, left, shards).to(self.basis))
        return from_variances(inner.trace() + remainder, entries.variances(), self.multiply.count)


class _XTrace:
    def __init__(self, multiply: Products, generator: torch.Generator) -> None:
        self.multiply, self.generator = multiply, generator
        self.vectors = multiply.empty  # Ω
        self.basis, self.images = self.vectors, self.vectors  # Q and AQ
        self.triangle = torch.empty(0, 0, dtype=torch.float64)  # R

    @property
    def exhausted(self) -> bool:
        return self.vectors.shape[1] == self.multiply.operator.size

    def grow(self, probes: int) -> None:
        operator, shards, known = self.multiply.operator, self.multiply.shards, self.vectors.shape[1]
        count = min(probes, operator.size) - known
        vectors = shards.gaussian(count, self.generator, operator.dtype).T.to(operator.device)
        above, corner, fresh = _extend(self.basis, self.multiply(vectors), shards)
        below = torch.zeros(count, known, dtype=torch.float64)
        self.triangle = torch.cat([torch.cat([self.triangle, above], dim=1), torch.cat([below, corner], dim=1)])
        self.vectors, self.basis = torch.cat([self.vectors, vectors], dim=1), torch.cat([self.basis, fresh], dim=1)
        self.images = torch.cat([self.images, self.multiply(fresh)], dim=1)

    def result(self) -> Estimate:
        shards = self.multiply.shards
        inner, weights = gram(self.basis, self.images, shards), gram(self.basis, self.vectors, shards)
        if self.exhausted:  # nothing is left to estimate, and what leaving out one vector leaves is rounding over rounding
            exact = inner.trace()
            return Estimate(float(exact), 0.0, self.multiply.count, exact.repeat(len(inner)), len(inner) - 1)
        inner, lengths = (inner + inner.T) / 2, diagonal(self.vectors, self.vectors, shards)
        samples = self._samples(inner, weights, self.triangle, lengths)
        groups = min(len(samples), _GROUPS)
        group = torch.arange(len(samples)) % groups
        parts = torch.stack([self._without(inner, weights, lengths, (group != g).nonzero()[:, 0]) for g in range(groups)])
        low, high = samples.var() / len(samples), (groups - 1) * parts.var(correction=0)
        error = float((low**2 * high) ** (1 / 6))
        return Estimate(float(samples.mean()), error, self.multiply.count, samples, len(samples) - 1)

    def _without(
        self,
        inner: Float64[Tensor, "m m"],
        weights: Float64[Tensor, "m m"],
        lengths: Float64[Tensor, " m"],
        kept: Int[Tensor, " l"],
    ) -> Float64[Tensor, ""]:
        """The estimate from some of the vectors: that of the whole, in an orthonormal basis of what their products span."""
        rotation, triangle = torch.linalg.qr(self.triangle[:, kept])
        return self._samples(rotation.T @ inner @ rotation, rotation.T @ weights[:, kept], triangle, lengths[kept]).mean()

    def _samples(
        self,
        inner: Float64[Tensor, "m m"],
        weights: Float64[Tensor, "m m"],
        triangle: Float64[Tensor, "m m"],
        lengths: Float64[Tensor, " m"],
    ) -> Float64[Tensor, " m"]:
        """The leave-one-out estimates from QᵀAQ, QᵀΩ, R and the ‖ω‖²."""
        without = _left_out(triangle)
        kept = weights - without * (without * weights).sum(0)  # of ω, in the basis without it
        quadratic = (weights * triangle).sum(0) - 2 * (kept * triangle).sum(0) + (kept * (inner @ kept)).sum(0)
        squared = lengths - 2 * (kept * weights).sum(0) + (kept * kept).sum(0)
        exact = inner.trace() - (without * (inner @ without)).sum(0)
        return exact + (self.multiply.operator.size - len(inner) + 1) * quadratic / squared


_ESTIMATORS: dict[str, type[_Estimator]] = {"xtrace": _XTrace, "hutch++": _HutchPlusPlus, "hutchinson": _Hutchinson}


def _left_out(triangle: Float64[Tensor, "m m"]) -> Float64[Tensor, "m m"]:
    """Unit columns s, each orthogonal to all columns of R but its own: R⁻ᵀ, normalised.

    Singular values are kept off zero: where AΩ has lost rank, s lies in what A does not reach, which costs nothing to leave out.
    """
    left, values, right = torch.linalg.svd(triangle)
    floor = max(float(values[0]) * torch.finfo(torch.float64).eps, 1e-300)
    inverse = (left / values.clamp(min=floor) * floor) @ right
    return inverse / torch.linalg.vector_norm(inverse, dim=0)


def _extend(
    basis: Float[Tensor, "W n"], block: Float[Tensor, "W b"], shards: Shards
) -> tuple[Float64[Tensor, "n b"], Float64[Tensor, "b b"], Float[Tensor, "W b"]]:
    """block = basis·above + fresh·corner with [basis, fresh] orthonormal; twice, for blocks that have lost rank."""
    above = gram(basis, block, shards)
    fresh, corner = _qr(block - basis @ above.to(basis), shards)
    again = gram(basis, fresh, shards)
    corner = corner.double().cpu()
    fresh, second = _qr(fresh - basis @ again.to(basis), shards)
    return above + again @ corner, second.double().cpu() @ corner, fresh


def _qr(block: Float[Tensor, "W b"], shards: Shards) -> tuple[Float[Tensor, "W b"], Float[Tensor, "b b"]]:
    """Q and R. Where processes share columns, each makes a triangle of its part, and all make one of these (Demmel, Grigori,
    Hoemmen & Langou 2012)."""
    if shards.group is None:
        return torch.linalg.qr(block)
    count = block.shape[1]
    padded = torch.cat([block, block.new_zeros(max(0, count - len(block)), count)])
    own, triangle = torch.linalg.qr(padded)
    turned, corner = torch.linalg.qr(torch.cat(shards.gathered(triangle)))
    mine = turned[shards.rank * count : (shards.rank + 1) * count]
    return (own @ mine)[: len(block)], corner


def gram(left: Float[Tensor, "W m"], right: Float[Tensor, "W n"], shards: Shards) -> Float64[Tensor, "m n"]:
    """leftᵀ·right, summed in float64."""
    total = torch.zeros(left.shape[1], right.shape[1], dtype=torch.float64, device=left.device)
    for a, b in zip(left.split(_ROWS), right.split(_ROWS), strict=True):
        total += a.double().T @ b.double()
    return shards.total(total).cpu()


def diagonal(left: Float[Tensor, "W m"], right: Float[Tensor, "W m"], shards: Shards) -> Float64[Tensor, " m"]:
    """The dot product of every pair of columns, summed in float64."""
    total = torch.zeros(left.shape[1], dtype=torch.float64, device=left.device)
    for a, b in zip(left.split(_ROWS), right.split(_ROWS), strict=True):
        total += (a.double() * b.double()).sum(0)
    return shards.total(total).cpu()
