"""`orograph follow` on linear networks: closed forms in the files, the same bytes whatever stops it, a sentence for bad input."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from teacher import checkpoint, kinked, two_factors

import orograph as og
from forked import finish_despite_kills, lasting
from orograph.cli import main
from orograph.commands.rows import columns, table
from orograph.report.branch import branch_data
from orograph.store.branch import courses
from orograph.store.run import Run
from run_bytes import bytes_of

FOLD = ("--model", "teacher:three_factors", "--data", "teacher:one_mode", "--loss", "teacher:half_squared", "--strength", "0.05")
FOLD += ("--pairs", "2", "--min", "0.04", "--metrics", "r2")
MEET = ("--model", "teacher:two_factors", "--data", "teacher:two_modes", "--loss", "teacher:half_squared", "--strength", "0.9")
MEET += ("--pairs", "4", "--direction", "down", "--min", "0.4", "--step", "0.05", "--longest-step", "0.1", "--metrics", "r2")


def fold(folder: Path, out: str, *more: str) -> list[str]:
    start = checkpoint(str(folder / "start.pth"), [0.75] * 3)
    return ["follow", start, *FOLD, "--out", str(folder / out), "--quiet", *more]


def meet(folder: Path, out: str, *more: str) -> list[str]:
    start = checkpoint(str(folder / "origin.pth"), [0.0] * 4, two_factors)
    return ["follow", start, *MEET, "--out", str(folder / out), "--quiet", *more]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("followed")
    assert main(fold(folder, "run")) == 0
    return folder / "run"


def test_a_branch_is_followed_through_its_fold_and_every_point_is_that_of_the_closed_form(followed: Path) -> None:
    tree = og.open_run(followed)
    up, events = tree["up"].to_dataset(), tree["up/events"].to_dataset()
    assert up.attrs["ended"] == "λ reached 0.04"
    assert list(events.event_kind.values) == ["fold"]
    assert events.strength.item() == pytest.approx(0.09375, abs=1e-10)
    assert events.order_parameter.item() == pytest.approx(3 * 0.125 ** (2 / 3), rel=1e-6)
    u = up.theta.values  # all factors alike
    assert np.abs(u**4 - 0.5 * u + 2 * up.strength.values[:, None]).max() < 1e-9
    assert (up.objective_negative_eigenvalues.values == (u[:, 0] ** 3 < 0.125)).all()
    assert (up.objective_gradient_norm <= up.gradient_norm_limit).all()
    assert up.order_parameter.values == pytest.approx((u**2).sum(1))
    assert (np.diff(up.arclength) > 0).all()
    after = int(events.after.item())
    assert up.arclength[after] < events.arclength.item() < up.arclength[after + 1]
    by_s = CubicSpline(up.arclength, up.order_parameter * up.strength_rate).integrate(0, up.arclength[-1])  # dF = q dλ
    assert up.objective.values[-1] - up.objective.values[0] == pytest.approx(by_s, abs=2e-4)  # h⁴ of the spline


@pytest.mark.slow
def test_whatever_step_it_was_stopped_at_it_ends_with_the_same_bytes(followed: Path, tmp_path: Path) -> None:
    whole = bytes_of(followed)
    findings = sorted(followed.joinpath("findings").rglob("*.json"))
    shutil.copy(followed.parent / "start.pth", tmp_path)
    for left in (1, len(findings) // 3, len(findings) - 3):
        shutil.copytree(followed, tmp_path / "run")
        points = sorted((tmp_path / "run/findings/point/up").glob("*.json"))
        for path in [*points[left:], *(tmp_path / "run/findings/end/up").iterdir()]:  # what comes last is written last
            path.unlink()
        words = fold(followed.parent, "run")
        words[words.index(str(followed))] = str(tmp_path / "run")
        assert main(words) == 0
        assert bytes_of(tmp_path / "run") == whole
        shutil.rmtree(tmp_path / "run")


@pytest.mark.slow
def test_what_leaves_a_branch_point_is_followed(tmp_path: Path) -> None:
    assert main(meet(tmp_path, "run", "--switch", "1", "--points", "12")) == 0
    known = courses(Run.open(tmp_path / "run"))
    assert list(known) == ["down", "down.1+", "down.1-"]
    (event,) = known["down"].events
    assert (event.scalars["event_kind"], event.scalars["strength"]) == ("branch", pytest.approx(0.6, abs=1e-9))
    for name in ("down.1+", "down.1-"):
        assert len(known[name].points) > 3
        for point in known[name].points:  # the mode σ = 1.2 alone: q = 2(σ − 2λ), a minimum
            assert point.scalars["order_parameter"] == pytest.approx(2 * (1.2 - 2 * point.scalars["strength"]), abs=1e-8)
            assert point.scalars["objective_negative_eigenvalues"] == 0
    assert known["down"].points[-1].scalars["objective_negative_eigenvalues"] == 1


@pytest.mark.slow
def test_kills_leave_no_trace_and_processes_find_the_same_bytes(tmp_path: Path) -> None:
    args = ("--switch", "1", "--points", "7", "--threads", "1")
    whole = lasting(meet(tmp_path, "whole", *args))
    finish_despite_kills(meet(tmp_path, "killed", *args), 3, whole)
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")
    assert main(meet(tmp_path, "many", *args, "--parallel", "processes", "--jobs", "2")) == 0
    assert bytes_of(tmp_path / "many") == bytes_of(tmp_path / "whole")


@pytest.mark.slow
def test_a_point_of_a_sweep_is_a_start_with_the_anchor_and_the_data_of_the_sweep(tmp_path: Path) -> None:
    sweep = "sweep --dataset digits --subset-size 100 --widths 4 --strengths 0.002,0.01 --k 2 --epochs 30 --quiet --out"
    assert main([*sweep.split(), str(tmp_path / "sweep"), "--anchor", "initial:1"]) == 0
    words = ["follow", str(tmp_path / "sweep"), "--out", str(tmp_path / "run"), "--points", "4", "--quiet"]
    assert main(words) == 0
    up = og.open_run(tmp_path / "run")["up"]
    assert up.strength[0] == 0.002
    assert up.class_accuracy.shape == (4, 10)
    run = Run.open(tmp_path / "run")
    assert run.configuration["model"]["widths"] == [4]
    assert main([*words[:4], "other", "--widths", "5", "--quiet"]) == 2
    assert main([*words[:4], "other", "--strength", "0.003", "--quiet"]) == 2


def test_it_is_reported_watched_exported_and_inspected(followed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(followed), "--out", str(followed.parent / "report.html")]) == 0
    page = (followed.parent / "report.html").read_text()
    assert '"event_kind": "fold"' in page.replace('":"', '": "')
    assert "activation" not in page.split('"about"')[1].split('"branches"')[0]  # a linear network has none
    shown = branch_data(Run.open(followed))["tables"]["branch"]
    assert "train_loss" in shown
    assert "test_accuracy" not in shown  # a regression has none
    assert main(["watch", str(followed), "--once"]) == 0
    assert "up, point" in capsys.readouterr().out
    run = Run.open(followed)
    rows = table(run)
    assert {"branch_name", "point", "strength", "event_kind"} <= set(columns(rows))
    assert [row["event_kind"] for row in rows if "event_kind" in row] == ["fold"]
    assert main(["export", str(followed), "--to", "netcdf", "--out", str(followed.parent / "run.nc")]) == 0
    assert main(["doctor", str(followed)]) == 0
    assert main(["card", str(followed)]) == 2


def test_an_analysis_has_the_fold_both_stretches_and_the_work_of_the_closed_form(
    followed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(followed, tmp_path / "run")
    assert main(["analyze", str(tmp_path / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (branch,) = found["branches"]
    assert [event["event_kind"] for event in branch["events"]] == ["fold"]
    stable, saddle = found["stretches"]
    assert [(each["name"], each["index"], each["begins"], each["ends"]) for each in (stable, saddle)] == [
        ("up/0", 0, None, "fold"),
        ("up/1", 1, "fold", None),
    ]
    assert stable["high"]["strength"] == saddle["high"]["strength"] == pytest.approx(0.09375, abs=1e-10)
    assert saddle["low"]["strength"] == 0.04
    assert branch["envelope"]["largest_difference"] < 2e-6  # h⁴ of the splines: the points themselves are good to 1e-10
    assert branch["envelope"]["largest_difference"] < 2 * branch["envelope"]["integral_error"] < 1e-4
    assert branch["envelope"]["range"] > 0.01
    assert json.loads((tmp_path / "run/analysis.json").read_text())["stretches"] == found["stretches"]
    run = Run.open(tmp_path / "run")
    points = [row for row in table(run) if "point" in row]
    assert [row["stretch"] for row in points] == ["up/0"] * stable["points"] + ["up/1"] * saddle["points"]
    first, *_, last = points
    assert last["work"] == pytest.approx(last["objective"] - first["objective"], abs=2e-6)
    shown = branch_data(run)["analysis"]
    assert (shown["stretches"], shown["grown"]) == (found["stretches"], [])
    assert main(["doctor", str(tmp_path / "run")]) == 0
    words = fold(followed.parent, "run")
    words[words.index(str(followed))] = str(tmp_path / "run")
    assert main(words) == 0  # it goes on as before
    assert "up" in og.analyze(tmp_path / "run", quiet=True)
    assert main(["analyze", str(tmp_path / "run"), "--density"]) == 2
    assert "--density is of the analysis of a sweep" in " ".join(capsys.readouterr().err.split())


def test_a_plan_is_printed_and_nothing_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(fold(tmp_path, "run", "--dry-run")) == 0
    assert "products" in capsys.readouterr().out.replace("product ", "products ")
    assert main(fold(tmp_path, "run", "--dry-run", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 3
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--strength", "auto"), "give --strength"),
        (("--strength", "9"), "lies outside --min"),
        (("--points", "0"), "--points 0"),
        (("--max-products", "0"), "--max-products 0"),
        (("--polish-products", "0"), "--polish-products 0"),
        (("--polish-products", "1"), "is no critical point"),
        (("--min", "0.5", "--max", "0.1"), "--min 0.5"),
        (("--switch", "1", "--pairs", "0"), "--switch 1"),
        (("--anchor", "train:0"), "--anchor train:0"),
        (("--tolerance", "nan"), "--tolerance nan"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], words: str) -> None:
    extra = ("--max", "1") if words.startswith("lies") else ()
    assert main([*fold(tmp_path, "run"), *more, *extra]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert words in said
    assert said.count("error:") == 1
    assert not (tmp_path / "run").exists()


def test_a_network_with_kinks_and_what_is_no_start_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = fold(tmp_path, "run")
    words[words.index("teacher:three_factors")] = "teacher:kinked"
    checkpoint(str(tmp_path / "start.pth"), [0.5] * 4, kinked)
    assert main(words) == 2
    assert "relu" in capsys.readouterr().err
    for start, said in (
        ("", "follow needs a start"),
        ("nowhere", "nowhere is neither a run nor a file"),
        (str(tmp_path), "neither a run"),
    ):
        words[1] = start
        assert main(words) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
