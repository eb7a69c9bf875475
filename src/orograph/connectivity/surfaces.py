"""Slices through the landscape: profiles along one direction, surfaces along two, and the plane through three minima."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.connectivity.directions import orthonormalised, random_orthonormal
from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import Points, evaluate, told
from orograph.geometry.normalisation import reestimated
from orograph.objective import Objective


@brief
@dataclass(frozen=True)
class Profile:
    """Losses along a line θ + x·u.

    Attributes:
        x: `(n,)` float64, distances in parameter space where u has unit length.
        losses: `(n,)` float64.
        accuracies: `(n,)` float64, fractions; NaN where targets are no classes.
    """

    x: Float[Tensor, " n"]
    losses: Float[Tensor, " n"]
    accuracies: Float[Tensor, " n"]


@brief
@dataclass(frozen=True)
class Surface:
    """Losses on a grid origin + x·u + y·v.

    Attributes:
        x: `(n,)` float64, coordinates along the first direction: distances where it has unit length.
        y: `(m,)` float64, along the second.
        losses: `(n, m)` float64, entry (i, j) at (x_i, y_j).
        accuracies: `(n, m)` float64, fractions; NaN where targets are no classes.
        origin: `(P,)`.
        directions: `(2, P)`, u and v.
        marks: `(p, 2)` float64, coordinates of the points that the surface was laid through or around.
    """

    x: Float[Tensor, " n"]
    y: Float[Tensor, " m"]
    losses: Float[Tensor, "n m"]
    accuracies: Float[Tensor, "n m"]
    origin: Float[Tensor, " P"]
    directions: Float[Tensor, "2 P"]
    marks: Float[Tensor, "p 2"]

    def project(self, thetas: Float[Tensor, "M P"]) -> Float[Tensor, "M 2"]:
        """Coordinates of the points of the plane nearest to given points, float64: a path to be drawn in.

        Args:
            thetas: `(M, P)`, one point a row.

        Returns:
            `(M, 2)`, x and y of each.
        """
        directions = self.directions.double()
        offsets = (thetas.double() - self.origin.double()) @ directions.T
        return torch.linalg.solve(directions @ directions.T, offsets.T).T.cpu()


@brief
@dataclass(frozen=True)
class Volume:
    """Losses on a grid origin + x·u + y·v + z·w.

    Attributes:
        x: `(n,)` float64, coordinates along each direction.
        losses: `(n, n, n)` float64.
        accuracies: `(n, n, n)` float64, fractions; NaN where targets are no classes.
        origin: `(P,)`.
        directions: `(3, P)`, u, v and w.
    """

    x: Float[Tensor, " n"]
    losses: Float[Tensor, "n n n"]
    accuracies: Float[Tensor, "n n n"]
    origin: Float[Tensor, " P"]
    directions: Float[Tensor, "3 P"]


@checked
def profile(
    objective: Objective, theta: Float[Tensor, " P"], direction: Float[Tensor, " P"], *, radius: float = 0.1, points: int = 51
) -> Profile:
    """Losses at `points` equally spaced places within `radius`·‖θ‖ on both sides of θ.

    Args:
        objective: loss and data.
        theta: `(P,)`, the middle.
        direction: u, `(P,)`; with unit length, coordinates are distances.
        radius: how far to both sides, relative to ‖θ‖.
        points: how many places, the two ends included.

    Returns:
        Losses and accuracies `(points,)` at the coordinates x.

    Raises:
        ConfigurationError: θ is zero, or fewer than 2 points.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> u = og.random_orthonormal(objective.theta, count=1)[0]
        >>> og.profile(objective, objective.theta, u, points=5).losses.shape
        torch.Size([5])
    """
    x = _axis(radius * _norm(theta), points)
    found = evaluate(objective, Points(theta, direction[None], x[:, None]))
    return Profile(x, told(found.losses).cpu(), found.accuracies.cpu())


@checked
def surface(
    objective: Objective,
    theta: Float[Tensor, " P"],
    directions: Float[Tensor, "2 P"],
    *,
    radius: float = 0.1,
    points: int = 25,
) -> Surface:
    """Losses on a `points` × `points` grid within `radius`·‖θ‖ of θ along two unit directions.

    BatchNorm keeps the statistics of θ, so that the surface is that of one fixed function of θ.

    Args:
        objective: loss and data.
        theta: `(P,)`, the middle.
        directions: u and v, `(2, P)`; `random_orthonormal`, `filter_normalised` (Li et al., 2018) or two eigenvectors.
        radius: how far along each, relative to ‖θ‖.
        points: along each axis.

    Returns:
        Losses and accuracies `(points, points)` at the coordinates x and y.

    Raises:
        ConfigurationError: θ is zero, or fewer than 2 points.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> u = og.random_orthonormal(objective.theta, count=2)
        >>> og.surface(objective, objective.theta, u, points=5).losses.shape
        torch.Size([5, 5])
    """
    axis = _axis(radius * _norm(theta), points)
    return _grid(objective, theta, directions, axis, axis, torch.zeros(1, 2, dtype=torch.float64))


@checked
def volume(
    objective: Objective,
    theta: Float[Tensor, " P"],
    directions: Float[Tensor, "3 P"],
    *,
    radius: float = 0.1,
    points: int = 11,
) -> Volume:
    """Losses on a `points` × `points` × `points` grid within `radius`·‖θ‖ of θ along three unit directions.

    BatchNorm keeps the statistics of θ, as for `surface`. Its topology is found as that of a surface is: `orograph.persistence`
    tells the voids, too.

    Args:
        objective: loss and data.
        theta: `(P,)`, the middle.
        directions: u, v and w, `(3, P)`: `random_orthonormal(theta, count=3)`, or eigenvectors.
        radius: how far along each, relative to ‖θ‖.
        points: along each axis; their cube is evaluated.

    Returns:
        Losses and accuracies `(points, points, points)` at the same coordinates along each axis.

    Raises:
        ConfigurationError: θ is zero, or fewer than 2 points.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> found = og.connectivity.volume(objective, objective.theta, og.random_orthonormal(objective.theta, count=3), points=5)
        >>> found.losses.shape, og.surface_topology(found)["surface_minima"]
        (torch.Size([5, 5, 5]), 1)
    """
    axis = _axis(radius * _norm(theta), points)
    found = evaluate(objective, Points(theta, directions, torch.cartesian_prod(axis, axis, axis)))
    losses, accuracies = (values.cpu().view(points, points, points) for values in (told(found.losses), found.accuracies))
    return Volume(axis, losses, accuracies, theta, directions)


@checked
def plane(
    objective: Objective,
    minima: Float[Tensor, "3 P"],
    *,
    points: int = 25,
    margin: float = 0.2,
    train: Objective | None = None,
) -> Surface:
    """Losses on the plane through three minima; `marks` are their coordinates (Garipov et al., 2018).

    The first lies at the origin, the second on the first axis. The grid reaches beyond them by `margin` of their extent.
    BatchNorm's statistics are estimated anew at every point of the grid, from the data of `train` (default: of `objective`).

    Args:
        objective: loss and data.
        minima: `(3, P)`, one a row.
        points: along each axis.
        margin: how far the grid reaches beyond the three, relative to their extent.
        train: the same model on the training data, where `objective` is on others.

    Returns:
        Losses and accuracies `(points, points)` at the coordinates x and y, which are distances.

    Raises:
        ConfigurationError: the three lie on one line, or fewer than 2 points.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> og.plane(objective, torch.eye(3, 10), points=5).marks.shape
        torch.Size([3, 2])
    """
    origin = minima[0]
    directions = orthonormalised(minima[1:] - origin)
    marks = ((minima.double() - origin.double()) @ directions.double().T).cpu()
    low, high = marks.min(0).values, marks.max(0).values
    reach = margin * (high - low)
    if points < 2:
        raise ConfigurationError(f"{points} points make no grid; take at least 2.")
    x, y = (torch.linspace((low - reach)[i], (high + reach)[i], points, dtype=torch.float64) for i in (0, 1))
    return _grid(objective, origin, directions, x, y, marks, statistics_from=train or objective)


@checked
def random_planes(
    objective: Objective, like: Surface, count: int = 19, *, seed: int = 0, train: Objective | None = None
) -> list[Surface]:
    """Losses on planes through the origin of a surface in random directions, at its coordinates, to hold it against.

    As many points as `count` such surfaces have are evaluated. Directions are uniform, orthogonal, and as long as the surface's.

    Args:
        objective: loss and data.
        like: the surface.
        count: how many planes.
        seed: of their directions.
        train: the same model on the training data, for a surface by `plane`: BatchNorm's statistics are estimated anew from them
            at every point. Without it they are those of the model, as in `surface`.

    Returns:
        The surfaces, with the same x and y and the origin as the only mark.

    Raises:
        ConfigurationError: fewer than 1 plane, or fewer than 2 parameters.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> found = og.surface(objective, objective.theta, og.random_orthonormal(objective.theta), points=5)
        >>> len(og.connectivity.random_planes(objective, found, 3))
        3
    """
    if count < 1:
        raise ConfigurationError(f"`count` {count} must be at least 1.")
    lengths = torch.linalg.vector_norm(like.directions, dim=1, keepdim=True)
    mark = torch.zeros(1, 2, dtype=torch.float64)
    seeds = np.random.SeedSequence(seed % 2**64).generate_state(count)
    drawn = (lengths * random_orthonormal(like.origin, seed=int(each)) for each in seeds)
    return [_grid(objective, like.origin, directions, like.x, like.y, mark, statistics_from=train) for directions in drawn]


def _grid(
    objective: Objective,
    origin: Float[Tensor, " P"],
    directions: Float[Tensor, "2 P"],
    x: Float[Tensor, " n"],
    y: Float[Tensor, " m"],
    marks: Float[Tensor, "p 2"],
    statistics_from: Objective | None = None,
) -> Surface:
    points = Points(origin, directions, torch.cartesian_prod(x, y))
    statistics = None if statistics_from is None else reestimated(statistics_from, points)
    found = evaluate(objective, points, statistics)
    losses, accuracies = (values.cpu().view(len(x), len(y)) for values in (told(found.losses), found.accuracies))
    return Surface(x, y, losses, accuracies, origin, directions, marks)


def _axis(reach: float, points: int) -> Float[Tensor, " n"]:
    if points < 2 or not reach > 0:
        raise ConfigurationError(f"{points} points within {reach:g}: take at least 2 points and a positive radius (is θ zero?).")
    return torch.linspace(-reach, reach, points, dtype=torch.float64)


def _norm(theta: Float[Tensor, " P"]) -> float:
    return torch.linalg.vector_norm(theta.double()).item()
