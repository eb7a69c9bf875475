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
        self._share_kinks([each for (each,) in self._heard((self.kink,))])

    def _heard(self, said: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """What every process says."""
        heard: list[Any] = [None] * torch.distributed.get_world_size(self.group)
        torch.distributed.all_gather_object(heard, said, group=self.group)
        return heard

    def _warn_of_kink(self) -> None:
        """Not before it is known of which processes' samples."""

    def _share_kinks(self, kinks: list[str], before: str = "") -> None:
        """One that any process found is one of all, said by all."""
        self.kink = next(filter(None, kinks), "")
        if not before:
            super()._warn_of_kink()

    @property
    def together(self) -> str:
        return f"{torch.distributed.get_world_size(self.group)} processes, each: "

    def examine(self, point: Point) -> None:
        """All processes go on, or none does."""
        if self.agreeing is not None:
            return
        said, before = "", self.kink
        try:
            super().examine(point)
        except OrographError as error:
            said = str(error)
        texts, counts, kinks = zip(*self._heard((said, self.agreeing or (0, 1), self.kink)), strict=True)
        if refused := list(filter(None, texts)):
            raise ConfigurationError(refused[0])
        self._share_kinks(list(kinks), before)
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
