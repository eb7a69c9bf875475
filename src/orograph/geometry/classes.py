"""Which classes and which samples make each direction curved.

The Hessian is H = Σ_c (n_c/N) H_c, with H_c the mean over the samples of class c. The share of class c in the pair (λ_i, v_i) is
(n_c/N) v_iᵀH_c v_i, the share of sample n is v_iᵀH_n v_i / N; both sum to v_iᵀHv_i = λ_i and may be negative. Inside a cluster of
eigenvalues single vectors are arbitrary and only the trace over the cluster, tr(VᵀH_cV), means anything. The Gauss–Newton part
of a share is non-negative for convex losses (Papyan, 2019).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from orograph.arguments import checked
from orograph.batch_loss import Inputs
from orograph.brief import brief
from orograph.errors import ConfigurationError, DataError
from orograph.geometry.directional import sample_derivatives
from orograph.metrics import correct
from orograph.objective import Objective, slope
from orograph.samples import part_of
from orograph.spectral.spectrum import Spectrum

NO_CLASS = -1  # the label of a sample whose target the loss ignores


@brief
@dataclass(frozen=True)
class ClassShares:
    """How the curvature along k directions is made up; all float64 on the CPU, as the eigenvalues are that it belongs to.

    Attributes:
        shares: `(C, k)`, (n_c/N) v_iᵀH_c v_i.
        gauss_newton: `(C, k)`, (n_c/N) v_iᵀG_c v_i.
        sample_shares: `(N, k)`, v_iᵀH_n v_i / N.
        counts: `(C,)`, n_c.
        defect: `(k,)`, what the shares sum to less λ_i.
        clusters: `(start, stop)` of runs of pairs that only have a meaning together.
        cluster_shares: `(C, clusters)`, (n_c/N) tr(VᵀH_cV).
    """

    shares: Float[Tensor, "C k"]
    gauss_newton: Float[Tensor, "C k"]
    sample_shares: Float[Tensor, "N k"]
    counts: Int[Tensor, " C"]
    defect: Float[Tensor, " k"]
    clusters: tuple[tuple[int, int], ...]
    cluster_shares: Float[Tensor, "C clusters"]

    def top_samples(self, count: int = 10) -> Int[Tensor, "k count"]:
        """The samples with the largest shares of each direction, largest first.

        Args:
            count: how many of each direction.

        Returns:
            `(k, count)` indices of samples.
        """
        return self.sample_shares.topk(min(count, len(self.sample_shares)), dim=0).indices.T


@brief
@dataclass(frozen=True)
class ClassGradients:
    """How the classes pull on the parameters. All but the gradients is on the CPU.

    Attributes:
        gradients: `(C, P)`, the mean gradient over each class; Σ (n_c/N) g_c = ∇L.
        counts: `(C,)`, n_c.
        cosines: `(C, C)` float64, of the angles between them; NaN where one is zero.
        cosines_with_total: `(C,)` float64, with ∇L.
    """

    gradients: Float[Tensor, "C P"]
    counts: Int[Tensor, " C"]
    cosines: Float[Tensor, "C C"]
    cosines_with_total: Float[Tensor, " C"]


def class_labels(objective: Objective, labels: Int[Tensor, " N"] | None = None) -> Int[Tensor, " N"]:
    """The class of every sample: the targets where they are classes, else what was passed; −1 where the loss ignores the target.

    Raises:
        DataError: the targets are no classes, or the labels do not fit the data.
    """
    found = objective.targets if labels is None else labels.to(objective.device)
    if found.ndim != 1 or found.dtype != torch.int64 or len(found) != objective.count:
        raise DataError(
            f"classes need one int64 label for each of the {objective.count} samples, not {found.dtype} of shape "
            f"{tuple(found.shape)}; pass `labels`."
        )
    least = 0
    if labels is None and objective.ignored is not None:
        found, least = found.masked_fill(found == objective.ignored, NO_CLASS), NO_CLASS
    if found.min() < least:
        raise DataError(f"a class label is {found.min().item()}; labels must be 0 or more.")
    return found


@checked
def class_shares(
    objective: Objective,
    theta: Float[Tensor, " P"],
    spectrum: Spectrum,
    *,
    labels: Int[Tensor, " N"] | None = None,
    classes: int | None = None,
) -> ClassShares:
    """The shares of every class and sample in every pair of the plain loss's spectrum.

    H = Σ_c (n_c/N) H_c (Papyan, 2019); the module says what shares mean inside a cluster.

    Args:
        objective: loss and data whose Hessian the spectrum is of.
        theta: `(P,)`, where.
        spectrum: pairs of H, with their clusters.
        labels: the class of every sample, `(N,)`; the targets when None.
        classes: C; one more than the largest label when None.

    Returns:
        Shares by class `(C, k)` and by sample `(N, k)` in the unit of an eigenvalue, their Gauss–Newton part, and the defect of
        their sum.

    Raises:
        DataError: no class for each sample.
        ConfigurationError: a loss that only gives a mean, or fewer classes than labels.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> spectrum = og.lanczos(og.HessianOperator.of(objective), k=2, tolerance=1e-6)
        >>> shares = og.class_shares(objective, objective.theta, spectrum).shares  # they sum to the eigenvalues
        >>> assert torch.allclose(shares.sum(dim=0), spectrum.eigenvalues, rtol=1e-4)
    """
    members = class_labels(objective, labels).cpu()
    count = _class_count(members, classes)
    found = sample_derivatives(objective, theta, spectrum.eigenvectors.to(theta))
    curvatures = found.curvatures.cpu()
    shares = _class_sums(curvatures, members, count) / objective.count
    clusters = spectrum.clusters
    together = [shares[:, start:stop].sum(1) for start, stop in clusters]
    return ClassShares(
        shares,
        gauss_newton=_class_sums(found.gauss_newton.cpu(), members, count) / objective.count,
        sample_shares=curvatures.T / objective.count,
        counts=_counts(members, count),
        defect=shares.sum(0) - spectrum.eigenvalues.to(shares),
        clusters=clusters,
        cluster_shares=torch.stack(together, 1) if together else shares[:, :0],
    )


@checked
def class_gradients(
    objective: Objective,
    theta: Float[Tensor, " P"],
    *,
    labels: Int[Tensor, " N"] | None = None,
    classes: int | None = None,
) -> ClassGradients:
    """The gradient of every class's mean loss, and the angles between them; costs about one gradient of L.

    Args:
        objective: loss and data.
        theta: `(P,)`, where.
        labels: the class of every sample, `(N,)`; the targets when None.
        classes: C; one more than the largest label when None.

    Returns:
        The mean gradient of each class `(C, P)` and the cosines of their angles `(C, C)`.

    Raises:
        DataError: no class for each sample.
        ConfigurationError: a loss that only gives a mean, or fewer classes than labels.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> og.class_gradients(objective, objective.theta).gradients.shape
        torch.Size([2, 10])
    """
    members = class_labels(objective, labels)
    count = _class_count(members, classes)
    objective.require_samples("classes need")
    totals = torch.zeros(count, len(theta), dtype=theta.dtype, device=theta.device)
    for index, inputs, targets in by_class(objective, members):
        point = theta.detach().requires_grad_()
        totals[index] += slope(objective.summed(point, inputs, targets), point)
    counts = _counts(members, count)
    total = totals.sum(0, keepdim=True).double()
    units = totals.double() / torch.linalg.vector_norm(totals.double(), dim=1, keepdim=True)
    return ClassGradients(
        totals / counts.clamp_min(1)[:, None],
        counts.cpu(),
        cosines=(units @ units.T).cpu(),
        cosines_with_total=(units @ (total / torch.linalg.vector_norm(total)).T)[:, 0].cpu(),
    )


@checked
def class_accuracies(objective: Objective, theta: Float[Tensor, " P"], *, classes: int | None = None) -> Float[Tensor, " C"]:
    """The fraction of each class's samples that is classified correctly, float64; NaN for a class without samples.

    Args:
        objective: on the data meant, whose targets are classes.
        theta: `(P,)`, where.
        classes: C; one more than the largest target when None.

    Returns:
        `(C,)` fractions.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> og.class_accuracies(objective, torch.zeros(10)).shape
        torch.Size([2])
    """
    right, counts = class_hits(objective, theta, classes=classes)
    return (right / counts).cpu()


def class_hits(
    objective: Objective, theta: Float[Tensor, " P"], *, classes: int | None = None
) -> tuple[Float64[Tensor, " C"], Int[Tensor, " C"]]:
    """How many samples of each class are classified correctly, and how many there are."""
    members = class_labels(objective)
    count = _class_count(members, classes)
    right = correct(objective.all_outputs(theta), members).double()
    some = members >= 0
    return torch.bincount(members[some], weights=right[some], minlength=count), _counts(members, count)


def by_class(objective: Objective, members: Int[Tensor, " N"]) -> Iterator[tuple[int, Inputs, Tensor]]:
    """A class, and the inputs and targets of its samples in a chunk of the data; every class of each chunk."""
    start = 0
    for inputs, targets in objective.batches():
        own = members[start : start + len(targets)]
        start += len(targets)
        for index in own[own >= 0].unique().tolist():
            yield index, part_of(inputs, own == index), targets[own == index]


def _class_count(members: Int[Tensor, " N"], classes: int | None) -> int:
    largest = int(members.max()) + 1
    if classes is not None and classes < largest:
        raise ConfigurationError(
            f"`classes` {classes} are too few: there is a label {largest - 1}; give at least {largest}, or leave it out."
        )
    return classes or largest


def _counts(members: Int[Tensor, " N"], classes: int) -> Int[Tensor, " C"]:
    return torch.bincount(members[members >= 0], minlength=classes)


def _class_sums(values: Float[Tensor, "k N"], members: Int[Tensor, " N"], classes: int) -> Float[Tensor, "C k"]:
    sums = torch.zeros(classes, len(values), dtype=values.dtype, device=values.device)
    some = members >= 0
    return sums.index_add_(0, members[some], values.T[some])
