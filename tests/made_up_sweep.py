"""A made-up sweep, written through the store: every number follows from λ, so that a test knows what a page must show."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orograph.store.cells import Cell
from orograph.store.run import Run

SHAPES = {"fc1.weight": (6, 4), "fc1.bias": (6,), "fc2.weight": (3, 6), "fc2.bias": (3,)}
P = sum(int(np.prod(shape)) for shape in SHAPES.values())
CLASSES = ("a", "<b>", "c")
CONFIGURATION = {
    "data": {"dataset": "digits", "subset_size": "all"},
    "model": {"model": "mlp", "widths": [6], "activation": "sigmoid"},
    "ladder": {"points": 501, "max": 0.1},
    "anchor": {"anchor": "origin", "start": "previous", "seeds": [0]},
    "training": {"polish": False, "lr": 0.0015},
    "spectrum": {"k": 30, "eigenvectors": "none"},
}


def expected_loss(strength: float, direction: str = "up") -> float:
    return 0.1 + 20 * strength + (0.05 if direction == "down" else 0.0)


def eigenvalues(strength: float, k: int) -> np.ndarray:
    return np.exp(-0.2 * np.arange(k)) * (1 + 10 * strength) - 0.01


def write(
    path: Path,
    points: int,
    *,
    k: int = 30,
    directions: tuple[str, ...] = ("up",),
    failed: int = -1,
    more: Mapping[str, Any] | None = None,
) -> None:
    """A run of so many strengths on [0, 0.1]; the one numbered `failed` diverged, the others have `more` too."""
    ladder = [float(f"{value:.10g}") for value in np.linspace(0, 0.1, points)]
    cells = [Cell(0, direction, strength) for direction in directions for strength in ladder]
    arguments: dict = {"configuration": CONFIGURATION, "numerics": {"threads": 1, "dtype": "float32"}, "provenance": {}}
    with Run.create(path, kind="sweep", cells=cells, classes=CLASSES, tensors=SHAPES, **arguments) as run:
        run.project = lambda cell=None: None  # type: ignore[method-assign] - tables are written once, below
        for number, cell in enumerate(cells):
            if number == failed:
                run.commit(cell, status="failed", scalars={"failed_epoch": 2})
            else:
                commit(run, cell, k, more or {})
        del run.project
        run.project()


def commit(run: Run, cell: Cell, k: int, more: Mapping[str, Any]) -> None:
    draw = np.random.default_rng(int(cell.strength * 1e6))
    values = eigenvalues(cell.strength, k)
    gradient = draw.standard_normal(P).astype(np.float32) * 1e-3
    parts = np.split(gradient, np.cumsum([int(np.prod(shape)) for shape in SHAPES.values()])[:-1])
    loss = expected_loss(cell.strength, cell.direction)
    scalars = {
        "train_loss": loss - 0.05,
        "objective": loss + cell.strength,
        "test_loss": loss,
        "train_accuracy": 99 - 400 * cell.strength,
        "test_accuracy": 97 - 400 * cell.strength,
        "class_accuracy": [90.0, 80.0, 70.0],
        "gradient_norm": 1e-3,
        "objective_gradient_norm": 2e-3,
        "anchor_distance": 5 - 20 * cell.strength,
        "parameter_norm": 5 - 20 * cell.strength,
        "moved": float("nan") if cell.strength == 0 else 0.1,
        "frozen": False,
        "epochs": 10,
        "total_steps": 100,
        "best_epoch": 9,
        "noise_pairs": 0,
        "unconverged_pairs": 0,
        "cut": False,
        "lambda_first": values[0],
        "lambda_last": values[-1],
        **more,
    }
    flags = {"converged": np.ones(k, bool), "noise": np.zeros(k, bool), "residual": np.full(k, 1e-5), "bound": np.full(k, 1e-4)}
    named = {name: torch.from_numpy(part.reshape(shape)) for (name, shape), part in zip(SHAPES.items(), parts, strict=True)}
    run.commit(cell, scalars=scalars, arrays=flags, gradient=named, eigenvalues=values)
