"""What is done with a run that is there, in one call each: `extend`, `redo` and `join`, as the commands of these names do it.

A run that one began goes on with the other. `docs/how-to/after-a-run.md` says what each costs.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from orograph.commands.extending import extend_run
from orograph.commands.joining import join as join_runs
from orograph.commands.redoing import redo as redo_points
from orograph.commands.settings import ExtendSettings, JoinSettings, RedoSettings
from orograph.errors import ConfigurationError
from orograph.experiments import Progress, by_name, shown_as
from orograph.problem import Problem
from orograph.process import kept_state
from orograph.store.dataset import open_run
from orograph.work.problems import with_names

Place = str | Path | xr.Dataset


def extend(
    run: Place,
    problem: Problem | None = None,
    *,
    strengths: Sequence[float] = (),
    seeds: Sequence[int] = (),
    direction: Literal["same", "up", "down", "both"] = "same",
    k: int = 0,
    progress: Progress = "auto",
    **chosen: Any,
) -> xr.Dataset:
    """Add to a sweep that is there: strengths, seeds, directions, or more eigenpairs at all of its points.

    A new point begins at the nearest one before it on its chain, and is trained or followed as those of the sweep were; what is
    there keeps its bytes. More pairs are computed where the points stand, as a new run would have them: nothing is trained, and
    until all are there the run stays what it was. The same call again resumes one that was stopped.

    Args:
        run: directory of a sweep, or what `open_run` or `sweep` gave.
        problem: that the sweep was made of, where that was in memory alone.
        strengths: λ to add.
        seeds: to add.
        direction: `up` or `down`: also climb or descend the ladder; `both` what is missing of the two.
        k: so many pairs at every point, in place of the fewer that there are; 0 for as many as there are.
        progress: `lines`, `notebook` (one line, rewritten), `log` (of the logger `orograph`), or `auto`: what suits this process.
        chosen: how it is done, by name: `parallel="processes"`, `jobs=4`, `data_dir=…`, `quiet=True`.

    Returns:
        The run with what was added, as `open_run` gives it.

    Raises:
        OrographError: whatever cannot be had as asked; nothing has been written then.

    Examples:
        >>> import orograph as og
        >>> small = dict(dataset="digits", subset_size=60, widths=4, epochs=1, quiet=True)
        >>> found = og.sweep(**small, strengths=[0.01], k=2, out="tiny")
        >>> found = og.extend(found, strengths=[0.02], quiet=True)
        >>> og.extend(found, k=3, quiet=True).eigenvalue.shape
        (1, 1, 2, 3)
    """
    given = {"strengths": strengths, "seeds": seeds, "direction": direction, "k": k, **chosen}
    place = _place(run)
    command = ExtendSettings.model_validate(by_name(ExtendSettings, None, given, None) | {"run": place})
    with kept_state():
        code = extend_run(command, None if problem is None else with_names(problem), shown_as(progress))
    return _opened(place, code)


def redo(
    run: Place,
    problem: Problem | None = None,
    *,
    strengths: Sequence[float],
    seeds: Sequence[int] = (),
    direction: Literal["any", "up", "down"] = "any",
    progress: Progress = "auto",
    **chosen: Any,
) -> xr.Dataset:
    """Take points of a sweep out and make them again; on the same machine their bytes are the same. Missing ones are made, too.

    Args:
        run: directory of a sweep, or what `open_run` or `sweep` gave.
        problem: that the sweep was made of, where that was in memory alone.
        strengths: λ of the points.
        seeds: of the points; all where none are given.
        direction: of the ladder on which they lie.
        progress: `lines`, `notebook` (one line, rewritten), `log` (of the logger `orograph`), or `auto`: what suits this process.
        chosen: how it is done, by name: `parallel="processes"`, `jobs=4`, `data_dir=…`, `quiet=True`.

    Returns:
        The run, as `open_run` gives it.

    Raises:
        OrographError: there are no such points, or they cannot be made; nothing has been written then.

    Examples:
        >>> import orograph as og
        >>> small = dict(dataset="digits", subset_size=60, widths=4, epochs=1, quiet=True)
        >>> found = og.sweep(**small, strengths=[0.01, 0.02], k=2, out="tiny")
        >>> bool((og.redo(found, strengths=[0.02], quiet=True).train_loss == found.train_loss).all())
        True
    """
    given = {"strengths": strengths, "seeds": seeds, "direction": direction, **chosen}
    place = _place(run)
    command = RedoSettings.model_validate(by_name(RedoSettings, None, given, None) | {"run": place})
    with kept_state():
        code = redo_points(command, None if problem is None else with_names(problem), shown_as(progress))
    return _opened(place, code)


def join(runs: Sequence[Place], *, out: str | Path, progress: Progress = "auto", quiet: bool = False) -> xr.Dataset:
    """Make sweeps that differ in their strengths, seeds or directions alone into one run; nothing is computed.

    Args:
        runs: directories of sweeps, or what `open_run` or `sweep` gave; they stay as they are.
        out: the run's directory.
        progress: `lines`, `notebook` (one line, rewritten), `log` (of the logger `orograph`), or `auto`: what suits this process.
        quiet: show nothing.

    Returns:
        The run, as `open_run` gives it; points that none of the runs has are `missing`, and `extend(out)` makes them.

    Raises:
        OrographError: the runs differ in more than their points, or hold a point with different numbers; nothing has been
            written then.

    Examples:
        >>> import orograph as og
        >>> small = dict(dataset="digits", subset_size=60, widths=4, epochs=1, k=2, strengths=[0.01], quiet=True)
        >>> runs = [og.sweep(**small, seeds=[seed], out=f"tiny-{seed}") for seed in (0, 1)]
        >>> og.join(runs, out="both", quiet=True).seed.values.tolist()
        [0, 1]
    """
    places = tuple(_place(each) for each in runs)
    join_runs(JoinSettings(runs=places, out=str(out), quiet=quiet), shown_as(progress))
    return _opened(str(out), 0)


def _place(run: Place) -> str:
    if isinstance(run, xr.Dataset):
        place = str(run.attrs["path"])
        if lost := [name for name in ("seed", "direction", "strength") if name in run.coords and name not in run.dims]:
            raise ConfigurationError(
                f"`run` is {lost[0]} {run[lost[0]].item()} of {place} alone; give the whole run, and say which points."
            )
        return place
    return str(run)


def _opened(place: str, code: int) -> xr.Dataset:
    if code:
        warnings.warn(f"some points of {place} failed; `status` says which.", RuntimeWarning, stacklevel=3)
    found: xr.Dataset = open_run(place)
    return found
