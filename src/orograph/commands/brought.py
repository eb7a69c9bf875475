"""What `orograph measure` is given: a model, a loss and data by name or by import, tried on one batch before anything else.

What a person brings meets torch for the first time here: whatever it raises on the first batch is told with the shapes that met.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from orograph.calling import call, evaluation_mode
from orograph.commands.settings import MeasureSettings
from orograph.errors import ConfigurationError, DataError, OrographError
from orograph.metrics import IGNORED
from orograph.models.checkpoint import load_checkpoint
from orograph.objective import Loss
from orograph.parameters import layout_of
from orograph.problem import Problem
from orograph.settings.base import is_own
from orograph.settings.problem import ProblemSettings
from orograph.settings.shared import DataSettings, ModelSettings
from orograph.sources import first_line
from orograph.spectral.eigenpairs import least_rows
from orograph.store.recorded import require_as_committed
from orograph.work.problems import named_problem
from orograph.work.trial import require_memory

_TRIED, _MANY = 64, 4096  # samples
_OF_CLASSES = ("cross_entropy", "nll_loss", "multi_margin_loss")


def brought(settings: MeasureSettings) -> tuple[nn.Module, Problem]:
    """The model with its checkpoint, and the problem that it is of, tried together; with test data where a measure needs them.

    Raises:
        OrographError: one of them cannot be used, or they do not fit one another.
    """
    data = DataSettings(dataset=settings.data, subset_size=settings.subset_size, singular_values=settings.singular_values)
    network = ModelSettings(model=settings.model, widths=settings.widths, activation=settings.activation)
    network.require_taken()
    names = ("loss", "metrics", "groups", "parameters")
    chosen = ProblemSettings(**{name: getattr(settings, name) for name in names})
    problem = named_problem(data, network, chosen, settings.data_dir)
    if "influence" not in settings.measures:
        problem = replace(problem, test=None)
    if not is_own(network.model):
        options = {"input_shape": problem.shape, "classes": problem.outputs, **network.options()}
        dtype, k = getattr(torch, settings.dtype), settings.k
        memory: dict[str, Any] = {"kept": k, "rows": least_rows(k), "memory": settings.memory}
        require_memory(network.model, options, dtype=dtype, device=torch.device("cpu"), **memory)
    model = with_weights(settings.checkpoint, settings.model, problem, getattr(torch, settings.dtype))
    tried(settings, model, problem.loss, problem.train)
    return model, problem


def with_weights(checkpoint: str, name: str, problem: Problem, dtype: torch.dtype) -> nn.Module:
    """The network of a problem with the weights in a file.

    Raises:
        OrographError: there is no such file, it is damaged or of another network, or no such network can be measured.
    """
    model = _measurable(name, problem.build(0))
    if dtype == torch.float64:  # not rounded to the dtype in which the model is made
        model = model.double()
    require_as_committed(Path(checkpoint))
    theta = layout_of(model, problem.parameters).names
    model.load_state_dict(load_checkpoint(checkpoint, model, names=theta), strict=False)
    return model


def tried(settings: MeasureSettings, model: nn.Module, loss: Loss, data: Iterable[Any]) -> None:
    """Evaluates the loss on the first batch. Batches of other kinds are left to those who gather them.

    Raises:
        ConfigurationError: the loss is none of these outputs and targets, or does not depend on the parameters.
        DataError: the data give no batch, or the model does not take it, or a target is no class.
    """
    if isinstance(data, Iterator):
        return
    try:
        batch = next(iter(data), None)
    except (Exception, SystemExit) as error:  # whatever the user's loader raises
        raise DataError(f"`data` {settings.data} cannot be iterated: {first_line(error)}.") from error
    if not isinstance(batch, tuple | list) or len(batch) != 2 or not isinstance(batch[1], Tensor) or not batch[1].dim():
        return
    dtype = getattr(torch, settings.dtype)
    inputs, targets = _few(batch, dtype)
    if not isinstance(inputs, Tensor | tuple | list | dict):
        return
    shapes = ", ".join(_shape(leaf) for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor))
    with evaluation_mode(model):
        try:
            outputs = call(model, _cast(model, dtype), inputs)
        except (Exception, SystemExit) as error:  # whatever the user's module raises
            raise DataError(f"`model` {settings.model} does not take inputs {shapes}: {first_line(error)}.") from error
    if not isinstance(outputs, Tensor):
        return
    if outputs.dim() > 1 and settings.loss in _OF_CLASSES:
        _require_classes(settings, data, outputs.shape[1])
    met = f"outputs {_shape(outputs)} and targets {_shape(targets)}"
    try:
        value = loss(outputs, targets)
    except OrographError:
        raise
    except (Exception, SystemExit) as error:  # whatever the loss raises
        raise ConfigurationError(f"`loss` {settings.loss} does not take {met}: {first_line(error)}.") from error
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise ConfigurationError(f"`loss` {settings.loss} gives {type(value).__name__} for {met}; it must give a real tensor.")
    if not value.requires_grad:
        raise ConfigurationError(
            f"`loss` {settings.loss} does not depend on the parameters of `model` {settings.model}: it is constant, or detached."
        )


def _require_classes(settings: MeasureSettings, data: Iterable[Any], classes: int) -> None:
    """Refuses targets that are no index of a class, and not the one that is ignored."""
    for _, targets in data:
        if targets.is_floating_point() or targets.is_complex():
            continue
        wrong = targets[((targets < 0) | (targets >= classes)) & (targets != IGNORED)]
        if len(wrong):
            raise DataError(
                f"`data` {settings.data} has a target {wrong[0].item()}, and `model` {settings.model} {classes} outputs."
            )


def _few(batch: Any, dtype: torch.dtype) -> Any:
    """The batch, floats in one dtype; the first of its samples where they are many and surely lie along the first dimension."""
    leaves = [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]
    counts = {leaf.shape[0] if leaf.dim() else 0 for leaf in leaves}
    most = _TRIED if len(counts) == 1 and min(counts) > _MANY else None

    def taken(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        few = leaf[:most] if most else leaf
        return few.to(dtype) if few.is_floating_point() else few

    return tree_map(taken, batch)


def _cast(model: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """Parameters and buffers as they will be measured, parameters with gradients where the model's have them."""
    found = {name: each.detach().clone() for name, each in [*model.named_parameters(), *model.named_buffers()]}
    found = {name: each.to(dtype) if each.is_floating_point() else each for name, each in found.items()}
    for name, each in model.named_parameters():
        found[name].requires_grad_(each.requires_grad)
    return found


def _shape(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _measurable(name: str, model: nn.Module) -> nn.Module:
    """The module, if its parameters are real numbers that are there.

    Raises:
        ConfigurationError: it has none, or lazy, empty, complex ones, or ones without values.
    """
    named = dict(model.named_parameters())
    if not any(each.requires_grad for each in named.values()):
        raise ConfigurationError(f"`model` {name} has no parameters that require a gradient; there is nothing to measure.")
    for key, each in named.items():
        why = ""
        if isinstance(each, nn.parameter.UninitializedParameter):
            why = "has no shape yet; call the model once in the factory"
        elif each.is_meta:
            why = "is on the device meta and has no values; make the model on the CPU"
        elif each.is_complex():
            why = "is complex; write it as two real parameters"
        elif not each.numel():
            why = f"is empty, {tuple(each.shape)}; leave it out"
        if why:
            raise ConfigurationError(f"`model` {name}: its parameter {key} {why}.")
    return model
