"""The update of a stack of models after a mini-batch: the penalty's gradient, then a fused optimiser.

Each model has its own strength λ, anchor and learning rate. The gradient 2λ(θ − θ_ref) is added by hand. On a CPU this goes model
by model: for a penalty around the origin it is the coupled weight decay 2λ of Adam and SGD, at no cost; otherwise it costs two
passes over θ. On a GPU, where launches decide, it is one kernel or two for all models, and the optimiser one for all of the same
learning rate. Either way a model's numbers do not depend on what else is in the stack.
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
        by_model: whether penalties are added model by model; by default on a CPU.

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
        *,
        by_model: bool | None = None,
    ) -> None:
        self._settings, self._theta, self._gradient = settings, theta, gradient
        self._strengths, self._anchors = strengths, anchors
        self._by_model = theta.device.type == "cpu" if by_model is None else by_model
        self.moments = [rows(len(theta), theta) for _ in range(_moments(settings))]
        self.steps = torch.zeros(len(theta), device=theta.device)
        self._offset = torch.empty_like(theta[0])
        self._together = [] if self._by_model else self._penalties_together()
        self._calls: list[Callable[[], Any]] = []

    def prepare(self, rates: Sequence[float | None]) -> None:
        """Sets the learning rate of each model; None leaves a model out."""
        trained = {model: rate for model, rate in enumerate(rates) if rate is not None}
        if self._by_model:
            self._calls, decays = self._penalties_by_model(list(trained))
        else:
            self._calls, decays = list(self._together), [self._settings.weight_decay] * len(trained)
        alike: dict[tuple[float, float], list[int]] = {}
        for (model, rate), decay in zip(trained.items(), decays, strict=True):
            alike.setdefault((rate, decay), []).append(model)
        self._calls += [self._step(models, rate, decay) for (rate, decay), models in alike.items()]

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

    def _penalties_by_model(self, models: Sequence[int]) -> tuple[list[Callable[[], Any]], list[float]]:
        """What adds the penalties' gradients, and the weight decay of each model, which stands for some of them."""
        calls: list[Callable[[], Any]] = []
        decays = []
        for model in models:
            strength, anchor = self._strengths[model], self._anchors[model]
            theta, gradient = self._theta[model], self._gradient[model]
            decays.append(self._settings.weight_decay)
            if strength and anchor is not None:
                calls.append(partial(torch.sub, theta, anchor, out=self._offset))
                calls.append(partial(gradient.add_, self._offset, alpha=2 * strength))
            elif strength and self._settings.optimizer == "AdamW":
                calls.append(partial(gradient.add_, theta, alpha=2 * strength))
            else:
                decays[-1] += 2 * strength
        return calls, decays

    def _penalties_together(self) -> list[Callable[[], Any]]:
        """What adds the penalties' gradients of all models."""
        if not any(self._strengths):
            return []
        weights = self._theta.new_tensor(self._strengths)[:, None] * 2
        if all(anchor is None for anchor in self._anchors):
            return [partial(self._gradient.addcmul_, self._theta, weights)]
        anchors = torch.stack([torch.zeros_like(self._theta[0]) if anchor is None else anchor for anchor in self._anchors])
        offsets = torch.empty_like(anchors)
        return [partial(torch.sub, self._theta, anchors, out=offsets), partial(self._gradient.addcmul_, offsets, weights)]

    def _step(self, models: Sequence[int], rate: float, decay: float) -> Callable[[], Any]:
        """The optimiser's step of some models."""
        settings = self._settings

        def of(stack: Tensor) -> list[Tensor]:
            return [stack[model] for model in models]

        moments = [of(moment) for moment in self.moments]
        scaling: dict[str, Any] = {"grad_scale": None, "found_inf": None, "maximize": False}
        if settings.optimizer == "SGD":
            return partial(
                torch._fused_sgd_,
                of(self._theta),
                of(self._gradient),
                moments[0] if moments else [],
                weight_decay=decay,
                momentum=settings.momentum,
                lr=rate,
                dampening=0.0,
                nesterov=False,
                is_first_step=False,  # a zero buffer gives the same first step
                **scaling,
            )
        return partial(
            torch._fused_adam_ if settings.optimizer == "Adam" else torch._fused_adamw_,
            of(self._theta),
            of(self._gradient),
            *moments,
            [],
            of(self.steps),
            lr=rate,
            beta1=0.9,
            beta2=0.999,
            weight_decay=decay,
            eps=1e-8,
            amsgrad=False,
            **scaling,
        )
