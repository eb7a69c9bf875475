"""Which of a model's outputs the loss reads: the logits, of a tuple, a dictionary or an object of many tensors.

What is measured of outputs (Gauss–Newton products, accuracies, derivatives of samples) is measured of those.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orograph.structure import rebuilt, tensors_of


@dataclass(frozen=True)
class Readout:
    """Where what the loss reads lies among the outputs' tensors.

    Attributes:
        places: of the tensors that it reads; None where the output is one tensor without a structure around it.
    """

    places: tuple[int, ...] | None = None

    @property
    def plain(self) -> bool:
        """Whether the output is one tensor."""
        return self.places is None

    def read(self, outputs: Any) -> tuple[list[Tensor], list[Tensor]]:
        """The tensors that the loss reads, and the others."""
        if self.places is None:
            return [outputs], []
        tensors = tensors_of(outputs)
        return [tensors[i] for i in self.places], [tensor for i, tensor in enumerate(tensors) if i not in self.places]

    def unread(self, outputs: Any, read: Sequence[Tensor], others: Sequence[Tensor]) -> Any:
        """Outputs of the same structure out of the two parts that `read` gives."""
        if self.places is None:
            return read[0]
        parts, rest = iter(read), iter(others)
        return rebuilt(outputs, [next(parts if i in self.places else rest) for i in range(len(read) + len(others))])

    def scores(self, outputs: Any) -> Tensor | None:
        """What the loss reads, where that is one tensor."""
        read = self.read(outputs)[0]
        return read[0] if len(read) == 1 else None


def readout_of(outputs: Any, summed: Callable[[Any], Tensor]) -> Readout:
    """What a loss reads of outputs: that by which it has a gradient.

    Args:
        outputs: of a few samples.
        summed: outputs → their loss.
    """
    if isinstance(outputs, Tensor):
        return Readout()
    tensors = [t.detach().requires_grad_() if t.is_floating_point() else t for t in tensors_of(outputs)]
    moving = [i for i, tensor in enumerate(tensors) if tensor.requires_grad]
    with torch.enable_grad():
        value = summed(rebuilt(outputs, tensors))
    if not value.requires_grad:
        return Readout(())
    slopes = torch.autograd.grad(value, [tensors[i] for i in moving], allow_unused=True)
    return Readout(tuple(i for i, slope in zip(moving, slopes, strict=True) if slope is not None))
