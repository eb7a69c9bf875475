"""`orograph atlas` on three linear factors, σ = 0.5: Maxwell point, barriers and jump by closed forms; the same bytes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from teacher import checkpoint
from test_follow_command import FOLD

from forked import finish_despite_kills, lasting
from orograph.analysis.folds import ends_in_words
from orograph.atlas import read_atlas
from orograph.cli import main
from orograph.store.branch import ATLAS_FILE
from orograph.store.encoding import decode
from run_bytes import bytes_of

OWN = ("--model", "teacher:three_factors", "--data", "teacher:one_mode", "--loss", "teacher:half_squared", "--metrics", "r2")
SIGMA = 0.5


def roots(strength: float) -> list[float]:
    """The saddle's and the minimum's u, u⁴ − σu + 2λ = 0."""
    found = np.roots([1, 0, 0, -SIGMA, 2 * strength])
    return sorted(root.real for root in found if abs(root.imag) < 1e-9)


def depth(u: float, strength: float) -> float:
    """L_eff where all factors are u."""
    return 0.5 * (SIGMA - u**3) ** 2 + 3 * strength * u**2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A branch through its fold, the origin, and a ladder that falls from one to the other."""
    folder = tmp_path_factory.mktemp("atlas")
    start = checkpoint(str(folder / "start.pth"), [0.75] * 3)
    assert main(["follow", start, *FOLD, "--out", str(folder / "fold"), "--quiet"]) == 0
    origin = checkpoint(str(folder / "origin.pth"), [0.0] * 3)
    along = ("--strength", "0.05", "--max", "0.12", "--longest-step", "0.02", "--pairs", "2")
    assert main(["follow", origin, *OWN, *along, "--out", str(folder / "origin"), "--quiet"]) == 0
    sweep = [
        "sweep",
        *OWN,
        "--strengths",
        "0.08,0.09,0.1,0.11",
        "--direction",
        "both",
        "--k",
        "1",
        "--polish",
        "--epochs",
        "200",
        "--lr",
        "0.05",
    ]
    assert main([*sweep, "--dtype", "float64", "--out", str(folder / "ladder"), "--quiet"]) == 0
    assert main(words(folder, "atlas")) == 0
    return folder


def words(folder: Path, out: str) -> list[str]:
    runs = [str(folder / name) for name in ("fold", "origin", "ladder")]
    return ["atlas", *runs, "--out", str(folder / out), "--quiet"]


def test_equal_depth_and_barriers_are_those_of_the_closed_form(made: Path) -> None:
    graph = read_atlas(made / "atlas")
    assert {data["kind"] for _, data in graph.nodes(data=True)} == {"fold", "start", "cut"}
    stretches = {data["name"]: data for *_, data in graph.edges(data=True)}
    assert [stretches[name]["index"] for name in ("fold/up/0", "fold/up/1", "origin/up/0")] == [0, 1, 0]
    assert graph.degree("fold/up/event 1") == 2
    (equal,) = graph.graph["maxwell"]
    assert equal["certified"]
    assert equal["strength"] == pytest.approx(SIGMA / 4 * (SIGMA / 2) ** (1 / 3), rel=1e-9)
    assert equal["latent"] == pytest.approx(3 * (SIGMA / 2) ** (2 / 3), rel=1e-6)  # q at u³ = σ/2, and 0 at the origin
    (barrier,) = graph.graph["barriers"]
    strength = barrier["strength"]
    saddle, minimum = roots(strength)
    assert {barrier["one"], barrier["other"]} == {"fold/up/0", "origin/up/0"}
    heights = {barrier["one"]: barrier["from_one"], barrier["other"]: barrier["from_other"]}
    assert heights["fold/up/0"] == pytest.approx(depth(saddle, strength) - depth(minimum, strength), rel=1e-6)
    assert heights["origin/up/0"] == pytest.approx(depth(saddle, strength) - depth(0.0, strength), rel=1e-6)


def test_points_of_a_ladder_lie_on_stretches_and_its_jump_is_found(made: Path) -> None:
    (jump,) = read_atlas(made / "atlas").graph["jumps"]
    assert (jump["from"], jump["to"], jump["low"], jump["high"]) == ("fold/up/0", "origin/up/0", 0.09, 0.1)
    ladder = decode(made / "atlas" / ATLAS_FILE)["ladders"]
    up, down = ([each["stretch"] for each in ladder if each["chain"] == chain] for chain in ("0-up", "0-down"))
    assert up == ["fold/up/0"] * 2 + ["origin/up/0"] * 2
    assert down == ["origin/up/0"] * 4


@pytest.mark.slow
def test_both_ways_from_a_start_meet_in_one_node_and_a_minimum_that_a_descent_met_is_where_the_ladder_falls_to(
    made: Path,
) -> None:
    both = ("--direction", "both", "--min", "0.03", "--out", str(made / "both"))
    assert main(["follow", str(made / "start.pth"), *FOLD, *both, "--quiet"]) == 0
    assert main(["atlas", str(made / "both"), str(made / "ladder"), "--out", str(made / "joined"), "--quiet"]) == 0
    graph = read_atlas(made / "joined")
    (start,) = (name for name, kind in graph.nodes(data="kind") if kind == "start")
    assert graph.degree(start) == 2
    stretches = {data["name"]: data for *_, data in graph.edges(data=True)}
    assert start in stretches["both/down/0"].values()
    assert start in stretches["both/up/0"].values()
    (barrier,) = graph.graph["barriers"]
    assert "" not in (barrier["one"], barrier["other"])
    (origin,) = {barrier["one"], barrier["other"]} - {"both/up/0"}
    assert graph.nodes[origin]["order_parameter"] == pytest.approx(0, abs=1e-12)
    (jump,) = graph.graph["jumps"]
    assert (jump["from"], jump["to"]) == ("both/up/0", origin)
    content = decode(made / "joined" / ATLAS_FILE)
    assert {each["stretch"] for each in content["ladders"] if each["chain"] == "0-down"} == {origin}


@pytest.mark.slow
def test_a_minimum_that_a_descent_met_is_carried_to_the_strengths_of_the_ladder_as_far_as_its_branch_reaches(
    made: Path,
) -> None:
    start, _ = roots(0.085)  # a branch of saddles alone: the minimum is on no stretch
    begin = checkpoint(str(made / "saddle.pth"), [start] * 3)
    saddles = ("--strength", "0.085", "--direction", "down", "--points", "3", "--pairs", "2", "--min", "0.01", "--step", "0.01")
    assert main(["follow", begin, *OWN, *saddles, "--out", str(made / "saddles"), "--quiet"]) == 0
    words = ["atlas", str(made / "saddles"), str(made / "ladder"), "--descents", "2", "--out", str(made / "carried"), "--quiet"]
    assert main(words) == 0
    whole = bytes_of(made / "carried")
    content = decode(made / "carried" / ATLAS_FILE)
    carried = next(each for each in content["nodes"] if each.get("reached"))
    assert carried["strength"] not in (0.08, 0.09)
    for each in carried["reached"]:
        u = roots(each["strength"])[-1]
        assert each["order_parameter"] == pytest.approx(3 * u**2, rel=1e-8)
        assert each["objective"] == pytest.approx(depth(u, each["strength"]), rel=1e-12)
    reached = [each["strength"] for each in carried["reached"]]
    assert {0.08, 0.09} <= set(reached)
    assert max(reached) < 0.09375  # the branch ends there
    minima = {each["to"] for each in content["edges"] if each["kind"] == "descent"}
    assert len(minima) == 2  # descents from two places meet the same two
    up = [each["stretch"] for each in content["ladders"] if each["chain"] == "0-up"]
    (origin,) = minima - {carried["name"]}
    assert up == [carried["name"]] * 2 + [origin] * 2
    (jump,) = read_atlas(made / "carried").graph["jumps"]
    assert (jump["from"], jump["to"], jump["low"], jump["high"]) == (carried["name"], origin, 0.09, 0.1)
    (made / "carried" / ATLAS_FILE).unlink()
    next((made / "carried/findings/carried").rglob("*.json")).unlink()
    assert main(words) == 0
    assert bytes_of(made / "carried") == whole


@pytest.mark.slow
def test_an_analysis_takes_the_fold_of_the_atlas_in_place_of_an_extrapolation(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    analyze = ["analyze", str(made / "ladder"), "--path-steps", "0", "--json", "--quiet"]
    assert main(analyze) == 0
    before = json.loads(capsys.readouterr().out)
    (plain,) = before["loops"]
    assert plain["spinodal_up"]["law"] == "fold"
    assert plain["spinodal_up"]["estimate"] == pytest.approx(0.09375, rel=0.05)  # from the last points
    assert main([*analyze, "--atlas", str(made / "atlas")]) == 0
    after = json.loads(capsys.readouterr().out)
    (loop,) = after["loops"]
    orders = [[each["judgement"]["order"] for each in found["chains"][0]["transitions"]] for found in (before, after)]
    assert orders == [["unresolved"], ["first"]]  # a fold is
    assert loop["spinodal_up"]["law"] == "followed"
    assert loop["spinodal_up"]["estimate"] == loop["spinodal_up"]["high"] == pytest.approx(0.09375, abs=1e-9)
    assert loop["spinodal_down"] == plain["spinodal_down"]
    barrier, strength = loop["barrier"], loop["barrier_at"]
    assert barrier["barrier_law"] == "saddle"
    assert "barrier_law" not in plain["barrier"]
    (told,) = ends_in_words(decode(made / "atlas" / ATLAS_FILE), "ladder")
    assert "between λ = 0.09 and 0.1 the ladder leaves fold/up/0 for origin/up/0; by the atlas it ends in a fold at" in told
    saddle, minimum = roots(strength)
    # L_eff of the saddles is a cubic between points, of an error of the fourth power of their distance in λ
    assert barrier["barrier_saddle_up"] == pytest.approx(depth(saddle, strength) - depth(minimum, strength), rel=1e-3)
    assert barrier["barrier_saddle_down"] == pytest.approx(depth(saddle, strength) - depth(0.0, strength), rel=1e-3)
    assert barrier["barrier_best"] == plain["barrier"]["barrier_best"]  # the bound by a path stays beside it
    assert main([*analyze, "--atlas", str(made / "fold")]) == 2
    assert "holds no atlas" in capsys.readouterr().err


def test_it_is_reported_and_watched_and_what_cannot_be_done_with_it_is_said(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(made / "atlas")
    assert main(["report", run, "--out", str(made / "report.html")]) == 0
    assert "Equal depth" in (made / "report.html").read_text()
    assert main(["watch", run, "--once"]) == 0
    assert "descent 0000+" in capsys.readouterr().out
    assert main(["doctor", run]) == 0
    for command in ("export", "card", "analyze"):
        assert main([command, run]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert main([*words(made, "atlas"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["maxwell"]


@pytest.mark.slow
def test_what_was_measured_is_not_measured_again_and_the_bytes_are_the_same(made: Path, tmp_path: Path) -> None:
    whole = bytes_of(made / "atlas")
    shutil.copytree(made / "atlas", tmp_path / "again")
    (tmp_path / "again" / ATLAS_FILE).unlink()
    for path in sorted((tmp_path / "again/findings/descent").rglob("*.json"))[1:]:
        path.unlink()
    again = words(made, "atlas")
    again[again.index(str(made / "atlas"))] = str(tmp_path / "again")
    assert main(again) == 0
    assert bytes_of(tmp_path / "again") == whole


@pytest.mark.slow
def test_kills_leave_no_trace(made: Path) -> None:
    whole = lasting(words(made, "whole"))
    finish_despite_kills(words(made, "killed"), 3, whole)
    assert bytes_of(made / "killed") == bytes_of(made / "whole")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: [], "atlas needs runs"),
        (lambda folder: [str(folder / "ladder")], "no branch among them"),
        (lambda folder: [str(folder / "nowhere")], "nowhere"),
        (lambda folder: [str(folder / "fold"), str(folder / "fold")], "two of the runs are called fold"),
        (lambda folder: [str(folder / "fold"), str(folder / "atlas")], "is a run of kind atlas; atlas joins"),
        (lambda folder: [str(folder / "fold"), "--descents", "-1"], "--descents -1"),
        (lambda folder: [str(folder / "fold"), "--descent-products", "0"], "--descent-products 0"),
    ],
)
def test_bad_input_is_one_sentence(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], list[str]], said: str
) -> None:
    assert main(["atlas", *change(made), "--out", str(tmp_path / "out")]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert said in error
    assert error.count("error:") == 1
    assert not (tmp_path / "out").exists()
