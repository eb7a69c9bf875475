"""A study committed by hand, opened as a tree: each number stands where its configuration, seed and epoch say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from orograph.store.cells import Cell
from orograph.store.dataset import open_run
from orograph.store.findings import FindingKey
from orograph.store.run import Run

NAMES = ("MLP1-h4-SGD", "MLP1-h8-SGD")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two configurations of three seeds; the last seed of the first one failed."""
    run_path = tmp_path / "study"
    cells = [Cell(seed, configuration=name) for name in NAMES for seed in range(3)]
    with Run.create(run_path, kind="study", configuration={}, numerics={}, provenance={}, cells=cells) as run:
        for place, cell in enumerate(cells[:5]):
            failed = place == 2
            history = [{"epoch": epoch, "train_loss": 10 * place + epoch} for epoch in range(1, 2 if failed else 4)]
            scalars = {"train_loss": float(place), "history": history, "failed_epoch": 1 if failed else None}
            weights = None if failed else {"fc1.weight": torch.full((2, 2), float(place))}
            run.commit(cell, status="failed" if failed else "done", scalars=scalars, weights=weights)
        arrays = {"eigenvalues": np.array([3.0, 1.0])}
        run.commit_finding(FindingKey("minimum", NAMES[0], "1"), scalars={"lambda_max": 3.0, "plan": "kept"}, arrays=arrays)
        run.commit_finding(FindingKey("pair", NAMES[0], "0-1"), scalars={"linear_barrier": 0.5, "seeds": [0, 1]})
        run.commit_finding(FindingKey("slice", NAMES[1], "0"), scalars={"radius": 0.1}, arrays={"x": np.arange(3.0)})
    return run_path


def test_each_configuration_is_a_node_along_its_seeds(path: Path) -> None:
    tree = open_run(path)
    assert set(tree.children) == set(NAMES)
    first, second = (tree[name] for name in NAMES)
    assert first.sizes["seed"] == 3
    assert list(first["status"].values) == ["done", "done", "failed"]
    assert list(second["status"].values) == ["done", "done", "missing"]
    np.testing.assert_array_equal(second["train_loss"], [3.0, 4.0, np.nan])


def test_histories_stand_by_seed_and_epoch(path: Path) -> None:
    values = open_run(path)[NAMES[0]]["train_loss_by_epoch"]
    assert values.dims == ("seed", "epoch")
    np.testing.assert_array_equal(values, [[1, 2, 3], [11, 12, 13], [21, np.nan, np.nan]])


def test_what_was_measured_stands_by_seed_and_is_missing_elsewhere(path: Path) -> None:
    node = open_run(path)[NAMES[0]]
    np.testing.assert_array_equal(node["lambda_max"], [np.nan, 3.0, np.nan])
    np.testing.assert_array_equal(node["eigenvalues"], [[np.nan] * 2, [3.0, 1.0], [np.nan] * 2])


def test_pairs_and_slices_are_children(path: Path) -> None:
    tree = open_run(path)
    assert tree[NAMES[0]]["pairs"]["linear_barrier"].sel(pair="0-1").item() == 0.5
    assert tree[NAMES[1]]["slice/0"]["x"].sizes == {"x_0": 3}
    assert tree[NAMES[1]]["slice/0"].attrs["radius"] == 0.1


def test_each_network_has_its_files_in_its_configurations_folder(path: Path) -> None:
    assert (path / "points" / NAMES[0] / "0-0.00000.json").is_file()
    assert (path / "test_data" / NAMES[0] / "model_weights-0-0.00000.pth").is_file()
    assert (path / "test_data" / NAMES[0] / "Model-0.csv").is_file()
    assert Run.open(path).weights(Cell(1, configuration=NAMES[0]))["fc1.weight"][0, 0] == 1
