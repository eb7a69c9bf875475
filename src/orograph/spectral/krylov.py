"""A growing Krylov decomposition that allows blocks, restarts and fresh directions: the engine under Lanczos.

The rows q₁ … qₙ of the basis are orthonormal. The first m have been multiplied; the other n − m, the *pool*, wait. What is
kept is

    A q_j = Σ_{i ≤ n} C[i, j] q_i        (j ≤ m)

with every coefficient measured, in float64: C[:m, :m] is the projected matrix (symmetric up to rounding), C[m:, :m] couples
the basis to its pool. For θ, s an eigenpair of the symmetrised C[:m, :m] the vector x = Qᵀs has the residual ‖Ax − θx‖ = ‖C
s − θ s‖, to rounding, whatever the history of the basis: it may have grown from one vector (Lanczos), a block (band
Lanczos, Ruhe 1979), been restarted with Ritz vectors (thick restart, Wu & Simon 2000), or been given random directions with
no coupling at all, which is how copies of multiple eigenvalues are looked for. Of a product, what symmetry foretells is
subtracted first; the rest is orthogonalised against all rows by classical Gram–Schmidt, repeated while the norm falls (twice
is enough; Giraud, Langou & Rozložník 2005), as two matrix–vector products a pass. Mostly one pass does.

A pass reads the whole basis for one vector, twice. Where one vector follows the other (`advance`), a new one is therefore made
orthogonal to the two before it alone, and the pass is made up for several at once, as products of matrices (`settle`). What
the rows have lost until then is foretold (`Overlaps`) and kept small. Making up for it changes nothing but the basis:
Qₙ = Q'ₙ M for a triangular M that is measured, so that

    A Q'ₘ = Q'ₙ M C Mₘ⁻¹

holds as before, whatever the loss was. What grows fastest, by |λ|/‖rest‖ a step, lies along the eigenvectors far outside the
bulk, which are known early. Ritz vectors near them are set aside and taken out of the last rows when it is time (selective
orthogonalisation, Parlett & Scott 1979), so that many more vectors wait for one pass.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from orograph.curvature.operator import LinearOperator, not_finite
from orograph.curvature.shards import shards_of
from orograph.spectral.basis import Basis
from orograph.spectral.orthogonality import Aside, Overlaps, nothing_aside, size

ENOUGH = 0.7  # of a norm, left by a pass: what it has left along the basis is rounding
_PASSES = 4  # after the first; one suffices for any vector that is not wholly rounding
_LARGE = 1e-3  # of |λ₁|: components worth a subtraction of their own
_LOSS = 0.03  # components along old rows, as foretold, at which passes are made up for
_LOST = 0.5  # of the length of a row: it has far more along old rows than was foretold
_POSTPONED = 32  # vectors at most
_FAR = 4.0  # times ‖rest‖: eigenvalues whose Ritz vectors are worth a pass over themselves
_RECENT = 10  # rests that ‖rest‖ is the median of
_FIRST = 20  # rows before Ritz vectors are set aside
_KNOWN = 0.05  # of |θ|: the residual up to which a Ritz vector is near enough to an eigenvector
_AGED = 2.0  # times the vectors that they were made of, when there are enough for better ones
_COARSE = 1e-5  # of a dtype: rows that are changed once more are rounded once more


class Krylov:
    """The decomposition A Qₘ = Qₙ C of one operator.

    Args:
        operator: symmetric, of size P.
        capacity: the largest number of rows.
        seed: of the random directions, drawn on the CPU so that they do not depend on the device.
        memory: budget of the basis (`"4GiB"`); a larger one is memory-mapped.
        told: called with the number of products so far after every product.
    """

    coefficients: Tensor
    multiplied: int
    count: int
    products: int
    scale: float
    fresh: int
    lost: float
    aside: Aside

    def __init__(
        self,
        operator: LinearOperator,
        capacity: int,
        *,
        seed: int,
        memory: str | int,
        told: Callable[[int], Any] = lambda count: None,
    ) -> None:
        self.operator = operator
        self.shards = shards_of(operator)
        self.basis = Basis(capacity, self.shards, dtype=operator.dtype, device=operator.device, memory=memory)
        self.coefficients = torch.zeros(capacity, capacity, dtype=torch.float64)
        self.multiplied = 0  # m
        self.count = 0  # n
        self.products = 0
        self.scale = 0.0  # the largest ‖A q‖ seen, or Ritz value
        self.fresh = 0  # how many of the last rows are orthogonal to the two before them alone
        self.lost = 0.0  # what the last row has along the others, as foretold, but for Ritz vectors set aside
        self.overlaps = Overlaps(capacity, seed)
        self.aside = nothing_aside(self.basis.rows)
        self._coarse = not operator.exact_products or torch.finfo(operator.dtype).eps > _COARSE  # so nothing is postponed
        self._generator = torch.Generator().manual_seed(seed)
        self._told = told

    @property
    def pool(self) -> int:
        """How many vectors wait to be multiplied."""
        return self.count - self.multiplied

    @property
    def room(self) -> int:
        """How many vectors can still be added; none when the basis spans the whole space."""
        return min(len(self.coefficients), self.operator.size) - self.count

    def product(self, block: Float[Tensor, "b W"], operator: LinearOperator | None = None) -> Float[Tensor, "b W"]:
        """A applied to each row, counted and checked; of rows and results this process has its part.

        Raises:
            DataError: a product holds NaN or infinity.
        """
        result = self._unchecked(block, operator or self.operator)
        self._tally(len(block), self.shards.longest(result))
        return self.shards.taken(result)

    def _unchecked(self, block: Float[Tensor, "b W"], operator: LinearOperator) -> Float[Tensor, "b V"]:
        block = self.shards.given(block.to(operator.device, operator.dtype))
        return (operator @ block[0])[None] if len(block) == 1 else (operator @ block.T).T

    def _tally(self, count: int, longest: float) -> None:
        """Counts products, the longest of them so long.

        Raises:
            DataError: one of them holds NaN or infinity.
        """
        self.products += count
        self._told(self.products)
        if not longest < float("inf"):
            raise not_finite(self.operator, self.products)

    def seen(self, count: int, longest: float) -> None:
        """Counts products of unit vectors, the longest of them so long.

        Raises:
            DataError: one of them holds NaN or infinity.
        """
        self._tally(count, longest)
        self.scale = max(self.scale, longest)

    def add_random(self, count: int) -> int:
        """Up to `count` random unit vectors, orthogonal to all rows, into the pool; returns how many there was room for."""
        self.settle()
        known = self.count
        for row in (block := self.basis.rows[known : known + min(count, self.room)]):
            row.copy_(self.shards.random(1, self._generator, self.basis.dtype)[0])
        if len(block):
            self._append_units(block)
        return self.count - known

    def add(self, directions: Float[Tensor, "b W"]) -> int:
        """The unit vectors of directions, orthogonal to all rows, into the pool; returns how many there was room for."""
        self.settle()
        known = self.count
        self._append_units(directions.to(self.basis.rows, copy=True))
        return self.count - known

    def _append_units(self, block: Float[Tensor, "b W"]) -> None:
        """The unit vectors of these (changed), which may lie where the next rows do, orthogonal to all, into the pool."""
        block /= self.shards.norms(block)[:, None].to(block)
        known = self.count
        self.basis.project_out(block, known)
        for vector in block.split(1):
            self._append(vector, 0.0, known=known, before=1.0)

    def expand(self, width: int = 1) -> int:
        """Multiply the first `width` vectors of the pool; returns how many vectors this added to it, at its end."""
        self.settle()
        start, stop = self.multiplied, min(self.multiplied + width, self.count)
        images, known = self._images(start, stop), self.count
        self.seen(stop - start, float(self.shards.norms(images).max()))
        block, removed = self._less_foreseen(images, start, _LARGE * self.scale)
        self.coefficients[:known, start:stop] = torch.from_numpy(removed)
        before = self.shards.norms(block).tolist()
        self.coefficients[:known, start:stop] += self.basis.project_out(block, known)
        added = sum(self.enter(start + j, block[j : j + 1], known=known, before=before[j]) for j in range(stop - start))
        self.multiplied = stop
        return added

    def advance(self) -> int:
        """As `expand`, of one vector; where it is the only one of the pool, what its product has along rows of long ago may be
        left to `settle`."""
        if self.pool != 1 or self.room == 0 or self._coarse:
            return self.expand()
        start, coefficients = self.multiplied, self.coefficients.numpy()
        vector, removed = self.basis.rows[self.count : self.count + 1], coefficients[: self.count, start]
        removed[:] = self._less_foreseen(self._images(start, start + 1), start, self.floor, into=vector)[1][:, 0]
        self.multiplied, before = start + 1, self.norm(vector)
        self.seen(1, math.hypot(before, float(np.linalg.norm(removed))))
        overlaps = self.overlaps.foretell(coefficients, self.count, self.floor)
        norm = self.norm(vector) if self._subtract_aside(start, overlaps, before) else before
        if size(overlaps) >= _LOSS * norm or norm < _LOST * before:
            shortened = self.settle()
            if shortened == 0:
                return 0
            vector /= shortened
            known, before = self.count, self.norm(vector)
            self.coefficients[:known, start] += self.basis.project_out(vector, known)[:, 0]
            return int(self.enter(start, vector, known=known, before=before))
        vector /= norm
        coefficients[self.count, start] = norm
        self.overlaps.accept(overlaps / norm)
        lost = self.aside.beside(overlaps) / norm
        growth, self.lost = lost / self.lost if self.lost else 1.0, lost
        self.count, self.fresh = self.count + 1, self.fresh + 1
        if self.fresh == _POSTPONED or lost * growth > _LOSS:  # the next would be too much
            self.settle()
            if self._may_set_aside and self.multiplied >= _FIRST:
                self.ritz()
        return 1

    def _images(self, start: int, stop: int) -> Float[Tensor, "b W"]:
        """The products of these rows, as the operator gave them; they are still to be `seen`."""
        return self.shards.taken(self._unchecked(self.basis.rows[start:stop], self.operator)).to(self.basis.rows.device)

    def settle(self) -> float:
        """Make all rows orthonormal to rounding; the decomposition is that of the new rows.

        Returns by what the last row was divided: of a product whose rest is not yet a row, that is divided by as much; or 0 where
        products were so much less exact than their dtype that nothing is left of a row, and all that were postponed are given up.
        """
        n, m, last = self.count, self.multiplied, 1.0
        old = n - self.fresh
        while old < n:
            dots = self.basis.components(self.basis.rows[old:n], n)
            along, gram = dots[:old], dots[old:]
            if last == 1.0:
                self._coarse |= float(along.abs().max()) > max(self.overlaps.most, _LARGE)  # less exact than their dtype
                self.overlaps.compare(dots[:-1, -1])
            upper, failed = torch.linalg.cholesky_ex((gram + gram.T) / 2 - along.T @ along, upper=True)
            least = float(upper.diagonal().min())
            if failed or (last == 1.0 and least < _LOST):
                self._give_up_fresh()
                return 0.0
            inverse, written = torch.linalg.inv(upper), n - 2 if least > ENOUGH else old
            self.basis.rotate(torch.cat([-along @ inverse, inverse]), old, written=written)
            rows, columns = self.coefficients[:n, :m], slice(old, m)
            rows[:old] += along @ rows[old:]
            rows[old:] = upper @ rows[old:]
            rows[:, columns] -= rows[:, :old] @ along[:, : m - old]
            rows[:, columns] = rows[:, columns] @ torch.linalg.inv(upper[: m - old, : m - old])
            last *= float(upper[-1, -1])
            if least > ENOUGH:
                break
        self._forget()
        return last

    def _forget(self) -> None:
        """All rows are orthonormal."""
        self.fresh, self.lost = 0, 0.0
        self.overlaps.forget()

    def _give_up_fresh(self) -> None:
        """Back to before the first row whose pass was postponed; and postpone no more, if rounding was not underestimated."""
        self.count -= self.fresh
        self.multiplied = self.count - 1
        self.coefficients[:, self.multiplied :] = 0
        self.coefficients[self.count :] = 0
        self._coarse |= not self.overlaps.distrust()
        self._forget()

    @property
    def floor(self) -> float:
        """What is left of a product below this norm is rounding."""
        return 4 * torch.finfo(self.basis.dtype).eps * self.scale

    def enter(self, index: int, vector: Float[Tensor, "1 P"], *, known: int, before: float) -> bool:
        """Add what is left of A q_index as a row, if it is more than rounding, with the coefficients that this takes; whether it
        was added.

        The first `known` rows have been projected out of it once, when its norm was `before`.
        """
        column, norm = self._append(vector, self.floor, known=known, before=before)
        self.coefficients[: len(column), index] += column
        if norm > 0:
            self.coefficients[self.count - 1, index] = norm
        return norm > 0

    def _less_foreseen(
        self, images: Float[Tensor, "b P"], start: int, least: float, into: Tensor | None = None
    ) -> tuple[Float[Tensor, "b P"], Float64[np.ndarray, "n b"]]:
        """A q_j, … less the components above `least` that symmetry foretells, C[i, j] = C[j, i], and those along q_j, …
        themselves; and these components.

        What is left is small along all rows, so that one pass over the basis suffices to make it orthogonal.
        """
        stop, removed = start + len(images), np.zeros((self.count, len(images)))
        foreseen = self.coefficients.numpy()[start:stop, :start].T
        np.copyto(removed[:start], foreseen, where=np.abs(foreseen) > least)
        removed[start:stop] = self.shards.total(self.basis.rows[start:stop] @ images.T).double().cpu()
        rows = [*np.flatnonzero(removed[:start].any(axis=1)).tolist(), *range(start, stop)]
        weights = torch.from_numpy(removed[rows].T).to(images)
        removed[rows] = weights.T.double().cpu()  # as they are subtracted
        return torch.addmm(images, weights, self.basis.chosen(rows), alpha=-1, out=into), removed

    def _subtract_aside(self, index: int, overlaps: np.ndarray, norm: float) -> bool:
        """Subtract from what is left of A q_index (in place), which lies behind q_index, the last row, what it has along those
        Ritz vectors set aside that are due by these overlaps (changed alike), and from q_index, or it would be back a step later;
        whether there are any."""
        aside, many, rows = self.aside, self.aside.due(overlaps, norm), self.coefficients[: self.count, : index + 1]
        if many:
            both = self.basis.rows[index if self.fresh else index + 1 : index + 2]
            along = torch.from_numpy(aside.weights[:, :many]) @ self.basis.subtract(both, aside.vectors[:many])
            rows[: aside.known, index] += along[:, -1]
            if self.fresh:
                rows[: aside.known] += torch.outer(along[:, 0], rows[index])
                rows[:, index] -= rows[:, : aside.known] @ along[:, 0]
                self.overlaps.last[: self.count] = aside.removed(self.overlaps.last[: self.count], many)
            overlaps[:] = aside.removed(overlaps, many)
        return many > 0

    @property
    def _may_set_aside(self) -> bool:
        """Whether there may be better Ritz vectors than those set aside; none where the basis is more than memory may hold."""
        return self.pool == 1 and not self._coarse and not self.basis.mapped and self.multiplied >= _AGED * self.aside.known

    def _set_aside(self, values: Float64[Tensor, " m"], weights: Float64[Tensor, "m m"]) -> None:
        """Set Ritz vectors of outlying eigenvalues aside, the farthest first, if there are any."""
        m, sizes = self.multiplied, values.abs()
        rest = float(self.coefficients.diagonal(-1)[max(0, m - _RECENT) : m].abs().median())
        far = (sizes > _FAR * rest) & (self.couplings(weights) <= _KNOWN * sizes)
        chosen = torch.argsort(torch.where(far, sizes, 0.0), descending=True)[: min(int(far.sum()), m // 4)]
        if len(chosen):
            vectors = self.basis.combine(weights[:, chosen]).to(self.basis.rows)
            self.aside = Aside(vectors, weights[:, chosen].numpy(), sizes[chosen].numpy())

    def _append(self, vector: Float[Tensor, "1 P"], floor: float, *, known: int, before: float) -> tuple[Tensor, float]:
        """Add the unit vector as a row unless nothing above `floor` is left of it once it is orthogonal to all.

        The first `known` rows have been projected out once, when its norm was `before`. The others are projected out now, and
        all of them again until the norm stays.

        Returns the components removed and the norm of the rest, 0 when it was not added.
        """
        column = torch.zeros(self.count, dtype=torch.float64)
        if self.count > known:
            column[known:] = self.basis.project_out(vector, self.count, first=known)[:, 0]
        norm = self.norm(vector)
        for _ in range(_PASSES):
            if norm <= floor or norm > ENOUGH * before:
                break
            column += self.basis.project_out(vector, self.count)[:, 0]
            before, norm = norm, self.norm(vector)
        if norm <= floor or norm <= 0.5 * before or self.room == 0:
            return column, 0.0
        torch.div(vector[0], norm, out=self.basis.rows[self.count])
        self.count += 1
        return column, norm

    def norm(self, vector: Float[Tensor, "1 W"]) -> float:
        """The norm of one vector, of which this process has its part."""
        return float(self.shards.norms(vector)[0])

    def prefer(self, rows: list[int]) -> None:
        """Move these rows to the front of the pool."""
        self.settle()
        m, n = self.multiplied, self.count
        order = rows + [i for i in range(m, n) if i not in rows]
        if order != list(range(m, n)):
            self.basis.move(order, m)
            self.coefficients[m:n, :m] = self.coefficients[order, :m]

    def ritz(self, *, roughly: bool = False) -> tuple[Float64[Tensor, " m"], Float64[Tensor, "m m"]]:
        """Ritz values, ascending, and their vectors' weights in the basis, as columns; roughly: of the basis as it is, so that
        all are as good as its rows are orthogonal."""
        if not roughly:
            self.settle()
        projected = self.coefficients[: self.multiplied, : self.multiplied]
        values, weights = torch.linalg.eigh((projected + projected.T) / 2)
        self.scale = max(self.scale, float(values.abs().max()))
        if not self.fresh and self._may_set_aside:
            self._set_aside(values, weights)
        return values, weights

    def couplings(self, weights: Float64[Tensor, "m l"]) -> Float64[Tensor, " l"]:
        """The norm of the part of each residual vector that lies in the pool: what further steps can reduce.

        The rest, inside the basis, is the asymmetry of the measured coefficients: the operator's rounding, which no step
        reduces.
        """
        return (self.coefficients[self.multiplied : self.count, : self.multiplied] @ weights).norm(dim=0)

    def restart(self, weights: Float64[Tensor, "m l"]) -> None:
        """Keep only these l combinations of the multiplied rows, and the pool. Exact: the decomposition holds as before."""
        self.settle()
        self.aside = nothing_aside(self.basis.rows)
        m, n, kept = self.multiplied, self.count, weights.shape[1]
        projected = weights.T @ self.coefficients[:m, :m] @ weights
        coupling = self.coefficients[m:n, :m] @ weights
        self.basis.rotate(weights)
        self.basis.move(list(range(m, n)), kept)
        self.coefficients.zero_()
        self.coefficients[:kept, :kept] = projected
        self.multiplied, self.count = kept, kept + n - m
        self.coefficients[kept : self.count, :kept] = coupling
