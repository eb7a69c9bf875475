"""Mean loss and gradient of a mini-batch for models whose buffers change in training: BatchNorm's running statistics.

Such models are differentiated in train mode by plain autograd, one after the other. Their buffers are kept beside θ, one set a
model, and written by the pass itself; the module's own are never touched.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from orograph.calling import call, training_mode
from orograph.objective import Objective
from orograph.training.pieces import Samples

Buffers = dict[str, Tensor]


def fresh_buffers(objective: Objective) -> Buffers:
    """Copies of the buffers that the objective evaluates with."""
    return {name: objective.constants[name].clone() for name, _ in objective.model.named_buffers()}


class StatisticsGradient:
    """The mean loss and its gradient on one mini-batch, models one after the other; their buffers follow.

    Args:
        objective: its loss (never its penalty) is differentiated.
        theta: `(M, P)`, read at every call.
        gradient: `(M, P)`, overwritten by every call.
        losses: `(M,)`, overwritten by every call.
        buffers: of each model, overwritten by every call.
        data: what indices mean, at every call.
    """

    def __init__(
        self,
        objective: Objective,
        theta: Float[Tensor, "M P"],
        gradient: Float[Tensor, "M P"],
        losses: Float[Tensor, " M"],
        buffers: list[Buffers],
        data: Samples,
    ) -> None:
        self._objective, self._theta, self._gradient, self._losses = objective, theta, gradient, losses
        self._buffers, self._data = buffers, data
        self._spec = tree_flatten(next(iter(objective.batches(1)))[0])[1]

    def __call__(self, indices: Int[Tensor, "*M B"]) -> None:
        """Computes losses and gradients on the samples of these indices, `(B,)` if shared, else `(M, B)`."""
        objective = self._objective
        for model, chosen in enumerate(indices.expand(len(self._theta), -1)):
            point = self._theta[model].detach().requires_grad_()
            tensors = {**objective.constants, **self._buffers[model], **objective.layout.arguments(point)}
            inputs = tree_unflatten([leaf[chosen] for leaf in self._data.leaves], self._spec)
            with training_mode(objective.model):
                outputs = call(objective.model, tensors, inputs)
            loss = objective.output_losses(outputs, self._data.targets[chosen]).mean()
            self._gradient[model].copy_(torch.autograd.grad(loss, point)[0])
            self._losses[model].copy_(loss.detach())
