"""The Gauss–Newton split of eigenvalues: λ = vᵀGv + vᵀ(H − G)v (Papyan 2019).

G is what curvature of the loss in the outputs gives, H − G what curvature of the outputs themselves gives, weighted by the
loss's gradient, which vanishes where the data is fitted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.curvature.counting import OnProduct, counter
from orograph.curvature.operator import LinearOperator
from orograph.errors import ConfigurationError
from orograph.spectral.spectrum import Spectrum

_COLUMNS = 8  # multiplied at once


@brief
@dataclass(frozen=True, eq=False)
class Split:
    """The two parts of each of k eigenvalues. Inside a cluster only their sums over the cluster mean anything.

    Attributes:
        gauss_newton: `(k,)`, vᵀGv.
        remainder: `(k,)`, vᵀ(H − G)v.
        defect: `(k,)`, vᵀHv − λ, which the residual of the pair bounds: λ was found by other products.
        products: of H and of G together.
    """

    gauss_newton: Float64[Tensor, " k"]
    remainder: Float64[Tensor, " k"]
    defect: Float64[Tensor, " k"]
    products: int


@checked
def split(
    hessian: LinearOperator, gauss_newton: LinearOperator, spectrum: Spectrum, *, on_product: OnProduct | None = None
) -> Split:
    """vᵀGv and vᵀ(H − G)v of each pair, by a product of H and one of G.

    The Gauss–Newton split of Papyan (2019).

    Args:
        hessian: H, of the plain loss.
        gauss_newton: G, of the same loss at the same θ.
        spectrum: k pairs of H.
        on_product: called with "split" and the products so far, of both; see `orograph.curvature.counting`.

    Returns:
        Both parts of each pair, `(k,)` float64, in the unit of an eigenvalue.

    Raises:
        ConfigurationError: the operators and the eigenvectors are not of one size.

    Examples:
        >>> import torch, orograph as og
        >>> problem = torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)]
        >>> hessian, gauss_newton = og.HessianOperator(*problem), og.GaussNewtonOperator(*problem)
        >>> assert og.split(hessian, gauss_newton, og.lanczos(hessian, k=2)).remainder.abs().max() < 1e-6  # a linear model
    """
    vectors = spectrum.eigenvectors
    if not hessian.size == gauss_newton.size == vectors.shape[1]:
        raise ConfigurationError(
            f"H {hessian.shape}, G {gauss_newton.shape} and eigenvectors of length {vectors.shape[1]} do not fit together."
        )
    told, k = counter(on_product, "split"), len(vectors)
    whole, part = _quadratic(hessian, vectors, told), _quadratic(gauss_newton, vectors, lambda count: told(k + count))
    return Split(part, whole - part, whole - spectrum.eigenvalues, 2 * k)


def _quadratic(operator: LinearOperator, vectors: Tensor, told: Callable[[int], Any]) -> Float64[Tensor, " k"]:
    """vᵀAv of every row."""
    forms, count = [], 0
    for rows in vectors.to(operator.device, operator.dtype).split(_COLUMNS):
        forms.append(torch.linalg.vecdot(rows.double(), (operator @ rows.T).T.double()))
        count += len(rows)
        told(count)
    return torch.cat(forms).cpu()
