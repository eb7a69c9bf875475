"""One curvature matrix on many processes: each has a share of the samples, and products are summed by all-reduce.

With n_r of N samples on rank r, A v = Σ_r (n_r/N) A_r v. Every process gets the same bits, so that whatever is
computed from products goes the same way everywhere. The processes are those of `torch.distributed` (gloo or nccl), as
`torchrun` starts them; `HessianOperator.of(objective, group=torch.distributed.group.WORLD)` shares an objective among them.
"""

import warnings
from collections.abc import Callable
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

    kink = ""

    def __init__(self, objective: Objective, formula: Formula, *, share: float, group: Any) -> None:
        self.share, self.group = share, group
        self._jointly(lambda: super(SharedEngine, self).__init__(objective, formula))

    def _jointly(self, work: Callable[[], None]) -> None:
        """All processes go on, or none does; a kink that one finds is one of all."""
        said, before = "", self.kink
        try:
            work()
        except OrographError as error:
            said = str(error)
        heard: list[Any] = [None] * torch.distributed.get_world_size(self.group)
        torch.distributed.all_gather_object(heard, (said, self.kink), group=self.group)
        texts, kinks = zip(*heard, strict=True)
        if refused := next(filter(None, texts), ""):
            raise ConfigurationError(refused)
        self.kink = next(filter(None, kinks), "")
        if not before:
            super()._warn_of_kink()

    def _warn_of_kink(self) -> None:
        """Not before it is known of which processes' samples."""

    @property
    def together(self) -> str:
        return f"{torch.distributed.get_world_size(self.group)} processes, each: "

    def examine(self, point: Point) -> None:
        if self.agreeing is not None:
            return
        self._jointly(lambda: super(SharedEngine, self).examine(point))
        own = torch.tensor(self.agreeing or (0, 1), device=point.theta.device)
        torch.distributed.all_reduce(own, group=self.group)
        self.agreeing = int(own[0]), int(own[1])

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
