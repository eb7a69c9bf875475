"""The scripts from end to end on few images, beside whatever load there is: their times mean nothing then, their residuals do."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
FEW = ("--dataset", "mnist-5k", "--images", "200", "--rounds", "1", "--threads", "1", "--force")


def run(script: str, *options: str, page: Path) -> str:
    command = [sys.executable, str(FOLDER / script), *FEW, *options, "--markdown", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return page.read_text()


@pytest.mark.slow
def test_spectrum_finds_pairs_whose_residuals_hold(tmp_path: Path) -> None:
    few = ("--epochs", "1", "--pairs", "3", "--products", "1", "--parts", "pairs", "--only", "orograph,double")
    text = run("spectrum.py", *few, page=tmp_path / "page.md")
    solved = re.findall(r"^\| (.*?) \|.*\| 3 of 3 \|", text, re.MULTILINE)
    assert len(solved) == 3  # orograph, and ARPACK over two ways of double backward
    assert "NOT VALID" in text or "Quiet machine" in text


@pytest.mark.slow
def test_training_agrees_with_the_plain_loop(tmp_path: Path) -> None:
    text = run("training.py", "--models", "2", "--only", "chain,seeds", page=tmp_path / "page.md")
    assert re.search(r"losses at the same θ, in units of rounding: [0-9.]+ \(target: at most 32\) met", text)
    assert "of 2 seeds" in text


@pytest.mark.slow
def test_learning_coefficients_stand_beside_the_law_and_its_quadratic(tmp_path: Path) -> None:
    few = ("--dataset", "digits", "--images", "60", "--widths", "3", "--chains", "2", "--draws", "40", "--burn-in", "10")
    text = run("degeneracy.py", *few, "--only", "orograph,plain", page=tmp_path / "page.md")
    rows = re.findall(r"^\| (orograph|plain loop|the law itself.*?|its quadratic.*?) \| ([0-9.]+) \|", text, re.MULTILINE)
    assert len(rows) == 8  # of all data, and of mini-batches
    assert len({value for name, value in rows if name.startswith("its quadratic")}) == 1
