"""The problem that settings name: built-in networks and data, or one's own by `module:name`, with what these are recorded by.

An object in memory has a name that nothing can be imported by (`object:Net`): a run that was made of such asks for it again.
"""

import hashlib
import inspect
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.arguments import require_object
from orograph.data.catalogue import load_data
from orograph.data.names import TEACHER
from orograph.data.teacher import SAMPLES, linear_teacher
from orograph.errors import ConfigurationError, unknown
from orograph.loading import loaded, of_images
from orograph.losses import LOSSES
from orograph.metrics import METRICS, Metric, metric
from orograph.models.catalogue import build_model
from orograph.problem import Problem
from orograph.settings.base import is_own
from orograph.settings.problem import ProblemSettings
from orograph.settings.shared import DataSettings, ModelSettings
from orograph.sources import MEMORY, called, digest, first_line, imported, modules_behind, name_of, require_own, takes

INITIAL = "initial weights"  # among the sources: the state of a module in memory, from which trainings start


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
    for name, path in [*names.items(), *(("metrics", each) for each in chosen.metrics)]:
        if path.startswith(MEMORY):
            raise ConfigurationError(
                f"the {name} of this run, {path.removeprefix(MEMORY)}, was an object in memory; give the problem again, in "
                "Python: og.sweep(problem, …), og.study(problem, …), og.analyze(run, problem)."
            )
    if data.dataset == TEACHER and chosen.loss == type(chosen).model_fields["loss"].default:
        raise ConfigurationError(f"`loss` {chosen.loss} is of classes, and {TEACHER} has numbers; give `loss` squared.")
    parts = _data(data, data_dir)
    parts |= {
        "loss": loss_of(chosen.loss),
        "metrics": metrics_of(chosen.metrics),
        "parameters": chosen.parameters,
        "names": names,
    }
    if chosen.groups:
        parts["groups"] = imported("groups", chosen.groups)
    if chosen.train:
        parts["trainer"] = imported("train", chosen.train)
    return Problem(model=factory(model.model, model.options()), **parts)


def recorded(chosen: ProblemSettings, problem: Problem, others: Sequence[str] = ()) -> ProblemSettings:
    """The settings with what tells whether the parts of one's own are still the same.

    Args:
        chosen: as they were given.
        problem: that they name.
        others: names of networks that are studied beside that of the problem.

    Returns:
        Settings with sources and checksum; those given where all is built in.
    """
    parts: dict[str, Any] = {"model": problem.model, "loss": problem.loss, "groups": problem.groups, "train": problem.trainer}
    named = {name: path for name, path in problem.names.items() if is_own(path) and not path.startswith(MEMORY)}
    own = {name: parts[name] for name in parts if name in named}
    own |= {each.name: each.function for each in problem.metrics or () if isinstance(each, Metric) and each.name not in METRICS}
    own |= {f"model {each}": imported("model", each) for each in others if is_own(each) and not each.startswith(MEMORY)}
    path = problem.names.get("data", "")
    if "data" in named:
        own["data"] = imported("data", path)
    sources = {name: found for name, each in sorted(own.items()) if (found := digest(each))}
    behind = {name: found for each in own.values() for name, found in modules_behind(each).items()}
    sources |= {f"module {name}": found for name, found in sorted(behind.items())}
    if isinstance(problem.model, nn.Module) and problem.names.get("model", "").startswith(MEMORY):
        sources[INITIAL] = weights_digest(problem.model)
    checksum = problem.checksum if is_own(path) else ""
    return chosen.model_copy(update={"sources": sources, "checksum": checksum})


def as_begun(chosen: ProblemSettings, configuration: Mapping[str, Any] | None) -> ProblemSettings:
    """What was chosen, with the sources and the checksum of the run that is gone on with; with none for a new run.

    Args:
        chosen: as it was given, perhaps in the configuration of another run.
        configuration: of the run that is there; None for a new one.
    """
    problem = (configuration or {}).get("problem")
    known = problem if isinstance(problem, Mapping) else {}
    return ProblemSettings.model_validate(
        {**chosen.model_dump(), "sources": known.get("sources", {}), "checksum": known.get("checksum", "")}
    )


def require_unchanged(begun: ProblemSettings, now: ProblemSettings) -> None:
    """Refuses parts that are not those which a run was begun with.

    Args:
        begun: with the sources and the checksum of then; empty ones say nothing.
        now: with those of now.

    Raises:
        ConfigurationError: naming what has changed.
    """
    way_out = "put back what it was, or begin another run by another `out`."
    changed = [name for name, found in begun.sources.items() if now.sources.get(name, found) != found]
    if INITIAL in changed:
        raise ConfigurationError(
            "the module has other weights than when this run was begun; seed what makes it (torch.manual_seed), or give a "
            f"function that makes it in its place; {way_out}"
        )
    if changed:
        names = " and of ".join(f"`{name}`" for name in changed)
        raise ConfigurationError(f"the source of {names} has changed since this run was begun; {way_out}")
    if begun.checksum and now.checksum and begun.checksum != now.checksum:
        raise ConfigurationError(f"`data` gives other values than when this run was begun; {way_out}")


def require_problem(given: Any) -> None:
    """Refuses what is no problem, such as the module of one.

    Raises:
        ConfigurationError: naming what was given.
    """
    require_object("problem", given, Problem, "give og.Problem(model, loss, train=…)")


def with_names(problem: Problem) -> Problem:
    """A problem whose parts have the names that a run records: `module:name` where that can be imported, else `object:name`.

    Args:
        problem: made in Python.

    Returns:
        The same with all names.

    Raises:
        ConfigurationError: it is none.
    """
    require_problem(problem)
    groups, train = ("" if part is None else name_of(part) for part in (problem.groups, problem.trainer))
    names = {
        "model": name_of(problem.model),
        "data": MEMORY + _data_name(problem),
        "loss": _loss_name(problem.loss),
        "groups": groups,
        "train": train,
    }
    if problem.optimizer is not None:
        names["optimizer"] = name_of(problem.optimizer)
    return replace(problem, names={**names, **problem.names})


def chosen_parts(problem: Problem) -> ProblemSettings:
    """The settings that say the same as a problem with names.

    Args:
        problem: as `with_names` gives it.

    Returns:
        Settings of its loss, metrics, groups and parameters, with sources and checksum.
    """
    metrics, names = _metric_names(problem), problem.names
    own = {name: names[name] for name in ("loss", "groups", "train")}
    return recorded(ProblemSettings(**own, metrics=metrics, parameters=problem.parameters), problem)


def in_memory(problem: Problem) -> bool:
    """Whether some part of a problem with names can be had from this process alone."""
    return any(name.startswith(MEMORY) for name in [*problem.names.values(), *_metric_names(problem)])


def packed_problem(problem: Problem | None) -> bytes | None:
    """A problem on its way to other processes; None where its names are enough.

    Args:
        problem: with names, or None.

    Returns:
        A pickle, which names what can be imported and holds what cannot.

    Raises:
        ConfigurationError: cloudpickle is not installed, or a part cannot be pickled.
    """
    if problem is None or not in_memory(problem):
        return None
    try:
        import cloudpickle
    except ImportError:
        raise ConfigurationError(
            "`parallel` of a problem in memory needs the package cloudpickle: pip install cloudpickle; or name its parts, "
            "module:name."
        ) from None
    try:
        found: bytes = cloudpickle.dumps(problem, protocol=5)
    except Exception as error:  # whatever the parts hold: locks, files, generators
        raise ConfigurationError(
            f"the problem cannot be sent to other processes: {first_line(error)}; name its parts, module:name, or leave out "
            "`parallel`."
        ) from error
    return found


def unpacked_problem(packed: bytes | None) -> Problem | None:
    """The problem that `packed_problem` packed.

    Args:
        packed: its pickle, or None.

    Returns:
        The problem, or None.
    """
    if packed is None:
        return None
    found: Problem = pickle.loads(packed)
    return found


def weights_digest(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, with their names."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor):
            plain = tensor.detach().cpu().contiguous().flatten()
            found.update(repr((name, tuple(tensor.shape), str(tensor.dtype))).encode())
            found.update(plain.view(torch.uint8).numpy().data if plain.numel() else b"")
    return found.hexdigest()


def _data_name(problem: Problem) -> str:
    """What kind of thing the data are, for a reader."""
    data = getattr(problem.train, "dataset", problem.train)
    return "tensors" if isinstance(data, list | tuple) else type(data).__name__


def _loss_name(loss: Any) -> str:
    name = getattr(loss, "__name__", "")
    for own, known in LOSSES.items():
        if known is loss:
            return own
    return name if name and getattr(F, name, None) is loss else name_of(loss)


def _metric_names(problem: Problem) -> tuple[str, ...]:
    return tuple(_metric_name(each) for each in problem.metrics or () if isinstance(each, Metric))


def _metric_name(given: Metric) -> str:
    """Of a built-in metric, or by what one of one's own, or the function that alone makes it, is found again."""
    if METRICS.get(given.name) is given:
        return given.name
    module = getattr(given.function, "__module__", "") or ""
    if module != "__main__" and digest(given.function):
        for name, value in vars(sys.modules.get(module, sys)).items():
            if value is given:
                return f"{module}:{name}"
        plain = Metric(given.name, given.function)
        path = name_of(given.function)
        if vars(plain) == vars(given) and path.rpartition(":")[2] == given.name:
            return path
    return MEMORY + given.name


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
        name: of `LOSSES`, of `torch.nn.functional`, or `module:function`.

    Returns:
        A function of outputs and targets, or a module.

    Raises:
        ConfigurationError: there is none of that name, or it is none.
    """
    if is_own(name):
        found = imported("loss", name)
        if isinstance(found, type) and issubclass(found, nn.Module):
            raise ConfigurationError(f"`loss` {name} is a class; name an instance of it, or a function of outputs and targets.")
        if not isinstance(found, nn.Module) and not takes(found, 2):
            raise ConfigurationError(f"`loss` {name} is no function of outputs and targets, written in Python; name one that is.")
        return found
    endings = ("loss", "entropy", "logits", "kl_div")
    losses = [each for each in dir(F) if each.endswith(endings) and _is_standing(getattr(F, each))]
    if name in LOSSES:
        return LOSSES[name]
    if name not in losses:
        raise unknown("loss", name, [*LOSSES, *losses])
    return getattr(F, name)


def metrics_of(names: Sequence[str]) -> tuple[Metric, ...] | None:
    """Metrics by name, or one's own.

    Args:
        names: built-in ones, or `module:metric`, which may be a function.

    Returns:
        The metrics; None for no names.

    Raises:
        ConfigurationError: there is none of a name, or it comes with Python.
    """
    if not names:
        return None
    found: list[Metric] = []
    for name in names:
        if not is_own(name):
            found.append(metric(name))
            continue
        made = imported("metrics", name)
        require_own("metrics", name, made)
        found.append(made if isinstance(made, Metric) else Metric(name.rpartition(":")[2], made))
    return tuple(found)


def _data(chosen: DataSettings, data_dir: str | None) -> dict[str, Any]:
    """Training and test data, classes, and the shape of a sample, as `Problem` takes them."""
    if chosen.dataset == TEACHER:
        teacher = linear_teacher(chosen.singular_values, chosen.subset_size or SAMPLES, chosen.subset_seed)
        return {"train": teacher.train, "test": teacher.test}
    if not is_own(chosen.dataset):
        found = load_data(chosen.dataset, data_dir=data_dir, subset_size=chosen.subset_size, subset_seed=chosen.subset_seed)
        return of_images(found)
    return loaded(chosen.dataset, called("data", chosen.dataset, imported("data", chosen.dataset)))


def _is_standing(found: Any) -> bool:
    """Whether a function of torch compares an input with a target, and needs nothing else."""
    try:
        given = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):  # builtins have none
        return False
    needed = [each.name for each in given if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD]
    return needed == ["input", "target"]
