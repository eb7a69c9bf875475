"""How much of a product is rounding: the noise level η|λ₁| below which an operator's eigenvalues mean nothing.

An operator evaluated in float32 is A + E, E the rounding of its products and of the activations they are built on. A small
Ritz pair (θ, v) belongs to A only when ‖Ev‖ is below |θ|: by Weyl's theorem the eigenvalue has moved by at most the norm of
E *on the space in which it was found*. That norm is not the average of ‖Eu‖ over random u (a random vector hardly meets the
few directions in which rounding is large), nor ‖E v₁‖ (the rounding along the dominant pairs, which moves small eigenvalues
only in second order). The small Ritz vectors of a noisy operator are precisely those in which its noise is largest, so E is
measured on them, and on random unit vectors besides; the maximum counts.

E v is the difference from the same operator in float64 where there is one, of a product of v and of what the decomposition
takes A v for: the combination of earlier products, whose rounding, and that of orthogonalisation, has gathered where the pairs
are small. Otherwise it is the defect of linearity: the product of a combination of basis vectors against the same combination
of their products, which sees the rounding of products but not a rounded θ or activation. The level is at least eps·|λ₁|, what
orthogonalisation in the operator's dtype lets through.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from orograph.spectral.krylov import Krylov

_RANDOM = 2


def noise_level(krylov: Krylov, suspects: Float64[Tensor, "m c"], scale: float, seed: int) -> float:
    """max ‖E v‖ over the suspects and two random unit vectors.

    Args:
        krylov: the decomposition whose operator is judged.
        suspects: weights of the Ritz vectors in doubt, one a column.
        scale: |λ₁|.
        seed: of the random vectors.
    """
    generator = torch.Generator().manual_seed(seed)
    operator = krylov.operator
    known = krylov.coefficients[: krylov.count, : krylov.multiplied]
    exact = operator.double() if operator.dtype != torch.float64 else None
    if exact is None:
        random = torch.randn(krylov.multiplied, _RANDOM, generator=generator, dtype=torch.float64)
        weights = torch.cat([suspects, random / random.norm(dim=0)], dim=1)
        product = krylov.product(krylov.basis.combine(weights)).double()
        errors = product - krylov.basis.combine(known @ weights).double()
    else:
        random = krylov.shards.random(_RANDOM, generator, operator.dtype).to(operator.device)
        vectors = torch.cat([krylov.basis.combine(suspects), random])
        vectors /= krylov.shards.norms(vectors)[:, None].to(vectors)
        product = krylov.product(vectors).double()
        truth = krylov.product(vectors, exact).to(product.device)
        gathered = krylov.basis.combine(known @ suspects).to(product.device).double() - truth[: suspects.shape[1]]
        errors = torch.cat([product - truth, gathered])
    floor = torch.finfo(operator.dtype).eps * scale
    return max(float(krylov.shards.norms(errors).max()), floor)
