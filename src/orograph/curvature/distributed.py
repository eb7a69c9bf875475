"""One curvature matrix on many processes: each has a share of the samples, and products are summed by all-reduce.

With n_r of N samples on rank r, A v = Σ_r (n_r/N) A_r v. Every process gets the same bits, so that whatever is
computed from products goes the same way everywhere. The processes are those of `torch.distributed` (gloo or nccl), as
`torchrun` starts them.
"""

from typing import Any

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor

from orograph.curvature.matrix import CurvatureOperator
from orograph.curvature.operator import LinearOperator
from orograph.errors import ConfigurationError
from orograph.objective import Objective


class DistributedOperator(LinearOperator):
    """A, out of every process's part of it.

    Args:
        part: the matrix of this process's samples.
        share: n_r/N.
        group: the process group.
    """

    def __init__(self, part: CurvatureOperator, share: float, group: Any) -> None:
        self.part, self.share, self.group = part, share, group
        self.size, self.dtype, self.device = part.size, part.dtype, part.device

    @classmethod
    def of(cls, kind: type[CurvatureOperator], objective: Objective, group: Any = None) -> "DistributedOperator":
        """The matrix of an objective that every process holds, of which each takes its share of the samples.

        Raises:
            ConfigurationError: more processes than samples.
        """
        group = group or torch.distributed.group.WORLD
        ranks, rank = torch.distributed.get_world_size(group), torch.distributed.get_rank(group)
        if objective.count < ranks:
            raise ConfigurationError(f"{ranks} processes cannot share {objective.count} samples; start at most so many.")
        mine = torch.arange(objective.count).tensor_split(ranks)[rank]
        return cls(kind.of(objective, samples=mine), len(mine) / objective.count, group)

    def double(self) -> "DistributedOperator":
        return DistributedOperator(self.part.double(), self.share, self.group)

    @property
    def verification(self) -> "DistributedOperator":
        part = self.part.verification
        return self if part is self.part else DistributedOperator(part, self.share, self.group)

    def product(self, vector: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        return self._summed(self.part @ vector)

    def block_product(self, block: Float[Tensor, "P b"]) -> Float[Tensor, "P b"]:
        return self._summed(self.part @ block)

    @property
    def theta(self) -> Float[Tensor, " P"]:
        """Where it stands."""
        return self.part.theta

    @property
    def gradient(self) -> Float[Tensor, " P"]:
        """∇L(θ) over all samples."""
        return self._summed(self.part.gradient.clone())

    @property
    def loss(self) -> float:
        """L(θ) over all samples."""
        return float(self._summed(torch.tensor([self.part.loss], dtype=torch.float64, device=self.device))[0])

    @property
    def method(self) -> str:
        """How products are computed, as `HessianOperator.method`."""
        return self.part.method

    @property
    def plan(self) -> str:
        """What one process does."""
        return f"{torch.distributed.get_world_size(self.group)} processes, each: {self.part.plan}"

    def _summed(self, values: Tensor) -> Tensor:
        values = (self.share * values).contiguous()
        torch.distributed.all_reduce(values, group=self.group)
        return values
