"""The iteration under `lanczos`: expand, solve, restart, measure the noise, look for missed copies, until the wanted pairs
stand.

Convergence is judged by the part of a residual that further steps reduce (its coupling to the pool); what rounding adds is
found by verification. It is looked at when it can have come: residuals fall geometrically, so the next look is a quarter as far
away as the last two put the end, or as many steps as a quarter of the open pairs. Pairs that cannot reach their tolerance because
it lies at the rounding of the operator make the noise be measured, and are settled once their residual is below it.

Where products are dear, copies that a search has shown to be missing are followed for about half as many products as pairs are
asked for: a block of random directions finds many at once where they stand far from all else, close ones would cost a run each,
and a cluster that is larger than k is cut whatever is spent. Of `LM`, pairs that have converged then go before others.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from orograph.curvature.shards import Shards
from orograph.spectral.copies import Chain, Limits, Search
from orograph.spectral.krylov import Krylov
from orograph.spectral.noise import noise_level
from orograph.spectral.verification import Pairs

Which = Literal["LM", "LA", "SA", "BE"]
WHICH = ("LM", "LA", "SA", "BE")

_MARGIN = 0.95  # of the tolerance; the rest is left for what verification adds
_ULPS = 10  # of |λ₁|: smaller values may be rounding
_MEASUREMENTS = 4  # of the noise, at most
_MANY = 8  # random directions taken up when a search finds a missed eigenvalue, twice as many the next time
_FEW = 2  # pairs a product of what is first taken up where copies are not followed to the last: directions by the steps of each
_DEEP = 6  # steps of a search where products are dear and nothing hints at multiple eigenvalues
_LARGE = 5_000  # where products are dear; below, a search goes as far as its certificate needs, and copies are found to the last
_SHORT = 5  # products a pair that the whole may take where products are dear; at least `_LEAST`, and half one for the copies
_LEAST = 100
_STRIDE = 8  # steps so far by those that may pass between two looks
_OFTEN = 100  # and by those that must: a look takes as long as the cube of the steps, a step as long as these


def wanted(values: Float64[Tensor, " m"], count: int, which: str) -> Int[Tensor, " c"]:
    """Indices of the `count` wanted among ascending values, the most wanted first; `BE` takes the odd one from the top."""
    m = len(values)
    if which == "LM":
        return torch.argsort(values.abs(), descending=True, stable=True)[:count]
    steps = torch.arange(min(count, m))
    if which == "BE":
        return torch.where(steps % 2 == 0, m - 1 - steps // 2, steps // 2)
    return steps if which == "SA" else m - 1 - steps


@dataclass
class Iteration:
    """One computation: the decomposition, what is wanted of it, and what is known so far.

    `longest` is the number of multiplied vectors that makes it restart, `widest` the number of random directions taken up
    at once, `pool` how many vectors may wait.
    """

    krylov: Krylov
    k: int
    which: str
    tolerance: float
    block: int
    widest: int
    longest: int
    pool: int
    max_products: int
    seed: int
    thorough: bool = False  # whether copies are followed to `max_products` even where products are dear
    certifying: int = 0  # products that sought copies or measured the noise
    affordable: int = 0  # products that copies may take the whole to; 0 before a search has found one
    missing: bool = False  # whether copies are known to exist that were not found
    doubts: Tensor | float = 0.0  # how far `others` are from eigenvalues, so far as that matters
    patience: int = 0  # steps before convergence is looked at again
    last_look: tuple[int, float] = (0, float("inf"))  # products, and log of the worst residual over its tolerance
    noise: float = float("nan")
    measurements: int = 0
    spread: tuple[float, float] = (float("inf"), float("-inf"))  # the extreme Ritz values ever seen
    found: bool = False  # whether a search has found a missed eigenvalue
    searched: bool = False  # whether the last search has shown that nothing is missing
    settled: bool = False  # whether the wanted pairs have converged, and a search is next
    values: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))  # all Ritz values, ascending
    weights: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.float64))
    chosen: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))  # the k wanted ones
    wanted_values: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))
    wanted_weights: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.float64))
    estimates: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))  # their couplings to the pool
    known: Pairs | None = None  # the wanted pairs, once they were asked for
    beyond: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))  # what a search saw beside them

    def run(self) -> None:
        """Expand until the wanted pairs have converged and a search for copies finds nothing."""
        width, harvest = self.block, 0
        while self.settled or self.proceed(width):
            if not self.settled:
                self.krylov.advance() if width == 1 else self.krylov.expand(max(1, min(width, self._left)))
                self.look()
                continue
            reached, steps = self.krylov.products, self._search()
            if steps == 0:
                self._measure_leftovers()
                return
            self.settled = False
            short = self._dear and not self.thorough
            if not self.affordable:
                self.affordable = max(_LEAST, _SHORT * self.k, reached + self.k // 2) if short else self.max_products
            first = self.k // (_FEW * steps) if short else _MANY
            harvest = min(max(2 * harvest, first, self.block, 1), self.widest)
            if harvest > 1:
                self._harvest(harvest, steps)
            width = harvest
        self.solve()
        self.missing = 0 < self.affordable <= self.krylov.products
        if self.missing and self.which == "LM":  # an index is counted to the last pair of `SA`
            self._prefer_converged()

    def proceed(self, width: int) -> bool:
        """Make ready for the next expansion; False when the products are used up or the basis spans the space."""
        krylov = self.krylov
        if self._left <= 0 and krylov.multiplied >= self.k:
            return False
        if krylov.pool == 0 and krylov.add_random(width) == 0:
            return False
        self._make_room(width)
        if krylov.pool > width:
            krylov.prefer(self._most_needed(width))
        return True

    def look(self) -> None:
        """After an expansion: whether the wanted pairs are settled, if it is time to ask."""
        if self.krylov.multiplied >= self.k and self._due():
            self.settled = self.converged()
            self._extrapolate()

    def pairs(self) -> Pairs:
        """The wanted pairs; the entry of largest magnitude of each vector is positive."""
        if self.known is None:
            order = torch.argsort(self.wanted_values, descending=True, stable=True)
            weights = self.wanted_weights[:, order]
            vectors, signs = _oriented(self.krylov.basis.combine(weights), self.krylov.shards)
            self.known = Pairs(self.wanted_values[order], weights * signs.double().cpu(), vectors)
        return self.known

    def others(self) -> Float64[Tensor, " n"]:
        """The Ritz values that were not wanted, those of the last search included."""
        return torch.cat([self.values[self._beside(self.chosen)], self.beyond])

    @property
    def scale(self) -> float:
        """|λ₁|, so far as it is known."""
        return max(abs(end) for end in self.spread)

    @property
    def rounding(self) -> float:
        """Differences of eigenvalues below this are rounding: the noise, or a few units of the dtype where it was never
        measured."""
        floor = _ULPS * torch.finfo(self.krylov.operator.dtype).eps * self.scale
        return floor if self.measurements == 0 else self.noise

    def solve(self, *, roughly: bool = False) -> None:
        """The projected problem: Ritz values, the wanted ones and how far from converged they are."""
        if not roughly:
            self.krylov.settle()
        while self.krylov.multiplied < self.k and (self.krylov.pool or self.krylov.add_random(1)):
            self.krylov.expand()  # rows were given up, or never there
        self.values, self.weights = self.krylov.ritz(roughly=roughly)
        self._choose(wanted(self.values, self.k, self.which))
        self.spread = (min(self.spread[0], float(self.values[0])), max(self.spread[1], float(self.values[-1])))

    def _choose(self, chosen: Int[Tensor, " k"]) -> None:
        self.chosen, self.known, self.beyond = chosen, None, self.values[:0]
        self.wanted_values, self.wanted_weights = self.values[chosen], self.weights[:, chosen]
        self.estimates = self.krylov.couplings(self.wanted_weights)

    def _prefer_converged(self) -> None:
        """Where copies are given up: the largest of those pairs that have converged; others only where these are too few, or
        where they lie beyond all of them, since the first and the last pair are extreme ones."""
        couplings, order = self.krylov.couplings(self.weights), wanted(self.values, len(self.values), self.which)
        known = couplings <= _MARGIN * self.tolerance * self.values.abs()
        if not known.any():
            return
        within = (self.values > self.values[known].min()) & (self.values < self.values[known].max())
        passed = (within & ~known)[order]
        self._choose(order[torch.argsort(passed.int(), stable=True)[: self.k]])
        self.doubts = couplings[self._beside(self.chosen)]

    def converged(self, *, restarting: bool = False) -> bool:
        """Solve, measure the noise if that may be what is in the way, and tell whether nothing is open."""
        self.solve(roughly=not restarting)
        if self.krylov.fresh and (self._suspects(restarting).any() or not self._open().any()):
            self.solve()
        suspects = self._suspects(restarting)
        if suspects.any():
            self._measure_noise(suspects)
        return not self._open().any()

    def _suspects(self, restarting: bool) -> Bool[Tensor, " k"]:
        """The wanted pairs to measure the noise on, if it is time to; none otherwise."""
        still, sizes = self._open(), self.wanted_values.abs()
        hopeless = self.tolerance * sizes <= _ULPS * torch.finfo(self.krylov.operator.dtype).eps * self.scale
        if self.measurements == 0:
            near = hopeless & (self.estimates <= 0.01 * self.scale)
            due = bool((hopeless.any() and (~still | near).all()) or (restarting and still.any()))
        else:
            due = bool(still.any() and (self.estimates[still] <= 10 * self.noise).all() and self.measurements < _MEASUREMENTS)
        return (still | hopeless) & due

    def _measure_noise(self, suspects: Bool[Tensor, " k"]) -> None:
        """Measure on the largest of the wanted pairs in doubt, two of them; the level never falls."""
        sizes = torch.where(suspects, self.wanted_values.abs(), -1.0)
        largest = torch.argsort(sizes, descending=True)[: min(2, int(suspects.sum()))]
        before = self.krylov.products
        level = noise_level(self.krylov, self.wanted_weights[:, largest], self.scale, self.seed + before)  # not that of the basis
        self.noise = level if self.measurements == 0 else max(self.noise, level)
        self.certifying += self.krylov.products - before
        self.measurements += 1

    def _measure_leftovers(self) -> None:
        """Measure the noise on pairs above it, too, that rounding keeps from their tolerance."""
        sizes = self.wanted_values.abs()
        left = (self.estimates > _MARGIN * self.tolerance * sizes) & (sizes > self.noise)
        if left.any():
            self._measure_noise(left)

    def noise_by(self, residuals: Float64[Tensor, " k"]) -> float:
        """The noise, or the largest value of which the verified residuals of the pairs leave nothing but rounding, below all
        that have converged."""
        if self.measurements == 0:
            return self.noise
        sizes, known = self.pairs().values.abs(), self.krylov.couplings(self.pairs().weights)
        lost = (sizes <= residuals - known) & (sizes <= _ULPS * torch.finfo(self.krylov.operator.dtype).eps * self.scale)
        good = (residuals <= self.tolerance * sizes) & (sizes > self.noise)
        least = min(sizes[good].tolist(), default=float("inf"))
        return max([self.noise, *sizes[lost & (sizes < least)].tolist()])

    def _open(self) -> Bool[Tensor, " k"]:
        """Which of the wanted pairs still need work: neither converged, nor as good as the noise allows."""
        sizes = self.wanted_values.abs()
        unsettled = self.estimates > _MARGIN * self.tolerance * sizes
        if self.measurements == 0:
            return unsettled
        return unsettled & (self.estimates > self.noise * (1 + (sizes <= self.noise)))

    def _due(self) -> bool:
        """Whether to look for convergence now: when it can have come, and no more often than makes the small problem, which is
        solved on the CPU, cheap beside the steps."""
        m, operator = self.krylov.multiplied, self.krylov.operator
        rarely = 1 if operator.device.type == "cpu" else 4
        return self.krylov.pool == 0 or m - len(self.values) >= max(self.patience, min(8, rarely + m * m // operator.size))

    def _extrapolate(self) -> None:
        """A quarter of the steps that are left if residuals go on to fall as since the last look, as they fall ever faster, or
        of the pairs that have not converged, of which a step seldom settles one (they replace each other, and the worst residual
        may rise); and a share of the steps so far at most, since a pair may have to fall that is not yet there."""
        m, goals, still = self.krylov.multiplied, _MARGIN * self.tolerance * self.wanted_values.abs(), self._open()
        excess = (self.estimates / goals)[still & (goals > 0)]
        distance = float(excess.max().log()) if len(excess) else 0.0
        (then, before), self.last_look = self.last_look, (self.krylov.products, distance)
        fall = (before - distance) / (self.krylov.products - then)
        left = int(distance / fall) if 0 < fall < float("inf") else 0
        self.patience = max(min(max(left, int(still.sum())) // 4, m // _STRIDE), m // _OFTEN) if self._dear else 0

    @property
    def _left(self) -> int:
        """How many products there still are; none, or less, when they are used up."""
        return min(self.max_products, self.affordable or self.max_products) - self.krylov.products

    @property
    def _dear(self) -> bool:
        """Whether a product costs more than what surrounds it."""
        return self.krylov.operator.size > _LARGE

    def _most_needed(self, width: int) -> list[int]:
        """The pool's vectors that the residuals of the open pairs contain most of, by the last solution."""
        known, first = len(self.wanted_weights), self.krylov.multiplied
        shares = self.krylov.coefficients[first : self.krylov.count, :known] @ self.wanted_weights[:, self._open()]
        return [first + i for i in torch.argsort(shares.norm(dim=1), descending=True, stable=True)[:width].tolist()]

    def _make_room(self, width: int) -> None:
        """Restart with the best Ritz vectors when the basis is full."""
        krylov = self.krylov
        if krylov.multiplied + width <= self.longest or self.longest >= krylov.operator.size:
            return
        self.converged(restarting=True)
        kept = self.k + (krylov.multiplied - self.k) * 2 // 5
        krylov.restart(self.weights[:, wanted(self.values, min(kept, self.longest - width), self.which)])
        self.solve()

    def _search(self) -> int:
        """Follow one random direction; how many steps it took to find a missed eigenvalue, 0 when there seems to be none.

        What it found is taken up.
        """
        krylov, before = self.krylov, self.krylov.products
        if krylov.multiplied >= krylov.operator.size:
            self.searched = True
            return 0
        deepest = _DEEP
        if not self._dear:
            deepest = max(12, krylov.products)
        elif self.found:
            deepest = max(12, krylov.products // 8)
        vectors, seed = self.pairs().vectors, self.seed + krylov.products
        chain = Chain(krylov, vectors, deepest, self._limits(), self.spread, seed)
        verdict = Search.UNSURE
        while verdict is Search.UNSURE and chain.advance():
            verdict = chain.verdict()
        self.beyond = chain.values()
        self.found |= verdict is Search.FOUND
        self.searched = verdict is Search.CLEAR
        self.certifying += krylov.products - before
        if verdict is not Search.FOUND:
            return 0
        directions, self.known = chain.found(), None
        if not self._dear:  # what else there is would only be in the way
            krylov.restart(self.wanted_weights)
            self.solve()
        self._take_up(directions)
        return chain.steps

    def _beside(self, chosen: Int[Tensor, " c"]) -> Bool[Tensor, " n"]:
        """Which of the Ritz values are not chosen."""
        rest = torch.ones(len(self.values), dtype=torch.bool)
        rest[chosen] = False
        return rest

    def _take_up(self, directions: Float[Tensor, "b W"]) -> None:
        """Multiply these directions."""
        self._make_room(len(directions))
        if added := self.krylov.add(directions):
            self._expand_last(added)

    def _harvest(self, width: int, steps: int) -> None:
        """Take up more random directions at once and follow them as deep as the one that found something."""
        krylov = self.krylov
        self._make_room(width)
        fresh = krylov.add_random(min(width, self.pool - krylov.pool))
        for _ in range(steps):
            if not fresh or self._left <= 0:
                break
            self._make_room(fresh)
            fresh = self._expand_last(fresh)

    def _expand_last(self, count: int) -> int:
        """Multiply the last vectors of the pool; returns how many this added to it, at its end."""
        krylov = self.krylov
        krylov.prefer(list(range(krylov.count - count, krylov.count)))
        return krylov.expand(count)

    def _limits(self) -> Limits:
        """Beyond which eigenvalues an unknown one would be wanted."""
        infinity = float("inf")
        values, smallest = self.wanted_values, float(self.wanted_values.abs().min())
        slack = self.tolerance * smallest + 2 * self.rounding
        if self.which == "LM":
            return Limits(-smallest, smallest, slack)
        upper = {"LA": values, "SA": values[:0], "BE": values[0::2]}[self.which]
        lower = {"LA": values[:0], "SA": values, "BE": values[1::2]}[self.which]
        return Limits(
            float(lower.max()) if len(lower) else -infinity,
            float(upper.min()) if len(upper) else infinity,
            slack,
        )


def _oriented(vectors: Float[Tensor, "k W"], shards: Shards) -> tuple[Float[Tensor, "k W"], Float[Tensor, " k"]]:
    """Unit rows (in place) whose entry of largest magnitude is positive, and the signs that made it so."""
    lowest, highest = torch.aminmax(vectors, dim=1)
    largest = torch.cat(shards.gathered(torch.stack([highest, lowest], dim=1)), dim=1)
    signs = largest.gather(1, largest.abs().argmax(dim=1, keepdim=True))[:, 0].sign()
    return vectors.mul_((signs / shards.norms(vectors).to(signs))[:, None]), signs
