"""Whatever a person gives a command, it ends with an exit code and at most one sentence, and leaves nothing half-written."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from orograph import cli
from orograph.cli import FAULT, main

SMALL = ("--dataset", "digits", "--subset-size", "60", "--widths", "4", "--epochs", "1", "--k", "2", "--threads", "1", "--quiet")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands run in an empty folder, from which modules are imported."""
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.startswith("brought_"):
            del sys.modules[name]


def told(capsys: pytest.CaptureFixture[str], *args: str, code: int = 2) -> str:
    """The one sentence with which a command is refused, after warnings of a line each; nothing is written."""
    before = sorted(Path().rglob("*"))
    assert main(args) == code
    said = capsys.readouterr()
    *warnings, sentence = said.err.strip().splitlines()
    assert sentence.startswith("error: "), said.err
    assert all(line.startswith("warning: ") for line in warnings), said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert [path for path in sorted(Path().rglob("*")) if "__pycache__" not in path.parts] == before
    return said.err


VALUES = [
    (["--points", "10000000"], "100000"),
    (["--points", "9" * 320], "100000"),
    (["--points", "60000", "--direction", "both"], "points are more than a run holds"),
    (["--strengths", "1e39"], "--strengths 1e+39"),
    (["--max", "1e39"], "--max 1e+39"),
    (["--lr", "1e39"], "--lr 1e+39"),
    (["--weight-decay", "1e39", "--optimizer", "AdamW"], "--weight-decay"),
    (["--seeds", "-1"], "≥ 0"),
    (["--seeds", "4294967296"], "4294967295"),
    (["--subset-seed", "-1"], "--subset-seed -1"),
    (["--subset-seed", "4294967296"], "--subset-seed"),
    (["--anchor", "train:²"], "train:0"),
    (["--anchor", "train:99999999999"], "train:0"),
    (["--anchor", "train:4294967296"], "4294967295"),
    (["--widths", "1" + "0" * 20], "--widths"),
    (["--widths", "10000000,10000000"], "of memory"),
    (["--widths", ",".join(["8"] * 200)], "at most 100 numbers"),
    (["--widths", "²"], "²"),
    (["--threads", "-1"], "--threads -1"),
    (["--threads", "1000000"], "at most 1024"),
    (["--parallel", "processes", "--jobs", "1000000"], "at most 1024"),
    (["--memory", "1"], "unit"),
    (["--memory", "9" * 320], "more than any machine"),
    (["--memory", "9" * 20 + "TB"], "more than any machine"),
    (["--device", "meta"], "--device meta"),
    (["--device", "mps"], "--device mps"),
    (["--device", "xla"], "--device xla"),
    (["--device", "cpu:7"], "--device cpu:7"),
    (["--strengths", ",".join(f"1e-{n}" for n in range(400))], "twice"),
    (["--model", "ResNet", "--widths", "4"], "left out"),
    (["--model", "CNN", "--widths", "4,5"], "one number"),
    (["--out", "a\0b"], "number 0"),
    (["--anchor", "\udcff.pth"], "no text in this locale"),
    (["--out", "n" * 300], "File name too long"),
    (["--out", "/proc/orograph/run"], "/proc"),
    (["--config", "n" * 300], "cannot be read"),
    (["--config", "."], "cannot be read"),
]


@pytest.mark.parametrize(("args", "words"), VALUES, ids=[" ".join(args)[:40] for args, _ in VALUES])
def test_a_value_that_cannot_be_is_one_sentence(capsys: pytest.CaptureFixture[str], args: list[str], words: str) -> None:
    given = dict(zip(SMALL[:-1:2], SMALL[1:-1:2], strict=True)) | {"--out": "run"}
    given |= dict(zip(args[::2], args[1::2], strict=True))
    if given.get("--model") == "ResNet" and "--widths" not in args:
        del given["--widths"]
    assert words in told(capsys, "sweep", *(word for pair in given.items() for word in pair), "--quiet")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["study", "--num-seeds", "1000000"], "at most 1000"),
        (["study", "--seed", "4294967295"], "--seed"),
        (["study", "--hidden-size", "10000000"], "of memory"),
        (["study", "--hidden-size", "1" + "0" * 20], "torch can count"),
        (["study", "--slice-points", "1000000"], "at most 10000"),
        (["study", "--lr", "1e39"], "--lr 1e+39"),
        (["measure", "x.pth", "--threads", "-1"], "--threads -1"),
        (["measure", "x.pth", "--seed", "-1"], "--seed -1"),
        (["measure", "x.pth", "--memory", "1"], "unit"),
        (["measure", "x.pth", "--k", "0"], "--k 0"),
        (["analyze", "x", "--seed", "-1"], "--seed -1"),
        (["analyze", "x", "--probes", "99999999999"], "--probes"),
        (["export", "x", "--vectors"], "netcdf"),
        (["report", "x[/b]"], "x[/b]"),
        (["report", "\x1b[31mred"], "\\x1b[31mred"),
        (["watch", "n" * 300], "too long"),
        (["import", "."], "artifacts"),
        (["completion", "zhs"], "'zsh'"),
        (["swep"], "'sweep'"),
    ],
)
def test_so_are_those_of_other_commands(capsys: pytest.CaptureFixture[str], args: list[str], words: str) -> None:
    here = ["--dataset", "digits"] if args[0] == "study" else []
    assert words in told(capsys, *args, *here)


MODULE = """
import torch
from torch import nn
from torch.nn import functional as F

calls = []
def net(): return nn.Linear(3, 2)
def batches(): return [(torch.ones(5, 3), torch.arange(5) % 2), (torch.ones(5, 3), torch.arange(5) % 2)]
def beyond(): return [batches()[0], (torch.ones(5, 3), torch.tensor([0, 1, 2, 1, 0]))]
def negative(): return [(torch.ones(5, 3), torch.tensor([0, 1, -1, 1, 0]))]
def floats(): return [(torch.ones(5, 3), torch.ones(5))]
def pairs(): return [(torch.ones(5, 3), torch.ones(5, 3))]
def wide(): return [(torch.ones(5, 7), torch.arange(5) % 2)]
def broken(): raise RuntimeError("no such\\ndisk")
def later(): return Later()
class Later(list):
    def __iter__(self): raise KeyError("gone")
def constant(outputs, targets): return torch.tensor(1.0)
def detached(outputs, targets): return F.cross_entropy(outputs, targets).detach()
def number(outputs, targets): return 1.0
def whole(outputs, targets): return outputs.argmax(1)
def raising(outputs, targets): raise ValueError("not today")
def one(outputs): calls.append(outputs)
def lazy(): return nn.LazyLinear(2)
def empty(): return nn.Sequential(nn.Linear(3, 2), nn.Linear(0, 2))
def nothing(): return nn.Identity()
def meta(): return nn.Linear(3, 2, device="meta")
def complex_(): return nn.Linear(3, 2, dtype=torch.complex64)
def function(): return net
"""


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("loss", "os:system", "no function of outputs and targets"),
        ("loss", "brought_own:one", "no function of outputs and targets"),
        ("loss", "torch.nn:CrossEntropyLoss", "is a class"),
        ("loss", "relu", "unknown loss 'relu'"),
        ("loss", "softmax", "unknown loss 'softmax'"),
        ("loss", "ctc_loss", "unknown loss 'ctc_loss'"),
        ("loss", "triplet_margin_loss", "unknown loss"),
        ("loss", "__import__", "unknown loss"),
        ("loss", "mse_loss", "does not take outputs (5, 2) float32 and targets (5,) int64"),
        ("loss", "brought_own:constant", "constant, or detached"),
        ("loss", "brought_own:detached", "constant, or detached"),
        ("loss", "brought_own:number", "gives float"),
        ("loss", "brought_own:whole", "must give a real tensor"),
        ("loss", "brought_own:raising", "not today"),
        ("data", "os:getcwd", "no function of your own"),
        ("data", "brought_own:beyond", "a target 2"),
        ("data", "brought_own:negative", "a target -1"),
        ("data", "brought_own:floats", "does not take outputs (5, 2) float32 and targets (5,) float32"),
        ("data", "brought_own:pairs", "targets (5, 3)"),
        ("data", "brought_own:wide", "does not take inputs (5, 7) float32"),
        ("data", "brought_own:broken", "failed with RuntimeError: no such"),
        ("data", "brought_own:later", "cannot be iterated"),
        ("model", "brought_own:lazy", "no shape yet"),
        ("model", "brought_own:empty", "is empty"),
        ("model", "brought_own:nothing", "no parameters"),
        ("model", "brought_own:meta", "no values"),
        ("model", "brought_own:complex_", "is complex"),
        ("model", "brought_own:function", "not a torch.nn.Module"),
        ("model", "os:getcwd", "no function of your own"),
    ],
)
def test_what_a_person_brings_to_measure_is_refused_by_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str, name: str, words: str
) -> None:
    called: list[str] = []
    monkeypatch.setattr(os, "system", called.append)
    Path("brought_own.py").write_text(MODULE)
    torch.save(nn.Linear(3, 2).state_dict(), "net.pth")
    given = {"model": "brought_own:net", "data": "brought_own:batches", "loss": "cross_entropy", option: name}
    assert words in told(capsys, "measure", "net.pth", *(f"--{key}={value}" for key, value in given.items()), "--threads=1")
    assert called == []


def test_an_anchor_that_float32_cannot_hold_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from orograph.models.catalogue import build_model

    model = build_model("mlp", input_shape=(1, 8, 8), init_seed=0, widths=(4,)).double()
    state = {name: value.detach().clone() for name, value in model.named_parameters()}
    state["fc1.weight"][0, 0] = 1e39
    torch.save(state, "anchor.pth")
    assert "that float32 cannot hold" in told(capsys, "sweep", *SMALL, "--anchor", "anchor.pth", "--out", "run")


def strict(text: str) -> object:
    """JSON in the strict sense: NaN and Infinity are none."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@pytest.mark.slow
def test_a_sweep_of_which_every_point_fails_ends_draws_and_resumes(capsys: pytest.CaptureFixture[str]) -> None:
    args = ("sweep", *SMALL, "--optimizer", "SGD", "--epochs", "4", "--strengths", "1e30,2e30", "--out", "run", "--json")
    for _ in range(2):  # again: a resume
        assert main(args) == 1
        found = strict(capsys.readouterr().out)
        assert isinstance(found, dict)
        assert [point["status"] for point in found["points"]] == ["failed", "failed"]
    assert Path("run/figures/sweep.png").is_file()


@pytest.mark.slow
def test_a_dry_run_prints_its_plan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SMALL, "--points", "3", "--dry-run", "--json", "--out", "run"]) == 0
    plan = strict(capsys.readouterr().out)
    assert isinstance(plan, dict)
    assert plan["points"] == 3
    assert plan["seconds"] > 0
    assert not Path("run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("model", "widths"), [("MLP1", "3"), ("CNN", "3"), ("MLP3", "")])
def test_every_listed_model_without_batchnorm_is_swept_and_imported(model: str, widths: str) -> None:
    few = [word for word in SMALL if word not in ("--widths", "4")]
    chosen = ["--model", model, *(["--widths", widths] if widths else [])]
    assert main(["sweep", *few, *chosen, "--points", "1", "--out", "run"]) == 0
    data = ["--dataset", "digits", "--subset-size", "60", "--threads", "1", "--quiet"]
    assert main(["import", "run/test_data", *data, *chosen, "--out", "theirs"]) == 0
    assert "epochs" not in Path("theirs/configuration.toml").read_text()
    stated = json.loads(Path("theirs/run.json").read_text())["configuration"]
    assert stated["model"]["model"] == model
    assert "epochs" not in stated["training"]  # nobody said how the points were trained
    assert "points" not in stated["ladder"]
    if model == "MLP1":
        assert main(["import", "run/test_data", *data, *chosen, "--out", "theirs"]) == 0  # a resume
        assert main(["analyze", "theirs", "--dry-run"]) == 0


def test_a_point_that_is_its_start_says_so() -> None:
    from orograph.sweep.tables import remarks

    start = "no epoch improved on the start"
    assert remarks({"best_epoch": 0, "frozen": False}) == [start]
    assert remarks({"best_epoch": 0, "frozen": True}) == ["frozen"]
    assert remarks({"best_epoch": 3, "frozen": False}) == []


def test_outliers_are_told_by_the_gap_first() -> None:
    from orograph.commands.measure import _outliers
    from orograph.spectral.bulk import Outliers

    assert _outliers(None) == "no two positive pairs"
    found = Outliers(edge=0.05, count=30, lower_bound=True, gap=1.0986, above_gap=9)
    assert _outliers(found) == "9 above the largest gap, a factor of 3; 30 or more above the bulk edge 0.05"


@pytest.mark.slow
def test_the_configuration_runs_again_in_the_same_arithmetic(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SMALL, "--points", "1", "--dtype", "float64", "--memory", "50MB", "--out", "a"]) == 0
    assert main(["sweep", "--config", "a/configuration.toml", "--out", "b", "--quiet"]) == 0
    one, other = (json.loads(Path(name, "run.json").read_text())["numerics"] for name in "ab")
    assert (one["dtype"], one["memory"]) == ("float64", "50MB")
    assert one == other
    assert main(["sweep", "--config", "a/configuration.toml", "--out", "a", "--quiet"]) == 0  # resumes


def test_a_fault_of_the_program_says_so_and_how_to_see_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(settings: object) -> int:
        raise KeyError("train[/b]_loss")

    monkeypatch.setattr(cli, "_found", lambda place: wrong)
    monkeypatch.setattr(cli, "_parsed", lambda name, args: None)
    said = told(capsys, "doctor", code=FAULT)
    assert "fault of orograph (KeyError: 'train[/b]_loss'; test_boundary.py" in said
    assert "--debug" in said
    with pytest.raises(KeyError):
        main(["doctor", "--debug"])
    monkeypatch.setenv("OROGRAPH_DEBUG", "1")
    with pytest.raises(KeyError):
        main(["doctor"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device", "analysis.json"), "No space left on device (analysis.json)"),
        (PermissionError(13, "Permission denied", "/proc/x"), "Permission denied (/proc/x)"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "not enough memory"),
    ],
)
def test_the_system_at_its_end_is_no_fault_of_the_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def ends(settings: object) -> int:
        raise error

    monkeypatch.setattr(cli, "_found", lambda place: ends)
    monkeypatch.setattr(cli, "_parsed", lambda name, args: None)
    assert words in told(capsys, "doctor")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "environment"),
    [
        (["sweep", "--help"], {"PYTHONIOENCODING": "ascii"}),
        (["--help"], {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
        (["doctor"], {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
        (["sweep", "--min", "-1"], {"PYTHONIOENCODING": "ascii"}),
    ],
)
def test_a_terminal_of_ascii_alone_is_written_to(args: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orograph", *args], capture_output=True, env=os.environ | environment, check=False
    )
    assert done.returncode == (2 if "--min" in args else 0), done.stderr
    assert b"Traceback" not in done.stderr
    assert (done.stdout + done.stderr).isascii()


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(("words", "code"), [("--help", 0), ("doctor nowhere", 2)])
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_reason_to_fail(words: str, code: int, closed: str) -> None:
    ended = subprocess.run(["bash", "-c", f"{sys.executable} -m orograph {words} {closed}"], capture_output=True, check=False)
    assert ended.returncode == code
    assert b"Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("args", [["--help"], ["doctor"], ["sweep", "--help"]])
def test_output_that_goes_nowhere_is_one_sentence(args: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "orograph", *args], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
