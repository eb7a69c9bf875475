"""A run that is there already, as the command that goes on with it sees it.

Its numerics stay, and what was asked for instead is told.
"""

from pathlib import Path
from typing import TypeVar

from orograph.errors import ConfigurationError, RunError
from orograph.settings.shared import NumericsSettings
from orograph.store.names import COPIES, MARKER
from orograph.store.run import Run

Numerics = TypeVar("Numerics", bound=NumericsSettings)


def begun_run(path: Path, kind: str) -> Run | None:
    """The run in a directory, None where none was begun.

    Raises:
        RunError: it is of another kind, or damaged.
    """
    if not (path / MARKER).exists() and not (path / COPIES / MARKER).exists():
        return None
    run = Run.open(path)
    if run.kind != kind:
        raise RunError(f"{path} holds a {run.kind}, not a {kind}; give another directory.")
    return run


def recorded_numerics(run: Run, kind: type[Numerics]) -> Numerics:
    """The numerics that a run was begun with.

    Raises:
        RunError: there are some that this version does not know, or with values that it does not take.
    """
    try:
        return kind(**run.numerics)
    except ConfigurationError as error:
        raise RunError(f"the numerics of {run.path} are not known here: {error} Go on with its own version.") from None


def not_taken(given: Numerics, kept: Numerics) -> str:
    """What to say of numerics that were asked for and are not those of the run; empty where there are none."""
    differing = [
        f"--{name} {value} is not taken: the run was begun with {getattr(kept, name)} and keeps it"
        for name, value in given
        if value != type(given).model_fields[name].default and value != getattr(kept, name)
    ]
    return "; ".join(differing)
