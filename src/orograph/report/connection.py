"""What the report of a connection shows: losses and accuracies along every curve, barriers, classes lost and found."""

from collections.abc import Mapping
from typing import Any

from orograph.report.about import about
from orograph.store.connection import ALONG, BY_CLASS, row
from orograph.store.connection_quantities import WAYS
from orograph.store.lookup import TABLES, described
from orograph.store.run import Run


def connection_data(run: Run, results: Mapping[str, Any]) -> dict[str, Any]:
    """All that the page of a connection is made of."""
    paths = {name: results["paths"][name] for name in WAYS if name in results["paths"]}
    columns = list(TABLES["connections"])
    return {
        "kind": run.kind,
        "title": f"{run.path.resolve().name}: curves between two minima",
        "about": about(run),
        **{name: results[name] for name in ("a", "b", "distance", "cosine", "classes")},
        "ways": {name: WAYS[name] for name in paths},
        "missing": {way: results["failures"][name] for name, way in WAYS.items() if name in results["failures"]},
        "paths": paths,
        "along": [name for name in ALONG if any(name in path for path in paths.values())],
        "by_class": next((name for name in BY_CLASS if any(name in path for path in paths.values())), ""),
        "rows": [{"name": name, **row(name, path)} for name, path in paths.items()],
        "tables": {"connections": columns},
        "quantities": described([*columns, *ALONG, *BY_CLASS, "positions"], run.wording),
    }
