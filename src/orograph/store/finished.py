"""The run that a command reads from, and how much of it there is."""

from orograph.errors import ConfigurationError, RunError
from orograph.store.branch import ATLAS, ATLAS_FILE
from orograph.store.run import Run


def finished_run(path: str, command: str) -> Run:
    """A run with something in it.

    Raises:
        ConfigurationError: no directory was named.
        RunError: it is not a run, or has no finished point yet.
    """
    if not path:
        raise ConfigurationError(f"{command} needs a run: the directory that a sweep or a study wrote.")
    run = Run.open(path)
    if not run.records and not run.findings and not (run.kind == ATLAS and (run.path / ATLAS_FILE).is_file()):
        raise RunError(f"{run.path} has no finished point yet; run the {run.kind} first.")
    return run


def unfinished(run: Run) -> str:
    """What to say of a run whose plan holds more points than there are records; empty where it holds none."""
    recorded, planned = len(run.records), len(run.plan.cells)
    return "" if recorded >= planned else f"{recorded} of {planned} points are recorded"
