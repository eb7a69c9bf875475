"""Spectra of a cohort computed in step: the numbers of spectra computed one by one, and the same bytes however the run goes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from orograph.models.catalogue import build_model
from orograph.objective import Objective
from orograph.settings.shared import ParallelExecution
from orograph.spectral.cohort import fitting_spectra
from orograph.store.dataset import open_run
from orograph.store.run import Run
from orograph.sweep import command as sweeping
from orograph.sweep import pictures
from orograph.sweep.settings import SweepSettings
from orograph.training.cohort import fitting_cohort
from run_bytes import bytes_of


def run(out: Path, **changes: Any) -> Path:
    """A small sweep of six points in cohorts of four; the second of them diverges."""
    settings: dict[str, Any] = {
        "data": {"dataset": "digits", "subset_size": 100},
        "model": {"widths": (5, 4)},
        "ladder": {"strengths": (0.0, 0.001, 0.003, 0.01, 0.03, 1e30)},
        "anchor": {"start": "fresh"},
        "training": {"epochs": 4, "optimizer": "SGD", "lr": 0.1},
        "spectrum": {"k": 4},
        "numerics": {"threads": 1, "cohort": 4, "together": 3},
    }
    for section, values in changes.items():
        settings[section] = settings[section] | values
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "draw", lambda run, *_: [run.path])
        diverges = max(settings["ladder"]["strengths"]) > 1e20
        code = sweeping.sweep(SweepSettings.model_validate(settings), ParallelExecution(out=str(out), quiet=True))
        assert code == (1 if diverges else 0)
    return out


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("together") / "run")


def compare(company: Path, alone: Path) -> None:
    mine, theirs = open_run(company), open_run(alone)
    assert (mine.status == theirs.status).all()
    assert (mine.status == "failed").sum() == 1
    np.testing.assert_allclose(mine.eigenvalue, theirs.eigenvalue, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(mine.theta, theirs.theta)
    np.testing.assert_array_equal(mine.converged, theirs.converged)


@pytest.mark.slow
def test_the_spectra_are_those_computed_one_by_one(together: Path, tmp_path: Path) -> None:
    compare(together, run(tmp_path / "alone", numerics={"together": 1}))


@pytest.mark.slow
def test_spectra_of_the_objective_are_those_computed_one_by_one(tmp_path: Path) -> None:
    runs = [run(tmp_path / str(size), spectrum={"hessian": "objective"}, numerics={"together": size}) for size in (4, 1)]
    compare(*runs)


@pytest.mark.slow
def test_a_run_that_stopped_between_two_points_ends_with_the_same_bytes(together: Path, tmp_path: Path) -> None:
    commit, left = sweeping.commit_point, [2]

    def stopping(*args: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        commit(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "commit_point", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run")
    assert len(Run.open(tmp_path / "run").records) == 2  # of three that were measured in step
    assert bytes_of(run(tmp_path / "run")) == bytes_of(together)


@pytest.mark.slow
def test_polished_points_wait_for_each_other(tmp_path: Path) -> None:
    training = {"polish": True, "polish_products": 20}
    ds = open_run(run(tmp_path / "run", training=training, ladder={"strengths": (0.0, 0.003, 0.01)}))
    assert (ds.status == "done").all()
    assert np.isfinite(ds.eigenvalue).all()


def test_what_is_left_open_follows_the_budget() -> None:
    model = build_model("mlp", input_shape=(1, 28, 28), classes=10, init_seed=0, widths=(128, 128), activation="sigmoid")
    data = torch.zeros(60, 1, 28, 28), torch.zeros(60, dtype=torch.int64)
    assert fitting_cohort(Objective(model, F.cross_entropy, data, memory="4GiB")) == 16
    assert fitting_cohort(Objective(model, F.cross_entropy, data, memory="24MB")) == 5  # ten vectors a model
    assert fitting_cohort(Objective(model, F.cross_entropy, data, memory="1MB")) == 1
    assert fitting_spectra(Objective(model, F.cross_entropy, data, memory="4GiB"), 30) == 1
    device = Objective(model, F.cross_entropy, data, memory="4GiB")
    device.device, device.count = torch.device("cuda"), 60_000
    assert fitting_cohort(device) == 64
    # A basis of 285 vectors is 135 MB, residuals of 60,000 images are 161 MB (docs/benchmarks.md), estimated a little higher.
    assert 12 <= fitting_spectra(device, 30) <= 14
