"""The metrics of a model on a data set, over all samples and by group of samples."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map

from orograph.errors import ConfigurationError, DataError
from orograph.metrics import ACCURACY, IGNORED, METRICS, Metric, is_classification
from orograph.objective import Objective
from orograph.sources import first_line

Value = float | list[float]
_OF_CLASSES = (ACCURACY, METRICS["margin"])  # in which a target that the loss ignores is left out
_OF_TOKENS = tuple(METRICS[name] for name in ("token_accuracy", "perplexity", "next_token_accuracy", "next_token_perplexity"))
_OF_LABELS = (METRICS["exact_match"],)  # which takes logits
_PROBABILITIES = ("binary_cross_entropy", "BCELoss")  # losses that take these


def scores(
    objective: Objective,
    theta: Float[Tensor, " P"],
    metrics: Sequence[Metric],
    *,
    labels: Int[Tensor, " N"] | None = None,
    groups: int = 0,
) -> tuple[dict[str, Value], dict[str, list[Value]]]:
    """Every metric at θ, summed over samples in float64.

    Args:
        objective: gives model and data.
        theta: θ, `(P,)`.
        metrics: which.
        labels: the group of every sample, `(N,)`; None for no groups.
        groups: how many there are.

    Returns:
        The value of each metric by name, and by name its value in each group, NaN in one without samples.

    Raises:
        ConfigurationError: a metric fails on the outputs, or gives something else than it should.
    """
    if not metrics:
        return {}, {}
    found = _Collected(metrics, objective.ignored, takes_probabilities(objective.reduction.loss))
    with torch.no_grad():
        for inputs, targets in objective.batches():
            outputs = objective.outputs(theta, inputs)
            read = objective.readout.scores(outputs)
            read = outputs if read is None else read
            last = _ambiguous(read, targets) and _class_axis_is_second(read, targets, objective, theta, inputs)
            found.add(read, targets, read.movedim(1, -1) if last else read)
    members = None if labels is None else labels.to(objective.device)
    values = {each.name: found.value(each, None) for each in metrics}
    by_group = {
        each.name: [found.value(each, members == group) for group in range(groups)] for each in metrics if members is not None
    }
    return values, by_group


def takes_probabilities(loss: Any) -> bool:
    """Whether a loss of labels takes probabilities in place of logits."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    return getattr(loss, "__name__", type(loss).__name__) in _PROBABILITIES


def _ambiguous(outputs: Any, targets: Tensor) -> bool:
    """Whether outputs `(n, T, V)` or `(n, V, T)` may be either, as T = V."""
    return isinstance(outputs, Tensor) and outputs.ndim == 3 and outputs.shape[:-1] == targets.shape == outputs.shape[::2]


def _class_axis_is_second(outputs: Tensor, targets: Tensor, objective: Objective, theta: Tensor, inputs: Any) -> bool:
    """Whether classes lie along the second dimension of `(n, V, T)`, as torch's losses have it: by the loss of each sample."""
    if targets.is_floating_point() or objective.whole:
        return False
    losses = objective.losses(theta, inputs, targets).double()
    targets = targets[:, objective.reduction.skipped :]
    inside = (targets >= 0) & (targets < outputs.shape[1]) & (targets != objective.ignored)
    apart = []
    for whole in (outputs, outputs.movedim(1, -1)):
        scores = whole[:, : targets.shape[1]]
        each = F.cross_entropy(scores.flatten(0, 1), targets.masked_fill(~inside, 0).flatten(), reduction="none")
        sums = (each.view(targets.shape).double() * inside).sum(1)
        scales: list[Any] = (
            [losses @ sums / (sums @ sums)] if len(sums) > 1 else [1.0, 1 / inside.sum(), objective.count / inside.sum()]
        )
        apart.append(min(float((losses - scale * sums).norm()) for scale in scales))
    return apart[1] < apart[0]


class _Collected:
    """Values and weights of every sample by metric; outputs and targets of all where a metric needs them whole."""

    def __init__(self, metrics: Sequence[Metric], ignored: int | None, probabilities: bool) -> None:
        self._metrics, self._ignored, self._probabilities = metrics, ignored, probabilities
        self._kept: list[tuple[Any, Tensor]] = []
        self._parts: dict[str, list[Tensor]] = {each.name: [] for each in metrics}

    def add(self, outputs: Any, targets: Tensor, of_tokens: Any) -> None:
        """Takes in a batch, `of_tokens` its outputs as metrics of tokens are to read them."""
        if any(each.whole for each in self._metrics):
            self._kept.append((outputs, targets))
        for each in self._metrics:
            if not each.whole:
                given = of_tokens if each in _OF_TOKENS else outputs
                if each in _OF_LABELS and self._probabilities and isinstance(given, Tensor):
                    given = given - 0.5
                self._parts[each.name].append(_of_samples(each, given, targets, self._ignored))

    def value(self, metric: Metric, chosen: Tensor | None) -> Value:
        """Over all samples, or over those chosen, `(N,)` booleans."""
        if chosen is not None and not chosen.any():
            return math.nan
        if metric.whole:
            outputs, targets = self._all()
            if chosen is not None:
                outputs, targets = tree_map(lambda leaf: leaf[chosen] if isinstance(leaf, Tensor) else leaf, (outputs, targets))
            return _of_all(metric, outputs, targets)
        parts = self._joined(metric.name)
        values, weights = (parts if chosen is None else parts[:, chosen]).sum(1).tolist()
        return metric.of_sums(values, weights)

    def _joined(self, name: str) -> Float[Tensor, "2 N"]:
        parts = self._parts[name]
        if len(parts) > 1:
            parts[:] = [torch.cat(parts, 1)]
        return parts[0]

    def _all(self) -> tuple[Any, Tensor]:
        if len(self._kept) > 1:
            first = self._kept[0][0]
            if not isinstance(first, Tensor) or len({each.shape[1:] for each, _ in self._kept}) > 1:
                raise ConfigurationError("metrics of all samples at once need outputs of one shape; take metrics of samples.")
            self._kept = [(torch.cat([each for each, _ in self._kept]), torch.cat([targets for _, targets in self._kept]))]
        return self._kept[0]


def _of_samples(metric: Metric, outputs: Any, targets: Tensor, ignored: int | None) -> Float[Tensor, "2 n"]:
    """Values and weights, float64."""
    if ignored is not None and metric in _OF_CLASSES and isinstance(outputs, Tensor) and is_classification(outputs, targets):
        counted = targets != ignored
        return _of_samples(metric, outputs, targets.masked_fill(~counted, 0), None) * counted
    if ignored is not None and metric in _OF_TOKENS:
        targets = targets.masked_fill(targets == ignored, IGNORED)
    found = _called(metric, outputs, targets)
    pair = found if isinstance(found, tuple | list) else (found, torch.ones(len(targets)))
    rows = [torch.as_tensor(each).detach().to(targets.device, torch.float64) for each in pair]
    if len(rows) != 2 or any(each.shape != (len(targets),) for each in rows):
        shapes = " and ".join(str(tuple(each.shape)) for each in rows)
        raise ConfigurationError(
            f"`metrics` {metric.name} gave {shapes} for {len(targets)} samples; give one value each, or make it whole=True."
        )
    return torch.stack(rows)


def _of_all(metric: Metric, outputs: Any, targets: Tensor) -> Value:
    found = _called(metric, outputs, targets)
    value = torch.as_tensor(found).double().tolist()
    if not isinstance(value, float) and not (isinstance(value, list) and all(isinstance(each, float) for each in value)):
        raise ConfigurationError(
            f"`metrics` {metric.name} gave an array of several dimensions; give one number, or one for each output."
        )
    return value


def _called(metric: Metric, outputs: Any, targets: Tensor) -> Any:
    try:
        return metric.function(outputs, targets)
    except ConfigurationError:
        raise
    except Exception as error:  # whatever a function of one's own raises
        raise ConfigurationError(f"`metrics` {metric.name} failed with {type(error).__name__}: {first_line(error)}.") from error


def require_numbers(objective: Objective, values: dict[str, Value]) -> None:
    """Refuses data on which the loss is no number, and metrics that are none where the loss is one.

    Args:
        objective: at the θ where training begins.
        values: of each metric by name there.

    Raises:
        DataError: the loss is NaN.
        ConfigurationError: a metric is; the first is named.
    """
    if math.isnan(objective.loss(objective.theta)):
        held = [name for place, name in enumerate(("inputs", "targets")) if _holds_nan(objective, place)]
        why = f"the {' and '.join(held)} hold NaN" if held else "the data hold no NaN, so it comes from the model or the loss"
        raise DataError(f"the loss of the network as it begins is NaN: {why}; mend that first.")
    for name, value in values.items():
        if any(math.isnan(each) for each in (value if isinstance(value, list) else [value])):
            raise ConfigurationError(
                f"`metrics` {name} is NaN for the network as it begins; leave it out, or have it give a number."
            )


def _holds_nan(objective: Objective, place: int) -> bool:
    leaves = (leaf for batch in objective.batches() for leaf in tree_leaves(batch[place]) if isinstance(leaf, Tensor))
    return any(bool(leaf.isnan().any()) for leaf in leaves if leaf.is_floating_point())
