"""A made-up study: a run with its marker, and the results file that a study writes, of the documented fields."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from orograph.store.cells import Cell
from orograph.store.run import Run
from orograph.study.results import NAME

WIDTHS = (4, 8)


def configuration(width: int) -> str:
    return f"MLP1-h{width}-SGD"


def write_study(path: Path, *, classes: Sequence[str] = (), change: Callable[[dict], None] = lambda results: None) -> None:
    """Two widths of two seeds; the second seed of the wider network diverged. `change` is made to the results."""
    cells = [Cell(seed, configuration=configuration(width)) for width in WIDTHS for seed in (0, 1)]
    settings = {"architecture": {"hidden_size": list(WIDTHS)}, "data": {"dataset": "digits"}}
    with Run.create(
        path, kind="study", configuration=settings, numerics={"threads": 1}, provenance={}, cells=cells, classes=classes
    ) as run:
        for cell in cells:
            run.commit(cell, scalars={"test_accuracy": 90.0})
    found = results()
    change(found)
    (path / NAME).write_text(json.dumps(found))


def results() -> dict:
    metrics = [row(width, seed) for width in WIDTHS for seed in (0, 1)]
    positions = np.linspace(0, 1, 5)
    path = {
        "positions": positions.tolist(),
        **{
            name: (positions * (1 - positions)).tolist()
            for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
        },
    }
    grid = np.linspace(-1, 1, 7)
    # two minima of 0.1, on points of the grid, and one saddle
    double = ((grid[:, None] ** 2 - 4 / 9) ** 2 + grid[None] ** 2 + 0.1).tolist()
    plane = (grid[:, None] ** 2 + 2 * grid[None] ** 2 + 0.1).tolist()
    arrays = {"x": grid.tolist(), "y": grid.tolist(), "train_loss": plane, "test_loss": plane, "marks": [[0, 0]]}
    wells = {
        "x": grid.tolist(),
        "y": grid.tolist(),
        "train_loss": double,
        "marks": [[0, 0], [1, 0], [0, 1]],
        "smad_null": [0.0, 0.1, 0.3],
    }
    topology = {
        "surface_minima": 2,
        "surface_minima_inside": 2,
        "largest_persistence": (4 / 9) ** 2,
        "persistence_threshold": 0.01,
        "smad": (4 / 9) ** 2,
        "smad_null_low": 0.0,
        "smad_null_high": 0.29,
        "smad_p_value": 0.5,
        "surface_barriers": [0.1, 0.2, "Infinity"],
    }
    coefficient = {"value": 0.5, "sign": 1, "p_value": None, "adjusted": None, "low": None, "high": None}
    relation = {"metric": "lambda_max", "target": "test_accuracy", "count": 3, "independent": 2, "kendall_within": None}
    own = {"configuration": configuration(4), "status": "done"}
    return {
        "data": {"name": "digits", "train_images": 1442, "test_images": 355, "classes": ["0"], "checksum": ""},
        "configurations": [
            {"name": configuration(width), "hidden_size": width, "optimizer": "SGD", "parameters": 10 * width} for width in WIDTHS
        ],
        "varied": ["hidden_size"],
        "metrics": metrics,
        "histories": [
            {
                "configuration": each["configuration"],
                "seed": each["seed"],
                "epoch": [1, 2],
                "train_loss": [2.0, 1.0],
                "lr": [0.1, 0.1],
            }
            for each in metrics
        ],
        "curves": [{**own, "kind": "pair", "name": "0-1", "paths": {"linear": path}, "linear_barrier": 0.25, "distance": 3.0}],
        "surfaces": [
            {**own, "kind": "slice", "name": "0", "arrays": arrays},
            {**own, "kind": "plane", "name": "0-1-2", "arrays": wells, **topology},
        ],
        "spectra": [{**own, "kind": "minimum", "name": "0", "seed": 0, "arrays": {"eigenvalues": [2.0, 1.0, -0.1]}}],
        "instability": [],
        "learning_rates": [],
        "correlations": {
            "targets": ["test_accuracy"],
            "note": "3 minima of 2 configurations.",
            "table": [{**relation, "spearman": coefficient, "kendall": coefficient, "pearson": coefficient}],
        },
    }


def row(width: int, seed: int) -> dict:
    found = {"configuration": configuration(width), "seed": seed, "hidden_size": width, "optimizer": "SGD"}
    if (width, seed) == (8, 1):
        return {**found, "status": "failed", "failed_epoch": 1}
    measured = {"test_accuracy": 80.0 + width + seed, "test_loss": 1.0 / width, "lambda_max": 10.0 / width, "trace": 50.0}
    return {**found, **measured, "status": "done", "gap": 0.1, "flatness_measure": -0.1, "lambda_min": 0.0}
