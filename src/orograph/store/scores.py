"""What the registry says of metrics: those that come with the program, and those of one's own that a run names."""

from orograph.metrics import METRICS
from orograph.store.quantities import QUANTITIES
from orograph.store.quantities import Quantity as Q

OF_AN_OUTPUT = " of an output"  # behind the label of what is a list


def of_metric(name: str, label: str, unit: str) -> dict[str, Q]:
    """What is recorded of a metric: on both sets, and by class or by another group of the test samples."""
    words = name.replace("_", " ")
    dims = ("output",) if label.endswith(OF_AN_OUTPUT) else ()
    return {
        f"train_{name}": Q(f"training {label}", unit, dims, short=f"train {words}"),
        f"test_{name}": Q(f"test {label}", unit, dims, short=f"test {words}", role="" if dims else "target"),
        f"class_{name}": Q(f"test {label} of a class", unit, ("class", *dims), by_class=not dims),
        f"group_{name}": Q(f"test {label} of a group", unit, ("class", *dims), short=f"test {words}", by_class=not dims),
        f"train_class_{name}": Q(f"training {label} of a class", unit, ("class", *dims), by_class=not dims),
        f"train_group_{name}": Q(
            f"training {label} of a group", unit, ("class", *dims), short=f"train {words}", by_class=not dims
        ),
        f"claimed_test_{name}": Q(f"test {label}, as an imported table has it", unit),
    }


SCORES = {
    key: entry
    for name, each in METRICS.items()
    for key, entry in of_metric(name, each.long_name, each.unit or "1").items()
    if key not in QUANTITIES
}
