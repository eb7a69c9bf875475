"""Each mistake gives one sentence on stderr, exit code 2, no traceback, and leaves the disk as it was."""

import gzip
import pickle
import struct
from pathlib import Path

import pytest
import torch

from orograph.cli import main
from orograph.models.catalogue import build_model

SMALL = ("--dataset", "digits", "--widths", "6,5", "--epochs", "1", "--k", "2", "--quiet")


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return dict(build_model("mlp", input_shape=(1, 8, 8), classes=10, init_seed=0, widths=(6, 5)).state_dict())


def refused(capsys: pytest.CaptureFixture[str], out: Path, *args: str) -> str:
    """The sentence with which a sweep into `out` is refused."""
    before = sorted(out.rglob("*")) if out.exists() else None
    assert main(["sweep", *SMALL, "--out", str(out), *args]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.out == ""
    assert (sorted(out.rglob("*")) if out.exists() else None) == before
    return captured.err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--dataset", "mnits"], "mnist"),
        (["--model", "mpl"], "'mlp'"),
        (["--pionts", "3"], "--points"),
        (["--min", "-1"], "-1"),
        (["--max", "nan"], "nan"),
        (["--points", "0"], "0"),
        (["--k", "1000000"], "parameters"),
        (["--subset-size", "5000"], "mnist"),
        (["--preset", "anchor", "--dataset", "digits"], "--anchor"),
        (["--start", "anchor"], "--perturb"),
        (["--device", "tpu9"], "tpu9"),
        (["--anchor", "absent.pth"], "absent.pth"),
    ],
)
def test_an_impossible_option(capsys, tmp_path: Path, args: list[str], words: str) -> None:
    assert words in refused(capsys, tmp_path / "run", *args)


def test_an_anchor_with_a_missing_key(capsys, tmp_path: Path, weights) -> None:
    del weights["fc2.bias"]
    torch.save(weights, tmp_path / "anchor.pth")
    assert "fc2.bias" in refused(capsys, tmp_path / "run", "--anchor", str(tmp_path / "anchor.pth"))


def test_an_anchor_with_a_wrong_shape(capsys, tmp_path: Path, weights) -> None:
    weights["fc1.weight"] = torch.zeros(6, 63)
    torch.save(weights, tmp_path / "anchor.pth")
    assert "fc1.weight" in refused(capsys, tmp_path / "run", "--anchor", str(tmp_path / "anchor.pth"))


class _Code:
    def __reduce__(self):
        return (print, ("code ran",))


def test_an_anchor_that_is_a_pickle_with_code_in_it(capsys, tmp_path: Path) -> None:
    (tmp_path / "anchor.pth").write_bytes(pickle.dumps(_Code()))
    sentence = refused(capsys, tmp_path / "run", "--anchor", str(tmp_path / "anchor.pth"))
    assert "anchor.pth" in sentence
    assert "code ran" not in sentence


@pytest.mark.parametrize("damage", ["truncated", "magic"])
def test_a_damaged_idx_file(capsys, tmp_path: Path, damage: str) -> None:
    images = struct.pack(">IIII", 2051, 20, 28, 28) + bytes(20 * 784)
    good = {"images": images, "labels": struct.pack(">II", 2049, 20) + bytes(20)}
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        content = good[name.split("-")[1]]
        if name.startswith("train-images"):
            content = content[:-1] if damage == "truncated" else b"\7" + content
        (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(content))
    assert "train-images" in refused(capsys, tmp_path / "run", "--dataset", "mnist", "--data-dir", str(tmp_path))


def test_no_network_and_no_data(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("OROGRAPH_DATA", raising=False)
    assert "OROGRAPH_DATA" in refused(capsys, tmp_path / "run", "--dataset", "kmnist")


def test_a_directory_that_is_not_a_run(capsys, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("chapter one")
    assert "not a run" in refused(capsys, tmp_path)


def test_too_little_disk(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orograph.store import atomic

    usage = atomic.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(atomic.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert "free" in refused(capsys, tmp_path / "run")


def test_an_unknown_command_names_the_nearest(capsys) -> None:
    assert main(["sweeep"]) == 2
    assert "'sweep'" in capsys.readouterr().err
