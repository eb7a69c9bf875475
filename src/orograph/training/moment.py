"""A network at the end of an epoch, as an observer of its training sees it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from orograph.brief import brief


@brief
@dataclass(frozen=True, eq=False)
class Moment:
    """Where a training stands.

    Attributes:
        epoch: its number; 0 before the first.
        theta: `(P,)`, overwritten by the next step.
        moments: of the optimiser, `(P,)` each: SGD's momentum buffer if it has momentum, Adam's first and second.
        buffers: of the module, where training changes them.
        steps: taken so far by the optimiser.
        lr: the learning rate of the last step.
        strength: λ of the penalty that is minimised besides the loss.
    """

    epoch: int
    theta: Float[Tensor, " P"]
    moments: list[Tensor]
    buffers: Mapping[str, Tensor]
    steps: int
    lr: float
    strength: float = 0.0


Observer = Callable[[Moment], dict[str, float]]
