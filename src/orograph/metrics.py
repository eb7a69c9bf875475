"""What is measured of a model's outputs besides its loss: named functions of outputs and targets over a whole set.

A function gives one value a sample, whose mean is the metric; or values and weights, `Σ values / Σ weights` (tokens that count);
or, where it is `whole`, the metric itself from all outputs at once. `after` is applied to a mean (the root of RMSE, the exponent
of a perplexity), so that a part of the samples has its own value by the same rule.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from orograph.brief import brief
from orograph.errors import ConfigurationError, unknown

IGNORED = -100  # the target that torch's losses leave out


@brief
@dataclass(frozen=True, eq=False)
class Metric:
    """One number of a model on a data set.

    Attributes:
        name: in records: `train_<name>`, `test_<name>`, and `group_<name>` by group of the test samples.
        function: `(outputs, targets) → (n,)` values; or a pair of values and weights `(n,)`; of a whole metric all outputs to a
            number, or to a list of numbers such as one for each output.
        label: in figures and reports; the name in words when empty.
        unit: of the value: `%`, or empty.
        higher_is_better: its direction.
        whole: whether the function needs all samples at once.
        after: applied to the mean; None is the mean itself.

    Examples:
        >>> import torch, orograph as og
        >>> absolute = og.Metric("mae", lambda y, t: (y - t).abs().flatten(1).mean(1), "mean error", higher_is_better=False)
        >>> absolute.of_sums(values=6.0, weights=3.0)
        2.0
    """

    name: str
    function: Callable[[Any, Tensor], Any]
    label: str = ""
    unit: str = ""
    higher_is_better: bool = True
    whole: bool = False
    after: Callable[[float], float] | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ConfigurationError(f"`metrics` '{self.name}' must be a name of letters, digits and underscores.")

    @property
    def long_name(self) -> str:
        """What it is called in words."""
        return self.label or self.name.replace("_", " ")

    def of_sums(self, values: float, weights: float) -> float:
        """The metric from the sums of values and of weights.

        Args:
            values: Σ over samples.
            weights: likewise; the number of samples where each counts once.

        Returns:
            The value; NaN where nothing counts.
        """
        if not weights:
            return math.nan
        mean = (100 * values if self.unit == "%" else values) / weights
        return mean if self.after is None else self.after(mean)


def correct(outputs: Float[Tensor, "*m n C"], targets: Int[Tensor, " n"], ignored: int | None = None) -> Bool[Tensor, "*m n"]:
    """Which samples a model classifies correctly: those whose class has the largest output, none whose target is ignored."""
    right = outputs.argmax(-1) == targets
    return right if ignored is None else right & (targets != ignored)


def class_margins(outputs: Float[Tensor, "*m n C"], targets: Tensor, ignored: int | None = None) -> Float[Tensor, "*m n"]:
    """The true class's output minus the largest other output; 0 where the target is ignored."""
    if ignored is not None:
        left_out = targets == ignored
        return class_margins(outputs, targets.masked_fill(left_out, 0)).masked_fill(left_out, 0)
    index = targets.expand(outputs.shape[:-1]).unsqueeze(-1)
    others = outputs.scatter(-1, index, -torch.inf).amax(-1)
    return outputs.gather(-1, index).squeeze(-1) - others


def are_classes(outputs: Float[Tensor, "*m n C"], targets: Int[Tensor, " n"], ignored: int | None) -> bool:
    """Whether every target that counts is one of the C classes; a loss may leave others out without saying so."""
    counted = targets if ignored is None else targets[targets != ignored]
    return not len(counted) or 0 <= int(counted.min()) <= int(counted.max()) < outputs.shape[-1]


def is_classification(outputs: Tensor, targets: Tensor) -> bool:
    """Whether outputs `(…, n, C)` with targets `(n,)` of class indices are scores of classes."""
    return outputs.ndim >= 2 and outputs.shape[-1] > 1 and targets.ndim == 1 and targets.dtype == torch.int64


def _accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    if not is_classification(outputs, targets):
        raise ConfigurationError(
            f"`metrics` accuracy needs scores of classes and one int64 class a sample, not outputs {tuple(outputs.shape)} and "
            f"{targets.dtype} targets {tuple(targets.shape)}."
        )
    return correct(outputs, targets)


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared errors `(n, outputs)`."""
    if outputs.numel() != targets.numel():
        raise ConfigurationError(
            f"metrics of a regression need targets like the outputs, not {tuple(targets.shape)} for {tuple(outputs.shape)}."
        )
    count = len(targets)
    return (outputs.double().reshape(count, -1) - targets.double().reshape(count, -1)).square()


def _r2(outputs: Tensor, targets: Tensor) -> float:
    """1 − Σ(y − ŷ)²/Σ(y − ȳ)², the mean over outputs as scikit-learn's `r2_score` has it: of constant targets 1 or 0."""
    y = targets.double().reshape(len(targets), -1)
    total, left = (y - y.mean(0)).square().sum(0), _squares(outputs, targets).sum(0)
    return torch.where(total > 0, 1 - left / total, (left == 0).double()).mean().item()


def _rmse_per_output(outputs: Tensor, targets: Tensor) -> list[float]:
    found: list[float] = _squares(outputs, targets).mean(0).sqrt().tolist()
    return found


def _tokens(outputs: Tensor, targets: Tensor, shifted: bool) -> tuple[Tensor, Tensor]:
    """Scores `(b, T, V)` and the tokens `(b, T)` that they are of; shifted: those of the next place."""
    if outputs.shape[:-1] == targets.shape:
        scores = outputs
    elif outputs.ndim == targets.ndim + 1 and outputs.shape[0] == targets.shape[0] and outputs.shape[2:] == targets.shape[1:]:
        scores = outputs.movedim(1, -1)
    else:
        raise ConfigurationError(
            f"metrics of tokens need scores (n, T, V) or (n, V, T) of targets (n, T), not {tuple(outputs.shape)} of "
            f"{tuple(targets.shape)}."
        )
    return (scores[:, :-1], targets[:, 1:]) if shifted else (scores, targets)


def _token_accuracy(shifted: bool) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    def function(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        scores, tokens = _tokens(outputs, targets, shifted)
        counted = tokens != IGNORED
        right = correct(scores, tokens) & counted
        return right.flatten(1).sum(1), counted.flatten(1).sum(1)

    return function


def _token_losses(shifted: bool) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    def function(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        scores, tokens = _tokens(outputs, targets, shifted)
        losses = F.cross_entropy(scores.flatten(0, -2), tokens.flatten(), ignore_index=IGNORED, reduction="none")
        return losses.double().view(len(tokens), -1).sum(1), (tokens != IGNORED).flatten(1).sum(1)

    return function


def _exact_match(outputs: Tensor, targets: Tensor) -> Tensor:
    """Of logits: those above 0 are labels."""
    return ((outputs > 0) == (targets > 0.5)).flatten(1).all(1)


def _mean_average_precision(outputs: Tensor, targets: Tensor) -> float:
    """The mean over labels that occur, as scikit-learn's `average_precision_score` has it."""
    labels, scores = (targets > 0.5).flatten(1), outputs.double().flatten(1)
    occur = labels.any(0).nonzero().flatten().tolist()
    return 100 * sum(_average_precision(labels[:, each], scores[:, each]) for each in occur) / len(occur) if occur else math.nan


def _average_precision(labels: Tensor, scores: Tensor) -> float:
    """Σ_n (R_n − R_{n−1}) P_n over falling thresholds; equal scores are one threshold. NaN where a score is."""
    falling, order = scores.sort(descending=True)
    last = torch.cat([falling[1:] != falling[:-1], torch.ones_like(labels[:1])])
    found = labels[order].double().cumsum(0)[last]
    precision = found / (last.nonzero().flatten() + 1)
    return float((found.diff(prepend=found.new_zeros(1)) * precision).sum() / found[-1] + 0 * scores.sum())


ACCURACY = Metric("accuracy", _accuracy, unit="%")
METRICS: dict[str, Metric] = {
    each.name: each
    for each in (
        ACCURACY,
        Metric("margin", class_margins, "mean margin of the true class"),
        Metric("r2", _r2, "coefficient of determination R²", whole=True),
        Metric("rmse", lambda y, t: _squares(y, t).mean(1), "root mean square error", higher_is_better=False, after=math.sqrt),
        Metric("rmse_per_output", _rmse_per_output, "root mean square error of an output", higher_is_better=False, whole=True),
        Metric("token_accuracy", _token_accuracy(False), "accuracy of tokens", "%"),
        Metric("perplexity", _token_losses(False), "perplexity", higher_is_better=False, after=math.exp),
        Metric("next_token_accuracy", _token_accuracy(True), "accuracy of the next token", "%"),
        Metric(
            "next_token_perplexity", _token_losses(True), "perplexity of the next token", higher_is_better=False, after=math.exp
        ),
        Metric("exact_match", _exact_match, "samples with all labels right", "%"),
        Metric("mean_average_precision", _mean_average_precision, "mean average precision", "%", whole=True),
    )
}
"""The built-in metrics by name: of classes, of numbers, of tokens, and of several labels a sample."""


def metric(name: str) -> Metric:
    """A built-in metric.

    Args:
        name: one of `METRICS`.

    Returns:
        The metric.

    Raises:
        ConfigurationError: there is no such metric; the nearest is named.
    """
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]


def fitting(outputs: Any, targets: Tensor, loss: str = "") -> tuple[Metric, ...]:
    """The metrics that outputs and targets of a few samples admit, where nobody named any.

    Args:
        outputs: of the model, that which the loss reads.
        targets: of the same samples.
        loss: its name, which tells labels from numbers.

    Returns:
        Accuracy for classes; token accuracy and perplexity for several classes a sample; exact match and mean average precision
        for a loss of labels; R² and RMSE for numbers; none for what is none of these.
    """
    if not isinstance(outputs, Tensor):
        return ()
    if is_classification(outputs, targets):
        return (ACCURACY,)
    if not targets.is_floating_point():
        several = targets.ndim > 1 and outputs.ndim == targets.ndim + 1
        return _named(*TOKENS) if several and outputs.is_floating_point() else ()
    if outputs.shape[1:].numel() != targets.shape[1:].numel():
        return ()
    labels = "binary" in loss or "bce" in loss.lower() or "multilabel" in loss
    if labels:
        return _named("exact_match", "mean_average_precision") if targets.ndim == 2 and outputs.shape == targets.shape else ()
    return _named("r2", "rmse") if outputs.shape[1:].numel() == 1 else _named("r2", "rmse", "rmse_per_output")


TOKENS = ("token_accuracy", "perplexity")
NEXT_TOKENS = ("next_token_accuracy", "next_token_perplexity")


def of_tokens(loss: Callable[[Tensor], float], outputs: Tensor, targets: Tensor, ignored: int | None) -> tuple[Metric, ...]:
    """The metrics of tokens that hold outputs against the targets that a loss does: of the same place, or of the next.

    Tried on scores that are drawn, on which no two pairings have the same cross entropy: those of a network as it begins may be
    equal for all tokens.

    Args:
        loss: of other outputs in place of these.
        outputs: of a few samples, `(n, T, V)` or `(n, V, T)`.
        targets: of the same, `(n, T)`.
        ignored: the target that the loss says it leaves out.

    Returns:
        Accuracy and perplexity; none where the loss is no cross entropy of either.
    """
    stream = torch.Generator().manual_seed(0)
    axes = [axis for axis in (-1, 1) if outputs.movedim(axis, -1).shape[:-1] == targets.shape]
    known = targets if ignored is None else targets.masked_fill(targets == ignored, IGNORED)
    for axis in axes:
        scores = torch.randn(outputs.shape, generator=stream).to(outputs).log_softmax(axis)
        value = loss(scores)
        for shifted in (False, True):
            losses, counts = _token_losses(shifted)(scores.movedim(axis, -1), known)
            total = losses.sum()
            means = (total / counts.sum(), total, total / len(targets), (losses / counts).mean())
            if any(math.isclose(value, mean.item(), rel_tol=1e-4) for mean in means):  # float32; 1e-2 is what pairings differ by
                return _named(*(NEXT_TOKENS if shifted else TOKENS))
    return ()


def _named(*names: str) -> tuple[Metric, ...]:
    return tuple(METRICS[name] for name in names)
