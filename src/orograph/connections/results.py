"""One curve measured, and all that a connection shows, as plain values; accuracies and errors in percent."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from orograph.connections.ends import Ends
from orograph.connectivity.barriers import CurveProfile, curve_profile
from orograph.connectivity.by_class import classes_along, lost_and_found
from orograph.connectivity.connecting import named_curve
from orograph.connectivity.curves import Curve
from orograph.store.connection import CONTROLS, KNOTS, curves, paths
from orograph.store.findings import Result
from orograph.store.run import Run
from orograph.study.pairs import profile_fields


def measured(ends: Ends, name: str, told: Callable[[int], None]) -> Result:
    """A curve and its course.

    Raises:
        OrographError: this network has no such curve.
    """
    chosen = ends.settings.curves
    given: dict[str, Any] = {"epochs": chosen.path_epochs, "seed": chosen.seed, "products": chosen.point_products}
    curve, details = named_curve(name, ends.train, ends.first, ends.second, told=told, **given)
    found = curve_profile(ends.train, curve, test=ends.test, points=chosen.curve_points)
    fields = {**profile_fields(found), "length": curve.length, **details, **_by_class(ends, curve, found)}
    scalars = {f"{name}_barrier": found.barriers.train_loss, "paths": {name: fields}}
    return Result(scalars, {CONTROLS: curve.controls.cpu().numpy(), KNOTS: np.asarray(curve.knots.cpu())})


def gather(run: Run, ends: Ends) -> dict[str, Any]:
    """All that is known of the curves."""
    first, second = ends.first.double(), ends.second.double()
    lengths = torch.linalg.vector_norm(first) * torch.linalg.vector_norm(second)
    return {
        "a": ends.settings.a,
        "b": ends.settings.b,
        "distance": torch.linalg.vector_norm(second - first).item(),
        "cosine": (torch.dot(first, second) / lengths).item(),
        "classes": list(run.classes),
        "configuration": run.configuration,
        "paths": paths(run),
        "failures": {name: each.scalars["error"] for name, each in curves(run).items() if each.status == "failed"},
    }


def _by_class(ends: Ends, curve: Curve, found: CurveProfile) -> dict[str, Any]:
    """Accuracies by class along a curve, and the classes that are lost and found; nothing where there are none."""
    if ends.labels is None:
        return {}
    given: dict[str, Any] = {"labels": ends.labels, "classes": len(ends.classes), "points": len(found.positions)}
    shares = classes_along(ends.shown, curve, train=ends.train, **given)
    changes = lost_and_found(shares, found.positions)
    named = {
        part: [{"class": ends.classes[each.label], "position": each.position} for each in changes if each.found == is_found]
        for part, is_found in (("lost", False), ("found", True))
    }
    return {f"{'train' if ends.test is None else 'test'}_class_accuracy": (100 * shares).tolist(), **named}
