"""The estimate against the bytes that a real point takes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from orograph.store.cells import Cell
from orograph.store.run import Run
from orograph.store.size import estimate_disk

P, K = 40_000, 6


@pytest.mark.parametrize("eigenvectors", ["both", "zarr", "none"])
def test_the_estimate_is_within_six_per_cent(tmp_path: Path, eigenvectors: str) -> None:
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(K, P, generator=draw) / P**0.5
    gradient = torch.randn(P, generator=draw) * 1e-2
    arguments: dict = {"kind": "sweep", "configuration": {}, "numerics": {}, "provenance": {}}
    with Run.create(tmp_path, cells=[Cell(0)], **arguments) as run:
        run.commit(
            Cell(0),
            scalars={"train_loss": 0.1},
            weights={"w": torch.randn(P, generator=draw)},
            gradient={"w": gradient},
            eigenvalues=np.ones(K),
            eigenvectors=None if eigenvectors == "none" else vectors,
            eigenvectors_csv=eigenvectors == "both",
        )
    written = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    # The text of a number has 12 to 14 bytes, depending on its size; small files are counted generously.
    assert written == pytest.approx(estimate_disk(1, P, K, eigenvectors).total, rel=0.06)


def test_the_published_sweep_is_as_large_as_known() -> None:
    estimate = estimate_disk(501, 118_282, 30)
    assert estimate.parts["eigenvectors (array)"] == pytest.approx(14.2e6, rel=0.01)
    assert estimate.parts["eigenvectors (csv)"] == pytest.approx(47e6, rel=0.03)
    assert estimate.total == pytest.approx(501 * estimate.per_point)
