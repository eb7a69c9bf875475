"""Continuous symmetries of a network: directions in which nothing changes, whose eigenvalues are zero and no bifurcation.

Between two linear layers W₁, W₂ with nothing in between, W₂W₁ = (W₂Oᵀ)(OW₁) for every orthogonal O, which leaves ‖θ‖² as it is:
with θ_ref = 0 every critical point lies on an orbit, whose tangent space the antisymmetric matrices X span by (XW₁, −W₂X).
"""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.parameters import Layout


@checked
def layer_rotations(layout: Layout, theta: Float[Tensor, " P"], layers: Sequence[str]) -> Float[Tensor, "m P"]:
    """An orthonormal basis of the tangent space of the orbit of θ under rotations between linear layers.

    Args:
        layout: where the parameters lie in θ.
        theta: `(P,)`.
        layers: names of the weight matrices from the input to the output, each `(out, in)`; biases must be absent or zero.

    Returns:
        `(m, P)`, orthonormal rows; m is the rank of the orbit, which falls where θ is symmetric itself, up to √ε of its dtype,
        since a critical point is known no better, and what its rounding would turn into is any direction.

    Examples:
        >>> import torch, orograph as og
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3, bias=False), torch.nn.Linear(3, 2, bias=False))
        >>> objective = og.Objective(model, torch.nn.MSELoss(), [(torch.eye(2), torch.eye(2))])
        >>> og.layer_rotations(objective.layout, objective.theta, ["0.weight", "1.weight"]).shape
        torch.Size([3, 12])
    """
    parts = layout.unflatten(theta)
    rows = []
    for inner, outer in itertools.pairwise(layers):
        width = parts[inner].shape[0]
        for one, other in itertools.combinations(range(width), 2):
            turn = torch.zeros(width, width, dtype=theta.dtype, device=theta.device)
            turn[one, other], turn[other, one] = 1.0, -1.0
            moved = {inner: turn @ parts[inner], outer: -parts[outer] @ turn}
            rows.append(torch.cat([moved.get(name, torch.zeros_like(part)).reshape(-1) for name, part in parts.items()]))
    if not rows:
        return theta.new_zeros(0, len(theta))
    _, sizes, basis = torch.linalg.svd(torch.stack(rows), full_matrices=False)
    return basis[sizes > max(sizes[0].item(), 1.0) * torch.finfo(theta.dtype).eps ** 0.5]
