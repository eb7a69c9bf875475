"""The update of a stack of models after a mini-batch: the penalty's gradient, then a fused optimiser, one row a model.

Each model has its own strength λ, anchor and learning rate. The gradient 2λ(θ − θ_ref) is added by hand: for a penalty around the
origin it is the coupled weight decay 2λ of Adam and SGD, at no cost; otherwise it costs two passes over θ. Rows are updated one
by one, so that a model's numbers do not depend on what else is in the stack.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.training.settings import OptimizerSettings


def rows(models: int, like: Float[Tensor, "*M P"]) -> Float[Tensor, "M P"]:
    """A zeroed `(M, P)` buffer whose rows all start at multiples of 64 bytes.

    Small matrix products are quicker there, and their last bits depend on alignment.
    """
    size = like.shape[-1]
    step = 64 // like.element_size()
    return like.new_zeros(models, (size + step - 1) // step * step)[:, :size]


def _moments(settings: OptimizerSettings) -> int:
    return 2 if settings.optimizer != "SGD" else int(settings.momentum > 0)


def initial_state(settings: OptimizerSettings, theta: Float[Tensor, " P"]) -> list[Tensor]:
    """The state of a model before its first step, as `Update.state` gives it: θ, zero moments, no steps."""
    moments = [torch.zeros_like(theta) for _ in range(_moments(settings))]
    return [theta.detach().clone(), *moments, torch.zeros((), device=theta.device)]


class Update:
    """The optimiser of a stack and its state.

    Args:
        theta: `(M, P)`, updated in place.
        gradient: `(M, P)`, the gradient of the loss; the penalty's is added into it.
        strengths: λ of each model.
        anchors: θ_ref of each model, or None for the origin.

    Attributes:
        moments: the optimiser's running moments, each `(M, P)`.
        steps: `(M,)`, updates since the moments were zero.
    """

    def __init__(
        self,
        settings: OptimizerSettings,
        theta: Float[Tensor, "M P"],
        gradient: Float[Tensor, "M P"],
        strengths: Sequence[float],
        anchors: Sequence[Float[Tensor, " P"] | None],
    ) -> None:
        self._settings, self._theta, self._gradient = settings, theta, gradient
        self._strengths, self._anchors = strengths, anchors
        self.moments = [rows(len(theta), theta) for _ in range(_moments(settings))]
        self.steps = torch.zeros(len(theta), device=theta.device)
        self._offset = torch.empty_like(theta[0])
        self._calls: list[Callable[[], Any]] = []

    def prepare(self, rates: Sequence[float | None]) -> None:
        """Sets the learning rate of each model; None leaves a model out."""
        self._calls = []
        for model, rate in enumerate(rates):
            if rate is not None:
                self._calls += self._calls_of(model, rate)

    def __call__(self) -> None:
        with torch.no_grad():
            self.steps.add_(1)
            for call in self._calls:
                call()

    def state(self, model: int) -> list[Tensor]:
        """Copies of θ, moments and step count of one model: all that its further course depends on."""
        return [tensor[model].clone() for tensor in self._state]

    def restore(self, model: int, state: list[Tensor]) -> None:
        for tensor, value in zip(self._state, state, strict=True):
            tensor[model].copy_(value)

    @property
    def _state(self) -> list[Tensor]:
        return [self._theta, *self.moments, self.steps]

    def _calls_of(self, model: int, rate: float) -> list[Callable[[], Any]]:
        settings, strength, anchor = self._settings, self._strengths[model], self._anchors[model]
        theta, gradient = self._theta[model], self._gradient[model]
        calls: list[Callable[[], Any]] = []
        decay = settings.weight_decay
        if strength and anchor is not None:
            calls.append(partial(torch.sub, theta, anchor, out=self._offset))
            calls.append(partial(gradient.add_, self._offset, alpha=2 * strength))
        elif strength and settings.optimizer == "AdamW":
            calls.append(partial(gradient.add_, theta, alpha=2 * strength))
        else:
            decay += 2 * strength
        moments = [[moment[model]] for moment in self.moments]
        scaling: dict[str, Any] = {"grad_scale": None, "found_inf": None, "maximize": False}
        if settings.optimizer == "SGD":
            step = partial(
                torch._fused_sgd_,
                [theta],
                [gradient],
                moments[0] if moments else [],
                weight_decay=decay,
                momentum=settings.momentum,
                lr=rate,
                dampening=0.0,
                nesterov=False,
                is_first_step=False,  # a zero buffer gives the same first step
                **scaling,
            )
        else:
            step = partial(
                torch._fused_adam_ if settings.optimizer == "Adam" else torch._fused_adamw_,
                [theta],
                [gradient],
                *moments,
                [],
                [self.steps[model]],
                lr=rate,
                beta1=0.9,
                beta2=0.999,
                weight_decay=decay,
                eps=1e-8,
                amsgrad=False,
                **scaling,
            )
        return [*calls, step]
