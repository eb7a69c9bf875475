"""A made-up run of curves between two minima, whose numbers are chosen and not computed."""

from pathlib import Path

from orograph.store.connection import CONNECTION, CONNECTION_FILE, curve_key, paths
from orograph.store.run import Run

POSITIONS = [0.0, 0.5, 1.0]
CLASSES = ("cat", "dog")


def write_connection(path: Path, losses: dict[str, tuple[float, ...]], why: str) -> None:
    """A curve for each triple of losses; where one rises above 2 the first class is lost in its middle. Matching has failed."""
    configuration = {"curves": {"paths": [*losses, "aligned"]}}
    with Run.create(path, kind=CONNECTION, configuration=configuration, numerics={}, provenance={}, classes=CLASSES) as run:
        for name, values in losses.items():
            middle = 0.0 if values[1] > 2 else 100.0
            barrier = values[1] - (values[0] + values[2]) / 2
            changes = {"lost": [{"class": "cat", "position": 0.25}], "found": [{"class": "cat", "position": 0.75}]}
            fields = {
                "positions": POSITIONS,
                "train_loss": list(values),
                "test_loss": list(values),
                "test_class_accuracy": [[100.0, 100.0], [middle, 100.0], [100.0, 100.0]],
                "length": 1.0,
                "barriers": {"train_loss": barrier, "test_loss": barrier},
                **(changes if not middle else {"lost": [], "found": []}),
            }
            run.commit_finding(curve_key(name), scalars={f"{name}_barrier": barrier, "paths": {name: fields}})
        run.commit_finding(curve_key("aligned"), status="failed", scalars={"error": why})
        ends = {"a": "a.pth", "b": "b.pth", "distance": 1.0, "cosine": 0.5, "classes": list(CLASSES)}
        run.keep_results(CONNECTION_FILE, {**ends, "paths": paths(run), "failures": {"aligned": why}})
