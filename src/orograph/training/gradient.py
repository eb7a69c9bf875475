"""Mean loss and gradient of one mini-batch, for one model or for a stack of models, in fixed buffers.

The gradient is traced once for a batch shape and replayed as bare kernels (`kernels.Kernels`); a stack of models is one `vmap`ped
trace over a leading model dimension, whose inputs are shared by all models or come one batch a model. The first replay of every
trace is checked against plain autograd; what cannot be traced, or differs, runs by autograd, model by model.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, fx, nn
from torch.func import grad_and_value, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from orograph.calling import apart, call, evaluation_mode, guarded, training_mode, unremarked
from orograph.errors import ConfigurationError
from orograph.keeping import rewound
from orograph.objective import Objective
from orograph.samples import equal, named, parting, record
from orograph.training.kernels import Kernels, Untraceable, trace
from orograph.training.pieces import Samples

_FEW = 32  # samples on which noise is looked for
_RANDOM = "random in training"  # a key of what an objective keeps
_NOISE = (
    "or have it trained in train mode: by an optimiser of your own (`optimizer` torch.optim:Adam, in a sweep) or by a function "
    "of your own (`train`)."
)

_Key = tuple[str, int, bool, int]  # whose; models (0: one model, without a model dimension), shared batch, batch length


def tracks_statistics(module: nn.Module) -> bool:
    """Whether this very module is BatchNorm, or an InstanceNorm with running statistics."""
    return isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats


def drops_units(module: nn.Module) -> bool:
    """Whether this very module has dropout."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    inside = getattr(module, "dropout", None)
    return isinstance(inside, float) and inside > 0


def refuse_stateful(objective: Objective, *, statistics: bool = True) -> None:
    """Training evaluates the module in eval mode, which BatchNorm, dropout and other noise are not meant to be trained in.

    Args:
        objective: of the module; noise of its own is looked for on a few samples, once.
        statistics: whether BatchNorm is refused too, or noise alone.

    Raises:
        ConfigurationError: the module has BatchNorm, an InstanceNorm with running statistics, dropout, or other noise.
    """
    for module, name in named(objective.model).items():
        if drops_units(module):
            raise ConfigurationError(f"the module '{name}' drops units at random in training; set its rate to 0, {_NOISE}")
        if statistics and tracks_statistics(module):
            raise ConfigurationError(
                f"the module '{name}' trains differently than it evaluates; give its `buffers`, where training starts from."
            )
    if _RANDOM not in objective.traces:
        objective.traces[_RANDOM] = _random(objective)
    if objective.traces[_RANDOM]:
        raise ConfigurationError(
            f"the module '{objective.traces[_RANDOM]}' is random in train mode; switch that off (a rate of 0), {_NOISE}"
        )


@apart()
def _random(objective: Objective) -> str:
    """The innermost module that gives two outputs for one input in train mode; empty if there is none."""
    model = objective.model
    inputs, _ = next(objective.batches(min(_FEW, objective.count)))
    tensors = {**objective.constants, **objective.layout.arguments(objective.theta)}

    def run(given: Any) -> Any:
        return call(model, {name: tensor.clone() for name, tensor in tensors.items()}, guarded(given))

    with training_mode(model), rewound(model):
        try:
            first, second = record(model, run, inputs), record(model, run, inputs)
        except Exception:  # a single sample, of which BatchNorm knows no variance: training itself says so
            return ""
    return "" if equal(first[-1][2], second[-1][2]) else parting(first, second)


class BatchGradients:
    """A `BatchGradient` for each length of mini-batch that is met.

    Args:
        make: gives one for a `length`, all else being chosen.
    """

    def __init__(self, make: "Callable[..., BatchGradient]") -> None:
        self._made: dict[int, BatchGradient] = {}
        self._make = make

    def __call__(self, indices: Int[Tensor, "*M B"]) -> None:
        """Computes losses and gradients on the samples of these indices."""
        length = indices.shape[-1]
        if length not in self._made:
            self._made[length] = self._make(length=length)
        self._made[length](indices)


class BatchGradient:
    """The mean loss and its gradient on one mini-batch of a fixed length.

    Args:
        objective: its loss (never its penalty) is differentiated.
        theta: `(M, P)`, read at every call.
        gradient: `(M, P)`, overwritten by every call.
        losses: `(M,)`, overwritten by every call.
        data: what indices mean, at every call.
        length: B, samples of the mini-batch.
        shared: whether all models see the same samples.
        stacked: whether the trace has a model dimension; False for one model trained alone.
    """

    def __init__(
        self,
        objective: Objective,
        theta: Float[Tensor, "M P"],
        gradient: Float[Tensor, "M P"],
        losses: Float[Tensor, " M"],
        data: Samples,
        *,
        length: int,
        shared: bool,
        stacked: bool,
    ) -> None:
        self._objective, self._theta, self._gradient, self._losses = objective, theta, gradient, losses
        self._shared, self._stacked = shared, stacked
        self._data = data
        self._spec = tree_flatten(next(iter(objective.batches(1)))[0])[1]
        lead = (length,) if shared else (len(theta), length)
        self._batch = [source.new_empty(*lead, *source.shape[1:]) for source in data.sources]
        self._flat = [buffer if shared else buffer.flatten(0, 1) for buffer in self._batch]
        self._run: Callable[[], None] = self._by_autograd
        self._key: _Key = ("gradient", len(theta) if stacked else 0, shared, length)
        self._checked = objective.traces.get(self._key) is not None
        try:
            self._run = self._traced()
        except Untraceable:
            objective.traces[self._key] = None

    @property
    def traced(self) -> bool:
        return isinstance(self._run, Kernels)

    def __call__(self, indices: Int[Tensor, "*M B"]) -> None:
        """Computes losses and gradients on the samples of these indices, `(B,)` if shared, else `(M, B)`."""
        flat = indices if self._shared else indices.flatten()
        for source, buffer in zip(self._data.sources, self._flat, strict=True):
            torch.index_select(source, 0, flat, out=buffer)
        self._run()
        if self.traced and not self._checked:
            self._check()

    def _mean(self, tensors: Sequence[Tensor], batch: Sequence[Tensor]) -> Tensor:
        """The mean loss as a function of the parameters as a list and the leaves of a batch."""
        objective = self._objective
        inputs = tree_unflatten(list(batch[:-1]), self._spec)
        named = dict(zip(objective.layout.names, tensors, strict=True))
        with evaluation_mode(objective.model):
            outputs = call(objective.model, {**objective.constants, **named}, inputs)
        return objective.output_losses(outputs, batch[-1]).mean()

    def _traced(self) -> Kernels:
        layout = self._objective.layout
        theta, gradient, losses = self._theta, self._gradient, self._losses
        if not self._stacked:
            theta, gradient, losses = theta[0], gradient[0], losses[0]
        parameters, results = list(layout.unflatten(theta).values()), list(layout.unflatten(gradient).values())
        known: dict[Any, fx.Graph | None] = self._objective.traces
        if self._key not in known:
            with unremarked():
                known[self._key] = trace(self._function(len(parameters)), [*parameters, *self._batch])
        graph = known[self._key]
        if graph is None:
            raise Untraceable
        return Kernels(graph, [*parameters, *self._batch], [*results, losses])

    def _function(self, count: int) -> Callable[..., list[Tensor]]:
        differentiated = grad_and_value(self._mean)
        if self._stacked:
            differentiated = vmap(differentiated, in_dims=(0, None if self._shared else 0))

        def function(*arguments: Tensor) -> list[Tensor]:
            gradients, loss = differentiated(list(arguments[:count]), list(arguments[count:]))
            return [*gradients, loss]

        return function

    def _by_autograd(self) -> None:
        for model, row in enumerate(self._theta):
            batch = self._batch if self._shared else [buffer[model] for buffer in self._batch]
            point = row.detach().requires_grad_()
            loss = self._mean(list(self._objective.layout.arguments(point).values()), batch)
            self._gradient[model].copy_(torch.autograd.grad(loss, point)[0])
            self._losses[model].copy_(loss.detach())

    def _check(self) -> None:
        """Compares the kernels' first results with autograd's, which stand in the buffers afterwards if the two differ."""
        replayed = self._gradient.clone(), self._losses.clone()
        self._by_autograd()
        epsilon = torch.finfo(self._theta.dtype).eps
        for mine, truth in zip(replayed, (self._gradient, self._losses), strict=True):
            allowed = epsilon**0.5 * truth.norm() + epsilon * truth.numel() ** 0.5
            if (mine - truth).norm() > allowed:
                self._objective.traces[self._key] = None
                self._run = self._by_autograd
                return
        self._gradient.copy_(replayed[0])
        self._losses.copy_(replayed[1])
        self._checked = True
