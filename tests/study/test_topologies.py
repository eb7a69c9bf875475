"""The topology of a study's surfaces: against wells whose passes are known, and from a small study's own files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_studies import words
from torch import Tensor

import orograph as og
from landscapes import classifier, landscape
from orograph.cli import main
from orograph.connectivity.surfaces import plane, random_planes, surface
from orograph.report.study import study_data
from orograph.store.run import Run
from orograph.study.settings import PLANES, StudySettings, SurfaceSettings
from orograph.study.slices import plane_of_minima, slice_minimum
from orograph.topology import smad

WELLS = torch.tensor([[0.0, 0.0, 1.0], [4.0, 0.0, 1.0], [0.0, 2.0, 1.0]], dtype=torch.float64)


def wells(point: Tensor) -> Tensor:
    """The square of the distance to the nearest well."""
    return ((point - WELLS) ** 2).sum(-1).min()


def test_passes_between_three_wells_are_those_of_the_geometry() -> None:
    objective = landscape(wells, WELLS[0])
    found = plane_of_minima(objective, None, WELLS, settings=SurfaceSettings(slice_points=71), planes=0)
    # halfway between 1 and 2, and between 1 and 3; between 2 and 3 the way around 1 is lower than the 5 of the straight one.
    # Points of the grid are within half a step of 0.08 and 0.04, and slopes at the passes are at most 4.
    assert found.scalars["surface_barriers"] == pytest.approx([4.0, 1.0, 4.0], abs=4 * 0.09 / 2 * 2)
    assert found.scalars["surface_minima"] == 3
    assert "smad_null" not in found.arrays
    assert "smad_p_value" not in found.scalars
    assert "surface_minima" not in plane_of_minima(objective, None, WELLS, settings=SurfaceSettings(slice_points=5)).scalars


@pytest.mark.parametrize("kind", ["slice", "plane"])
def test_random_planes_are_those_that_the_library_lays(kind: str) -> None:
    objective, settings = classifier(), SurfaceSettings(slice_points=7, slice_directions="random", slice_radius=2.0)
    theta = objective.theta
    if kind == "slice":
        found = slice_minimum(objective, None, theta, settings=settings, seed=5, planes=4)
        made = surface(objective, theta, og.random_orthonormal(theta, seed=5), radius=2.0, points=7)
    else:
        minima = torch.stack([theta, theta.flip(0), theta.roll(3)])
        found = plane_of_minima(objective, None, minima, settings=settings, seed=5, planes=4)
        made = plane(objective, minima, points=7)
    threshold = found.scalars["persistence_threshold"]
    expected = smad(made, threshold=threshold, null=random_planes(objective, made, 4, seed=5))
    assert found.arrays["train_loss"] == pytest.approx(made.losses.numpy())
    assert found.arrays["smad_null"] == pytest.approx(expected.null)
    assert found.scalars["smad_p_value"] == pytest.approx(expected.p_value)
    assert found.scalars["smad"] == pytest.approx(expected.value)


def test_a_mark_on_a_wall_has_no_pass() -> None:
    def broken(point: Tensor) -> Tensor:
        return torch.where(point[0] > 3, torch.nan, wells(point))

    found = plane_of_minima(landscape(broken, WELLS[0]), None, WELLS, settings=SurfaceSettings(slice_points=21), planes=0)
    first, second, third = found.scalars["surface_barriers"]
    assert np.isnan([first, third]).all()
    assert second == pytest.approx(1.0, abs=0.5)


def test_how_many_planes_is_what_was_said_or_none_in_a_fast_study() -> None:
    def planes(metrics: dict, **measuring: object) -> int | None:
        given = {"measuring": measuring, "metrics": metrics, "surfaces": {"slice_2d": True}}
        return StudySettings.model_validate(given).planes

    assert planes({}, measures=["sam"]) is None
    assert planes({}, measures=["topology"]) == PLANES
    assert planes({"fast": True}, measures=["topology"]) == 0
    assert planes({"fast": True}, measures=["topology"], null_planes=7) == 7
    assert planes({}, measures=["topology"], null_planes="auto") == PLANES
    with pytest.raises(ValueError, match="`null_planes` 7 are of the topology"):
        planes({}, measures=["sam"], null_planes=7)
    with pytest.raises(ValueError, match="`null_planes` -1 must be at least 0"):
        planes({}, measures=["topology"], null_planes=-1)


@pytest.mark.slow
def test_a_study_records_draws_and_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--hidden-size 4 --num-seeds 3 --paths none --2d-slice --slice-points 7 --measures topology --null-planes 3"
    command = words(tmp_path / "run", flags)
    assert main([*command, "--dry-run"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "3 random planes that each surface is held against; `null_planes` 0 leaves them out" in told
    assert main([*command, "--plot"]) == 0
    run = Run.open(tmp_path / "run")
    tree = og.open_run(tmp_path / "run")
    for kind, name in (("slice", "0"), ("plane", "0-1-2")):
        node = next(iter(tree.children.values()))[kind][name]
        again = og.surface_topology(node.train_loss)  # any surface of a run, as it is
        assert {each: node.attrs[each] for each in again} == pytest.approx(again)
        assert node.smad_null.shape == (3,)
        assert node.attrs["smad_p_value"] in (0.25, 0.5, 0.75, 1.0)
    page = study_data(run)
    shown = [entry["topology"] for entry in page["surfaces"]]
    assert [len(each["tree"]) for each in shown] == [entry["surface_minima"] for entry in page["surfaces"]]
    assert all(each["bars"][0]["kind"] == "components" for each in shown)
    drawn = {path.name for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert {"slice-MLP1-h4-AdamW-0-tree.png", "slice-MLP1-h4-AdamW-0-barcode.png"} <= drawn
    json.dumps(page["surfaces"], allow_nan=False)
