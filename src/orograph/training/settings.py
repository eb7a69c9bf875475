"""How a model is trained: one frozen model of options, whose descriptions are the help of the command.

The defaults are those of the published sweeps (Adam, learning rate 0.0015, batches of 64, at most 50 epochs, patience 5).
"""

import math
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from orograph.errors import ConfigurationError, unknown
from orograph.settings.base import Settings, is_own

OPTIMIZERS = ("SGD", "Adam", "AdamW")
SCHEDULERS = ("none", "cosine", "step", "onecycle", "warmup-cosine")

_POSITIVE = ("lr", "batch_size", "epochs", "patience", "polish_tolerance", "polish_products")
_NOT_NEGATIVE = ("weight_decay", "momentum", "drops", "min_lr")


class OptimizerSettings(Settings):
    """An optimiser, its batches and how often they are gone through."""

    optimizer: str = Field("Adam", description=f"optimiser of the training: {', '.join(OPTIMIZERS)}")
    lr: float = Field(0.0015, description="learning rate at the start of a training")
    weight_decay: float = Field(0.0, description="the optimiser's own weight decay, besides the penalty (decoupled for AdamW)")
    momentum: float = Field(0.0, description="momentum of SGD, below 1")
    batch_size: int = Field(64, description="samples of a mini-batch")
    epochs: int = Field(50, description="epochs at most")

    own_optimizers: ClassVar[bool] = False  # whether an optimiser may be one's own

    @model_validator(mode="after")
    def _possible(self) -> "OptimizerSettings":
        if self.optimizer not in OPTIMIZERS and not (self.own_optimizers and is_own(self.optimizer)):
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        for name in (*_POSITIVE, *_NOT_NEGATIVE):
            value = getattr(self, name, 1)
            if not math.isfinite(value) or value < 0 or (value == 0 and name in _POSITIVE):
                least = "positive" if name in _POSITIVE else "at least 0"
                raise ConfigurationError(f"`{name}` {value} must be {least} and finite")
        if self.momentum >= 1:
            raise ConfigurationError(f"`momentum` {self.momentum} must be below 1: the steps would grow without bound")
        if self.momentum and self.optimizer != "SGD":
            raise ConfigurationError(f"`momentum` {self.momentum} belongs to SGD; add `optimizer` SGD or leave it out")
        return self


class TrainingSettings(OptimizerSettings):
    """Optimiser, stopping and polishing of one training.

    Examples:
        >>> import orograph as og
        >>> og.TrainingSettings(lr=0.01, epochs=20).patience
        5
    """

    own_optimizers: ClassVar[bool] = True

    optimizer: str = Field(
        "Adam", description=f"optimiser of the training: {', '.join(OPTIMIZERS)}, or module:Class as torch.optim has them"
    )
    patience: int = Field(5, description="epochs without improvement after which the learning rate drops or training ends")
    drops: int = Field(2, description="how often the learning rate is divided by 10 before training ends")
    published: bool = Field(
        False,
        description="the published procedure exactly: patience watches the unpenalised running loss, the learning rate never "
        "drops, the last state is kept",
    )
    polish: bool = Field(False, description="polish the trained state to a critical point by Newton-CG")
    polish_tolerance: float = Field(
        1e-5, description="a polished state has a gradient of the objective of norm at most this times max(1, 2λ‖θ − θ_ref‖)"
    )
    polish_products: int = Field(5000, description="Hessian-vector products that polishing may spend at most")


class FitSettings(OptimizerSettings):
    """A training of a fixed number of epochs whose learning rate follows a course, and whose last state is kept.

    Examples:
        >>> import orograph as og
        >>> og.FitSettings(optimizer="SGD", lr=0.1, scheduler="cosine").batch_size
        64
    """

    scheduler: Literal["none", "cosine", "step", "onecycle", "warmup-cosine"] = Field(
        "none", description="course of the learning rate over the steps of the training"
    )
    min_lr: float = Field(0.0, description="learning rate at the end of the course")

    @model_validator(mode="after")
    def _descends(self) -> "FitSettings":
        if self.scheduler != "none" and self.min_lr > self.lr:
            raise ConfigurationError(f"`min_lr` {self.min_lr} is above `lr` {self.lr}; lower it")
        return self
