"""One curvature matrix on many processes: each has a share of the samples, and products are summed by all-reduce.

With n_r of N samples on rank r, A v = Σ_r (n_r/N) A_r v. Every process gets the same bits, so that whatever is
computed from products goes the same way everywhere. The processes are those of `torch.distributed` (gloo or nccl), as
`torchrun` starts them; `HessianOperator.of(objective, group=torch.distributed.group.WORLD)` shares an objective among them.
"""

import warnings
from typing import Any

import torch
import torch.distributed
from jaxtyping import Int
from torch import Tensor

from orograph.curvature.engine import Engine, Point
from orograph.curvature.formulas import Formula
from orograph.curvature.precision import Precision
from orograph.errors import ConfigurationError, OrographError
from orograph.objective import Objective


def share_of(count: int, group: Any) -> Int[Tensor, " n"]:
    """The indices of this process's samples out of so many.

    Raises:
        ConfigurationError: more processes than samples.
    """
    ranks, rank = torch.distributed.get_world_size(group), torch.distributed.get_rank(group)
    if count < ranks:
        raise ConfigurationError(f"{ranks} processes cannot share {count} samples; start at most so many.")
    return torch.arange(count).tensor_split(ranks)[rank]


class SharedEngine(Engine):
    """An engine of this process's samples, whose results are summed over all processes.

    Args:
        objective: of this process's samples.
        formula: of the matrix.
        share: n_r/N.
        group: the process group.
    """

    def __init__(self, objective: Objective, formula: Formula, *, share: float, group: Any) -> None:
        super().__init__(objective, formula)
        self.share, self.group = share, group

    @property
    def together(self) -> str:
        return f"{torch.distributed.get_world_size(self.group)} processes, each: "

    def examine(self, point: Point) -> None:
        """All processes go on, or none does."""
        if self.agreeing is not None:
            return
        said = ""
        try:
            super().examine(point)
        except OrographError as error:
            said = str(error)
        heard: list[Any] = [None] * torch.distributed.get_world_size(self.group)
        torch.distributed.all_gather_object(heard, (said, self.agreeing), group=self.group)
        if refused := [text for text, _ in heard if text]:
            raise ConfigurationError(refused[0])
        counts = [(0, 1) if each is None else each for _, each in heard]
        self.agreeing = sum(agreeing for agreeing, _ in counts), sum(batches for _, batches in counts)

    def multiply(self, point: Point, vectors: Tensor, precision: Precision = "high") -> Tensor:
        return self._summed(super().multiply(point, vectors, precision))

    def gradient(self, point: Point) -> Tensor:
        return self._summed(super().gradient(point))

    def loss(self, point: Point) -> Tensor:
        return self._summed(super().loss(point))

    def _twin(self, objective: Objective) -> Engine:
        return SharedEngine(objective, self.formula, share=self.share, group=self.group)

    def _summed(self, values: Tensor) -> Tensor:
        values = (self.share * values).contiguous()
        torch.distributed.all_reduce(values, group=self.group)
        return values


class DistributedOperator:
    """The former way to share an objective among processes."""

    @classmethod
    def of(cls, kind: Any, objective: Objective, group: Any = None) -> Any:
        """Deprecated: `kind.of(objective, group=torch.distributed.group.WORLD)`."""
        warnings.warn(
            f"DistributedOperator.of is deprecated: write {kind.__name__}.of(objective, group=torch.distributed.group.WORLD).",
            DeprecationWarning,
            stacklevel=2,
        )
        return kind.of(objective, group=group or torch.distributed.group.WORLD)
