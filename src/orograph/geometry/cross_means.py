"""Class means and cross-class means of the gradients of the logits, which span the outliers of the Hessian (Papyan, 2019).

For softmax outputs with probabilities p the Gauss–Newton matrix is a sum over samples n and classes c' of δδᵀ/N with

    δ_{n,c'} = √p_{n,c'} J_nᵀ(e_c' − p_n),

J_n the Jacobian of the logits. δ_{c,c'} is the mean over the samples of class c (a cross-class mean), δ_c = Σ_{c'≠c} δ_{c,c'}
is a class mean up to its length. The class means explain about C − 1 outliers (C where they are not centred).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orograph.arguments import checked
from orograph.errors import ConfigurationError
from orograph.geometry.classes import by_class, class_labels
from orograph.geometry.evaluation import class_scores
from orograph.memory import format_bytes
from orograph.objective import Objective


@checked
def cross_class_means(
    objective: Objective, theta: Float[Tensor, " P"], *, labels: Int[Tensor, " N"] | None = None
) -> Float[Tensor, "C C P"]:
    """δ_{c,c'} for the class c of the samples (first) and the class c' of the logit (second).

    Costs C backward passes over the data; the result holds C²·P numbers.

    Args:
        objective: loss and data; the model's outputs are logits.
        theta: `(P,)`, where.
        labels: the class of every sample, `(N,)`; the targets when None.

    Returns:
        `(C, C, P)`.

    Raises:
        ConfigurationError: the outputs are no logits of the targets' classes, or the result is larger than the memory budget.
    """
    members = class_labels(objective, labels)
    inputs, targets = next(objective.batches(2))
    classes = class_scores(objective.readout.scores(objective.outputs(theta, inputs)), members[: len(targets)]).shape[-1]
    size = classes**2 * len(theta) * theta.element_size()
    if size > objective.memory:
        raise ConfigurationError(
            f"the means of {classes}² pairs of classes need {format_bytes(size)}, more than the memory budget of "
            f"{format_bytes(objective.memory)}."
        )
    totals = torch.zeros(classes, classes, len(theta), dtype=theta.dtype, device=theta.device)
    for index, inputs, targets in by_class(objective, members):
        point = theta.detach().requires_grad_()
        own = torch.full((len(targets),), index, device=members.device)
        logits = class_scores(objective.readout.scores(objective.outputs(point, inputs)), own)
        probabilities = logits.detach().softmax(-1)
        for other in range(classes):
            weights = -probabilities
            weights[:, other] += 1
            weights = weights * probabilities[:, other : other + 1].sqrt()
            totals[index, other] += torch.autograd.grad(logits, point, weights, retain_graph=other < classes - 1)[0]
    return totals / torch.bincount(members[members >= 0], minlength=classes)[:classes].clamp_min(1)[:, None, None]


@checked
def class_means(cross: Float[Tensor, "C C P"]) -> Float[Tensor, "C P"]:
    """δ_c: the sum over c' ≠ c of the cross-class means.

    Args:
        cross: `(C, C, P)`, as `cross_class_means` gives them.

    Returns:
        `(C, P)`.
    """
    return cross.sum(1) - torch.diagonal(cross).T


@checked
def subspace_overlap(vectors: Float[Tensor, "k P"], spanning: Float[Tensor, "m P"]) -> Float[Tensor, " k"]:
    """The squared length of each unit vector's projection on the span of other vectors, float64, between 0 and 1.

    Directions of the span below 1e-6 of its largest are rounding and left out.

    Args:
        vectors: `(k, P)`, unit rows.
        spanning: `(m, P)`, rows that need not be independent.

    Returns:
        `(k,)`.
    """
    # Eigenvectors of the small Gram matrix give the span without a decomposition of (m, P).
    others = spanning.double()
    values, mixing = torch.linalg.eigh(others @ others.T)
    kept = values > 1e-12 * values.max()
    basis = (mixing[:, kept] / values[kept].sqrt()).T @ others
    basis = torch.linalg.qr(basis.T)[0]
    return (vectors.double() @ basis).square().sum(1)
