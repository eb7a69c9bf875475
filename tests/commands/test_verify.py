"""The command that holds what is found of solvable networks against the truth: it passes, and it can fail."""

import json
from pathlib import Path

import pytest

from orograph.cli import main
from orograph.commands.solvable_checks import Check
from orograph.store.run import Run


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_number_of_the_solvable_networks_is_true(tmp_path: Path, capsys: pytest.CaptureFixture[str], dtype: str) -> None:
    assert main(["verify", "--dtype", dtype, "--json", "--quiet", "--out", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 63
    assert all(each["passed"] for each in found)
    # stated with the closed forms, once more by hand
    by_name = {each["name"]: each["found"] for each in found}
    tolerance = 1e-8 if dtype == "float64" else 2e-5
    assert by_name["fold of three factors, σ = 0.5: λ"] == pytest.approx(0.09375, abs=tolerance)
    assert by_name["fold of three factors, σ = 1.0: λ"] == pytest.approx(0.236235, abs=1e-6 + tolerance)
    assert by_name["Maxwell point of three factors, σ = 1.0: λ"] == pytest.approx(0.198425, abs=1e-6 + tolerance)
    assert by_name["turn of q: λ"] == pytest.approx(0.0684981, abs=1e-7 if dtype == "float64" else 2e-3)
    assert by_name["null modes of three modes, 4 × 4 hidden units"] == 12
    assert by_name["origin of two factors, σ = 1.2: λ"] == pytest.approx(0.6, abs=tolerance)
    # the numbers are of runs, which are there
    assert {Run.open(path).kind for path in tmp_path.iterdir() if path.is_dir()} == {"sweep", "branch", "atlas"}


@pytest.mark.parametrize("value", [1.1, float("nan")])
def test_what_is_wrong_is_told_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    found = [Check("a number", 1.0, 1.0, 0.0), Check("another", value, 1.0, 1e-3)]
    monkeypatch.setattr("orograph.commands.verify.checks", lambda *_, **__: iter(found))
    assert main(["verify", "--quiet"]) == 1
    assert "1 of 2 numbers are true" in capsys.readouterr().out
    assert main(["verify", "--quiet", "--json"]) == 1
    assert [each["passed"] for each in json.loads(capsys.readouterr().out)] == [True, False]
