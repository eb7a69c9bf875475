"""Slices of the landscape: the loss on a plane and on two lines through a minimum, and on the plane through three minima."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orograph.connectivity.curves import Curve, bezier
from orograph.connectivity.directions import filter_normalised, orthonormalised, random_orthonormal
from orograph.connectivity.surfaces import Surface, plane, profile, surface
from orograph.curvature.hessian import HessianOperator
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.spectral.eigenpairs import lanczos
from orograph.store.findings import Result
from orograph.study.settings import SurfaceSettings
from orograph.study.topologies import with_topology

PROFILE_POINTS = 51
PATH_POINTS = 41  # of a path drawn into a plane
PRODUCTS = 60  # for the two eigenvectors, where they are not given


def slice_minimum(
    train: Objective,
    test: Objective | None,
    theta: Float[Tensor, " P"],
    *,
    settings: SurfaceSettings,
    eigenvectors: Float[Tensor, "k P"] | None = None,
    seed: int = 0,
    planes: int | None = None,
) -> Result:
    """Losses on a plane around a minimum, and along its two axes.

    Args:
        train, test: of the same model, None without test data; BatchNorm keeps the statistics that they hold.
        theta: the minimum, in the middle.
        settings: how many points, how far from the minimum, and along which directions.
        eigenvectors: of the largest eigenvalues, largest first; computed where they are wanted and not given.
        seed: of random directions.
        planes: random ones that the SMAD of the training loss is held against; None for nothing of its topology.

    Returns:
        Arrays `x` `(n,)` and `y` `(n,)`, distances from the minimum; `train_loss`, `test_loss` and, of classes, `train_accuracy`,
        `test_accuracy` `(n, n)`, entry (i, j) at (x_i, y_j), accuracies in percent; `marks` `(1, 2)`, where the minimum is;
        `profile_x` `(m,)`, `profile_train_loss` and `profile_test_loss` `(2, m)` along the two axes. Nothing of test data where
        there are none.

    Raises:
        ConfigurationError: θ is zero, or has fewer than two dimensions.
    """
    directions, products = _directions(train, theta, settings, eigenvectors, seed)
    radius, sets = settings.slice_radius, _sets(train, test)
    found = {
        which: surface(objective, theta, directions, radius=radius, points=settings.slice_points)
        for which, objective in sets.items()
    }
    arrays = surface_arrays(found)
    for which, objective in sets.items():
        lines = [profile(objective, theta, direction, radius=radius, points=PROFILE_POINTS) for direction in directions]
        arrays["profile_x"] = lines[0].x.numpy()
        arrays[f"profile_{which}_loss"] = torch.stack([line.losses for line in lines]).numpy()
    scalars: dict[str, Any] = {
        "directions": settings.slice_directions,
        "radius": settings.slice_radius,
        "points": settings.slice_points,
        "direction_cosine": torch.dot(directions[0].double(), directions[1].double()).item(),
        "products": products,
        "highest_train_loss": found["train"].losses.max().item(),
        "lowest_train_loss": found["train"].losses.min().item(),
    }
    made = Result(scalars, arrays)
    return made if planes is None else with_topology(made, train, found["train"], planes, seed=seed)


def plane_of_minima(
    train: Objective,
    test: Objective | None,
    thetas: Float[Tensor, "3 P"],
    *,
    settings: SurfaceSettings,
    path: Float[Tensor, "bends P"] | None = None,
    seed: int = 0,
    planes: int | None = None,
) -> Result:
    """Losses on the plane through three minima, with their positions and the path between the first two.

    Args:
        train, test: of the same model, None without test data; BatchNorm's statistics are estimated anew from the training data
            at every point.
        thetas: the minima: the first lies at the origin, the second on the first axis.
        settings: how many points.
        path: inner control points of a Bézier curve from the first to the second, as `connect` gives them; drawn as its
            projection on the plane.
        seed: of the random planes.
        planes: as for `slice_minimum`; each point of theirs has statistics of its own, too.

    Returns:
        Arrays as those of `slice_minimum` without profiles: `marks` is `(3, 2)`, and `path` `(m, 2)` where there is one. Scalars
        say how far the path leaves the plane, relative to the distance of its ends.

    Raises:
        ConfigurationError: the minima lie on one line.
    """
    found = {
        which: plane(objective, thetas, points=settings.slice_points, train=train)
        for which, objective in _sets(train, test).items()
    }
    arrays, shown = surface_arrays(found), found["train"]
    scalars: dict[str, Any] = {
        "points": settings.slice_points,
        "highest_train_loss": shown.losses.max().item(),
        "lowest_train_loss": shown.losses.min().item(),
    }
    if path is not None:
        curve = bezier(thetas[0], thetas[1], bends=len(path))
        curve = curve.with_controls(torch.cat([thetas[:1], path.to(thetas), thetas[1:2]]))
        arrays["path"] = _projected(shown, curve)
        scalars["path_leaves_plane"] = _elevation(shown, path.to(thetas))
    made = Result(scalars, arrays)
    return made if planes is None else with_topology(made, train, shown, planes, seed=seed, statistics=train)


def surface_arrays(found: Mapping[str, Surface]) -> dict[str, np.ndarray]:
    """Surfaces on the same grid, of `train` and perhaps of `test`, as arrays; without accuracies where there are no classes."""
    train = found["train"]
    arrays = {"x": train.x.numpy(), "y": train.y.numpy(), "marks": train.marks.numpy()}
    for which, each in found.items():
        arrays[f"{which}_loss"] = each.losses.numpy()
        if not each.accuracies.isnan().all():
            arrays[f"{which}_accuracy"] = 100 * each.accuracies.numpy()
    return arrays


def _sets(train: Objective, test: Objective | None) -> dict[str, Objective]:
    """The objectives that there are, by what they are of."""
    return {"train": train} if test is None else {"train": train, "test": test}


def _directions(
    train: Objective,
    theta: Float[Tensor, " P"],
    settings: SurfaceSettings,
    eigenvectors: Float[Tensor, "k P"] | None,
    seed: int,
) -> tuple[Float[Tensor, "2 P"], int]:
    """The two axes, and the Hessian products that they took."""
    if len(theta) < 2:
        raise ConfigurationError("a plane needs a network of at least two parameters.")
    if settings.slice_directions == "random":
        return random_orthonormal(theta, seed=seed), 0
    if settings.slice_directions == "filter":
        return filter_normalised(train.layout, theta, seed=seed), 0
    if eigenvectors is not None and len(eigenvectors) >= 2:
        return orthonormalised(eigenvectors[:2].to(theta)), 0
    if len(theta) < 3:
        raise ConfigurationError("two eigenvectors of a network with two parameters span everything: choose random directions.")
    spectrum = lanczos(HessianOperator.of(train).at(theta), 2, which="LA", max_products=PRODUCTS, seed=seed)
    return spectrum.eigenvectors.to(theta), spectrum.products


def _projected(where: Surface, curve: Curve) -> np.ndarray:
    """The projection of a curve: that of its control points bends as the curve does."""
    weights = curve.weights(torch.linspace(0, 1, PATH_POINTS, dtype=torch.float64))
    return (weights @ where.project(curve.controls)).numpy()


def _elevation(where: Surface, bends: Float[Tensor, "bends P"]) -> float:
    """How far the control points lie from the plane, the farthest, relative to the distance of the first two minima."""
    flat = where.origin + where.project(bends).to(bends) @ where.directions
    distance = where.marks[1].norm().item()
    return torch.linalg.vector_norm((bends - flat).double(), dim=1).max().item() / distance
