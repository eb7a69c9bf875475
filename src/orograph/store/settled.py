"""Whether a run is what its records say, or between two states: see `extension`."""

from pathlib import Path

from orograph.errors import RunError
from orograph.store.names import EXTENSION

WHOLE = "whole.json"


def is_settled(path: Path) -> bool:
    """Whether nothing that is whole waits to be put into a run."""
    return not (path / EXTENSION / WHOLE).exists()


def require_settled(path: Path) -> None:
    """Raises:
    RunError: some files of the run are those of its extension already, and others are not.
    """
    if not is_settled(path):
        raise RunError(f"{path} was stopped while its {EXTENSION} took its place; finish that by: orograph extend {path}.")
