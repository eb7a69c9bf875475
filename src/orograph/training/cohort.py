"""Training of several models of one architecture as one step over a leading model dimension.

Each model has its own λ, anchor, stopping and learning rate. The models of a λ-cohort share the mini-batch stream (one gather a
step); those of a seed cohort have a stream each. Matrix products of the models are batched, never merged, and updates
are made row by row, so that a network of dense layers becomes the same in any company, bit for bit; it does differ in the last
bits from the same network trained by `loop.train`, and convolutions, which are grouped, differ between cohort sizes.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training.descent import OnEpoch, Trained, descend
from orograph.training.moment import Observer
from orograph.training.settings import TrainingSettings
from orograph.training.statistics import Buffers


@checked
def train_cohort(
    objective: Objective,
    thetas: Float[Tensor, "M P"],
    settings: TrainingSettings,
    *,
    strengths: Sequence[float] | Float[Tensor, " M"],
    anchors: Float[Tensor, "M P"] | Float[Tensor, " P"] | None = None,
    order_seeds: int | Sequence[int],
    on_epoch: OnEpoch | None = None,
    observer: Observer | None = None,
    every: int = 1,
    buffers: Sequence[Buffers] | None = None,
) -> list[Trained]:
    """Minimises L(θ_m) + λ_m‖θ_m − θ_ref,m‖² for M models at once, each as `loop.train` does.

    Args:
        objective: the loss and its data; its own λ and anchor are not used.
        thetas: where each model starts, `(M, P)`.
        settings: optimiser, batches, epochs, patience, the same for all.
        strengths: λ of each model, `(M,)`.
        anchors: θ_ref of each model, `(M, P)`, or of all, `(P,)`; None is the origin.
        order_seeds: one seed for a stream that all models share, or one seed a model.
        on_epoch: called with the number of each epoch and the mean objective of the models that trained in it.
        observer: called at the end of epochs; what it returns joins the epoch's record.
        every: the observer is called after every so many epochs.
        buffers: of each model, where the module changes them in training (BatchNorm); such models train one after the other.

    Returns:
        One for each model, in order.

    Raises:
        ConfigurationError: the numbers of models, strengths and seeds differ, the model has dropout; or BatchNorm, and no
            buffers were given.
    """
    count = len(thetas)
    if len(strengths) != count or (not isinstance(order_seeds, int) and len(order_seeds) != count):
        seeds = "one" if isinstance(order_seeds, int) else len(order_seeds)
        raise ConfigurationError(f"{count} models were given {len(strengths)} strengths and {seeds} order seeds; give one each.")
    each: list[Tensor | None] = [None] * count
    if anchors is not None:
        each = list(anchors.expand_as(thetas))
    return descend(
        objective,
        thetas,
        settings,
        strengths=[float(strength) for strength in strengths],
        anchors=each,
        order_seeds=order_seeds,
        stacked=True,
        on_epoch=on_epoch,
        observer=observer,
        every=every,
        buffers=buffers,
    )


def fitting_cohort(objective: Objective) -> int:
    """How many models train together where that is left open: on a CPU more than 16 gain nothing, on a GPU more than 64."""
    most = 16 if objective.device.type == "cpu" else 64
    vectors = 10  # of a model: θ, gradient, moments, the best state of all these, and what a step puts aside
    return max(1, min(most, objective.memory // (vectors * objective.theta.nbytes)))
