"""Measures along a sweep, from its files alone: losses of the recorded weights by plain PyTorch, blocks by dense Hessians."""

import importlib.util
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import orograph as og
from orograph.cli import main
from orograph.report.sweep import _missing, sweep_data
from orograph.store.cells import Cell
from orograph.store.part import WHOLE
from orograph.store.run import Run
from orograph.sweep.settings import SweepSettings

WORDS = (
    "sweep --dataset digits --subset-size 60 --widths 2 --epochs 2 --end train --k 2 --strengths 0.001,0.01 --threads 1 --quiet"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("measured") / "run"
    assert main([*WORDS.split(), "--measures", "layers,sam", "--out", str(out)]) == 0
    return out


@pytest.mark.slow
def test_they_are_those_of_the_recorded_weights(made: Path) -> None:
    ds, data = og.open_run(made), og.load_data("digits", subset_size=60)
    model = og.build_model("mlp", widths=(2,), input_shape=(1, 8, 8)).double()
    inputs, targets = (torch.cat(each) for each in zip(*data.train, strict=True))

    def loss(theta: torch.Tensor) -> torch.Tensor:
        parts = theta.split([each.numel() for each in model.parameters()])
        named = {name: part.view(each.shape) for (name, each), part in zip(model.named_parameters(), parts, strict=True)}
        return F.cross_entropy(torch.func.functional_call(model, named, (inputs.double(),)), targets)

    assert ds.block.values.tolist() == ["fc1", "fc2"]
    for strength in ds.strength.values:
        point = ds.sel(strength=strength).isel(seed=0, direction=0)
        theta = torch.tensor(point.theta.values, dtype=torch.float64)
        gradient = torch.func.grad(loss)(theta)
        rise = loss(theta + 0.05 * gradient / gradient.norm()) - loss(theta)
        assert abs(point.sam_rise.item() - rise.item()) < 1e-5  # the run's losses are float32
        hessian = torch.func.hessian(loss)(theta)
        ends = np.cumsum([0, 64 * 2 + 2, 2 * 10 + 10])
        tops = [torch.linalg.eigvalsh(hessian[a:b, a:b])[-1].item() for a, b in itertools.pairwise(ends)]
        assert point.block_lambda_max.values == pytest.approx(tops, rel=1e-2)


@pytest.mark.slow
def test_they_are_part_of_what_a_run_is_and_of_its_page(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS.split(), "--out", str(made)]) == 2
    assert "measuring.measures" in capsys.readouterr().err
    page = sweep_data(Run.open(made))
    assert page["blocks"] == ["fc1", "fc2"]
    assert page["missing"] == []
    assert {"block_lambda_max", "block_trace"} <= page["chains"][0]["arrays"].keys()
    assert main([*WORDS.split(), "--measures", "layers,sam", "--dry-run", "--out", str(made.with_name("other"))]) == 0
    assert "the measures of a point" in " ".join(capsys.readouterr().out.split())


def test_what_many_points_lack_for_one_reason_is_told_once() -> None:
    records = [
        SimpleNamespace(scalars=each)
        for each in ({"failures": {"sam": "why."}}, {"failures": {"sam": "why."}}, {}, {"failures": 3})
    ]
    records += [SimpleNamespace(scalars={"failures": {"llc": f"at {strength:g} none."}}) for strength in (1e-5, 0.25)]
    run = SimpleNamespace(records={Cell(seed, "up", 0.1): record for seed, record in enumerate(records)})
    assert _missing(run, WHOLE) == [
        {"name": "sam", "why": "why.", "points": 2, "same": True},
        {"name": "llc", "why": "at 1e-05 none.", "points": 2, "same": False},
    ]


def test_a_sweep_without_measures_is_what_it_was_before_there_were_some() -> None:
    plain, more = SweepSettings(), SweepSettings.model_validate({"measuring": {"measures": ["all"]}})
    assert "measuring" not in plain.configuration()
    assert len(more.configuration()["measuring"]["measures"]) == 8
    assert plain.digest() != more.digest()


@pytest.mark.slow
def test_influence_and_kronecker_factors_of_a_polished_sweep_are_arrays_by_class_and_layer(tmp_path: Path) -> None:
    words = WORDS.replace("--end train", "--end newton").replace("0.001,0.01", "0.02,0.03").split()
    assert main([*words, "--measures", "influence,kfac", "--out", str(tmp_path / "run")]) == 0
    ds, run = og.open_run(tmp_path / "run"), Run.open(tmp_path / "run")
    assert ds.influence.dims == ("seed", "direction", "strength", "training_class", "class")
    assert ds.training_class.values.tolist() == ds["class"].values.tolist() == [str(digit) for digit in range(10)]
    assert np.isfinite(ds.influence.values).all()
    assert (ds.influence_residual.values < 0.1).all()
    assert ds.influence_own.values == pytest.approx(np.diagonal(ds.influence.values, axis1=-2, axis2=-1).mean(-1), rel=1e-6)
    page = sweep_data(run)
    assert {"influence", "influence_residual"} <= page["chains"][0]["arrays"].keys()
    missing = [each["name"] for each in page["missing"]]
    if importlib.util.find_spec("curvlinops") is None:
        assert missing == ["kfac"]
    else:
        assert missing == []
        assert ds.block_kfac_error.dims[-1] == "block"
        assert (ds.kfac_error.values > 0).all()
    assert main(["export", str(tmp_path / "run"), "--to", "netcdf", "--out", str(tmp_path / "run.nc")]) == 0
