"""Experiments in one call each: `sweep`, `study`, `analyze` and `escape`, as the commands of these names make them.

Settings are those of the commands, by the names of their fields (`SweepSettings`, `StudySettings`, `AnalyzeSettings`,
`EscapeSettings` describe each), and a run that one began goes on with the other. Nothing is printed but the progress; what a
process has of its own, its random streams and threads, is afterwards as it was.
"""

import warnings
from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_origin

import xarray as xr
from pydantic import BaseModel

from orograph.analysis.settings import AnalyzeSettings
from orograph.commands.branch_analysis import analyze as run_analysis
from orograph.errors import ConfigurationError, unknown
from orograph.escapes.bench import EscapeBench
from orograph.escapes.command import escape_states
from orograph.escapes.settings import EscapeCommand, EscapeSettings
from orograph.problem import Problem
from orograph.process import kept_state
from orograph.settings.base import Settings
from orograph.settings.problem import ProblemSettings
from orograph.settings.shared import DataSettings, ModelSettings
from orograph.sources import MEMORY, name_of
from orograph.store.dataset import open_run
from orograph.study.command import folder_of as study_folder
from orograph.study.command import study as run_study
from orograph.study.settings import ArchitectureSettings, StudyCommand, StudySettings
from orograph.sweep.command import folder_of as sweep_folder
from orograph.sweep.command import sweep as run_sweep
from orograph.sweep.settings import SweepCommand, SweepSettings
from orograph.work.problems import chosen_parts, require_problem, with_names
from orograph.work.progress import Show, suited

Progress = Literal["auto", "lines", "notebook", "log"]

_PRINTED = ("json_output", "dry_run")  # they print in place of working
_PARTS = {
    name for kind in (DataSettings, ModelSettings, ProblemSettings, ArchitectureSettings) for name in kind.model_fields
}  # what a problem says itself


def sweep(
    problem: Problem | None = None,
    *,
    out: str | Path | None = None,
    settings: SweepSettings | None = None,
    progress: Progress = "auto",
    **chosen: Any,
) -> xr.Dataset:
    """Train and measure a problem along a ladder of strengths λ of L(θ) + λ‖θ − θ_ref‖²; the same call again resumes.

    Args:
        problem: what is trained; None for the network and the data that settings name.
        out: the run's directory; `runs/<data>-<digest of the settings>` when None.
        settings: all of them at once; `chosen` come on top.
        progress: `lines`, `notebook` (one line, rewritten), `log` (of the logger `orograph`), or `auto`: what suits this process.
        chosen: settings by name, as `strengths=[…]`, `seeds=[0, 1]`, `k=20`, `epochs=50`, `quiet=True`, `parallel="processes"`:
            the fields of `SweepSettings` and of `ParallelExecution`. `optimizer` may be a class of `torch.optim`, or any function
            of `(parameters, lr=…)`.

    Returns:
        The run, as `open_run` gives it.

    Raises:
        OrographError: whatever cannot be had as asked; nothing has been written then.

    Examples:
        >>> import torch, orograph as og
        >>> x = torch.randn(20, 3)
        >>> problem = og.Problem(lambda: torch.nn.Linear(3, 1), torch.nn.MSELoss(), train=(x, x.sum(1, keepdim=True)))
        >>> found = og.sweep(problem, strengths=[0.01, 0.1], k=2, epochs=2, out="tiny", quiet=True)
        >>> found.train_loss.sizes["strength"]
        2
    """
    problem, chosen = _with_optimizer(problem, chosen)
    if isinstance(chosen.get("strengths"), Sized) and not len(chosen["strengths"]):
        raise ConfigurationError("`strengths` is empty; give one λ at least, or leave it out for the ladder of `points`.")
    values = by_name(SweepCommand, settings, chosen, problem)
    if problem is not None:
        problem = with_names(problem)
        values |= {"data": data_of(problem), "model": {"model": problem.names["model"]}, "problem": chosen_parts(problem)}
    command = SweepCommand.model_validate(plain_values(values, out))
    own = SweepSettings.model_validate(command.model_dump(exclude={"execution"}))
    with kept_state():
        code = run_sweep(own, command.execution, problem, shown_as(progress))
    place = sweep_folder(own, command.execution)
    if code:
        warnings.warn(f"some points of {place} failed; `status` says which.", RuntimeWarning, stacklevel=2)
    found: xr.Dataset = open_run(place)
    return found


def study(
    problem: Problem | Sequence[Problem] | Mapping[str, Problem] | None = None,
    *,
    out: str | Path | None = None,
    settings: StudySettings | None = None,
    progress: Progress = "auto",
    **chosen: Any,
) -> xr.DataTree:
    """Train a problem from several seeds, measure every minimum and every pair of minima; the same call again resumes.

    Args:
        problem: what is trained; several that differ in their networks alone, in a list or by names; None for the networks and
            the data that settings name.
        out: the run's directory; `runs/study-<data>-<digest of the settings>` when None.
        settings: all of them at once; `chosen` come on top.
        progress: `lines`, `notebook` (one line, rewritten), `log` (of the logger `orograph`), or `auto`: what suits this process.
        chosen: settings by name, as `num_seeds=3`, `epochs=20`, `lr=[1e-3]`, `paths=["linear"]`, `quiet=True`: the fields of
            `StudySettings` and of `StudyExecution`.

    Returns:
        The run, as `open_run` gives it.

    Raises:
        OrographError: whatever cannot be had as asked; nothing has been written then.

    Examples:
        >>> import orograph as og
        >>> small = dict(dataset="digits", subset_size=60, model="MLP1", hidden_size=4, epochs=1, top_k=2, fast=True)
        >>> found = og.study(**small, num_seeds=2, paths="linear", out="tiny", quiet=True)
        >>> list(found)
        ['MLP1-h4-AdamW']
    """
    problems = _several(problem)
    values = by_name(StudyCommand, settings, chosen, problems[0] if problems else None)
    if problems:
        models = tuple(each.names["model"] for each in problems)
        values |= {"data": data_of(problems[0]), "problem": chosen_parts(problems[0])}
        values["architecture"] = {**dict(values.get("architecture", {})), "model": models}
    command = StudyCommand.model_validate(plain_values(values, out))
    own = StudySettings.model_validate(command.model_dump(exclude={"execution"}))
    with kept_state():
        code = run_study(own, command.execution, problems, shown_as(progress))
    place = study_folder(own, command.execution)
    if code:
        warnings.warn(f"some steps of {place} failed; its records say which, and why.", RuntimeWarning, stacklevel=2)
    found: xr.DataTree = open_run(place)
    return found


def analyze(
    run: str | Path | xr.Dataset | xr.DataTree,
    problem: Problem | None = None,
    *,
    settings: AnalyzeSettings | None = None,
    progress: Progress = "auto",
    **chosen: Any,
) -> xr.Dataset | xr.DataTree:
    """Compute all that a finished sweep, or a run of branches, shows; the same call again does what is missing.

    Args:
        run: its directory, or what `open_run`, `sweep` or `follow_run` gave; of branches the numbers are in `analysis.json`.
        problem: that the run was made of, where that was in memory alone.
        settings: all of them at once; `chosen` come on top.
        progress: `lines`, `notebook` (one line, rewritten), `log` (of the logger `orograph`), or `auto`: what suits this process.
        chosen: settings by name, as `density=True`, `refine=True`, `quiet=True`: the fields of `AnalyzeSettings`.

    Returns:
        The run with what was found, as `open_run` gives it.

    Raises:
        OrographError: the run cannot be analysed, or the problem is not the one that it was made of.

    Examples:
        >>> import orograph as og
        >>> small = dict(dataset="digits", subset_size=60, widths=4, k=2, epochs=1, quiet=True)
        >>> found = og.sweep(**small, strengths=[0.001, 0.01], out="tiny")
        >>> "scalar_curvature" in og.analyze(found, path_steps=0, quiet=True)
        True
    """
    place = Path(run.attrs["path"] if isinstance(run, xr.Dataset | xr.DataTree) else run)
    values = by_name(AnalyzeSettings, settings, chosen, None) | {"run": str(place)}
    with kept_state():
        named = None if problem is None else with_names(problem)
        run_analysis(AnalyzeSettings.model_validate(values), named, shown_as(progress))
    found: xr.Dataset | xr.DataTree = open_run(place)
    return found


def escape(
    run: str | Path | xr.Dataset,
    problem: Problem | None = None,
    *,
    out: str | Path | None = None,
    settings: EscapeSettings | None = None,
    progress: Progress = "auto",
    **chosen: Any,
) -> xr.Dataset:
    """Run many chains of SGD from the state before a jump of a sweep, until they leave it; the same call again resumes.

    Args:
        run: directory of the sweep, or what `open_run` or `sweep` gave.
        problem: that the sweep was made of, where that was in memory alone.
        out: the run's directory; `runs/<sweep>-escape` when None.
        settings: all of them at once; `chosen` come on top.
        progress: `lines`, `notebook` (one line, rewritten), `log` (of the logger `orograph`), or `auto`: what suits this process.
        chosen: settings by name, as `at=[0.012]`, `chains=64`, `batch_sizes=[2, 4]`, `atlas="runs/atlas"`, `quiet=True`: the
            fields of `EscapeSettings`.

    Returns:
        The chains and the states that they left, as `open_run` gives them; `escape.json` of the run holds rates and laws.

    Raises:
        OrographError: whatever cannot be had as asked; nothing has been written then.

    Examples:
        >>> import torch, orograph as og
        >>> build = lambda: torch.nn.Sequential(*[torch.nn.Linear(1, 1, bias=False) for _ in range(3)])
        >>> problem = og.Problem(build, torch.nn.MSELoss(), train=(torch.ones(2, 1), torch.tensor([[1.0], [0.0]])))
        >>> found = og.sweep(problem, strengths=[0.05, 0.15, 0.17, 0.2, 0.21], k=0, lr=0.05, out="tiny", quiet=True)
        >>> og.escape(found, problem, chains=2, steps=5, path_steps=0, quiet=True).sizes["member"]
        2
    """
    place = Path(run.attrs["path"] if isinstance(run, xr.Dataset) else run)
    values = by_name(EscapeCommand, settings, chosen, None) | {"run": str(place)}
    command = EscapeCommand.model_validate(plain_values(values, out))
    own = EscapeSettings.model_validate(command.model_dump(exclude={"execution"}))
    with kept_state():
        named = None if problem is None else with_names(problem)
        escape_states(own, command.execution, named, shown_as(progress))
    found: xr.Dataset = open_run(EscapeBench.folder_of(own, command.execution))
    return found


def by_name(
    kind: type[Settings], settings: Settings | None, chosen: Mapping[str, Any], problem: Problem | None
) -> dict[str, Any]:
    """Settings given at once with those given by name on top, as plain values in their groups."""
    values: dict[str, Any] = {} if settings is None else settings.model_dump()
    fields, groups = homes(kind)
    for given, value in chosen.items():
        name = "dataset" if given == "data" and "dataset" in fields else given
        if name not in fields:
            raise unknown("setting", given, [*fields])
        if problem is not None and name in _PARTS:
            raise ConfigurationError(f"`{given}` is a part of the problem; give it there, or leave out the problem.")
        kept = _value(value, fields[name])
        if groups[name]:
            values[groups[name]] = {**values.get(groups[name], {}), name: kept}
        else:
            values[name] = kept
    return values


def homes(kind: type[Settings]) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings of a command by the names of their fields, which are unique in it: their types, and their groups."""
    fields: dict[str, Any] = {}
    groups: dict[str, str] = {}
    for name, field in kind.model_fields.items():
        inner = field.annotation
        own = inner.model_fields if isinstance(inner, type) and issubclass(inner, BaseModel) else {name: field}
        for each, found in own.items():
            if each not in _PRINTED and each not in ("sources", "checksum"):
                fields[each], groups[each] = found.annotation, "" if own.keys() == {name} and inner is found.annotation else name
    return fields, groups


def _with_optimizer(problem: Problem | None, chosen: Mapping[str, Any]) -> tuple[Problem | None, dict[str, Any]]:
    """An optimiser that is given itself, and not by name, as a part of the problem and by the name that is recorded."""
    if problem is not None:
        require_problem(problem)
    given = chosen.get("optimizer", problem.optimizer if problem is not None else None)
    if not callable(given):
        return problem, dict(chosen)
    name = name_of(given)
    if problem is None and name.startswith(MEMORY):
        raise ConfigurationError(f"`optimizer` {name.removeprefix(MEMORY)} cannot be imported by a name; give a problem with it.")
    return problem and replace(problem, optimizer=given), {**chosen, "optimizer": name}


def _value(value: Any, kind: Any) -> Any:
    """What a notebook has at hand as what settings take: arrays as lists, one value for a list of one, a path as its
    name, bytes as their number."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if get_origin(kind) is tuple and not isinstance(value, list | tuple | range):
        value = (value,)
    if get_origin(kind) is tuple:
        return tuple(value)
    plain = isinstance(value, str | None) or (isinstance(value, int | float) and kind is not str)
    return value if plain else str(value)


def plain_values(values: Mapping[str, Any], out: str | Path | None) -> dict[str, Any]:
    return {**values, "execution": {**values.get("execution", {}), **({} if out is None else {"out": str(out)})}}


def data_of(problem: Problem) -> dict[str, Any]:
    return {"dataset": problem.names["data"]}


def _several(given: Problem | Sequence[Problem] | Mapping[str, Problem] | None) -> tuple[Problem, ...]:
    """The problems of a study, each with the name of its network.

    Raises:
        ConfigurationError: two networks have one name, or the problems differ in more than their networks.
    """
    if given is None:
        return ()
    if isinstance(given, Problem) or not isinstance(given, Sequence | Mapping):
        return (with_names(given),)
    titles: list[str] = list(given) if isinstance(given, Mapping) else [""] * len(given)
    found = []
    for title, each in zip(titles, given.values() if isinstance(given, Mapping) else given, strict=True):
        named = with_names(each)
        if title and named.names["model"].startswith(MEMORY):
            named = replace(named, names={**named.names, "model": MEMORY + title})
        found.append(named)
    if not found:
        raise ConfigurationError("a study needs a problem at least.")
    names = [each.names["model"].removeprefix(MEMORY) for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"two networks are called {twice}; give the problems by names, as {{'narrow': …, 'wide': …}}.")
    first = _shared(found[0])
    for name, each in zip(names, found, strict=True):
        other = next((part for part, value in _shared(each).items() if value != first[part]), None)
        if other is not None:
            raise ConfigurationError(f"the problems of a study share all but their networks, and {name} has another {other}.")
    return tuple(found)


def _shared(problem: Problem) -> dict[str, Any]:
    chosen = chosen_parts(problem)
    parts = {"loss": chosen.loss, "groups": chosen.groups, "parameters": chosen.parameters, "metrics": chosen.metrics}
    return {"data set": problem.checksum, **parts}


def shown_as(progress: str) -> Show:
    shown: dict[str, Show] = {"lines": "lines", "notebook": "notebook", "log": "log"}
    if progress == "auto":
        return suited()
    if progress not in shown:
        raise unknown("progress", progress, ["auto", *shown])
    return shown[progress]
