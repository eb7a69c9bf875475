"""The examples run as they stand, on fewer images and less text, and leave their pictures."""

import json
import pydoc_data.topics
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import orograph as og

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
PICTURES = {"mlp": ["mlp-spectrum", "mlp-classes"], "resnet": ["resnet-surface"], "transformer": ["transformer-spectrum"]}
DRAWN = [path for path in EXAMPLES if path.stem in PICTURES]
SWEPT = {path.stem: (path, []) for path in EXAMPLES if path.stem not in PICTURES}
SWEPT["llama"] = (SWEPT["language_model"][0], ["llama"])
HF = ("language_model", "llama", "anchored_finetuning", "lora_classifier")


@pytest.mark.slow
@pytest.mark.parametrize("example", DRAWN, ids=lambda path: path.stem)
@pytest.mark.usefixtures("few_images", "own_state")
def test_an_example_leaves_its_pictures(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydoc_data.topics, "topics", {"few": str(pydoc_data.topics.topics)[:20_000]})
    monkeypatch.setattr(sys, "argv", [str(example), str(tmp_path)])
    runpy.run_path(str(example), run_name="__main__")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == sorted(f"{name}.png" for name in PICTURES[example.stem])


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEPT)
@pytest.mark.usefixtures("own_state")
def test_an_example_leaves_a_run_of_five_strengths_and_its_report(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if name in HF:
        pytest.importorskip("peft")
    example, words = SWEPT[name]
    monkeypatch.syspath_prepend(example.parent)  # as Python does for a script
    monkeypatch.setattr(sys, "argv", [str(example), str(tmp_path / "run"), *words, "--quick"])
    runpy.run_path(str(example), run_name="__main__")
    found = og.open_run(tmp_path / "run")
    assert found.sizes["strength"] == 5
    assert (found.status == "done").all()
    assert found.scalar_curvature.notnull().all()  # an analysis makes it
    report = tmp_path / "run" / "report.html"
    assert f"{report}, " in capfd.readouterr().out.splitlines()[-1]
    assert report.stat().st_size > 1_000_000  # Plotly and all


@pytest.mark.slow
@pytest.mark.parametrize("notebook", sorted(EXAMPLES[0].parent.glob("notebooks/*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_becomes_a_page_without_a_wall_of_text(notebook: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbconvert")
    pytest.importorskip("ipykernel")
    words = ["nbconvert", "--execute", "--to", "notebook", "--output", "done", str(shutil.copy(notebook, tmp_path))]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    page = json.loads((tmp_path / "done.ipynb").read_text(encoding="utf-8"))
    outputs = [each for cell in page["cells"] if cell["cell_type"] == "code" for each in cell["outputs"]]
    assert sum("image/png" in each.get("data", {}) for each in outputs) >= 3
    assert not [each for each in outputs if each["output_type"] in ("stream", "error")]
    lines = ["".join(each["data"]["text/plain"]) for each in outputs if "text/html" in each.get("data", {})]
    assert any(line.startswith("9 of 9 points, ") for line in lines)
    assert any(" results, " in line for line in lines)
    made = [sys.executable, "-m", "nbconvert", "--to", "html", "done.ipynb"]
    assert subprocess.run(made, cwd=tmp_path, capture_output=True, timeout=300, check=False).returncode == 0
    assert (tmp_path / "done.html").stat().st_size > 100_000
