"""What the registry says of metrics: those that come with the program, and those of one's own that a run names."""

from orograph.metrics import METRICS
from orograph.store.quantities import QUANTITIES
from orograph.store.quantities import Quantity as Q


def of_metric(name: str, label: str, unit: str) -> dict[str, Q]:
    """What is recorded of a metric: on both sets, and by class or by another group of the test samples."""
    label, dims = label.removesuffix(" of an output"), ("output",) if label.endswith(" of an output") else ()
    return {
        f"train_{name}": Q(f"training {label}", unit, dims),
        f"test_{name}": Q(f"test {label}", unit, dims),
        f"class_{name}": Q(f"test {label} of a class", unit, ("class", *dims), by_class=not dims),
        f"group_{name}": Q(f"test {label} of a group", unit, ("class", *dims), by_class=not dims),
    }


SCORES = {
    key: entry
    for name, each in METRICS.items()
    for key, entry in of_metric(name, each.long_name, each.unit or "1").items()
    if key not in QUANTITIES
}
