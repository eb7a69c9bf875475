"""A small made-up run for the tests of the store: what is written is a function of the cell alone."""

import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

from orograph.store.cells import Cell
from orograph.store.run import Run

K, SHAPES = 3, {"fc1.weight": (4, 5), "fc1.bias": (4,), "fc2.weight": (2, 4), "fc2.bias": (2,)}
P = sum(int(np.prod(shape)) for shape in SHAPES.values())
LADDER = tuple(float(value) for value in np.linspace(0, 0.1, 4))
CONFIGURATION = {"dataset": "mnist-5k", "seeds": [0, 1], "ladder": {"points": 4, "max": 0.1}, "polish": None}
CELLS = tuple(
    Cell(seed, direction, strength)
    for seed in (0, 1)
    for direction in ("up", "down")
    for strength in (LADDER if direction == "up" else LADDER[::-1])
)
FAILED = Cell(1, "up", LADDER[2])


def create(path: Path, **changes: object) -> Run:
    arguments: dict = {
        "kind": "sweep",
        "configuration": CONFIGURATION,
        "numerics": {"threads": 1},
        "provenance": {"torch": "2.13"},
        "cells": CELLS,
        "classes": ("cat", "dog"),
        "tensors": SHAPES,
    }
    return Run.create(path, **{**arguments, **changes})


def generator(cell: Cell) -> np.random.Generator:
    return np.random.default_rng([cell.seed, cell.direction == "up", int(cell.strength * 1e12)])


def state(cell: Cell) -> "OrderedDict[str, torch.Tensor]":
    draw = generator(cell)
    flat = torch.from_numpy(draw.standard_normal(P).astype(np.float32))
    parts = flat.split([int(np.prod(shape)) for shape in SHAPES.values()])
    return OrderedDict((name, part.view(shape)) for (name, shape), part in zip(SHAPES.items(), parts, strict=True))


def eigenvectors(cell: Cell) -> np.ndarray:
    return generator(cell).standard_normal((K, P)).astype(np.float32)


def eigenvalues(cell: Cell) -> np.ndarray:
    return np.sort(generator(cell).standard_normal(K))[::-1].copy()


def scalars(cell: Cell) -> dict:
    values = generator(cell).random(6)
    return {
        "train_loss": values[0],
        "objective": np.float32(values[1]),
        "test_loss": torch.tensor(values[2]),
        "test_accuracy": 100 * values[3],
        "class_accuracy": 100 * values[4:],
        "frozen": bool(values[0] < 0.5),
        "epochs": int(values[0] * 50),
        "which": "LM",
        "stopped": "patience" if cell.strength else None,
        "moved": float("nan") if cell.strength == 0 else values[0],
    }


def commit(run: Run, cell: Cell) -> None:
    if cell == FAILED:
        run.commit(cell, status="failed", scalars={"failed_epoch": 3, "train_loss": float("inf")}, timings={"seconds": 0.1})
        return
    run.commit(
        cell,
        scalars=scalars(cell),
        arrays={"residual": eigenvalues(cell) * 1e-4, "converged": eigenvalues(cell) > 0, "rank": (("tensor",), np.arange(4.0))},
        weights=state(cell),
        gradient={name: tensor * 1e-3 for name, tensor in state(cell).items()},
        eigenvalues=eigenvalues(cell),
        eigenvectors=torch.from_numpy(eigenvectors(cell)),
        timings={"seconds": os.getpid()},
    )


def refine(run: Run) -> None:
    """Two points that a refinement would add, one with a name that needs more decimals."""
    run.add([Cell(0, "up", 0.05), Cell(0, "up", LADDER[1] + 1e-7)])


def pending(run: Run) -> list[Cell]:
    """The cells without a record, in the order of their slots."""
    return [cell for cell in run.plan.cells if cell not in run.records]


def write(path: Path) -> None:
    with create(path) as run:
        for cell in pending(run):
            commit(run, cell)
        refine(run)
        for cell in pending(run):
            commit(run, cell)
