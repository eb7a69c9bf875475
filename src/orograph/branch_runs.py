"""Branches and atlases in one call each: `follow_run` and `make_atlas`, as the commands `follow` and `atlas` make them.

Settings are those of the commands, by the names of their fields (`FollowSettings` and `AtlasSettings` describe each), and a run
that one began goes on with the other.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from orograph.atlas.command import atlas as run_atlas
from orograph.atlas.command import folder_of as atlas_folder
from orograph.atlas.graph import read_atlas
from orograph.atlas.settings import AtlasSettings
from orograph.branches.command import folder_of, follow_branches
from orograph.branches.settings import FollowCommand, FollowSettings
from orograph.experiments import Progress, by_name, data_of, plain_values, shown_as
from orograph.problem import Problem
from orograph.process import kept_state
from orograph.store.dataset import open_run
from orograph.work.problems import chosen_parts, with_names

if TYPE_CHECKING:
    import networkx


def follow_run(
    start: str | Path | xr.Dataset,
    problem: Problem | None = None,
    *,
    out: str | Path | None = None,
    settings: FollowSettings | None = None,
    progress: Progress = "auto",
    **chosen: Any,
) -> xr.DataTree:
    """Follows branches of critical points from a point of a sweep, or a state dict, into a run; the same call again resumes.

    What one call follows in memory, without a run, is `follow`.

    Args:
        start: the directory of a sweep, what `open_run` or `sweep` gave of one, or a `.pth` or `.safetensors` state dict.
        problem: that the state dict is of, or that the sweep was made of where that was in memory alone; None for the network
            and the data that settings, or the sweep, name.
        out: the run's directory; `runs/<start>-branches` when None.
        settings: all of them at once; `chosen` come on top.
        progress: `lines`, `notebook` (one line, rewritten), `log` (of the logger `orograph`), or `auto`: what suits this process.
        chosen: settings by name, as `strength=0.05`, `direction="both"`, `points=40`, `pairs=4`, `quiet=True`: the fields of
            `FollowSettings` and of `ParallelExecution`.

    Returns:
        The run, as `open_run` gives it: a node a branch.

    Raises:
        OrographError: whatever cannot be had as asked; nothing has been written then.

    Examples:
        >>> import orograph as og
        >>> solved = dict(dataset="linear-teacher", singular_values=[0.5], loss="squared", model="deep-linear", widths=[1, 1])
        >>> ladder = og.sweep(**solved, strengths=[0.05], k=1, dtype="float64", lr=0.05, out="ladder", quiet=True)
        >>> found = og.follow_run(ladder, points=30, min=0.04, out="branch", quiet=True)
        >>> found["up/events"].event_kind.values.tolist(), round(found["up/events"].strength.item(), 8)
        (['fold'], 0.09375)
    """
    values = by_name(FollowCommand, settings, chosen, problem) | {"run": _place(start)}
    if problem is not None:
        problem = with_names(problem)
        if Path(values["run"]).is_file():  # a sweep says itself what it was made of
            values |= {"data": data_of(problem), "model": {"model": problem.names["model"]}, "problem": chosen_parts(problem)}
    command = FollowCommand.model_validate(plain_values(values, out))
    own = FollowSettings.model_validate(command.model_dump(exclude={"execution"}))
    with kept_state():
        follow_branches(own, command.execution, problem, shown_as(progress))
    found: xr.DataTree = open_run(folder_of(own, command.execution))
    return found


def make_atlas(
    runs: Sequence[str | Path | xr.Dataset | xr.DataTree],
    problem: Problem | None = None,
    *,
    out: str | Path | None = None,
    settings: AtlasSettings | None = None,
    progress: Progress = "auto",
    **chosen: Any,
) -> "networkx.MultiGraph[Any]":
    """Joins branches, and sweeps of the same problem, into one graph of critical points; the same call again resumes.

    Args:
        runs: directories of branches and of sweeps, or what `open_run`, `follow_run` or `sweep` gave of them.
        problem: that they were made of, where that was in memory alone.
        out: the directory of the atlas; `runs/<first branch>-atlas` when None.
        settings: all of them at once; `chosen` come on top.
        progress: as of `follow_run`.
        chosen: settings by name, as `descents=0`, `quiet=True`: the fields of `AtlasSettings`.

    Returns:
        The graph, as `orograph.atlas.read_atlas` gives it.

    Raises:
        OrographError: a run cannot be used; nothing has been written then.

    Examples:
        >>> import orograph as og
        >>> solved = dict(dataset="linear-teacher", singular_values=[0.5], loss="squared", model="deep-linear", widths=[1, 1])
        >>> ladder = og.sweep(**solved, strengths=[0.05], k=1, dtype="float64", lr=0.05, out="ladder", quiet=True)
        >>> branch = og.follow_run(ladder, points=30, min=0.04, out="branch", quiet=True)
        >>> sorted(kind for _, kind in og.make_atlas([branch], descents=0, out="atlas", quiet=True).nodes(data="kind"))
        ['cut', 'fold', 'start']
    """
    values = by_name(AtlasSettings, settings, chosen, None) | {"runs": tuple(_place(run) for run in runs)}
    own = AtlasSettings.model_validate({**values, **({} if out is None else {"out": str(out)})})
    with kept_state():
        run_atlas(own, None if problem is None else with_names(problem), shown_as(progress))
    return read_atlas(atlas_folder(own))


def _place(run: str | Path | xr.Dataset | xr.DataTree) -> str:
    return str(run.attrs["path"] if isinstance(run, xr.Dataset | xr.DataTree) else run)
