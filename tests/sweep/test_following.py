"""Sweeps whose points follow branches: critical at each strength, none like its neighbour, the same bytes however they go on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_sweeps import words

from forked import finish
from orograph.cli import main
from orograph.errors import ConfigurationError
from orograph.settings.shared import Execution
from orograph.store.dataset import open_run
from orograph.store.resume import recorded_settings
from orograph.store.run import Run
from orograph.sweep import command as sweeping
from orograph.sweep.bench import Bench
from orograph.sweep.settings import SweepSettings
from run_bytes import bytes_of

LADDER = ("--strengths", "0.005,0.02,0.021", "--direction", "both", "--subset-size", "100", "--k", "2")
SEEDS = ("--end", "newton", "--polish-products", "200", *LADDER, "--seeds", "0,1", "--epochs", "4")


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("followed") / "run"
    finish(words(out, *SEEDS))
    return out


@pytest.mark.slow
def test_points_are_critical_and_none_is_like_its_neighbour(followed: Path) -> None:
    found = open_run(followed)
    assert (found.frozen == 0).all()
    limits = 1e-5 * np.maximum(1, 2 * found.strength * found.anchor_distance)
    # what Newton's method saw, and what the measurement of the point sees, each with its own rounding
    assert (found.polish_converged == 1).all()
    assert (found.objective_gradient_norm <= 1.1 * limits).all()
    kept = found.branch_kept == 1
    assert (found.epochs.sel(direction="up").isel(strength=0) > 0).all()
    assert (found.epochs > 0).sum() == 2  # only the first point of each seed is trained
    assert kept.sum() >= 6
    assert not kept.sel(direction="up").isel(strength=0).any()
    assert (found.branch_strength.where(kept) == found.strength.where(kept)).where(kept, True).all()
    assert (found.polish_products <= 200).all()
    single = kept & (found.branch_parts == 1)
    assert (found.branch_angle.where(single) <= 20.5).where(single, True).all()  # a corrector goes 0.35 of its predictor at most


@pytest.mark.slow
def test_an_index_is_that_of_the_dense_hessian(tmp_path: Path) -> None:
    finish(words(tmp_path / "run", "--index", "--widths", "3", "--strengths", "0.02,0.3", "--subset-size", "60", "--k", "0"))
    found = open_run(tmp_path / "run").isel(seed=0, direction=0)
    bench = Bench.prepare(recorded_settings(Run.open(tmp_path / "run"), SweepSettings), Execution())
    for strength in found.strength.values:
        point = found.sel(strength=strength)
        hessian = bench.instruments.hessian.at(torch.from_numpy(point.theta.values))
        values = torch.linalg.eigvalsh((hessian @ torch.eye(hessian.size)).double()) + 2 * strength
        within = point.objective_lambda_min_residual.item() + 1e-4 * values[-1].item()  # the products are in float32
        assert point.objective_lambda_min.item() == pytest.approx(values[0].item(), abs=within)
        assert point.objective_negative_eigenvalues.item() == (values < 0).sum().item() == 0
        assert point.index_products.item() > 0


@pytest.mark.slow
def test_a_chain_that_stopped_goes_on_to_the_same_bytes(followed: Path, tmp_path: Path) -> None:
    commit, left = sweeping.commit_point, [5]

    def stopping(*args: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        commit(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "commit_point", stopping)
        assert main(words(tmp_path / "run", *SEEDS)) != 0
    assert len(Run.open(tmp_path / "run").records) == 5  # of one seed one more than of the other
    finish(words(tmp_path / "run", *SEEDS))
    assert bytes_of(tmp_path / "run") == bytes_of(followed)


@pytest.mark.slow
def test_workers_follow_to_the_same_bytes(followed: Path, tmp_path: Path) -> None:
    finish(words(tmp_path / "two", *SEEDS, "--parallel", "processes", "--jobs", "2"))
    assert bytes_of(tmp_path / "two") == bytes_of(followed)


@pytest.mark.parametrize(("more", "why"), [(["--start", "fresh"], "`start` fresh"), (["--published"], "`end` newton")])
def test_what_does_not_go_from_point_to_point_does_not_follow(more: list[str], why: str, tmp_path: Path, capsys: Any) -> None:
    assert main(words(tmp_path / "run", "--end", "newton", *more)) == 2
    assert why.replace("`end` ", "--end ").replace("`start` ", "--start ") in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changed", "end"),
    [
        ({}, "newton"),
        ({"anchor": {"start": "fresh"}}, "train"),
        ({"training": {"published": True}}, "train"),
        ({"training": {"optimizer": "torch.optim:RMSprop"}}, "train"),
        ({"tracking": {"track_curvature": 1}}, "train"),
        ({"model": {"widths": (4,), "activation": "relu"}}, "train"),
        ({"anchor": {"start": "fresh"}, "training": {"polish": True}}, "train"),
        ({"ending": {"end": "train"}}, "train"),
    ],
)
def test_points_follow_where_they_can(changed: dict[str, Any], end: str) -> None:
    small = {"data": {"dataset": "digits", "subset_size": 20}, "model": {"widths": (4,)}, "numerics": {"threads": 1}}
    bench = Bench.prepare(SweepSettings.model_validate({**small, **changed}), Execution())
    assert bench.ended().ending.end == end


@pytest.mark.parametrize(
    ("changed", "what"),
    [({"ending": {"end": "newton"}}, "`end` newton"), ({"ladder": {"spacing": "adaptive", "min": 0.01}}, "`spacing` adaptive")],
)
def test_no_branch_of_a_network_with_kinks_is_followed(changed: dict[str, Any], what: str) -> None:
    small = {"data": {"dataset": "digits", "subset_size": 20}, "numerics": {"threads": 1}}
    kinked = {"model": {"widths": (4,), "activation": "relu"}}
    bench = Bench.prepare(SweepSettings.model_validate({**small, **kinked, **changed}), Execution())
    with pytest.raises(ConfigurationError, match=f"{what} follows a branch.*relu of this network is not"):
        bench.ended()


@pytest.mark.parametrize(
    ("recorded", "asked", "end"),
    [
        (None, "auto", "auto"),  # of a time when all points were trained
        (None, "train", "auto"),
        (None, "newton", "newton"),
        ("newton", "auto", "newton"),
        ("train", "auto", "train"),
        ("newton", "train", "train"),
    ],
)
def test_a_run_that_was_begun_goes_on_as_it_was(recorded: str | None, asked: str, end: str) -> None:
    configuration = {} if recorded is None else {"ending": {"end": recorded}}
    found = sweeping.as_begun_before(SweepSettings().ending_as(asked), SimpleNamespace(configuration=configuration))  # type: ignore[arg-type]
    assert found.ending.end == end
    assert "ending" not in SweepSettings().configuration()  # so that it is the configuration of then
    assert not SweepSettings().follows


@pytest.mark.slow
def test_at_zero_points_are_trained_and_what_follows_begins_a_branch(tmp_path: Path) -> None:
    finish(words(tmp_path / "run", "--strengths", "0,0.005,0.01", "--direction", "both", "--subset-size", "100", "--k", "0"))
    found = open_run(tmp_path / "run").isel(seed=0)
    assert (found.epochs.sel(strength=0) > 0).all()
    assert np.isnan(found.polish_converged.sel(strength=0)).all()
    assert np.isnan(found.branch_kept.sel(strength=0)).all()
    assert np.isnan(found.branch_kept.sel(direction="up", strength=0.005)).all()  # its neighbour is no critical point
    assert (found.polish_converged.sel(strength=[0.005, 0.01]) == 1).all()
