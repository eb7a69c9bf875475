"""A table for a paper: what stands in it follows from the run, and it is LaTeX that a plain document with booktabs takes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import made_up_sweep
from orograph.cli import main
from orograph.commands.latex import MOST_ROWS, latex
from orograph.errors import ConfigurationError
from orograph.store.cells import Cell
from orograph.store.findings import FindingKey
from orograph.store.part import part_of
from orograph.store.run import Run
from orograph.study.results import NAME


def rows(text: str) -> list[list[str]]:
    """The cells, the heading first; every line of the body ends a row."""
    body = text.partition(r"\toprule")[2].partition(r"\bottomrule")[0].replace(r"\midrule", "").strip()
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line)] for line in body.removesuffix(r"\\").split("\\\\\n")]


def well_formed(text: str) -> None:
    """Environments nest, braces and dollars come in pairs, every row has as many cells as there are columns."""
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    bare = re.sub(r"\\[{}$&%#_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert columns is not None
    assert {len(cells) for cells in rows(text)} == {len(columns[1])}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("runs") / "a_run"
    made_up_sweep.write(path, 5, k=3, directions=("up", "down"), failed=2)
    return Run.open(path)


def test_a_sweep_has_a_row_a_strength_and_direction(run: Run) -> None:
    text = latex(run)
    well_formed(text)
    head, *body = rows(text)
    assert head[:4] == ["direction", r"$\lambda$", "train $L$ (nat)", "test $L$ (nat)"]
    assert r"test acc. (\%)" in head
    assert [cells[:2] for cells in body] == [[way, s] for way in ("up", "down") for s in ("0", "0.025", "0.05", "0.075", "0.1")]
    assert body[1][3] == f"${made_up_sweep.expected_loss(0.025):.4f}$"
    assert body[2][2:] == ["--"] * (len(head) - 2)
    assert r"a\_run" in text
    assert "--: not known." in text


def test_columns_are_those_that_are_chosen(run: Run) -> None:
    head, first, *_ = rows(latex(run, ["lambda_first", "frozen", "status_of"][:2]))
    assert head[2:] == [r"$\lambda_{1}$", "frozen"]
    assert first[3] == "no"
    with pytest.raises(ConfigurationError, match="lambda_first"):
        latex(run, ["lambda_frist"])


def test_of_several_seeds_there_are_means_and_deviations(tmp_path: Path) -> None:
    found = {0: 1.0, 1: 1.2, 2: 1.7}
    cells = [Cell(seed, "up", 0.01) for seed in found]
    arguments: dict = {"configuration": {}, "numerics": {}, "provenance": {}}
    with Run.create(tmp_path / "run", kind="sweep", cells=cells, **arguments) as writing:
        for cell in cells:
            writing.commit(cell, scalars={"train_loss": found[cell.seed], "trace": 3.0, "trace_error": 0.5})
    run = Run.open(tmp_path / "run")
    text = latex(run)
    well_formed(text)
    spread = np.std(list(found.values()), ddof=1)
    assert rows(text)[1][1] == rf"${np.mean(list(found.values())):.1f} \pm {spread:.1f}$"
    assert r"Mean $\pm$ standard deviation over 3 seeds." in text
    alone = latex(run, part=part_of(run, seeds=[1]))
    assert rows(alone)[1][1:] == ["$1.200$", r"$3.0 \pm 0.5$"]
    assert "standard error" in alone
    assert "seed 1 of 3" in alone


def test_a_study_has_a_row_a_configuration(tmp_path: Path) -> None:
    accuracies, barriers = {("w4", 0): 90.0, ("w4", 1): 91.0, ("w8", 0): 95.0}, {"0-1": 0.25}
    cells = [Cell(seed, configuration=name) for name, seed in (*accuracies, ("w8", 1))]
    arguments: dict = {"configuration": {}, "numerics": {}, "provenance": {}}
    with Run.create(tmp_path / "run", kind="study", cells=cells, **arguments) as writing:
        for cell in cells:
            if (value := accuracies.get((cell.configuration, cell.seed))) is None:
                writing.commit(cell, status="failed", scalars={"failed_epoch": 1})
            else:
                writing.commit(cell, scalars={"test_accuracy": value})
                writing.commit_finding(FindingKey("minimum", cell.configuration, str(cell.seed)), scalars={"lambda_max": 2.0})
        for pair, barrier in barriers.items():
            writing.commit_finding(FindingKey("pair", "w4", pair), scalars={"seeds": [0, 1], "linear_barrier": barrier})
    settings = [{"name": "w4", "hidden_size": 4}, {"name": "w8", "hidden_size": 8}]
    (tmp_path / "run" / NAME).write_text(json.dumps({"varied": ["hidden_size"], "configurations": settings}))
    text = latex(Run.open(tmp_path / "run"))
    well_formed(text)
    assert rows(text) == [
        ["hidden size", "$n$", r"test acc. (\%)", r"$\lambda_{\mathrm{max}}$", "linear barrier (nat)"],
        ["4", "2", r"$90.5 \pm 0.7$", r"$2.000 \pm 0$", "$0.2500$"],
        ["8", "1", "$95.00$", "$2.000$", "--"],
    ]


@pytest.mark.slow
def test_a_long_ladder_is_thinned_and_says_so(tmp_path: Path) -> None:
    made_up_sweep.write(tmp_path / "long", 101, k=1)
    run = Run.open(tmp_path / "long")
    text = latex(run)
    well_formed(text)
    assert len(rows(text)) == 1 + MOST_ROWS
    assert [cells[0] for cells in rows(text)][1::24] == ["0", "0.1"]
    assert f"{MOST_ROWS} of 101 rows" in text
    chosen = latex(run, part=part_of(run, points=["0.01:0.05"]))
    assert len(rows(chosen)) == 1 + 41


def test_the_command_writes_it(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.tex"
    args = ["export", str(run.path), "--to", "latex", "--columns", "test_loss", "--points", "0.025,0.1", "--out", str(out)]
    assert main(args) == 0
    assert [cells[1] for cells in rows(out.read_text())] == [r"$\lambda$", "0.025", "0.1", "0.025", "0.1"]
    capsys.readouterr()
    for wrong in (["--columns", "test_los"], ["--points", "0.3"], ["--points", "x"], ["--seeds", "7"]):
        assert main([*args[:4], *wrong]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert main(["export", str(run.path), "--columns", "test_loss"]) == 2  # of LaTeX alone
