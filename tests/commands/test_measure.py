"""All numbers of a minimum against the dense float64 Hessian of the same small network, and the command that prints them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian
from torch.nn import functional as F

import orograph as og
from orograph.cli import main
from orograph.commands.measure import measure_rows
from orograph.process import out_of_memory
from orograph.store.run import Run

PLUGIN = """
import torch
def build():
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
def batches():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(n, 4, generator=generator), torch.randn(n, 2, generator=generator)) for n in (7, 5)]
"""


@pytest.fixture
def problem() -> tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return model, [(torch.randn(n, 6).double(), torch.randint(0, 3, (n,))) for n in (20, 13)]


def dense(model: nn.Module, data) -> np.ndarray:
    inputs, targets = (torch.cat(parts) for parts in zip(*data, strict=True))
    names, shapes = zip(*((n, p.shape) for n, p in model.named_parameters()), strict=True)
    theta = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([s.numel() for s in shapes])
        named = {n: part.view(s) for n, part, s in zip(names, parts, shapes, strict=True)}
        return F.cross_entropy(functional_call(model, named, (inputs,)), targets)

    return hessian(loss)(theta).numpy()


def test_the_numbers_are_those_of_the_dense_hessian(problem) -> None:
    model, data = problem
    found = og.measure(model, F.cross_entropy, data, k=5, probes=6, steps=60, trace_probes=20)
    matrix = dense(model, data)
    values = np.linalg.eigvalsh(matrix)
    fields = found.fields()
    assert fields["lambda_max"] == pytest.approx(values[-1], rel=1e-3)
    assert fields["lambda_min"] == pytest.approx(values[0], rel=1e-3)
    # XTrace: four standard errors miss once in 16,000; rounding below.
    assert abs(fields["trace"] - np.trace(matrix)) <= 4 * fields["trace_error"] + 1e-9
    assert abs(fields["frobenius_square"] - (values**2).sum()) <= 4 * fields["frobenius_square_error"] + 1e-9
    norm = sum(p.square().sum() for p in model.parameters()).item()
    assert fields["scaled_lambda_max"] == pytest.approx(norm * values[-1], rel=1e-3)
    assert np.trapezoid(fields["density_values"], fields["density_grid"]) == pytest.approx(1, abs=1e-3)
    assert fields["smooth"]
    assert fields["samples"] == 33


@pytest.mark.slow
def test_kinks_are_said(problem) -> None:
    _, data = problem
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    assert not og.measure(model, F.cross_entropy, data, k=2, probes=3, steps=10).smooth


@pytest.fixture(autouse=True)
def _no_other_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mine", raising=False)


@pytest.mark.slow
def test_the_command_measures_a_model_and_data_of_ones_own(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    torch.save(model.state_dict(), "minimum.pth")
    args = ["minimum.pth", "--model", "mine:build", "--data", "mine:batches", "--loss", "mse_loss", "--k", "3", "--threads", "1"]
    blocks = ["--blocks", "ends=0.weight,middle=0.bias,ends=2.*"]
    assert main(["measure", *args, "--probes", "3", "--measures", "layers,sam", *blocks, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"off_diagonal_share_margin", "sam_rise", "block_names"} <= printed.keys()
    assert printed["block_names"] == "ends, middle"
    written = json.loads((tmp_path / "minimum-measured.json").read_text())
    assert printed == written
    assert written["parameters"] == 37
    assert (tmp_path / "minimum-measured.png").exists()


def test_measures_are_told_with_their_errors_and_by_layer() -> None:
    found = {"sam_rise": 0.5, "sam_rise_error": 0.1, "sam_rise_margin": 0.2, "block_names": "a, b", "block_trace": [1.0, 2.0]}
    assert measure_rows(found) == {"sam_rise": "0.5 ± 0.2 (in 95 %)", "block_trace": "a 1, b 2"}


@pytest.fixture(scope="module")
def measured() -> og.Measurement:
    """Some numbers, which names do not depend on."""
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    return og.measure(model, nn.MSELoss(), [(torch.randn(9, 4), torch.randn(9, 2))], k=2, probes=2, trace_probes=3)


@pytest.mark.parametrize(
    ("checkpoint", "out", "wanted"),
    [
        ("minimum.pth", None, "minimum-measured"),
        ("model_weights-0-0.00200.pth", None, "model_weights-0-0.00200-measured"),
        pytest.param("model_weights-0-0.00200.pth", "v1.2", "v1.2", marks=pytest.mark.slow),
        ("minimum.pth", "v1.json", "v1"),
        pytest.param("minimum.pth", "v1.2.png", "v1.2", marks=pytest.mark.slow),
        ("minimum.pth", "FOLDER", "FOLDER/minimum-measured"),
        pytest.param("model_weights-0-0.00200.pth", "FOLDER/", "FOLDER/model_weights-0-0.00200-measured", marks=pytest.mark.slow),
        pytest.param("minimum.pth", "FOLDER/new.name", "FOLDER/new.name", marks=pytest.mark.slow),
        ("run/test_data/model_weights-0-0.00200.pth", None, "run-model_weights-0-0.00200-measured"),
    ],
)
def test_what_is_measured_lies_under_the_name_that_was_given(
    tmp_path: Path, monkeypatch, measured: og.Measurement, checkpoint: str, out: str | None, wanted: str
) -> None:
    monkeypatch.setattr("orograph.commands.measure.measure", lambda *arguments, **options: measured)
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "FOLDER").mkdir()
    Run.create(tmp_path / "run", kind="sweep", configuration={}, numerics={}, provenance={}).close()
    (tmp_path / "run" / "test_data").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.save(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).state_dict(), checkpoint)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    given = [] if out is None else ["--out", out]
    command = ["measure", checkpoint, "--model", "mine:build", "--data", "mine:batches", "--loss", "mse_loss", "--k", "2"]
    assert main([*command, "--probes", "2", "--trace-probes", "3", "--threads", "1", "--quiet", *given]) == 0
    new = {path for path in tmp_path.rglob("*") if path.is_file() and "__pycache__" not in path.parts} - before
    written = {path.relative_to(tmp_path).as_posix() for path in new}
    assert written == {f"{wanted}{ending}" for ending in (".json", ".png", ".pdf")}


def test_what_is_measured_is_not_written_over_a_run(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "mine.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.save(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).state_dict(), "minimum.pth")
    command = ["measure", "minimum.pth", "--model", "mine:build", "--data", "mine:batches", "--loss", "mse_loss", "--k", "2"]
    assert main([*command, "--out", "run", "--quiet"]) == 2
    assert "one of the run's own files" in capsys.readouterr().err
    assert (tmp_path / "run.json").read_text() == "{}"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((10**15,), np.dtype(float)),
    ],
)
def test_too_little_memory_is_one_sentence(tmp_path: Path, monkeypatch, capsys, error: Exception) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("orograph.commands.measure.measure", fail)
    torch.save(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).state_dict(), "minimum.pth")
    assert main(["measure", "minimum.pth", "--model", "mine:build", "--data", "mine:batches", "--quiet"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: there is not enough memory; give a smaller --memory")
    assert len(captured.err.strip().splitlines()) == 1


def test_no_other_error_is_taken_for_too_little_memory() -> None:
    with pytest.raises(RuntimeError) as found:
        torch.empty(10**15)
    assert out_of_memory(found.value)
    with pytest.raises(RuntimeError) as found:
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    assert not out_of_memory(found.value)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["absent.pth"], "absent.pth"),
        (["absent.pth", "--data", "nothing:here"], "nothing"),
        (["absent.pth", "--data", "mnits"], "'mnist'"),
        (["absent.pth", "--model", "json:nothing"], "nothing"),
        (["absent.pth", "--probes", "1"], "--probes 1 must be at least 2"),
        (["absent.pth", "--blocks", "fc1.*"], "'fc1.*' is no group"),
        (["absent.pth", "--blocks", "early=fc1.*"], "--blocks changes nothing here; give --measures layers"),
        (
            ["absent.pth", "--sampler", "rmsprop", "--measures", "kfac"],
            "--sampler changes nothing here; give --measures llc or --llc-scan",
        ),
        (["absent.pth", "--kfac", "ekfac", "--measures", "llc"], "--kfac changes nothing here; give --measures kfac"),
        (["absent.pth", "--trace-probes", "1"], "--trace-probes 1 must be at least 2"),
        ([], "checkpoint"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(tmp_path: Path, monkeypatch, capsys, args: list[str], words: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["measure", *args, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert words in error.lower()
    assert len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_torchrun_gives_the_numbers_of_one_process(tmp_path: Path) -> None:
    torch.save(og.build_model("mlp", input_shape=(1, 8, 8), widths=(8, 8), init_seed=0).state_dict(), tmp_path / "net.pth")
    few = ["--k", "5", "--probes", "2", "--trace-probes", "4"]
    options = ["--data", "digits", "--widths", "8,8", *few, "--threads", "1", "--quiet"]
    alone, two = tmp_path / "alone", tmp_path / "two"
    measure = ["measure", str(tmp_path / "net.pth"), *options, "--out"]
    assert main([*measure, str(alone)]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, "-m", "orograph", *measure, str(two)], check=True, timeout=300)
    one, other = (json.loads(path.with_suffix(".json").read_text()) for path in (alone, two))
    assert other["eigenvalues"] == pytest.approx(one["eigenvalues"], rel=1e-5)
    assert other["loss"] == pytest.approx(one["loss"], rel=1e-6)
    assert other["trace"] == pytest.approx(one["trace"], rel=1e-3)  # the same random vectors, float32 sums in another order
    assert other["basis_bytes"] <= 0.51 * one["basis_bytes"]


@pytest.mark.slow
def test_the_learning_coefficient_is_scanned_over_temperatures_and_steps(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    sys.path.insert(0, str(tmp_path))
    try:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
        torch.save(model.state_dict(), tmp_path / "weights.pth")
        words = "--model plugin:build --data plugin:batches --loss squared --k 1 --which LA --probes 2 --llc-scan --quiet"
        assert main(["measure", str(tmp_path / "weights.pth"), *words.split(), "--threads", "1"]) == 0
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("plugin", None)
    found = json.loads((tmp_path / "weights-measured.json").read_text())
    rows, usual = found["coefficient_scan"], 12 / np.log(12)
    assert sorted({round(row["nbeta"] / usual, 6) for row in rows}) == [0.1, 1.0, 10.0]
    for row in rows:
        assert min(abs(row["step"] * row["nbeta"] * found["lambda_max"] - each) for each in (0.05, 0.1, 0.2, 0.4)) < 1e-6
    assert (tmp_path / "weights-measured-scan.png").exists()
