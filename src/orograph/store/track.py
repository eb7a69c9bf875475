"""The course of a training of one's own as labelled arrays: one finding a moment, along `step`."""

import xarray as xr

from orograph.store.findings import Finding, FindingKey
from orograph.store.run import Run
from orograph.store.tree import stacked

TRACK = "track"  # the kind of run
_KIND, _CONFIGURATION = "moment", "training"


def moment_key(step: int) -> FindingKey:
    """The key of what was measured after so many steps; keys are in the order of steps."""
    return FindingKey(_KIND, _CONFIGURATION, f"{step:010d}")


def moments(run: Run) -> dict[int, Finding]:
    """What was measured, by step, in order."""
    return {int(key.name): found for key, found in run.findings.items() if key.kind == _KIND and key.name.isdecimal()}


def open_track(run: Run) -> xr.Dataset:
    """Every recorded number along `step`; NaN where one was not measured, and `status` says where a measurement failed."""
    found = moments(run)
    ds = stacked("step", list(found), list(found.values()), run)
    ds["status"] = ("step", [each.status for each in found.values()], {"long_name": "what became of the measurement"})
    return ds.assign_attrs(kind=run.kind, path=str(run.path))
