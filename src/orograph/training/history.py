"""What is recorded of a network at the end of an epoch, and the slope of log‖∇L‖, at which the gradient decays."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.calling import call, evaluation_mode, guarded
from orograph.metrics import correct, is_classification
from orograph.objective import Objective

EpochRecord = dict[str, Any]  # numbers by name, and a list where a metric has one number for each output
Scored = Callable[[Objective, Float[Tensor, " P"], Mapping[str, Tensor]], Mapping[str, Any]]  # metrics by name on a data set

WINDOW = 5  # epochs over which the decay at an epoch is fitted
CHUNK = 2048  # samples of an evaluation: their activations stay in the cache


def epoch_record(
    train: Objective,
    test: Objective | None,
    theta: Float[Tensor, " P"],
    buffers: Mapping[str, Tensor],
    before: Sequence[EpochRecord],
    *,
    epoch: int,
    lr: float,
    gradients: bool = True,
    scored: Scored | None = None,
) -> EpochRecord:
    """Losses and accuracies (percent) on both sets in eval mode, gaps, ‖∇L‖ over all training data and its decay, ‖θ‖.

    There are no accuracies where the targets are no classes, and nothing of the test data where there are none.

    Args:
        before: the records of the epochs before.
        gradients: whether ‖∇L‖ is wanted, which costs as much as the steps of an epoch.
        scored: gives further metrics of a set.
    """
    loss, accuracy, gradient = evaluated(train, theta, buffers, differentiate=gradients)
    classifies = not math.isnan(accuracy)
    record: EpochRecord = {"epoch": float(epoch), "lr": lr, "train_loss": loss}
    if classifies:
        record["train_accuracy"] = accuracy
    if gradients:
        record["gradient_norm"] = gradient
        course = [*before, record][-WINDOW:]
        record["gradient_decay"] = decay_rate([each["epoch"] for each in course], [each["gradient_norm"] for each in course])
    record["parameter_norm"] = theta.double().norm().item()
    if test is not None:
        record["test_loss"], other, _ = evaluated(test, theta, buffers)
        record["gap"] = record["test_loss"] - loss
        if classifies:
            record |= {"test_accuracy": other, "accuracy_gap": accuracy - other}
    if scored is not None:
        for which, objective in (("train", train), ("test", test)):
            if objective is not None:
                record |= {f"{which}_{name}": value for name, value in scored(objective, theta, buffers).items()}
    return record


def evaluated(
    objective: Objective, theta: Float[Tensor, " P"], buffers: Mapping[str, Tensor], *, differentiate: bool = False
) -> tuple[float, float, float]:
    """L, the accuracy in percent (NaN where targets are no classes) and, if asked for, ‖∇L‖ (else NaN), over all samples."""
    point = theta.detach().requires_grad_(differentiate)
    total, gradient, right = 0.0, torch.zeros_like(theta) if differentiate else None, 0.0
    for inputs, targets in objective.batches(min(objective.chunk, CHUNK)):
        tensors = {**objective.constants, **buffers, **objective.layout.arguments(point)}
        with evaluation_mode(objective.model), torch.set_grad_enabled(differentiate):
            outputs = call(objective.model, tensors, guarded(inputs))
            if objective.per_sample:
                loss = objective.output_losses(outputs, targets).sum(dtype=torch.float64)
            else:
                loss = objective.summed_of(outputs, targets).double()
        total += loss.item()
        scores = objective.readout.scores(outputs)
        if scores is None or not is_classification(scores, targets):
            right = math.nan
        else:
            right += int(correct(scores.detach(), targets, objective.ignored).sum())
        if gradient is not None:
            gradient += torch.autograd.grad(loss, point)[0]
    norm = math.nan if gradient is None else gradient.double().norm().item() / objective.count
    return total / objective.count, right if math.isnan(right) else 100 * right / objective.counted, norm


def decay_rate(epochs: Sequence[float], norms: Sequence[float]) -> float:
    """Slope of log‖∇L‖ against the epoch by least squares, negative where the gradient shrinks; NaN below two epochs."""
    usable = [(epoch, math.log(norm)) for epoch, norm in zip(epochs, norms, strict=True) if norm > 0 and math.isfinite(norm)]
    if len(usable) < 2:
        return math.nan
    middle = sum(epoch for epoch, _ in usable) / len(usable)
    spread = sum((epoch - middle) ** 2 for epoch, _ in usable)
    return sum((epoch - middle) * value for epoch, value in usable) / spread
