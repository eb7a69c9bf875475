"""The README of a shared run: front matter as YAML readers see it, and code that loads each kind of file, run as it stands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from orograph.cli import main
from orograph.commands.card import card_text
from orograph.commands.checksums import checksums
from orograph.store.cells import Cell
from orograph.store.dataset import open_run
from orograph.store.records import at_state
from orograph.store.run import Run

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
    assert main(["sweep", *SWEEP, "--strengths", "0,0.01", "--end", "train", "--out", str(out)]) == 0
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


def test_every_field_is_listed_with_its_unit(run: Path) -> None:
    text = (run / "README.md").read_text(encoding="utf-8")
    ds = open_run(run)
    rows = {
        line.split("`")[1]: [cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("| `")
    }
    assert {str(name) for name in [*ds.coords, *ds.data_vars]} <= set(rows)
    assert rows["test_loss"][2:5] == ["–", "float64", "nat"]
    assert rows["eigenvector"][2:5] == ["eigen, parameter", "float32", "–"]


def test_checksums_hold_and_show_what_changed(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / ".lock").write_text("another")
    check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=copy, check=False).returncode == 0
    listed = {line[66:] for line in (copy / "SHA256SUMS").read_text().splitlines()}
    assert {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()} - listed == {"SHA256SUMS", ".lock"}
    path = copy / "test_data" / "Hessian-eigenvalues-0-0.01000.csv"
    path.write_text(path.read_text() + " ")
    found = subprocess.run(check, cwd=copy, check=False, capture_output=True, text=True)
    assert found.returncode == 1
    assert path.name in found.stdout


def test_names_that_would_break_a_line_of_checksums_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "a\\b\nc").write_text("x")
    (tmp_path / "SHA256SUMS").write_bytes(checksums(tmp_path))
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=False).returncode == 0


def test_licence_and_citation_are_said(run: Path) -> None:
    text = (run / "README.md").read_text(encoding="utf-8")
    assert "This folder is shared under cc-by-4.0." in text
    assert "UCI Machine Learning Repository are under CC BY 4.0" in text
    citation = yaml.safe_load((Path(__file__).parents[2] / "CITATION.cff").read_text(encoding="utf-8"))
    assert f"title = {{{citation['title']}}}" in text
    assert f"author = {{{{{citation['authors'][0]['name']}}}}}" in text
    assert "Nobody has said yet" in card_text(Run.open(run), "unknown")


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
    assert "4 of 4 eigenpairs are within the tolerance" in text


def published(tmp_path: Path) -> Path:
    out = tmp_path / "published"
    assert main(["sweep", *SWEEP, "--strengths", "0.01,0.02", "--epochs", "3", "--published", "--out", str(out)]) == 0
    return out


@pytest.mark.slow
def test_running_averages_of_the_published_procedure_are_not_called_losses_of_the_weights(tmp_path: Path) -> None:
    out = published(tmp_path)
    assert main(["card", str(out)]) == 0
    text = (out / "README.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if "Train_Loss" in line)
    assert row.count("running average") == 2
    assert "mean loss L over the training set" not in row


def test_losses_of_the_weights_are_called_what_they_are(run: Path) -> None:
    text = (run / "README.md").read_text(encoding="utf-8")
    assert "`Train_Loss` mean loss L over the training set" in text


@pytest.mark.slow
def test_arrays_of_the_published_procedure_say_which_loss_is_an_average(tmp_path: Path) -> None:
    found = open_run(published(tmp_path))
    assert "running average" in found.train_loss.long_name
    assert "running average" in found.objective.long_name
    assert "at the recorded state" in found.final_train_loss.long_name
    assert abs(found.train_loss - found.final_train_loss).max() > 1e-6


def test_an_analysis_takes_the_losses_of_the_state() -> None:
    averaged = {"train_loss": 2.0, "objective": 2.5, "final_train_loss": 1.0, "final_objective": 1.5, "test_loss": 3.0}
    assert {name: at_state(averaged)[name] for name in ("train_loss", "objective", "test_loss")} == {
        "train_loss": 1.0,
        "objective": 1.5,
        "test_loss": 3.0,
    }
    plain = {"train_loss": 2.0, "objective": 2.5}
    assert at_state(plain) == plain


HOSTILE = "| x [click](http://elsewhere) <img src=x> `code`\n# forged\x1b[2J"


def test_what_a_run_from_elsewhere_says_is_text_in_the_page_of_a_hub(tmp_path: Path) -> None:
    with Run.create(
        tmp_path / "[b]odd & <i>",
        kind="sweep",
        configuration={"data": {"dataset": HOSTILE, HOSTILE: HOSTILE}, HOSTILE: [HOSTILE]},
        numerics={},
        provenance={"versions": {"torch": HOSTILE}},
        cells=[Cell(0, "up", 0.5)],
    ) as run:
        run.commit(run.plan.cells[0])
    with Run.create(
        run.path, kind="sweep", configuration=run.configuration, numerics={}, provenance={"versions": {"torch": f"2{HOSTILE}"}}
    ) as run:
        run.add([Cell(0, "up", 1.0)])
        run.commit(run.plan.cells[1])
    text = card_text(Run.open(run.path), HOSTILE)
    front, body = re.match(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL).groups()
    read = yaml.safe_load(front)
    assert read["license"] == HOSTILE
    assert read["datasets"] == [HOSTILE.replace("\n", "\\n").replace("\x1b", "\\x1b")]
    assert set(read) == {"license", "library_name", "pretty_name", "tags", "datasets", "metrics"}
    assert "\x1b" not in body
    assert "# forged" not in body.splitlines()
    plain = re.sub(r"\\.", "", body)  # without what is escaped
    assert not re.search(r"\]\(http|<img|<i>", plain)
    rows = [line for line in plain.splitlines() if line.startswith("|") and "elsewhere" in line]
    assert len(rows) == 3
    assert {row.count("|") for row in rows} == {3}
    assert "1 of 2 points were made with" in plain
