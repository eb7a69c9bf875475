"""Warnings on the command line are one line each, told once, of workers too, and not under `--quiet`."""

import json
import pickle
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from orograph.cli import main
from orograph.errors import OrographWarning
from orograph.remarks import told
from orograph.work.pools import _relayed
from orograph.work.worker import packed, packed_context, perform

PLUGIN = """
import torch
def of_blanks():
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
x = torch.linspace(-1, 1, 40).view(10, 4)
x[2:4] = 0
def blanks():
    return [(x, torch.arange(10) % 2)]
"""


@pytest.mark.slow
@pytest.mark.parametrize(("flag", "lines"), [("", 1), ("--json", 1), ("--quiet", 0)])
def test_measure_tells_a_kink_in_one_line_unless_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, flag: str, lines: int
) -> None:
    (tmp_path / "blank.py").write_text(PLUGIN)
    monkeypatch.setattr("orograph.commands.measure.save", lambda figure, stem: (stem, stem))
    monkeypatch.setattr("orograph.commands.measure._figure", lambda *_: None)  # half of the time
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    nn.init.zeros_(model[0].bias)
    torch.save(model.state_dict(), "minimum.pth")
    names = ["minimum.pth", "--model", "blank:of_blanks", "--data", "blank:blanks"]
    few = ["--k", "2", "--probes", "2", "--trace-probes", "3", "--threads", "1"]
    assert main(["measure", *names, *few, *filter(None, [flag])]) == 0
    out, err = capsys.readouterr()
    said = "warning: the loss has a kink at these very parameters"
    assert [line.startswith(said) for line in err.splitlines()] == [True] * lines
    fields = json.loads((tmp_path / "minimum-measured.json").read_text())
    assert (fields["kink"], fields["smooth"]) == ("0.bias", False)
    assert flag != "--json" or json.loads(out) == fields


@pytest.mark.parametrize(("own", "others"), [(True, True), (True, False), (False, False)])
def test_each_warning_is_one_line_and_told_once(capsys: Any, own: bool, others: bool) -> None:
    with told(own=own, others=others):
        for _ in range(2):
            warnings.warn("of ours", OrographWarning, stacklevel=1)
            warnings.warn("of torch's\n  on two lines\x1b[31m", UserWarning, stacklevel=1)
        warnings.warn("of torch's\n  on two lines\x1b[31m", RuntimeWarning, stacklevel=1)  # from another place
    expected = ["warning: of ours"] * own + [r"warning: of torch's on two lines\x1b[31m"] * others
    assert capsys.readouterr().err.splitlines() == expected


def stage(bench: Any, number: int, say: Any) -> int:
    for _ in range(3):
        warnings.warn(f"what {bench} says", OrographWarning, stacklevel=1)
    warnings.warn("what torch says", UserWarning, stacklevel=1)
    return number


class Task:
    """A context as workers get it."""

    stages: ClassVar[Mapping[str, Callable[..., Any]]] = {"stage": stage}
    threads = 1

    def bench(self) -> str:
        return "the bench"


def test_what_workers_warn_of_is_told_once_by_their_driver(capsys: Any) -> None:
    with told(own=True, others=True):
        results = [perform(packed_context(Task()), "stage", packed((number,))) for number in range(3)]
        assert capsys.readouterr().err == ""  # a worker's own standard error
        futures = []
        for result in results:
            inner: Future[bytes] = Future()
            futures.append(_relayed(inner, MemoryError))
            inner.set_result(result)
    assert [future.result(timeout=5)[0] for future in futures] == [0, 1, 2]
    assert capsys.readouterr().err.splitlines() == ["warning: what the bench says", "warning: what torch says"]


def test_a_result_arrives_also_where_warnings_are_errors() -> None:
    inner: Future[bytes] = Future()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outer = _relayed(inner, MemoryError)
        inner.set_result(pickle.dumps((("done", 0.1), [("what torch says", False)])))
    assert outer.result(timeout=5) == ("done", 0.1)
