"""What is recorded of curves between two minima of one's own, as entries of the registry beside those of a study's pairs."""

from orograph.store.quantities import PATHS
from orograph.store.quantities import Quantity as Q

ANCHORED = "anchored"
WAYS = PATHS | {ANCHORED: "anchored path"}

CONNECTIONS = {
    f"{ANCHORED}_barrier": Q(f"barrier of the training loss, {WAYS[ANCHORED]}", "nat", short=f"{ANCHORED} barrier"),
    "path_name": Q("curve between the two minima", short="curve"),
    "length": Q("length of the curve in parameter space", short="length"),
    "train_class_accuracy": Q("training accuracy of each class", "%", ("position", "class")),
    "test_class_accuracy": Q("test accuracy of each class", "%", ("position", "class")),
    "lost": Q("classes lost on the way, with t", short="classes lost"),
    "found": Q("classes found on the way, with t", short="classes found"),
    "spent_products": Q("Hessian products that the curve took", short="products"),
    "critical_points": Q("points of the anchored path that are critical points", short="critical points"),
    "path_strengths": Q("strength λ of each point of the anchored path", dims=("point",)),
    "path_jumps": Q("λ before and behind each jump of the anchored path, and its length", dims=("jump", "ends")),
    "path_controls": Q("control points of the curve", dims=("control", "parameter")),
    "path_knots": Q("where the curve passes through its control points", dims=("control",)),
}
