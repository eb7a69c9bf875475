"""Directions in which a landscape is cut: random orthonormal, or with filters as long as the network's own (Li et al., 2018)."""

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.errors import ConfigurationError
from orograph.geometry.perturbations import seeded
from orograph.parameters import Layout


@checked
def random_orthonormal(like: Float[Tensor, " P"], count: int = 2, *, seed: int = 0) -> Float[Tensor, "k P"]:
    """Uniform orthonormal directions.

    Args:
        like: `(P,)`, whose length, dtype and device the directions have.
        count: k, how many.
        seed: of the draw, the same on every device.

    Returns:
        k orthonormal rows, `(k, P)`.

    Raises:
        ConfigurationError: more directions than parameters.

    Examples:
        >>> import torch, orograph as og
        >>> rows = og.random_orthonormal(torch.zeros(20, dtype=torch.float64), count=3)
        >>> torch.allclose(rows @ rows.T, torch.eye(3, dtype=torch.float64))
        True
    """
    if not 1 <= count <= len(like):
        raise ConfigurationError(f"{count} orthonormal directions in {len(like)} dimensions; take 1 to {len(like)}.")
    rows = torch.randn(count, len(like), generator=seeded(seed)).to(like)
    return orthonormalised(rows)


@checked
def filter_normalised(layout: Layout, theta: Float[Tensor, " P"], count: int = 2, *, seed: int = 0) -> Float[Tensor, "k P"]:
    """Random directions whose every filter has the norm of the network's filter, then scaled to unit length.

    A filter is what makes one unit: a row of a matrix, a kernel of a convolution. Biases and normalisation weights, which have
    one dimension, are left out of the direction, as is usual. The scaling to unit length makes the coordinates distances.

    The directions of Li et al. (2018).

    Args:
        layout: of θ, which says where its filters are: an objective's `layout`.
        theta: `(P,)`.
        count: k, how many.
        seed: of the draw, the same on every device.

    Returns:
        k unit rows, `(k, P)`, not orthogonal.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> og.filter_normalised(objective.layout, objective.theta).norm(dim=1).round(decimals=4)
        tensor([1., 1.])
    """
    rows = torch.randn(count, len(theta), generator=seeded(seed)).to(theta)
    for row in rows:
        random, own = layout.unflatten(row), layout.unflatten(theta)
        for name, filters in random.items():
            if filters.ndim < 2:
                filters.zero_()
                continue
            flat = filters.flatten(1)
            lengths = torch.linalg.vector_norm(own[name].flatten(1), dim=1, keepdim=True)
            flat.mul_(lengths / torch.linalg.vector_norm(flat, dim=1, keepdim=True))
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)


@checked
def orthonormalised(rows: Float[Tensor, "k P"]) -> Float[Tensor, "k P"]:
    """An orthonormal basis of the rows' span, the first along the first row (Gram–Schmidt, twice for accuracy).

    Args:
        rows: `(k, P)`, linearly independent.

    Returns:
        `(k, P)`, orthonormal.

    Raises:
        ConfigurationError: the rows are linearly dependent.
    """
    basis: list[Tensor] = []
    for row in rows:
        rest = row.double()
        for _ in range(2):
            for unit in basis:
                rest = rest - (unit @ rest) * unit
        length = torch.linalg.vector_norm(rest)
        if not length > 1e-6 * torch.linalg.vector_norm(row.double()):
            raise ConfigurationError("the directions are linearly dependent: do two of the points coincide or lie on one line?")
        basis.append(rest / length)
    return torch.stack(basis).to(rows.dtype)
