"""A spectrum is read from a run as it was written there, field by field."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from orograph.spectral.spectrum import Spectrum, certified
from orograph.store.cells import Cell
from orograph.store.run import Run
from orograph.store.size import Eigenvectors
from orograph.store.spectra import commit_spectrum, has_vectors, loss_spectrum, recorded_spectrum

CELL = Cell(0, "up", 0.25)
NOT_KEPT = {"basis_bytes", "shared_size"}  # of the process that computed it
CHOSEN = {"which": "LM", "tolerance": 1e-3}


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def spectrum() -> Spectrum:
    """A cluster that is cut, a loose pair and one that is noise."""
    return certified(
        doubles(4.0, 1.0, 0.9999, 1e-9),
        torch.eye(5)[:4],
        doubles(0.1, 1e-4, 1e-4, 1e-10),
        **CHOSEN,
        products=17,
        noise_level=1e-8,
        rounding=1e-8,
        others=doubles(0.9998),
    )


def written(path: Path, found: Spectrum, hessian: str = "loss", keep: Eigenvectors = "both") -> Run:
    run: Any = {"kind": "sweep", "configuration": {"spectrum": CHOSEN}, "numerics": {}, "provenance": {}}
    with Run.create(path, **run, cells=[CELL], tensors={"w": (5,)}) as opened:
        commit_spectrum(opened, CELL, found, hessian=hessian, keep=keep, scalars={}, arrays={})
    return Run.open(path)


def test_the_example_is_of_every_kind() -> None:
    found = spectrum()
    assert found.clusters == ((1, 3),)
    assert found.cut
    assert found.noise.tolist() == [False, False, False, True]
    assert found.converged.tolist() == [False, True, True, True]


def test_every_field_comes_back(tmp_path: Path) -> None:
    found, read = spectrum(), recorded_spectrum(written(tmp_path / "run", spectrum()), CELL)
    for field in fields(Spectrum):
        if field.name not in NOT_KEPT:
            before, after = getattr(found, field.name), getattr(read, field.name)
            if isinstance(before, Tensor):
                torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True, msg=field.name)
            else:
                assert after == before, field.name


@pytest.mark.parametrize("keep", ["zarr", "none"])
def test_without_eigenvectors_the_rest_comes_back(tmp_path: Path, keep: Eigenvectors) -> None:
    run = written(tmp_path / "run", spectrum(), keep=keep)
    read = recorded_spectrum(run, CELL, vectors=False)
    torch.testing.assert_close(read.residuals, spectrum().residuals, rtol=0, atol=0)
    assert read.eigenvectors.shape == (4, 0)
    assert read.size == 5
    assert has_vectors(run, CELL) == (keep == "zarr")
    assert (loss_spectrum(run, CELL, torch.empty(5)) is None) == (keep == "none")


def test_the_penalty_is_taken_from_pairs_of_the_objective(tmp_path: Path) -> None:
    read = loss_spectrum(written(tmp_path / "run", spectrum(), hessian="objective"), CELL, torch.empty(5, dtype=torch.float64))
    assert read is not None
    torch.testing.assert_close(read.eigenvalues, spectrum().eigenvalues - 0.5)
    assert read.signs.tolist() == [1, 1, 1, -1]
    assert read.eigenvectors.dtype == torch.float64
