"""Weights in float64 are not rounded on their way: what is measured, and θ_ref, are those of the file."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import orograph as og
from orograph.cli import main

NETWORK = "--data digits --subset-size 60 --widths 4 --activation tanh --dtype float64 --k 1 --quiet --threads 1"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    monkeypatch.chdir(tmp_path)
    model = og.build_model("mlp", input_shape=(1, 8, 8), widths=[4], activation="tanh", init_seed=0).double()
    state = {name: value * (1 + 1e-3 * torch.rand_like(value)) for name, value in model.state_dict().items()}
    torch.save(state, "w.pth")
    return state


@pytest.mark.slow
def test_a_checkpoint_is_measured_to_its_last_digit_and_read_once(
    weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *file, **options: read.append(file) or load(*file, **options))
    assert main(["measure", "w.pth", *NETWORK.split(), "--probes", "2", "--trace-probes", "3"]) == 0
    assert len(read) == 1
    data = og.load_data("digits", subset_size=60)
    hidden = torch.tanh(F.linear(data.train_inputs.double().flatten(1), weights["fc1.weight"], weights["fc1.bias"]))
    loss = F.cross_entropy(F.linear(hidden, weights["fc2.weight"], weights["fc2.bias"]), data.train_targets)
    assert json.loads(Path("w-measured.json").read_text())["loss"] == pytest.approx(loss.item(), rel=1e-13)  # float32: 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("anchor", ["w.pth", "train:1"])
def test_the_anchor_of_a_run_in_float64_is_the_same_when_it_goes_on(weights: dict[str, torch.Tensor], anchor: str) -> None:
    words = [*NETWORK.split(), "--epochs", "1", "--anchor", anchor, "--out", "run"]
    assert main(["sweep", *words, "--strengths", "0.001,0.01"]) == 0
    kept = torch.load("run/anchor.pth", weights_only=True)
    assert kept["fc1.weight"].dtype == torch.float64
    if anchor == "w.pth":
        assert all(torch.equal(kept[name], value) for name, value in weights.items())
    assert main(["sweep", *words, "--strengths", "0.001,0.01"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("room", "times"), [(2**20, 1), (0, 2)])
def test_an_import_reads_each_file_of_weights_once_where_memory_holds_them(
    weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch, room: int, times: int
) -> None:
    Path("theirs").mkdir()
    for strength in ("0.00000", "0.10000"):
        torch.save(weights, f"theirs/model_weights-0-{strength}.pth")
    read, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *file, **options: read.append(file) or load(*file, **options))
    monkeypatch.setattr("orograph.commands.importing.parse_bytes", lambda memory: room)
    words = "--dataset digits --subset-size 60 --widths 4 --activation tanh --dtype float64 --threads 1 --quiet --out run"
    assert main(["import", "theirs", *words.split()]) == 0
    assert len(read) == 2 * times
