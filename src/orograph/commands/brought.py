"""What `orograph measure` is given: a model, a loss and data by name or by import, tried on one batch before anything else.

What a person brings meets torch for the first time here: whatever it raises on the first batch is told with the shapes that met.
"""

import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map

from orograph.calling import call, evaluation_mode
from orograph.commands.settings import MeasureSettings
from orograph.data.catalogue import load_data
from orograph.data.names import NAMES as DATASETS
from orograph.errors import ConfigurationError, DataError, OrographError, unknown
from orograph.models.catalogue import build_model
from orograph.models.checkpoint import load_checkpoint
from orograph.objective import Loss
from orograph.settings.shared import ModelSettings
from orograph.work.bench import require_memory

_TRIED, _MANY = 64, 4096  # samples
_OF_CLASSES = ("cross_entropy", "nll_loss", "multi_margin_loss")
_IGNORED = -100  # the target that torch's losses leave out


def brought(settings: MeasureSettings) -> tuple[nn.Module, Loss, Iterable[Any]]:
    """The model with its checkpoint, the loss and the batches, tried together.

    Raises:
        OrographError: one of them cannot be used, or they do not fit one another.
    """
    loss = _loss(settings.loss)
    data, shape = _data(settings)
    model = _model(settings, shape)
    model.load_state_dict(load_checkpoint(settings.checkpoint, model))
    tried(settings, model, loss, data)
    return model, loss, data


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
    except Exception as error:  # whatever the user's loader raises
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
        except Exception as error:  # whatever the user's module raises
            raise DataError(f"`model` {settings.model} does not take inputs {shapes}: {first_line(error)}.") from error
    if not isinstance(outputs, Tensor):
        return
    if outputs.dim() > 1 and settings.loss in _OF_CLASSES:
        _require_classes(settings, data, outputs.shape[1])
    met = f"outputs {_shape(outputs)} and targets {_shape(targets)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of shapes that may be broadcast: what comes of them is told below, or is no error
            value = loss(outputs, targets)
    except OrographError:
        raise
    except Exception as error:  # whatever the loss raises
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
        wrong = targets[((targets < 0) | (targets >= classes)) & (targets != _IGNORED)]
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


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _data(settings: MeasureSettings) -> tuple[Iterable[Any], tuple[tuple[int, ...], int] | None]:
    """The batches, and for a named set the shape of an input and the number of classes."""
    if ":" in settings.data:
        return _made("`data`", settings.data), None
    if settings.data not in DATASETS:
        raise unknown("data set", settings.data, DATASETS)
    found = load_data(settings.data, data_dir=settings.data_dir, subset_size=settings.subset_size)
    return found.train, (found.input_shape, len(found.classes))


def _model(settings: MeasureSettings, shape: tuple[tuple[int, ...], int] | None) -> nn.Module:
    if ":" in settings.model:
        made = _made("`model`", settings.model)
        if not isinstance(made, nn.Module):
            raise ConfigurationError(f"`model` {settings.model} gave {type(made).__name__}, not a torch.nn.Module.")
        return _measurable(settings.model, made)
    if shape is None:
        raise ConfigurationError(f"`model` {settings.model} needs named data to know its input; use module:factory instead.")
    chosen = ModelSettings(model=settings.model, widths=settings.widths, activation=settings.activation)
    options = {"input_shape": shape[0], "classes": shape[1], **chosen.options()}
    require_memory(chosen.model, options, getattr(torch, settings.dtype), torch.device("cpu"))
    return build_model(chosen.model, init_seed=0, **options)


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


def _loss(name: str) -> Loss:
    """A function of outputs and targets, or a module. Nothing else is called: `os:system` is a function too."""
    if ":" in name:
        found = imported("`loss`", name)
        if isinstance(found, type) and issubclass(found, nn.Module):
            raise ConfigurationError(f"`loss` {name} is a class; name an instance of it, or a function of outputs and targets.")
        if not _takes_two(found):
            raise ConfigurationError(f"`loss` {name} is no function of outputs and targets, written in Python; name one that is.")
        return cast(Loss, found)
    losses = [each for each in dir(F) if each.endswith(("loss", "entropy", "kl_div")) and _is_loss(getattr(F, each))]
    if name not in losses:
        raise unknown("loss", name, losses)
    return getattr(F, name)


def _is_loss(found: Any) -> bool:
    """Whether a function of torch compares an input with a target, and needs nothing else."""
    try:
        given = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):  # builtins have none
        return False
    needed = [each.name for each in given if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD]
    return needed == ["input", "target"]


def _takes_two(found: Any) -> bool:
    """Whether this is a module, or a Python function that two arguments can be given to and that needs both."""
    if isinstance(found, nn.Module):
        return True
    if inspect.isbuiltin(found) or getattr(found, "__module__", "").partition(".")[0] in sys.stdlib_module_names:
        return False
    try:
        inspect.signature(found).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True


def _made(flag: str, path: str) -> Any:
    """What the function gives that `module:name` means.

    Raises:
        ConfigurationError: there is no such function of your own, or it takes arguments.
        DataError: calling it fails.
    """
    found = imported(flag, path)
    if inspect.isbuiltin(found) or getattr(found, "__module__", "").partition(".")[0] in sys.stdlib_module_names:
        raise ConfigurationError(f"{flag} {path} is no function of your own; name one that is.")
    try:
        inspect.signature(found).bind()
    except ValueError:
        pass  # without a signature; called as it is
    except TypeError as error:
        raise ConfigurationError(f"{flag} {path} must be callable without arguments: {error}.") from None
    try:
        return found()
    except OrographError:
        raise
    except Exception as error:  # whatever the user's function raises
        raise DataError(f"{flag} {path} failed with {type(error).__name__}: {first_line(error)}.") from error


def imported(flag: str, path: str) -> Callable[..., Any]:
    """The function that `module:name` means, looked for in the working directory too.

    Raises:
        ConfigurationError: there is no such module or name.
        DataError: importing the module fails.
    """
    module_name, _, name = path.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{flag} {path}: no module named '{error.name}'; run where it can be imported.") from None
    except Exception as error:  # whatever the user's module raises
        raise DataError(
            f"{flag} {path}: importing {module_name} failed with {type(error).__name__}: {first_line(error)}."
        ) from error
    if not callable(getattr(module, name, None)):
        raise ConfigurationError(f"{flag} {path}: module {module_name} has no function '{name}'.")
    return getattr(module, name)
