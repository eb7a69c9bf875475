"""Which classes and which images make each recorded direction curved, at one point and along a ladder.

At a point: `geometry.classes` and `geometry.class_means`, in the form that a run keeps. Along a ladder: whether a class loses
accuracy where its share of the curvature moves. Both series are detrended by taking differences between neighbouring points;
since these are correlated along the ladder, the p-value comes from permuting blocks of one of them (Künsch 1989).
"""

import math

import torch
from torch import Tensor

from orograph.analysis.visit import Visit
from orograph.errors import ConfigurationError
from orograph.geometry.classes import class_accuracies, class_gradients, class_shares
from orograph.geometry.cross_means import class_means, cross_class_means, subspace_overlap
from orograph.metrics import ACCURACY
from orograph.spectral.spectrum import Spectrum
from orograph.store.findings import Result


def class_part(visit: Visit, *, images: int, keep_samples: bool) -> Result:
    """Shares of classes or groups and of samples in every recorded pair, gradients of the groups, and what spans the outliers.

    Without groups only the samples have shares; of a loss that gives a mean alone nothing has, which `left_out` says.
    """
    spectrum, objective, theta, groups = visit.pairs(), visit.objective, visit.theta, visit.groups
    labels = torch.zeros(objective.count, dtype=torch.int64) if groups is None else groups.train
    visit.say("class shares", 0)
    try:
        shares = class_shares(objective, theta, spectrum, labels=labels, classes=visit.classes or 1)
    except ConfigurationError as error:
        return Result({"left_out": f"shares of samples and groups: {error}"}, {"cluster": cluster_numbers(spectrum).numpy()})
    top = shares.top_samples(images)
    per_sample = shares.sample_shares
    arrays: dict[str, Tensor] = {
        "class_share": shares.shares,
        "class_gauss_newton": shares.gauss_newton,
        "share_defect": shares.defect,
        "cluster": cluster_numbers(spectrum),
        "top_image": top,
        "top_image_share": per_sample.T.gather(1, top),
        "sample_participation": per_sample.abs().sum(0).square() / per_sample.square().sum(0),
    }
    if keep_samples:
        arrays["sample_share"] = per_sample.T.float()
    largest = spectrum.eigenvalues.abs().max().item()
    count = outliers_by_gap(spectrum)
    scalars = {
        "share_defect_largest": shares.defect.abs().max().item() / largest if largest else math.nan,
        "outliers_above_gap": count,
    }
    if groups is None:
        del arrays["class_share"], arrays["class_gauss_newton"]
    else:
        visit.say("class gradients", 0)
        gradients = class_gradients(objective, theta, labels=labels, classes=visit.classes)
        arrays |= {
            "class_gradient_norm": torch.linalg.vector_norm(gradients.gradients.double(), dim=1),
            "class_gradient_cosine": gradients.cosines,
            "class_gradient_total_cosine": gradients.cosines_with_total,
            **scores_of_groups(visit),
        }
    if visit.classifies:
        means, cross = spanning_overlaps(visit, spectrum)
        arrays |= {"class_mean_overlap": means, "cross_mean_overlap": cross}
        scalars |= {
            "outliers_above_gap_beyond_classes": count - (visit.classes - 1),
            "class_mean_outlier_overlap": means[:count].mean().item() if count else math.nan,
            "cross_mean_outlier_overlap": cross[:count].mean().item() if count else math.nan,
        }
    return Result(scalars, {name: values.cpu().contiguous().numpy() for name, values in arrays.items()})


def scores_of_groups(visit: Visit) -> dict[str, Tensor]:
    """The metrics of each class or other group of the training samples, those that are one number."""
    if visit.classifies and visit.bench.instruments.metrics == (ACCURACY,):
        found = 100 * class_accuracies(visit.objective, visit.theta, classes=visit.classes)
        return {"train_class_accuracy": found}
    kind = "class" if visit.bench.instruments.of_classes else "group"
    by_group = visit.bench.instruments.scores(visit.bench.instruments.train, visit.theta, by_group=True)[1]
    plain = {name: values for name, values in by_group.items() if not any(isinstance(each, list) for each in values)}
    return {f"train_{kind}_{name}": torch.tensor(values, dtype=torch.float64) for name, values in plain.items()}


def spanning_overlaps(visit: Visit, spectrum: Spectrum) -> tuple[Tensor, Tensor]:
    """Squared projections of each pair on the class means and on the cross-class means of logit gradients.

    NaN where the means of all pairs of classes do not fit into the memory budget.
    """
    visit.say("class means", 0)
    try:
        cross = cross_class_means(visit.objective, visit.theta)
    except ConfigurationError:
        nothing = torch.full((len(spectrum.eigenvalues),), torch.nan, dtype=torch.float64)
        return nothing, nothing
    vectors = spectrum.eigenvectors
    return subspace_overlap(vectors, class_means(cross)), subspace_overlap(vectors, cross.flatten(0, 1))


def outliers_by_gap(spectrum: Spectrum) -> int:
    """Pairs above the largest relative step ln(λᵢ/λᵢ₊₁) among those whose positive sign is claimed; 0 with fewer than two."""
    values = spectrum.eigenvalues[spectrum.signs > 0]
    return int((values[:-1] / values[1:]).log().argmax()) + 1 if len(values) > 1 else 0


def cluster_numbers(spectrum: Spectrum) -> Tensor:
    """`(k,)` int64: pairs with equal numbers cannot be told apart, and only sums over them mean anything."""
    numbers = torch.arange(len(spectrum.eigenvalues))
    for start, stop in spectrum.clusters:
        numbers[start:stop] = start
    return numbers
