"""The page of reproductions sets published numbers beside those of a study, without deciding in its favour."""

import json
from pathlib import Path

import pytest

import reproductions as page

MINIMUM = {
    "configuration": "MLP2-h4096-AdamW",
    "status": "done",
    "lambda_max": 0.25,
    "trace": 5.2,
    "gradient_norm": "NaN",
    "test_accuracy": 96.4,
    "test_loss": 0.18,
    "products": {"limit": 80, "spent": 79, "cut": {"trace": "9 probes in place of 30"}},
}
BARRIERS = {"train_loss": 0.1, "test_loss": 0.2, "test_error": 3.0, "published": 0.3, "largest_test_loss": 0.195}
PAIR = {
    "configuration": "MLP2-h4096-AdamW",
    "status": "done",
    "paths": {"linear": {"barriers": BARRIERS}, "bezier": {"barriers": {**BARRIERS, "train_loss": 0.0}}},
    "failures": {"band": "no room"},
    "disagreement": 2.0,
    "ensemble_gain": 0.5,
}
ROW = {"metric": "trace", "target": "test_loss", "count": 3, "pearson": {"value": 0.5}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "wide"
    (folder / "figures").mkdir(parents=True)
    (folder / "timings" / "sessions").mkdir(parents=True)
    (folder / "timings" / "minimum").mkdir()
    (folder / "figures" / "connectivity.png").write_bytes(b"picture")
    provenance = {"hardware": {"processor": "a processor", "cores": 2}, "versions": {"torch": "2.13"}}
    (folder / "timings" / "sessions" / "1.json").write_text(json.dumps({"provenance": provenance}))
    (folder / "timings" / "minimum" / "0.json").write_text(json.dumps({"seconds": 5400.0}))
    results = {
        "data": {"name": "mnist", "train_images": 6000, "test_images": 1200},
        "configuration": {"optimisation": {"num_seeds": 3, "epochs": 50, "scheduler": ["cosine"]}},
        "configurations": [{"name": "MLP2-h4096-AdamW", "parameters": 20037642}],
        "metrics": [{**MINIMUM, "seed": seed, "lambda_max": value} for seed, value in enumerate((0.21, 0.25))],
        "curves": [PAIR],
        "correlations": {"table": [ROW]},
    }
    (folder / page.RESULTS).write_text(json.dumps(results))
    return folder


def test_ours_stand_beside_theirs_with_the_factor_between(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "docs" / "reproductions.md"
    target.parent.mkdir()
    target.write_text("# Reproductions\n\nBefore.\n\n<!-- wide -->\nobsolete\n<!-- end -->\n\nAfter.\n")
    assert page.main(["wide", str(run), "--page", str(target)]) == 0
    text = target.read_text()
    assert text.startswith("# Reproductions\n\nBefore.\n")
    assert text.rstrip().endswith("After.")
    assert "obsolete" not in text
    for words in (
        "6,000 training",
        "1.5 hours",
        "| λ_max | 0.20 to 0.30 | 0.21, 0.25 | agrees |",
        "| trace | 2.4 to 2.6 | 5.2, 5.2 | 0 of 2 within; mean 2.00× the upper bound |",
        "| gradient norm ‖∇L‖ | 4.4e-3 to 4.8e-3 | – | not obtained |",
        "| bezier | 0 | 0.2 | 3 | 0.3 |",
        "band: no room",
        "79 of 80 Hessian products (9 probes in place of 30)",
        "| trace | test_loss | -0.97 | +0.50 | 3 |",
        "| lambda_max | test_accuracy | -0.93 | – | – |",
    ):
        assert words in text
    assert (target.parent / "images" / "wide-connectivity.png").read_bytes() == b"picture"


def test_what_is_no_finished_study_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert page.main(["wide", str(tmp_path), "--page", str(tmp_path / "page.md")]) == 2
    assert "no finished study" in capsys.readouterr().err
