"""A run that is there already, as a command that goes on with it or computes from it sees it.

What it was begun with is read here alone, as settings that are checked: a field that is missing or of another kind is met before
anything is computed from it. Its numerics stay, and what was asked for instead is told.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from orograph.errors import ConfigurationError, RunError
from orograph.settings.base import Settings
from orograph.settings.shared import Execution, NumericsSettings, ParallelExecution
from orograph.store.marker import has_marker, read_marker
from orograph.store.run import Run

Numerics = TypeVar("Numerics", bound=NumericsSettings)
Whole = TypeVar("Whole", bound=Settings)


def begun_run(path: Path, kind: str) -> Run | None:
    """The run in a directory, None where none was begun, or it has lost its marker.

    Raises:
        RunError: it is of another kind, or damaged.
    """
    if not has_marker(path):
        return None
    content = read_marker(path)
    run = Run.open(path) if content is None else Run(path, content)  # without a plan, which is made again
    if run.kind != kind:
        raise RunError(f"{path} holds a {run.kind}, not a {kind}; give another directory.")
    return run


def recorded_numerics(run: Run, kind: type[Numerics]) -> Numerics:
    """The numerics that a run was begun with.

    Raises:
        RunError: there are some that this version does not know, or with values that it does not take.
    """
    return _known(run, kind, run.numerics, "numerics")


def settled_numerics(run: Run | None, given: Numerics, execution: Execution) -> Numerics:
    """Those that a run keeps, with a line on standard error where others were asked for; of a new run those asked for, settled.

    Raises:
        RunError: as `recorded_numerics`.
    """
    if run is None:
        return execution.shared(given) if isinstance(execution, ParallelExecution) else given
    kept = recorded_numerics(run, type(given))
    if told := not_taken(given, kept):
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(told)
    return kept


def recorded_settings(run: Run, kind: type[Whole]) -> Whole:
    """All that a run was begun with, its numerics among them.

    Raises:
        RunError: as `recorded_numerics`.
    """
    return _known(run, kind, {**run.configuration, "numerics": run.numerics}, "settings")


def _known(run: Run, kind: type[Whole], values: Mapping[str, Any], what: str) -> Whole:
    try:
        return kind.model_validate(values)
    except ConfigurationError as error:
        why = str(error).rstrip(".")
        raise RunError(f"the {what} of {run.path} are not known here ({why}); go on with its own version.") from None


def not_taken(given: Numerics, kept: Numerics) -> str:
    """What to say of numerics that were asked for and are not those of the run; empty where there are none."""
    differing = [
        f"--{name} {value} is not taken: the run was begun with {getattr(kept, name)} and keeps it"
        for name, value in given
        if value != type(given).model_fields[name].default and value != getattr(kept, name)
    ]
    return "; ".join(differing)
