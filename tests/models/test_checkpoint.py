"""Checkpoints written by torch.save, pickle and safetensors themselves, whole and damaged, good and hostile."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from orograph.errors import DataError, OrographWarning
from orograph.models.checkpoint import load_checkpoint
from orograph.parameters import layout_of, state_dict


class Hostile:
    """A pickle that makes a file when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.mark}",)


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(40, 30), nn.BatchNorm1d(30), nn.Linear(30, 3))


def write(path: Path, content: object) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)
    return path


def refused(path: Path, model: nn.Module, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        load_checkpoint(path, model)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.safetensors"])
def test_a_good_checkpoint_comes_back_bit_for_bit_in_the_models_order(tmp_path: Path, model: nn.Module, name: str) -> None:
    state = model.state_dict()
    path = write(tmp_path / name, dict(reversed(state.items())))
    loaded = load_checkpoint(path, model)
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_an_old_style_checkpoint_is_read_too(tmp_path: Path, model: nn.Module) -> None:
    torch.save(model.state_dict(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert list(load_checkpoint(tmp_path / "a.pth", model)) == list(model.state_dict())


def test_other_precisions_become_the_models(tmp_path: Path, model: nn.Module) -> None:
    path = write(tmp_path / "a.pth", {key: value.double() if value.ndim else value for key, value in model.state_dict().items()})
    assert {key: value.dtype for key, value in load_checkpoint(path, model).items()} == {
        key: value.dtype for key, value in model.state_dict().items()
    }


def changed(model: nn.Module, **changes: object) -> dict:
    state = {**model.state_dict(), **{key.replace("_", "."): value for key, value in changes.items()}}
    return {key: value for key, value in state.items() if value is not None}


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"0_weight": None}, r"lacks '0\.weight'; "),
        ({"0_weight": None, "2_bias": None}, r"lacks '0\.weight' and 1 more"),
        ({"0_weight": None, "fc1_weight": torch.zeros(2)}, r"lacks '0\.weight' and has 'fc1\.weight' instead"),
        ({"extra": torch.zeros(2)}, "has 'extra', which the model has not"),
        ({"2_bias": torch.zeros(4)}, r"'2\.bias' .* has shape \(4,\), but the model's is \(3,\)"),
        ({"2_bias": torch.tensor([0.0, np.nan, 0.0])}, r"non-finite values in '2\.bias'"),
        ({"2_bias": torch.tensor([0.0, np.inf, 0.0])}, r"non-finite values in '2\.bias'"),
        ({"2_bias": torch.zeros(3, dtype=torch.int64)}, "int64, but the model's is torch.float32"),
    ],
)
def test_tensors_of_another_model_are_named(tmp_path: Path, model: nn.Module, name: str, changes: dict, words: str) -> None:
    refused(write(tmp_path / name, changed(model, **changes)), model, words)


def test_code_in_a_pickle_is_refused_and_never_run(tmp_path: Path, model: nn.Module) -> None:
    hostile = Hostile(tmp_path / "code-was-run")
    refused(write(tmp_path / "a.pth", {"0.weight": hostile}), model, r"more than tensors \(it asks for posix.system\)")
    for protocol in (2, 4):
        (tmp_path / "b.pth").write_bytes(pickle.dumps(hostile, protocol))
        refused(tmp_path / "b.pth", model, "more than tensors")
    refused(write(tmp_path / "c.pth", nn.Linear(2, 2)), model, "asks for torch.nn.modules.linear.Linear")
    assert not hostile.mark.exists()
    pickle.loads(pickle.dumps(hostile))
    assert hostile.mark.exists()  # the pickle does what it threatens


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("part", [0, 2, 100, -200, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, model: nn.Module, name: str, part: int) -> None:
    path = write(tmp_path / name, dict(model.state_dict()))
    path.write_bytes(path.read_bytes()[:part])
    refused(path, model, "truncated")


def test_a_flipped_bit_is_noticed(tmp_path: Path, model: nn.Module) -> None:
    path = write(tmp_path / "a.pth", model.state_dict())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refused(path, model, "corrupt")


@pytest.mark.parametrize("content", [b"hello world, this is text", b"PK", bytes(64), b"\x80\x02", b"{}"])
def test_arbitrary_bytes_are_refused(tmp_path: Path, model: nn.Module, content: bytes) -> None:
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, model, "truncated|more than tensors")


def test_what_is_no_state_dict_is_named(tmp_path: Path, model: nn.Module) -> None:
    refused(write(tmp_path / "a.pth", [1, 2]), model, "holds list, not a state dict")
    refused(write(tmp_path / "b.pth", {"model": {}, "epoch": 3}), model, "holds dict under 'model'")
    refused(tmp_path / "missing.pth", model, "does not exist")
    refused(tmp_path, model, "none of .pth, .pt, .safetensors")


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb, self.head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        self.head.weight = self.emb.weight


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.o = nn.Linear(4, 4)
        self.register_buffer("mask", torch.triu(torch.full((5, 5), -torch.inf), 1))


def test_tied_weights_are_found_under_the_name_that_safetensors_kept(tmp_path: Path) -> None:
    from safetensors.torch import save_model

    model = Tied()
    save_model(model, str(tmp_path / "tied.safetensors"))
    found = load_checkpoint(tmp_path / "tied.safetensors", model)
    assert list(found) == list(model.state_dict())
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())


def test_a_tied_tensor_that_a_file_has_twice_is_that_of_the_first_name(tmp_path: Path) -> None:
    model = Tied()
    torch.save({"emb.weight": torch.ones(9, 4), "head.weight": torch.zeros(9, 4)}, tmp_path / "both.pth")
    with pytest.warns(OrographWarning, match=r"'head\.weight' than in 'emb\.weight', and the model ties the two"):
        found = load_checkpoint(tmp_path / "both.pth", model)
    assert all(torch.equal(found[key], torch.ones(9, 4)) for key in model.state_dict())


def test_a_state_has_a_tied_tensor_under_both_names_in_the_dtype_of_theta() -> None:
    model, theta = Tied(), torch.arange(36.0, dtype=torch.float64)
    found = state_dict(model, layout_of(model), theta)
    assert list(found) == list(model.state_dict())
    assert all(torch.equal(each, theta.view(9, 4)) for each in found.values())


@pytest.mark.parametrize("build", [Masked, lambda: nn.Sequential(nn.Linear(4, 5), torch.ao.quantization.FakeQuantize())])
def test_what_is_infinite_in_a_fresh_model_may_be_infinite_in_a_file(tmp_path: Path, build: Callable[[], nn.Module]) -> None:
    model = build()
    torch.save(model.state_dict(), tmp_path / "model.pth")
    found = load_checkpoint(tmp_path / "model.pth", model)
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("key", "value"), [("o.weight", torch.inf), ("mask", torch.nan), ("mask", torch.inf)])
def test_other_values_that_are_not_finite_are_refused(tmp_path: Path, key: str, value: float) -> None:
    state = {name: tensor.clone() for name, tensor in Masked().state_dict().items()}
    state[key][0, 1] = value
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(DataError, match=f"non-finite values in '{key}'"):
        load_checkpoint(tmp_path / "model.pth", Masked())


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_an_averaged_model_is_loaded_without_the_count_of_what_was_averaged(
    tmp_path: Path, model: nn.Module, prefix: str
) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    assert int(averaged.n_averaged) == 1
    torch.save({prefix + key: value for key, value in averaged.state_dict().items()}, tmp_path / "model.pth")
    found = load_checkpoint(tmp_path / "model.pth", model)
    assert list(found) == list(model.state_dict())
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())
    own = load_checkpoint(tmp_path / "model.pth", averaged)  # which has the count itself
    assert list(own) == list(averaged.state_dict())


def test_a_count_of_averages_among_other_names_is_of_another_model(tmp_path: Path, model: nn.Module) -> None:
    torch.save({**model.state_dict(), "n_averaged": torch.tensor(1)}, tmp_path / "model.pth")
    with pytest.raises(DataError, match="has 'n_averaged', which the model has not"):
        load_checkpoint(tmp_path / "model.pth", model)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_left_out(tmp_path: Path, model: nn.Module, prefix: str) -> None:
    torch.save({prefix + key: value for key, value in model.state_dict().items()}, tmp_path / "model.pth")
    found = load_checkpoint(tmp_path / "model.pth", model)
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())
