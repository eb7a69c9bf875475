"""The invertible A that brings ‖a − A b‖² + ‖c − A⁻ᵀ d‖² lowest, as of queries b and keys d, whose product A leaves as it is.

Several starts, and from the best of each the method of Gauss–Newton with A ← (I + X) A, whose step solves a Sylvester equation
in closed form, damped (Marquardt, 1963). Starts are the identity, the least squares of each term alone, and the polar factor in
the balanced gauge: with A b bᵀ Aᵀ = A⁻ᵀ d dᵀ A⁻¹ of both networks, by a matrix geometric mean (Pusz and Woronowicz, 1975), what
is left between them is orthogonal (Schönemann, 1966); and that with the other determinant. Where (a, c) is (A b, A⁻ᵀ d), A is
found to rounding. Else the problem is not convex, and what is found is the lowest of the minima reached; `most` bounds it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.connectivity.elements import CONDITION

_STEPS = 300  # at most; five are enough near a moved copy, some tens elsewhere
FIRST_STEPS = 10  # from each start
_SETTLED = 1e-12  # of the squares, by which a last step may lower them
_EPS = torch.finfo(torch.float64).eps


class Tables(NamedTuple):
    """Of each of a batch of problems all that counts, in float64.

    Attributes:
        cross: a bᵀ, `(…, n, n)`.
        dual_cross: c dᵀ, likewise.
        first: a aᵀ.
        dual_first: c cᵀ.
        second: b bᵀ.
        dual_second: d dᵀ.
    """

    cross: Float[Tensor, "*batch n n"]
    dual_cross: Float[Tensor, "*batch n n"]
    first: Float[Tensor, "*batch n n"]
    dual_first: Float[Tensor, "*batch n n"]
    second: Float[Tensor, "*batch n n"]
    dual_second: Float[Tensor, "*batch n n"]


def gained(tables: Tables, matrix: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    """(‖a‖² + ‖b‖² + ‖c‖² + ‖d‖² − ‖a − A b‖² − ‖c − A⁻ᵀ d‖²)/2: of rotations ⟨a, A b⟩ + ⟨c, A d⟩."""
    inverse = torch.linalg.inv_ex(matrix)[0].mT
    found = _trace(matrix, tables.cross) + _trace(inverse, tables.dual_cross)
    for each, square in ((matrix, tables.second), (inverse, tables.dual_second)):
        found = found + (square.diagonal(dim1=-2, dim2=-1).sum(-1) - _trace(each @ square, each)) / 2
    return torch.where(_condition(matrix) <= CONDITION, found.nan_to_num(nan=-torch.inf), -torch.inf)


def most(tables: Tables) -> Float[Tensor, "*batch"]:
    """No A gains more: both terms at their least squares, each by an A of its own."""
    found = torch.zeros(tables.cross.shape[:-2], dtype=torch.float64)
    for cross, square in ((tables.cross, tables.second), (tables.dual_cross, tables.dual_second)):
        found = found + (square.diagonal(dim1=-2, dim2=-1).sum(-1) + _trace(_over(cross, square), cross)) / 2
    return found


def best_mixing(tables: Tables, *, steps: int = _STEPS) -> tuple[Float[Tensor, "*batch n n"], Float[Tensor, "*batch"]]:
    """A of each problem, its condition number at most `CONDITION`, and what it gains.

    Args:
        tables: of the problems.
        steps: of Gauss–Newton, at most.
    """
    starts = torch.stack(_starts(tables))
    gains = torch.stack([gained(tables, start) for start in starts])
    # The two components of the invertible matrices are not joined: from the best start of each, and on from the better.
    found, value = starts[0], gains[0]
    for sign in (1, -1):
        own = torch.where(torch.linalg.det(starts).sign() == sign, gains, -torch.inf)
        start = starts.gather(0, own.argmax(0)[None, ..., None, None].expand(1, *found.shape))[0]
        matrix, gain = _improved(tables, start, own.max(0).values, min(steps, FIRST_STEPS))
        better = gain > value
        found, value = torch.where(better[..., None, None], matrix, found), torch.where(better, gain, value)
    return _improved(tables, found, value, steps - FIRST_STEPS)


def _improved(tables: Tables, matrix: Tensor, gain: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    size = sum(each.diagonal(dim1=-2, dim2=-1).sum(-1) for each in tables[2:])
    damping, one = torch.zeros_like(gain), torch.eye(matrix.shape[-1], dtype=torch.float64)
    for _ in range(steps):
        if not gain.isfinite().any():
            break
        inverse = torch.linalg.inv_ex(matrix)[0].mT
        square, dual = matrix @ tables.second @ matrix.mT, inverse @ tables.dual_second @ inverse.mT
        slope = tables.cross @ matrix.mT - square - inverse @ tables.dual_cross.mT + dual
        values, vectors = torch.linalg.eigh(_finite(square))
        duals, dual_vectors = torch.linalg.eigh(_finite(dual))
        sums = (values.clamp_min(0)[..., None, :] + duals.clamp_min(0)[..., :, None]).clamp_min(0)
        scale = sums.amax((-1, -2), keepdim=True)
        least = _EPS * scale + torch.finfo(torch.float64).tiny
        inner = dual_vectors.mT @ _finite(slope) @ vectors / (sums + damping[..., None, None] * scale).clamp_min(least)
        tried = matrix + dual_vectors @ inner @ vectors.mT @ matrix
        value = gained(tables, _finite(tried, one))
        better = value > gain
        settled = (value - gain).abs() <= _SETTLED * size
        matrix, gain = torch.where(better[..., None, None], tried, matrix), torch.where(better, value, gain)
        damping = torch.where(better, damping / 8, (8 * damping).clamp_min(1e-3))
        if (settled | (damping > 1e6) | ~gain.isfinite()).all():
            break
    return matrix, gain


def _starts(tables: Tables) -> list[Tensor]:
    one = torch.eye(tables.cross.shape[-1], dtype=torch.float64).expand(tables.cross.shape)
    found = [one.clone()]
    alone, dual = _over(tables.cross, tables.second), _over(tables.dual_cross, tables.dual_second)
    found += [_bounded(alone), torch.linalg.inv(_bounded(dual)).mT]
    here, there = _balancing(tables.first, tables.dual_first), _balancing(tables.second, tables.dual_second)
    back, away = torch.linalg.inv(here), torch.linalg.inv(there)
    # In the balanced gauge of both: ⟨A₁ a, O A₂ b⟩ + ⟨A₁⁻ᵀ c, O A₂⁻ᵀ d⟩.
    left, _, right = torch.linalg.svd(here @ tables.cross @ there.mT + back.mT @ tables.dual_cross @ away)
    flip = torch.ones(tables.cross.shape[-1], dtype=torch.float64)
    flip[-1] = -1
    return found + [_bounded(back @ turn @ there) for turn in (left @ right, (left * flip) @ right)]


def _balancing(square: Tensor, dual: Tensor) -> Tensor:
    """The symmetric A with A S Aᵀ = A⁻ᵀ D A⁻¹: A² = S⁻¹ # D; near it where one of both is singular."""
    one = torch.eye(square.shape[-1], dtype=torch.float64)
    square, dual = (each + _floor(each) * one for each in (square, dual))
    root = _power(square, 0.5)
    middle = _power(root @ dual @ root, 0.5)
    away = _power(square, -0.5)
    return _power(away @ middle @ away, 0.5)


def _power(square: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh((square + square.mT) / 2)
    return (vectors * values.clamp_min(torch.finfo(torch.float64).tiny)[..., None, :] ** exponent) @ vectors.mT


def _floor(square: Tensor) -> Tensor:
    """What keeps it from being singular: of the trace, or of one where it is zero."""
    trace = square.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    return torch.where(trace > 0, 1e-14 * trace, 1.0)


def _over(cross: Tensor, square: Tensor) -> Tensor:
    """The least-squares A of ‖a − A b‖², of least norm."""
    return cross @ torch.linalg.pinv(square, rtol=1e-13, hermitian=True)


def _bounded(matrix: Tensor) -> Tensor:
    """With singular values that are within half the condition number allowed; the identity where there is nothing."""
    left, values, right = torch.linalg.svd(matrix)
    most = values[..., :1]
    values = torch.where(most > 0, values.maximum(2 * most / CONDITION), 1.0)
    return (left * values[..., None, :]) @ right


def _condition(matrix: Tensor) -> Tensor:
    values = torch.linalg.svdvals(_finite(matrix))
    return values[..., 0] / values[..., -1]


def _finite(matrix: Tensor, instead: Tensor | float = 0.0) -> Tensor:
    return torch.where(matrix.isfinite().all(-1).all(-1)[..., None, None], matrix, torch.as_tensor(instead, dtype=matrix.dtype))


def _trace(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum((-2, -1))
