"""Competitors that evaluate the loss at all points of a two-dimensional slice, and the matrix products that this needs.

M points and N samples take M forward passes, 2NM Σ n_{l−1}n_l FLOPs: `ForwardFloor` runs exactly these products. But the points
lie in a plane θ + x u + y v and the first layer reads the same data at each: its outputs are those of θ, u and v combined,
three products in place of M. `SharedFloor` runs what is left then.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from floors import divisors, fastest, synchronise
from orograph.connectivity import random_orthonormal, surface
from workload import Workload, load_theta

RADIUS = 0.1
_GROUPS = (1, 4, 8)  # points multiplied together
_LENGTHS = (500, 1000, 2000, 5000)  # samples multiplied together
_TRIED = 8  # points on which group and length are chosen


def forward_flops(sizes: tuple[int, ...], count: int) -> int:
    """FLOPs of the matrix products of one forward pass over `count` samples."""
    return 2 * count * sum(inner * outer for inner, outer in itertools.pairwise(sizes))


def directions_of(workload: Workload) -> Tensor:
    """The two axes of the slice `(2, P)`, the same for every competitor."""
    return random_orthonormal(workload.theta, seed=0)


class Orograph:
    """`connectivity.surfaces.surface`, from the objective to the losses and accuracies."""

    def __init__(self, workload: Workload, points: int, memory: str = "4GiB") -> None:
        self.theta, self.directions, self.points = workload.theta, directions_of(workload), points
        self.objective = workload.objective(memory=memory)

    def evaluate(self) -> np.ndarray:
        return surface(self.objective, self.theta, self.directions, radius=RADIUS, points=self.points).losses.numpy()


class Loop:
    """The same slice by a loop over points: write the parameters into the module, evaluate it in batches of its best length."""

    def __init__(self, workload: Workload, points: int) -> None:
        self.workload, self.points, self.model = workload, points, workload.model()
        self.directions = directions_of(workload)
        candidates = divisors(workload.count, (*_LENGTHS, 10_000))
        self.length = fastest(candidates, self._attempt, workload.theta.device)

    def _attempt(self, length: int) -> None:
        self.length = length
        self._loss()

    def evaluate(self) -> np.ndarray:
        reach = RADIUS * self.workload.theta.double().norm().item()
        axis = torch.linspace(-reach, reach, self.points, dtype=torch.float64).tolist()
        losses = np.empty((self.points, self.points))
        for (i, x), (j, y) in itertools.product(enumerate(axis), enumerate(axis)):
            load_theta(self.model, self.workload.theta + x * self.directions[0] + y * self.directions[1])
            losses[i, j] = self._loss()
        return losses

    @torch.no_grad()
    def _loss(self) -> float:
        total = 0.0
        for inputs, targets in self.workload.batches(self.length):
            outputs = self.model(inputs)
            total += F.cross_entropy(outputs, targets, reduction="sum").double().item()
            outputs.argmax(1).eq(targets).sum()
        return total / self.workload.count


class ForwardFloor:
    """The bare matrix products of one forward pass at every point, in groups of points and chunks of samples of the best size.

    Args:
        workload: gives sizes, images and device. points: along each axis. group, length: None tries some and keeps the fastest.
    """

    def __init__(self, workload: Workload, points: int, group: int | None = None, length: int | None = None) -> None:
        self.inputs, self.count = workload.inputs.flatten(1), points**2
        self.sizes, device = workload.sizes, self.inputs.device
        # Distinct weights for every point: caches must not make the floor lower than it is.
        self.first = torch.rand(self._firsts() * self.sizes[1], self.sizes[0], device=device)
        self.rest = [torch.rand(self.count, outer, inner, device=device) for inner, outer in itertools.pairwise(self.sizes[1:])]
        choices = list(itertools.product(_GROUPS if group is None else (group,), self._lengths(workload, length)))
        best = fastest(range(len(choices)), lambda index: self._attempt(choices[index]), device) if len(choices) > 1 else 0
        self.group, self.length = choices[best]

    def _firsts(self) -> int:
        return self.count

    def _lengths(self, workload: Workload, length: int | None) -> list[int]:
        return divisors(workload.count, _LENGTHS)[:-1] or [workload.count] if length is None else [length]

    def _attempt(self, choice: tuple[int, int]) -> None:
        self.group, self.length = choice
        self._run(min(_TRIED, self.count))

    def evaluate(self) -> None:
        self._run(self.count)

    def _run(self, count: int) -> None:
        for start in range(0, len(self.inputs), self.length):
            chunk = self.inputs[start : start + self.length]
            for part, values in self._first_layer(chunk, count):
                for weights in self.rest:
                    values = torch.bmm(values, weights[part].mT)
        synchronise(self.inputs.device)

    def _groups(self, count: int) -> Iterator[slice]:
        for first in range(0, count, self.group):
            yield slice(first, min(first + self.group, count))

    def _first_layer(self, chunk: Tensor, count: int) -> Iterator[tuple[slice, Tensor]]:
        """The outputs `(m, n, n₁)` of the first layer at a group of points after the other."""
        width = self.sizes[1]
        for part in self._groups(count):
            wide = torch.mm(chunk, self.first[part.start * width : part.stop * width].T)
            yield part, wide.view(len(chunk), -1, width).transpose(0, 1)


class SharedFloor(ForwardFloor):
    """The bare matrix products that are left when the first layer's outputs are combined from three."""

    def __init__(self, workload: Workload, points: int, group: int | None = None, length: int | None = None) -> None:
        self.coefficients = torch.rand(points**2, 3, device=workload.inputs.device)
        super().__init__(workload, points, group, length)

    def _firsts(self) -> int:
        return 3

    def _first_layer(self, chunk: Tensor, count: int) -> Iterator[tuple[slice, Tensor]]:
        width = self.sizes[1]
        parts = torch.stack([torch.mm(chunk, weights.T) for weights in self.first.split(width)]).flatten(1)
        for part in self._groups(count):
            yield part, torch.mm(self.coefficients[part], parts).view(-1, len(chunk), width)
