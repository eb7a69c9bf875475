"""The README of a shared run: front matter as YAML readers see it, and code that loads each kind of file, run as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from orograph.cli import main

SWEEP = [
    "--dataset",
    "digits",
    "--subset-size",
    "100",
    "--widths",
    "4,4",
    "--epochs",
    "1",
    "--k",
    "2",
    "--threads",
    "1",
    "--quiet",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["sweep", *SWEEP, "--strengths", "0,0.01", "--out", str(out)]) == 0
    assert main(["card", str(out), "--license", "cc-by-4.0"]) == 0
    return out


def test_front_matter_is_yaml_that_hubs_know(run: Path) -> None:
    text = (run / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])
    assert front["license"] == "cc-by-4.0"
    assert front["datasets"] == ["digits"]
    assert "loss-landscape" in front["tags"]
    assert front["metrics"] == ["accuracy", "loss"]


def test_every_kind_of_file_is_listed_with_how_many_there_are(run: Path) -> None:
    text = (run / "README.md").read_text(encoding="utf-8")
    for kind in ("Model-", "gradients-", "model_weights-", "Hessian-eigenvalues-", "Hessian-eigenvectors-"):
        row = next(line for line in text.splitlines() if line.startswith(f"| `test_data/{kind}"))
        assert int(row.split("|")[2]) == (1 if kind == "Model-" else 2)


@pytest.mark.slow
def test_the_code_that_loads_files_runs(run: Path) -> None:
    text = (run / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    code += "\nassert eigenvectors.shape == (2, len(np.concatenate(list(gradient.values()))))\nassert len(table) == 2\n"
    code += "assert set(state) == {name.removeprefix('dL/d') for name in gradient}\nassert ds.sizes['strength'] == 2\n"
    subprocess.run([sys.executable, "-c", code], cwd=run, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_what_a_reader_should_know_is_said(run: Path) -> None:
    text = (run / "README.md").read_text(encoding="utf-8")
    assert "not critical points" in text
    assert "no finite minimum" in text
