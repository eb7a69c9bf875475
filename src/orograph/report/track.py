"""What the report of a track shows: every number along the steps of a training loop of one's own."""

from typing import Any

from orograph.report.about import about
from orograph.store.lookup import described, in_order
from orograph.store.run import Run
from orograph.store.track import moments


def track_data(run: Run) -> dict[str, Any]:
    """All that the page of a track is made of."""
    rows = [{"step": step, "status": each.status, **each.scalars} for step, each in moments(run).items()]
    names = in_order({name for row in rows for name in row} - {"step", "status", "error", "left_out"})
    return {
        "kind": run.kind,
        "title": f"{run.path.resolve().name}: a training, tracked",
        "about": about(run),
        "rows": rows,
        "names": names,
        "quantities": described(names),
    }
