"""How two minima are connected: five paths, their barriers, and whether the two are the same function.

Straight line; quadratic Bézier curve, polygonal chain and nudged elastic band, trained from it; straight line to the second
minimum with its units in the first one's order. BatchNorm's statistics are estimated anew from the training data wherever a
point is evaluated, the ends included. A path that cannot be had is recorded with its reason; the others go on. Accuracies are in
percent; without classes there are none, nor disagreements and ensembles, but the problem's metrics along the straight line; and
without test data there is nothing that is of these.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orograph.connectivity.barriers import CurveProfile, curve_profile
from orograph.connectivity.connecting import named_curve
from orograph.connectivity.curves import Points, line
from orograph.connectivity.ensembles import disagreement_along, ensemble
from orograph.errors import DataError, OrographError
from orograph.geometry.evaluation import classifies
from orograph.geometry.normalisation import reestimated
from orograph.geometry.scores import Value, scores
from orograph.metrics import Metric
from orograph.objective import Objective
from orograph.store.findings import Result
from orograph.study.settings import ConnectivitySettings
from orograph.training.stability import with_buffers

OnStep = Callable[[str, int], None]  # the path, and the training steps taken for it so far


def connect(
    train: Objective,
    test: Objective | None,
    first: Float[Tensor, " P"],
    second: Float[Tensor, " P"],
    *,
    settings: ConnectivitySettings,
    metrics: Sequence[Metric] = (),
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Result:
    """Every path between two minima, its barriers, and how the two networks differ.

    Args:
        train: on the training data; paths are trained on it.
        test: of the same model, on the test data; None without these.
        first, second: the minima.
        settings: which paths, at how many positions they are evaluated, and for how many epochs trained.
        metrics: taken along the straight line besides the losses.
        seed: of mini-batches and small displacements.
        on_step: called with the path and its training steps so far.

    Returns:
        Scalars: distances, `paths` (for each its losses, accuracies and barriers), `failures` (reasons by path), disagreement
        and ensemble of the ends; the barriers of the training loss by name once more, for tables. Arrays: `bezier_bend` `(1, P)`,
        the trained curve's inner control point.

    Raises:
        DataError: a minimum holds NaN or infinity.
    """
    for which, theta in (("first", first), ("second", second)):
        if not torch.isfinite(theta).all():
            raise DataError(f"the {which} minimum holds NaN or infinity: its training has diverged.")
    scalars: dict[str, Any] = _distances(first, second)
    arrays: dict[str, np.ndarray] = {}
    paths: dict[str, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    for name in settings.paths:

        def told(step: int, name: str = name) -> None:
            if on_step is not None:
                on_step(name, step)

        told(0)
        try:
            curve, details = named_curve(name, train, first, second, epochs=settings.path_epochs, seed=seed, told=told)
            found = curve_profile(train, curve, test=test, points=settings.curve_points)
        except OrographError as error:
            failures[name] = str(error)
            continue
        paths[name] = {**profile_fields(found), **details}
        if name == "linear" and metrics:
            own = _along(train, test, curve.at(found.positions), metrics)
            paths[name] = {**own, **paths[name]}
        if name == "bezier":
            arrays["bezier_bend"] = curve.controls[1:-1].cpu().numpy()
    scalars |= {f"{name}_barrier": each["barriers"]["train_loss"] for name, each in paths.items()}
    scalars["paths"] = paths
    if test is not None and classifies(test):
        try:
            scalars |= _difference(train, test, first, second, settings.curve_points)
        except OrographError as error:
            failures["difference"] = str(error)
    scalars["failures"] = failures
    return Result(scalars, arrays)


def profile_fields(found: CurveProfile) -> dict[str, Any]:
    """A path as plain values: positions, losses, accuracies in percent, barriers (of errors in percent too)."""
    barriers, fields = asdict(found.barriers), {"positions": found.positions.tolist()}
    for which, each in (("train", found.train), ("test", found.test)):
        if each is not None:
            fields[f"{which}_loss"] = each.losses.tolist()
        if each is not None and not each.accuracies.isnan().all():
            fields[f"{which}_accuracy"] = (100 * each.accuracies).tolist()
            barriers[f"{which}_error"] *= 100
        else:
            del barriers[f"{which}_error"]
    if found.test is None:
        barriers = {name: barriers[name] for name in ("train_loss", "train_error", "objective") if name in barriers}
    return {**fields, "barriers": barriers}


def _along(train: Objective, test: Objective | None, thetas: Points, metrics: Sequence[Metric]) -> dict[str, list[Value]]:
    """Metrics at each position, on both sets, by `train_` and `test_` before their names."""
    statistics = reestimated(train, thetas) or {}
    found: dict[str, list[Value]] = {}
    for which, objective in (("train", train), ("test", test)):
        for place in range(len(thetas)):
            if objective is not None:
                theta = thetas[place : place + 1][0]
                here = with_buffers(objective, {name: each[place] for name, each in statistics.items()})
                for name, value in scores(here, theta, metrics)[0].items():
                    found.setdefault(f"{which}_{name}", []).append(value)
    return found


def _distances(first: Float[Tensor, " P"], second: Float[Tensor, " P"]) -> dict[str, Any]:
    lengths = [torch.linalg.vector_norm(theta.double()).item() for theta in (first, second)]
    cosine = torch.dot(first.double(), second.double()).item() / (lengths[0] * lengths[1] or math.nan)
    return {"distance": torch.linalg.vector_norm((first - second).double()).item(), "cosine": cosine}


def _difference(
    train: Objective, test: Objective, first: Float[Tensor, " P"], second: Float[Tensor, " P"], points: int
) -> dict[str, Any]:
    """Disagreement of predictions on the test data and the ensemble of the ends (Fort et al., 2019)."""
    ends = torch.stack([first, second])
    found = ensemble(test, ends, reestimated(train, ends))
    along = disagreement_along(test, line(first, second), points=points, train=train)
    accuracies = [100 * value for value in found.member_accuracies.tolist()]
    return {
        "disagreement": 100 * found.disagreement[0, 1].item(),
        "member_accuracies": accuracies,
        "ensemble_accuracy": 100 * found.accuracy,
        "ensemble_gain": 100 * found.accuracy - sum(accuracies) / 2,
        "ensemble_loss": found.loss,
        "disagreement_from_first": (100 * along[0]).tolist(),
        "disagreement_from_second": (100 * along[1]).tolist(),
    }
