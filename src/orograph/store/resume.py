"""A run that is there already, as a command that goes on with it or computes from it sees it.

What it was begun with is read here alone, as settings that are checked: a field that is missing or of another kind is met before
anything is computed from it. Its numerics stay, and what was asked for instead is told.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console

from orograph.errors import ConfigurationError, RunError, a
from orograph.settings.base import Settings
from orograph.settings.shared import Execution, NumericsSettings
from orograph.store.marker import has_marker, read_marker
from orograph.store.run import Run

SAME = 1e-4  # of a loss: float32 summed by other threads or on another device differs by 1e-5 and less
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
        raise RunError(f"{path} holds {a(run.kind)}, not {a(kind)}; give another directory.")
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
        return execution.shared(given)
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


def require_same_loss(where: str, was: float, now: float, dtype: torch.dtype) -> None:
    """Refuses a network, a loss or data whose training loss at a recorded point is another: two of them would make one run.

    Args:
        where: the point, in words.
        was: as it is recorded.
        now: as it is.
        dtype: of θ.

    Raises:
        RunError: naming the point and both numbers.
    """
    rounding = 10 * torch.finfo(dtype).eps  # what is left of a logit of 10 in a loss near 0
    if not math.isclose(was, now, rel_tol=SAME, abs_tol=rounding):
        raise RunError(
            f"the training loss {where} is {now:.7g}, and this run recorded {was:.7g}: the network, its loss or its data are "
            "others than when it was begun; put back what they were, or begin another run."
        )


def reopened(run: Run, made_by: Mapping[str, Any]) -> Run:
    """The same run, opened for writing; what is added to it is made by this process.

    Args:
        run: open for reading.
        made_by: the provenance of this process.

    Raises:
        RunError: another process is writing to it.
    """
    return Run.create(
        run.path,
        kind=run.kind,
        configuration=run.configuration,
        numerics=run.numerics,
        asked=run.numerics,
        provenance=made_by,
        classes=run.classes,
        tensors=run.tensors,
    )
