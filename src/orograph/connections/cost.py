"""What curves will cost, before they are begun: a forward pass over all data, timed and multiplied."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orograph.connections.ends import Ends
from orograph.connectivity.anchored import TRIALS
from orograph.errors import shown
from orograph.geometry.evaluation import losses_at
from orograph.memory import format_bytes
from orograph.remarks import answer
from orograph.store.atomic import told_space
from orograph.store.connection_quantities import ANCHORED, WAYS
from orograph.store.encoding import json_text
from orograph.work.progress import duration
from orograph.work.timing import seconds_of
from orograph.work.wide import show_table

_GRADIENT, _PRODUCT = 3.0, 5.4  # forward passes over all data: of a gradient, of a Hessian product (dense layers)
_PIVOTS = 10  # of a band, which begins with five and ends with twenty at most
_CONTROLS = {"linear": 2, "bezier": 3, "chain": 5, "band": 22, "aligned": 2, ANCHORED: 20}  # vectors kept, at most


def passes(ends: Ends, name: str) -> float:
    """Forward passes over the training data that a curve takes, about; an anchored path at most."""
    chosen = ends.settings.curves
    others = 0.0 if ends.test is None else ends.test.count / ends.train.count
    looked = chosen.curve_points * (1 + others + (others or 1) * (ends.labels is not None))
    trained = _GRADIENT * chosen.path_epochs
    spent = {"bezier": trained, "chain": trained, "band": _PIVOTS * trained / 2, "aligned": 1.0}
    spent[ANCHORED] = TRIALS * chosen.point_products * _PRODUCT
    return looked + spent.get(name, 0.0)


def disk(ends: Ends) -> int:
    """Bytes of all curves, at most."""
    vector = len(ends.first) * ends.first.element_size()
    return vector * sum(_CONTROLS[name] for name in ends.settings.curves.paths)


def show_plan(ends: Ends, out: Path, console: Console, *, as_json: bool) -> None:
    """Prints what is to be done, and what it takes."""
    few = ends.first.expand(2, -1)
    one = seconds_of(lambda: losses_at(ends.train, few)) / len(few)
    seconds = {name: one * passes(ends, name) for name in ends.settings.curves.paths}
    if as_json:
        fields = {
            "run": str(out),
            "settings": ends.settings.model_dump(mode="json"),
            "parameters": len(ends.first),
            "seconds_per_pass": one,
            "seconds": seconds,
            "bytes": disk(ends),
        }
        answer(json_text(fields))
        return
    size = f"{len(ends.first):,} parameters, {ends.train.count:,} training samples"
    console.print(Text.assemble((shown(out), "bold"), f": {size}"), highlight=False, soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, each in seconds.items():
        most = "at most" if name == ANCHORED else "about"
        table.add_row(WAYS[name], f"{most} {duration(each)}")
    show_table(table, console)
    kept = f"{format_bytes(disk(ends))} on the disk at most{told_space(out, disk(ends))}"
    most = "at most " if ANCHORED in seconds else ""
    console.print(f"{most}{duration(sum(seconds.values()))} in all, {kept}", highlight=False, soft_wrap=True)
