"""What commands answer: JSON that any program reads, and tables that 60 columns hold without a cut number."""

import ast
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import orograph
from orograph.atlas.command import _print as print_atlas
from orograph.cli import main, usage
from orograph.commands.branch_analysis import _print as print_stretches
from orograph.escapes.command import _print as print_escapes
from orograph.store.encoding import json_text
from orograph.store.wording import Score
from orograph.sweep.tables import sweep_table
from orograph.work.wide import show_table

SOURCE = Path(orograph.__file__).parent


def strict(text: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_null_stands_for_what_is_no_finite_number() -> None:
    value = {"a": math.nan, "b": [math.inf, -math.inf, 1.5], "c": np.array([np.inf, 2.0]), "d": "Infinity", "e": {"f": -np.inf}}
    assert strict(json_text(value)) == {"a": None, "b": [None, None, 1.5], "c": [None, 2.0], "d": "Infinity", "e": {"f": None}}


@pytest.mark.slow
def test_every_answer_is_written_by_the_one_function() -> None:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "answer":
                assert ast.unparse(node.args[0]).startswith(("json_text(", "text")), path


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_standard_output_is_the_answer_alone(more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["--dataset", "digits", "--subset-size", "60", "--widths", "3", "--k", "1", "--epochs", "1", "--end", "train"]
    assert main(["sweep", *tiny, "--strengths", "0.01,0.1", "--out", str(tmp_path / "run"), "--json", *more]) == 0
    found = strict(capsys.readouterr().out)
    assert (found["points"] == 2) if more else (len(found["points"]) == 2)


def test_tables_are_printed_by_the_function_that_knows_the_width() -> None:
    """A module that makes a table gives it away, shows it so, or has cells that wrap as text does: those of a live view."""
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "from rich.table import Table" in text and path.name not in ("tables.py", "watch.py", "wide.py"):
            assert "show_table" in text, path
        assert "console.print(table)" not in text, path


def printed(show: Any, width: int) -> str:
    text = io.StringIO()
    show(Console(file=text, width=width))
    return text.getvalue()


def whole(text: str, wanted: list[str], width: int) -> None:
    assert max(len(line) for line in text.splitlines()) <= width, text
    words = text.split()
    assert not [each for each in wanted if each not in words], text


@pytest.mark.parametrize("width", [60, 80])
def test_tables_of_runs_fit(width: int) -> None:
    names = ("train_loss", "objective", "test_loss", "test_accuracy", "objective_gradient_norm", "lambda_first", "lambda_last")
    common = {"ID": "0-down", "status": "done", "epochs": 3456, "frozen": True, **dict.fromkeys(names, 123.456789)}
    rows: list[dict[str, Any]] = [{**common, "L2_strength": 0.0125 + i} for i in range(3)]
    rows.append({"ID": "1", "status": "failed", "L2_strength": 0.5, "error": "its worker was lost twice, which is a long story"})
    text = printed(lambda console: show_table(sweep_table(rows, Score()), console, keys=2), width)
    whole(text, ["0-down", "1.0125", "123.4568", "123.46", "1e+02", "3456", "frozen"], width)
    assert "of 4 points" not in text
    many = printed(lambda console: show_table(sweep_table(rows[:1] * 40, Score()), console, keys=2), width)
    assert "24 of 40 points" in many
    whole(many, ["export;"], width)

    mixed = [{**rows[3], "ID": name, "L2_strength": strength} for name in ("10", "2", "2-down") for strength in (0.2, 0.1, 0.3)]
    text = printed(lambda console: show_table(sweep_table(mixed, Score()), console, keys=2), width)
    places = [line.split()[:2] for line in text.splitlines() if "failed" in line]
    up, down = ["0.1", "0.2", "0.3"], ["0.3", "0.2", "0.1"]
    assert places == [[name, strength] for name, way in (("2", up), ("2-down", down), ("10", up)) for strength in way]

    cell = {"strength": 0.0123456, "batch_size": 128, "lr": 0.015625, "escaped": 61, "chains": 64, "mean_time": 12345.678}
    cells = [{**cell, "rate_low": 1e-5, "rate_high": 9e-5, "unstable": True}, {**cell, "mean_time": math.nan, "unstable": False}]
    results = {"cells": cells, "laws": None, "no_laws": "two temperatures are needed", "heights": "", "rule": "", "rates": ""}
    text = printed(lambda console: print_escapes(results, console), width)
    whole(text, ["0.0123456", "128", "0.015625", "61", "64", "1.235e+04", "1.111e+04"], width)

    ends = {"from": "runs-branch/branch-12/3", "to": "runs-branch/branch-12/4"}
    edges = [
        {
            "kind": "stretch",
            "name": "a-run/branch-3/0",
            **ends,
            "low": 0.001234567,
            "high": 0.00234567,
            "index": 2,
            "stable": False,
        },
        {"kind": "descent", **ends, "likeness": "image", "strength": 0.00212345, "height": 0.000123456},
    ]
    maxwell = [{"first_stretch": "a/0", "second_stretch": "b/1", "strength": 0.0021234567, "certified": True, "latent": 1.2345}]
    text = printed(lambda console: print_atlas({"edges": edges, "maxwell": maxwell}, console), width)
    whole(text, ["runs-branch/branch-12/3", "a-run/branch-3/0", "0.00123457", "0.0001235", "0.0021234567"], width)

    corner = {"strength": 0.00123456789}
    stretch = {
        "name": "branch-3/11",
        "index": None,
        "points": 123,
        "low": corner,
        "high": corner,
        "begins": "branch",
        "ends": None,
    }
    found = {"stretches": [stretch], "maxwell": [], "lost_classes": [], "branches": []}
    whole(printed(lambda console: print_stretches(found, console), width), ["branch-3/11", "123", "0.001234568"], width)


def test_the_list_of_commands_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, usage().splitlines())) <= 62
