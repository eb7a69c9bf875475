"""`orograph escape` on three linear factors, whose minima and saddles are known; the same bytes; a sentence for bad input."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import factors
import numpy as np
import pytest
import torch

import orograph as og
from forked import finish_despite_kills, lasting
from orograph.cli import main
from orograph.errors import ConfigurationError, RunError
from orograph.escapes.bench import EscapeBench
from orograph.escapes.heights import known_branches, saddle
from orograph.escapes.jumps import chosen_jump, ladder_jumps
from orograph.escapes.settings import EscapeSettings
from orograph.escapes.wells import measured_well
from orograph.settings.shared import Execution
from orograph.store.encoding import decode
from orograph.store.escape import ESCAPE_FILE
from orograph.store.lookup import find
from orograph.store.run import Run
from orograph.work.progress import WorkProgress
from run_bytes import bytes_of

OWN = ("--model", "factors:three_factors", "--data", "factors:scattered", "--loss", "factors:half_squared", "--metrics", "r2")
LADDER = ("--strengths", "0.07,0.08,0.085,0.1,0.11", "--k", "1", "--epochs", "200", "--batch-size", "2", "--lr", "0.05")
CELLS = {"at": [0.08, 0.085], "batch_sizes": [2, 4], "learning_rates": [0.1]}
CHAINS = {"chains": 6, "cohort": 4, "steps": 300, "checks": 1}
EXACT = ("--dtype", "float64", "--quiet")


def u_of(strength: float) -> tuple[float, float]:
    """The saddle's and the minimum's u, u⁴ − σu + 2λ = 0."""
    found = np.roots([1, 0, 0, -factors.SIGMA, 2 * strength])
    low, high = sorted(root.real for root in found if abs(root.imag) < 1e-9)
    return low, high


def depth(u: float, strength: float) -> float:
    """L_eff where all factors are u."""
    return 0.5 * (factors.SIGMA - u**3) ** 2 + 0.5 * factors.SCATTER**2 + 3 * strength * u**2


def words(folder: Path, out: str, *more: str) -> list[str]:
    lists = {name: ",".join(map(str, values)) for name, values in CELLS.items()}
    flags = [word for name, value in {**lists, **CHAINS}.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return ["escape", str(folder / "ladder"), *flags, "--path-steps", "0", *EXACT, "--out", str(folder / out), *more]


def followed(folder: Path, out: str) -> list[str]:
    return words(folder, out, "--atlas", str(folder / "fold"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ladder that falls from its branch, and the branch through its fold."""
    folder = tmp_path_factory.mktemp("escapes")
    ladder = str(folder / "ladder")
    assert main(["sweep", *OWN, *LADDER, *EXACT, "--out", ladder]) == 0
    along = ("--strength", "0.07", "--min", "0.06", "--pairs", "2")
    assert main(["follow", ladder, *along, "--out", str(folder / "fold"), "--quiet"]) == 0
    assert main(followed(folder, "run")) == 0
    return folder


@pytest.mark.slow
def test_states_and_heights_are_those_of_the_closed_form(made: Path) -> None:
    results = decode(made / "run" / ESCAPE_FILE)
    assert [well["strength"] for well in results["wells"]] == [0.08, 0.085]
    for well in results["wells"]:
        low, high = u_of(well["strength"])
        assert well["order_parameter"] == pytest.approx(3 * high**2, rel=1e-6)
        assert well["objective"] == pytest.approx(depth(high, well["strength"]), rel=1e-9)
        assert well["other_order_parameter"] == pytest.approx(0, abs=1e-12)
        assert well["barrier_source"] == "saddle"
        # The points of the branch are exact, what lies between them is a cubic of error h⁴.
        assert well["height"] == pytest.approx(depth(low, well["strength"]) - depth(high, well["strength"]), rel=2e-2)
        assert well["crossing"] == pytest.approx(3 * low**2, rel=2e-2)
    assert "were followed" in results["heights"]
    assert "descent without noise leads" in results["rule"]
    assert results["jump"] == {"run": "ladder", "number": 1, "low": 0.085, "high": 0.1}


@pytest.mark.slow
def test_rates_and_survival_are_those_of_the_recorded_chains(made: Path) -> None:
    results, ds = decode(made / "run" / ESCAPE_FILE), og.open_run(made / "run")
    assert dict(ds.sizes) == {"strength": 2, "batch_size": 2, "lr": 1, "member": 6}
    assert ds.height.values == pytest.approx([well["height"] for well in results["wells"]])
    for cell in results["cells"]:
        chains = ds.sel(strength=cell["strength"], batch_size=cell["batch_size"], lr=cell["lr"])
        assert cell["escaped"] == chains.escaped.sum()
        assert cell["rate"] == pytest.approx(cell["escaped"] / (0.1 * chains.first_passage.sum().item()))
        assert cell["survival"]["share"][-1] == pytest.approx(1 - cell["escaped"] / 6)
        assert cell["temperature"] == cell["lr"] / cell["batch_size"]
    assert results["laws"]["verdict"] in ("Arrhenius", "power law", "not told apart")


@pytest.mark.slow
def test_without_a_saddle_the_height_is_said_to_be_a_bound(made: Path) -> None:
    assert main([*words(made, "bound"), "--chains", "1", "--batch-sizes", "2", "--steps", "64"]) == 0
    found, truth = (decode(made / name / ESCAPE_FILE) for name in ("bound", "run"))
    for well, known in zip(found["wells"], truth["wells"], strict=True):
        assert well["barrier_source"] == "path"
        assert well["height"] >= 0.98 * known["height"]  # less what lies between 41 positions
        assert well["crossing"] == pytest.approx((well["order_parameter"] + well["other_order_parameter"]) / 2)
    assert "a bound" in found["heights"]


@pytest.mark.slow
def test_an_atlas_gives_the_heights_of_the_branches_that_it_joins(made: Path) -> None:
    atlas = str(made / "atlas")
    assert main(["atlas", str(made / "fold"), str(made / "ladder"), "--descents", "0", "--out", atlas, "--quiet"]) == 0
    one, other = (known_branches(each) for each in (atlas, str(made / "fold")))
    assert [each.name for each in one.stretches] == [each.name for each in other.stretches]
    assert one.digest == other.digest
    low, high = u_of(0.08)
    loss = depth(high, 0.08) - 0.08 * 3 * high**2
    assert saddle(one, 0.08, 3 * high**2, loss) == saddle(other, 0.08, 3 * high**2, loss)
    assert saddle(one, 0.08, 3 * low**2, loss) is None  # on no branch of minima


@pytest.mark.slow
def test_every_recorded_number_is_in_the_registry(made: Path) -> None:
    recorded = {name for found in Run.open(made / "run").findings.values() for name in found.scalars}
    told = {name for kind in ("wells", "cells") for each in decode(made / "run" / ESCAPE_FILE)[kind] for name in each}
    missing = {name for name in recorded | told if find(name) is None}
    assert missing == {"rate_low", "rate_high", "survival", "unstable"}  # parts of others, and a mark


@pytest.mark.slow
def test_whatever_it_was_stopped_at_it_ends_with_the_same_bytes(made: Path, tmp_path: Path) -> None:
    whole = bytes_of(made / "run")
    shutil.copytree(made / "run", tmp_path / "again")
    (tmp_path / "again" / ESCAPE_FILE).unlink()
    (tmp_path / "again/findings/well/state/001.json").unlink()
    for path in sorted((tmp_path / "again/findings/passages").rglob("*.json"))[3:]:
        path.unlink()
    again = followed(made, "run")
    again[again.index(str(made / "run"))] = str(tmp_path / "again")
    assert main(again) == 0
    assert bytes_of(tmp_path / "again") == whole


@pytest.mark.slow
def test_kills_leave_no_trace(made: Path) -> None:
    few = ("--at", "0.085", "--batch-sizes", "2", "--steps", "100")
    whole = lasting([*followed(made, "whole"), *few])
    finish_despite_kills([*followed(made, "killed"), *few], 2, whole)
    assert bytes_of(made / "killed") == bytes_of(made / "whole")


@pytest.mark.slow
def test_it_is_reported_watched_exported_and_inspected(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(made / "run")
    assert main(["report", run, "--out", str(made / "report.html")]) == 0
    assert '"survival"' in (made / "report.html").read_text()
    assert main(["watch", run, "--once"]) == 0
    assert "10 of 10 points" in capsys.readouterr().out
    assert main(["export", run, "--out", str(made / "run.csv")]) == 0
    assert len((made / "run.csv").read_text().splitlines()) == 1 + 2 * 2 * 6
    assert main(["export", run, "--to", "netcdf", "--out", str(made / "run.nc")]) == 0
    assert main(["doctor", run]) == 0
    for command in ("card", "analyze", "follow"):
        assert main([command, run]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert main([*followed(made, "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["wells"]


@pytest.mark.slow
def test_a_call_goes_on_with_a_run_of_the_command(made: Path) -> None:
    given = {**CELLS, **CHAINS, "path_steps": 0, "dtype": "float64", "atlas": str(made / "fold")}
    before = bytes_of(made / "run")
    found = og.escape(made / "ladder", out=made / "run", quiet=True, **given)
    assert found.sizes["member"] == 6
    again = ["escape", "--config", str(made / "run" / "configuration.toml"), "--out", str(made / "run"), "--quiet"]
    assert main(again) == 0  # as doctor has it
    assert bytes_of(made / "run") == before


@pytest.mark.slow
def test_a_plan_is_printed_and_nothing_written(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(made, "planned", "--dry-run")) == 0
    assert "4 cells of 6 chains" in capsys.readouterr().out
    assert main(words(made, "planned", "--dry-run", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] > 0
    assert not (made / "planned").exists()


@pytest.mark.slow
def test_jumps_of_a_ladder_are_its_steep_steps(made: Path) -> None:
    run = Run.open(made / "ladder")
    (jump,) = ladder_jumps(run, 0, "up")
    assert (jump.ends, [cell.strength for cell in jump.before]) == ((0.085, 0.1), [0.07, 0.08, 0.085])
    assert jump.change == pytest.approx(-3 * u_of(0.085)[1] ** 2, rel=1e-3)
    assert chosen_jump(run, 0, "up", 0, (0.08,)).number == 1
    run.records = {cell: each for cell, each in run.records.items() if cell.strength > 0.09}
    with pytest.raises(RunError, match="has no jump of q"):
        chosen_jump(run, 0, "up", 0, ())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: [], "escape needs a run"),
        (lambda folder: [str(folder / "fold")], "is a run of kind branch; escape begins"),
        (lambda folder: [str(folder / "ladder"), "--jump", "2"], "--jump 2 is not there"),
        (lambda folder: [str(folder / "ladder"), "--at", "0.099", *EXACT], "was lost near λ = 0.0937"),
        (lambda folder: [str(folder / "ladder"), "--at", "0.5", *EXACT], "was lost near λ = 0.0937"),
        (
            lambda folder: [str(folder / "ladder"), "--at", "0.08,0.099", "--path-steps", "0", *EXACT],
            "--at 0.099: on the way from",
        ),
        (lambda folder: [str(folder / "ladder"), "--seed", "3"], "no good point of --seed 3"),
        (lambda folder: [str(folder / "ladder"), "--atlas", str(folder / "ladder")], "is a run of kind sweep; heights"),
    ],
)
def test_bad_input_is_one_sentence(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], list[str]], said: str
) -> None:
    assert main(["escape", *change(made), "--out", str(tmp_path / "out")]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert said in error
    assert error.count("error:") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_state_that_is_none_of_its_own_is_refused(made: Path) -> None:
    chosen = {"run": str(made / "ladder"), "well": {"at": [0.085], "path_steps": 0}, "numerics": {"dtype": "float64"}}
    bench = EscapeBench.prepare(EscapeSettings.model_validate(chosen), Execution())
    for u, said in ((1e-12, "they are one"), (u_of(0.085)[0], "no height between")):  # the origin, and the saddle
        state = replace(bench, before=torch.full_like(bench.before, u))
        with WorkProgress("results", 1, quiet=True) as progress, pytest.raises(ConfigurationError, match=said):
            measured_well(state, 0, progress)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--at", "0"], "--at 0.0 must be a number above 0"),
        (["--chains", "0"], "--chains 0 must be at least 1"),
        (["--batch-sizes", "4,4"], "--batch-sizes names 4 twice"),
        (["--learning-rates", "-1"], "--learning-rates -1.0 must be positive"),
        (["--jump", "-1"], "--jump -1 must be at least 0"),
    ],
)
def test_a_value_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], flags: list[str], said: str) -> None:
    assert main(["escape", "nowhere", *flags]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
