"""Training of one model from a given state: the leanest loop, for chains in which each point starts from its neighbour."""

from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.objective import Objective
from orograph.training.descent import OnEpoch, Trained, descend
from orograph.training.moment import Observer
from orograph.training.settings import TrainingSettings
from orograph.training.statistics import Buffers

__all__ = ["Trained", "train"]


@checked
def train(
    objective: Objective,
    theta: Float[Tensor, " P"],
    settings: TrainingSettings,
    *,
    order_seed: int,
    on_epoch: OnEpoch | None = None,
    observer: Observer | None = None,
    every: int = 1,
    buffers: Buffers | None = None,
) -> Trained:
    """Minimises L_eff(θ) = L(θ) + λ‖θ − θ_ref‖² by mini-batches, from θ, as `descent` describes.

    The gradient is traced once per objective and batch length and kept for later calls with the same objective; λ and θ_ref of
    the objective may change in between. The module is never written to.

    Args:
        objective: the loss and its data, λ and θ_ref; evaluated in eval mode.
        theta: `(P,)`, where training starts.
        settings: optimiser, batches, epochs, patience.
        order_seed: of the mini-batch order.
        on_epoch: called with the number of each epoch and its objective.
        observer: called at the end of epochs; what it returns joins the epoch's record.
        every: the observer is called after every so many epochs.
        buffers: of a module that changes them in training (BatchNorm), where it starts; left as they are.

    Returns:
        The state kept `(P,)`, what ended the training, and one record an epoch.

    Raises:
        ConfigurationError: the model has dropout; or BatchNorm, and no buffers were given.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> found = og.train(objective, objective.theta, og.TrainingSettings(epochs=3), order_seed=0)
        >>> found.epochs, objective.loss(found.theta) < objective.loss(objective.theta)
        (3, True)
    """
    (trained,) = descend(
        objective,
        theta[None],
        settings,
        strengths=[objective.strength],
        anchors=[objective.anchor],
        order_seeds=order_seed,
        stacked=False,
        on_epoch=on_epoch,
        observer=observer,
        every=every,
        buffers=None if buffers is None else [buffers],
    )
    return trained
