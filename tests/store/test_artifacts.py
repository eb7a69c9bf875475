"""The published files read as people's scripts read them: pandas, `numpy.loadtxt`, a plain `Net` with `weights_only=True`."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn
from writing import CELLS, FAILED, LADDER, P, commit, create, eigenvalues, eigenvectors, pending, scalars, state

from orograph.store import artifacts
from orograph.store.cells import Cell

FIRST = CELLS[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published files of a whole small run."""
    path = tmp_path_factory.mktemp("run")
    with create(path) as run:
        for cell in reversed(pending(run)):  # in another order than the ladder's
            commit(run, cell)
    return path / "test_data"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 16)
        self.fc2 = nn.Linear(16, 16)
        self.fc3 = nn.Linear(16, 10)


def test_a_plain_net_loads_the_weights_with_weights_only(tmp_path: Path) -> None:
    from orograph.models.catalogue import build_model

    model = build_model("mlp", widths=(16, 16), init_seed=4)
    (tmp_path / "w.pth").write_bytes(artifacts.weights_bytes(model.state_dict()))
    loaded = torch.load(tmp_path / "w.pth", weights_only=True)
    net = Net()
    net.load_state_dict(loaded, strict=True)
    assert list(loaded) == [f"fc{i}.{part}" for i in (1, 2, 3) for part in ("weight", "bias")]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), net.parameters(), strict=True))


def test_a_view_into_a_long_vector_does_not_drag_it_along() -> None:
    long = torch.zeros(1_000_000)
    assert len(artifacts.weights_bytes({"a": long[:10], "b": long[20:24].view(2, 2).T})) < 5000


@pytest.mark.slow
def test_weights_have_the_same_bytes_in_another_process() -> None:
    code = (
        "import sys, torch; from orograph.store.artifacts import weights_bytes; "
        "sys.stdout.buffer.write(weights_bytes({'a': torch.arange(6.).view(2, 3), 'b': torch.ones(())}))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert other == artifacts.weights_bytes({"a": torch.arange(6.0).view(2, 3), "b": torch.ones(())})


def test_batch_norm_buffers_are_kept() -> None:
    model = nn.BatchNorm1d(3)
    loaded = torch.load(io.BytesIO(artifacts.weights_bytes(model.state_dict())), weights_only=True)
    nn.BatchNorm1d(3).load_state_dict(loaded, strict=True)


def test_metrics_read_with_pandas_in_ladder_order(folder: Path) -> None:
    # Up to 3.0, pandas reads numbers to within a last bit unless it is told to read them as Python does.
    table = pd.read_csv(folder / "Model-0.csv", float_precision="round_trip")
    assert list(table) == ["L2_strength", "Train_Loss", "Train_Reg_Loss", "Test_Loss", "Test_Accuracy"]
    assert table["L2_strength"].tolist() == list(LADDER)
    expected = [scalars(Cell(0, "up", strength)) for strength in LADDER]
    np.testing.assert_allclose(table["Train_Loss"], [row["train_loss"] for row in expected], atol=5.1e-10)
    np.testing.assert_allclose(table["Train_Reg_Loss"], [row["objective"] for row in expected], atol=5.1e-10)
    np.testing.assert_allclose(table["Test_Accuracy"], [row["test_accuracy"] for row in expected], atol=5.1e-5)
    down = pd.read_csv(folder / "Model-0-down.csv", float_precision="round_trip")
    assert down["L2_strength"].tolist() == list(LADDER[::-1])


def test_metrics_read_with_numpy_and_losses_have_nine_decimals(folder: Path) -> None:
    assert np.loadtxt(folder / "Model-0.csv", delimiter=",", skiprows=1).shape == (4, 5)
    row = (folder / "Model-0.csv").read_text().splitlines()[1].split(",")
    assert [len(text.split(".")[1]) for text in row[1:4]] == [9, 9, 9]


def test_split_accuracies_follow_the_metrics(folder: Path) -> None:
    table = pd.read_csv(folder / "Model-1_split_accuracy.csv")
    assert list(table)[5:] == ["Accuracy_cat", "Accuracy_dog"]
    expected = scalars(Cell(1, "up", LADDER[1]))["class_accuracy"]
    np.testing.assert_allclose(table.iloc[1, 5:].to_numpy(dtype=float), expected, atol=5.1e-5)


def test_a_failed_point_keeps_its_row(folder: Path) -> None:
    table = pd.read_csv(folder / "Model-1.csv", float_precision="round_trip")
    row = table[table["L2_strength"] == FAILED.strength].iloc[0]
    assert np.isinf(row["Train_Loss"])
    assert np.isnan(row["Test_Accuracy"])
    assert not list(folder.glob("*-1-0.06667.*"))


def test_eigenpairs_read_with_numpy_and_pandas(folder: Path) -> None:
    stem = f"0-{FIRST.strength:.5f}.csv"
    values = np.loadtxt(folder / f"Hessian-eigenvalues-{stem}")
    np.testing.assert_array_equal(values, eigenvalues(FIRST))
    assert (np.diff(values) <= 0).all()
    vectors = np.loadtxt(folder / f"Hessian-eigenvectors-{stem}", delimiter=",")
    assert vectors.shape == (len(values), P)
    np.testing.assert_array_equal(vectors.astype(np.float32), eigenvectors(FIRST))
    framed = pd.read_csv(folder / f"Hessian-eigenvectors-{stem}", header=None).to_numpy()
    np.testing.assert_array_equal(framed.astype(np.float32), eigenvectors(FIRST))


def test_gradients_have_one_line_a_parameter_tensor(folder: Path) -> None:
    lines = (folder / f"gradients-0-{FIRST.strength:.5f}.csv").read_text().splitlines()
    found = {}
    for line in lines:
        name, _, numbers = line.partition(": ")
        found[name] = np.array([float(number) for number in numbers.split(", ")], dtype=np.float32)
    assert list(found) == [f"dL/d{name}" for name in state(FIRST)]
    for name, tensor in state(FIRST).items():
        np.testing.assert_array_equal(found[f"dL/d{name}"], (tensor * 1e-3).numpy().ravel())


floats = st.floats(width=32, allow_nan=False)


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=floats))
def test_every_float32_reads_back_in_its_shortest_form(values: np.ndarray) -> None:
    text = artifacts.eigenvectors_bytes(values).decode()
    back = np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2).astype(np.float32)
    np.testing.assert_array_equal(back.view(np.uint32), values.view(np.uint32))
    for word, value in zip(text.replace("\n", ",").split(","), values.ravel(), strict=False):
        digits = word.lower().partition("e")[0].strip("-").replace(".", "").strip("0")
        shortest = np.format_float_scientific(value, unique=True).partition("e")[0].strip("-").replace(".", "").strip("0")
        assert len(digits) == len(shortest)
