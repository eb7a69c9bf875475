"""The problem that settings name: built-in networks and data, or one's own by `module:name`, with what these are recorded by.

An object in memory has a name that nothing can be imported by (`object:Net`): a run that was made of such asks for it again.
"""

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn import functional as F

from orograph.data.catalogue import load_data
from orograph.data.dataset import Dataset
from orograph.errors import ConfigurationError, DataError, unknown
from orograph.metrics import METRICS, Metric
from orograph.models.catalogue import build_model
from orograph.problem import Problem
from orograph.settings.problem import ProblemSettings
from orograph.settings.shared import DataSettings, ModelSettings
from orograph.settings.words import is_own
from orograph.sources import called, digest, imported

MEMORY = "object:"  # before the name of what exists in memory alone


def named_problem(data: DataSettings, model: ModelSettings, chosen: ProblemSettings, data_dir: str | None) -> Problem:
    """The problem that settings name.

    Args:
        data: a named set, or a loader of one's own.
        model: a named network, or a factory of one's own.
        chosen: loss, metrics, groups and parameters.
        data_dir: where the files of named sets lie.

    Returns:
        The problem.

    Raises:
        OrographError: anything that does not exist, fails, or is not what it should be.
    """
    names = {"model": model.model, "data": data.dataset, "loss": chosen.loss, "groups": chosen.groups, "train": chosen.train}
    for name, path in names.items():
        if path.startswith(MEMORY):
            raise ConfigurationError(
                f"the {name} of this run, {path.removeprefix(MEMORY)}, was an object in memory; call the function of the same "
                "name in Python with the problem: og.sweep(problem, …), og.analyze(run, problem)."
            )
    parts = _data(data, data_dir)
    parts |= {"loss": loss_of(chosen.loss), "metrics": _metrics(chosen), "parameters": chosen.parameters, "names": names}
    if chosen.groups:
        parts["groups"] = imported("groups", chosen.groups)
    if chosen.train:
        parts["trainer"] = imported("train", chosen.train)
    return Problem(model=factory(model.model, model.options()), **parts)


def recorded(chosen: ProblemSettings, problem: Problem) -> ProblemSettings:
    """The settings with what tells whether the parts of one's own are still the same.

    Args:
        chosen: as they were given.
        problem: that they name.

    Returns:
        Settings with sources and checksum; those given where all is built in.
    """
    parts: dict[str, Any] = {"model": problem.model, "loss": problem.loss, "groups": problem.groups, "train": problem.trainer}
    own = {name: parts[name] for name in parts if is_own(problem.names.get(name, ""))}
    own |= {each.name: each.function for each in problem.metrics or () if isinstance(each, Metric) and each.name not in METRICS}
    path = problem.names.get("data", "")
    if is_own(path) and not path.startswith(MEMORY):
        own["data"] = imported("data", path)
    sources = {name: found for name, each in sorted(own.items()) if (found := digest(each))}
    checksum = problem.checksum if is_own(path) else ""
    return chosen.model_copy(update={"sources": sources, "checksum": checksum})


def factory(name: str, options: Mapping[str, Any]) -> Any:
    """What makes a network: a named one with its options, or a function of one's own.

    Args:
        name: of the network, or `module:factory`.
        options: of a named network.

    Returns:
        A function of `init_seed`, `input_shape` and `classes`, or of those of them that it asks for.
    """
    if is_own(name):
        return imported("model", name)

    def build(init_seed: int, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        return build_model(name, input_shape=input_shape, classes=classes, init_seed=init_seed, **options)

    return build


def loss_of(name: str) -> Any:
    """A loss of torch by name, or one's own. Nothing else is called: `os:system` is a function too.

    Args:
        name: of `torch.nn.functional`, or `module:function`.

    Returns:
        A function of outputs and targets, or a module.

    Raises:
        ConfigurationError: there is none of that name, or it is none.
    """
    if is_own(name):
        found = imported("loss", name)
        if isinstance(found, type) and issubclass(found, nn.Module):
            raise ConfigurationError(f"`loss` {name} is a class; name an instance of it, or a function of outputs and targets.")
        if not _takes_two(found):
            raise ConfigurationError(f"`loss` {name} is no function of outputs and targets, written in Python; name one that is.")
        return found
    losses = [each for each in dir(F) if each.endswith(("loss", "entropy", "kl_div")) and _is_standing(getattr(F, each))]
    if name not in losses:
        raise unknown("loss", name, losses)
    return getattr(F, name)


def _metrics(chosen: ProblemSettings) -> tuple[Metric, ...] | None:
    if not chosen.metrics:
        return None
    found: list[Metric] = []
    for name in chosen.metrics:
        if not is_own(name):
            found.append(METRICS[name] if name in METRICS else _unknown(name))
            continue
        made = imported("metrics", name)
        found.append(made if isinstance(made, Metric) else Metric(name.rpartition(":")[2], made))
    return tuple(found)


def _unknown(name: str) -> Metric:
    raise unknown("metric", name, METRICS)


def _data(chosen: DataSettings, data_dir: str | None) -> dict[str, Any]:
    """Training and test data, classes, and the shape of a sample, as `Problem` takes them."""
    if not is_own(chosen.dataset):
        found = load_data(chosen.dataset, data_dir=data_dir, subset_size=chosen.subset_size, subset_seed=chosen.subset_seed)
        return _of_images(found)
    return loaded(chosen.dataset, called("data", chosen.dataset, imported("data", chosen.dataset)))


def loaded(path: str, found: Any) -> dict[str, Any]:
    """What a loader of one's own gave, as `Problem` takes it.

    Args:
        path: that named it, for messages.
        found: a named set, a mapping with `train`, `test` and `classes`, a pair of training and test data, or the former alone.

    Returns:
        Arguments of `Problem`.

    Raises:
        DataError: a mapping without training data, or nothing.
    """
    if isinstance(found, Dataset):
        return _of_images(found)
    if isinstance(found, Mapping):
        if "train" not in found or set(found) - {"train", "test", "classes"}:
            raise DataError(
                f"`data` {path} gave a mapping of {', '.join(map(str, found))}; give train, and test and classes if there are."
            )
        parts = dict(found)
        parts["classes"] = tuple(map(str, parts.get("classes") or ()))
        return parts
    if found is None:
        raise DataError(f"`data` {path} gave None; return training and test data.")
    if isinstance(found, tuple) and len(found) == 2 and not hasattr(found[1], "shape"):
        return {"train": found[0], "test": found[1]}
    return {"train": found}


def _of_images(data: Dataset) -> dict[str, Any]:
    return {
        "train": data.train,
        "test": data.test,
        "classes": data.classes,
        "input_shape": data.input_shape,
        "images": data,
    }


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


def _is_standing(found: Any) -> bool:
    """Whether a function of torch compares an input with a target, and needs nothing else."""
    try:
        given = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):  # builtins have none
        return False
    needed = [each.name for each in given if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD]
    return needed == ["input", "target"]
