"""The examples run as they stand, on fewer images and less text, and leave their pictures."""

import json
import pydoc_data.topics
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import orograph as og
from orograph.data.catalogue import load_data
from orograph.models.catalogue import build_model
from orograph.spectral.eigenpairs import lanczos

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
PICTURES = {"mlp": ["mlp-spectrum", "mlp-classes"], "resnet": ["resnet-surface"], "transformer": ["transformer-spectrum"]}
DRAWN = [path for path in EXAMPLES if path.stem in PICTURES]
SWEPT = {path.stem: (path, []) for path in EXAMPLES if path.stem not in PICTURES}
SWEPT["llama"] = (SWEPT["language_model"][0], ["llama"])
HF = ("language_model", "llama", "anchored_finetuning", "lora_classifier")

# Of a notebook: strengths, pairs, epochs of training and of a path, points of a path.
FEWER = {
    "[0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05]": "[0.0001, 0.005, 0.02]",
    "k=8,": "k=2,",
    "epochs=300": "epochs=10",
    r"\"epochs\": 300": r"\"epochs\": 10",
    "epochs=500": "epochs=2",
    "points=41": "points=5",
}
CONVERT = """
import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor
notebook = nbformat.read("mine.ipynb", 4)
ExecutePreprocessor(timeout=900).preprocess(notebook, {"metadata": {"path": "."}})
nbformat.write(notebook, "done.ipynb")
open("done.html", "w", encoding="utf-8").write(HTMLExporter().from_notebook_node(notebook)[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("example", DRAWN, ids=lambda path: path.stem)
@pytest.mark.usefixtures("own_state")
def test_an_example_leaves_its_pictures(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydoc_data.topics, "topics", {"few": str(pydoc_data.topics.topics)[:2_000]})
    monkeypatch.setattr(og, "load_data", lambda name, subset_size=5_000: load_data(name, subset_size=subset_size // 80))
    monkeypatch.setattr(og, "lanczos", partial(lanczos, max_products=60))
    narrow = {"mlp": {"widths": (8, 8)}}
    monkeypatch.setattr(og, "build_model", lambda name, **given: build_model(name, **given, **narrow.get(name, {})))
    monkeypatch.setattr(sys, "argv", [str(example), str(tmp_path)])
    runpy.run_path(str(example), run_name="__main__")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == sorted(f"{name}.png" for name in PICTURES[example.stem])


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEPT)
@pytest.mark.usefixtures("own_state")
def test_an_example_leaves_a_run_and_its_report(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if name in HF:
        pytest.importorskip("peft")
    example, words = SWEPT[name]
    monkeypatch.syspath_prepend(example.parent)  # as Python does for a script
    monkeypatch.setattr(sys, "argv", [str(example), str(tmp_path / "run"), *words, "--quick"])
    runpy.run_path(str(example), run_name="__main__")
    found = og.open_run(tmp_path / "run")
    assert found.sizes["strength"] == 2
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
    source = notebook.read_text(encoding="utf-8")
    for many, few in FEWER.items():
        assert many in source
        source = source.replace(many, few)
    (tmp_path / "mine.ipynb").write_text(source, encoding="utf-8")
    run = [sys.executable, "-c", CONVERT]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    page = json.loads((tmp_path / "done.ipynb").read_text(encoding="utf-8"))
    outputs = [each for cell in page["cells"] if cell["cell_type"] == "code" for each in cell["outputs"]]
    assert sum("image/png" in each.get("data", {}) for each in outputs) >= 3
    assert not [each for each in outputs if each["output_type"] in ("stream", "error")]
    lines = ["".join(each["data"]["text/plain"]) for each in outputs if "text/html" in each.get("data", {})]
    assert any(line.startswith("3 of 3 points, ") for line in lines)
    assert any(" results, " in line for line in lines)
    assert (tmp_path / "done.html").stat().st_size > 100_000
