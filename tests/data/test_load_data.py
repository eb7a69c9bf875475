"""Data sets against counts known beforehand, IDX files made here by hand, and constants that others published."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pooch
import pytest
import requests
import torch
from test_idx import idx_bytes

from orograph.data import local
from orograph.data.catalogue import load_data
from orograph.data.names import FACTS, NAMES
from orograph.errors import ConfigurationError, DataError

REAL = os.environ.get("OROGRAPH_DATA", "")  # read before the fixture below hides it


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cache, no environment and no network; each download is refused as requests refuses it offline."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise requests.exceptions.ConnectionError("offline")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("OROGRAPH_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", refuse)


def write_files(folder: Path, seed: int, count: int = 60, *, packed: bool = False) -> np.ndarray:
    """Four IDX files of random images in which every class is equally frequent; returns the training images."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    train = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    test = generator.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = [np.arange(n, dtype=np.uint8) % 10 for n in (count, 20)]
    for stem, array in zip(local.STEMS, (train, labels[0], test, labels[1]), strict=True):
        content = idx_bytes(array)
        (folder / (stem + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    return train


@pytest.mark.parametrize("name", ["mnist-5k", "digits"])
def test_embedded_data_sets_are_as_announced(name: str) -> None:
    data, facts = load_data(name), FACTS[name]
    assert (len(data.train_targets), len(data.test_targets)) == (facts.train, facts.test)
    assert data.input_shape == facts.input_shape
    assert data.classes == facts.classes
    counts = torch.bincount(data.train_targets)
    assert counts.max() - counts.min() <= (0 if name == "mnist-5k" else 8)  # digits itself has 174 to 183 of each
    rows = {row.numpy().tobytes() for row in data.train_inputs}
    assert sum(row.numpy().tobytes() in rows for row in data.test_inputs) == 0
    assert data.train_inputs.dtype == torch.float32
    assert abs(data.train_inputs.mean()) < 0.05
    assert abs(data.train_inputs.std() - 1) < 0.05


def test_any_stretch_of_an_embedded_data_set_is_balanced() -> None:
    counts = torch.bincount(load_data("mnist-5k").train_targets[130:330])
    assert counts.tolist() == [20] * 10


@pytest.mark.slow
def test_the_split_never_changes() -> None:
    assert load_data("mnist-5k").checksum == load_data("mnist-5k").checksum
    assert load_data("mnist-5k").checksum == "8ee85284be3c0e76b04e0d0d97785884e6f633780354a470d55cda4151d29a5f"
    assert load_data("digits").checksum == "ba84eaf666e5fdad59049e25005bf51b111dcdaf7072ce4d3df5243e0d9293b4"


@pytest.mark.parametrize("layout", ["mnist", "MNIST/raw", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_local_files_are_found_in_every_layout(tmp_path: Path, layout: str, packed: bool) -> None:
    images = write_files(tmp_path / "data" / layout, seed=1, packed=packed)
    data = load_data("mnist", data_dir=tmp_path / "data")
    expected = ((images.astype(np.float64) / 255 - 0.1307) / 0.3081)[:, None]
    np.testing.assert_allclose(data.train_inputs.numpy(), expected, atol=1e-6)  # float32 of values below 3
    assert data.train[0][1].tolist() == [i % 10 for i in range(60)]


def test_the_environment_names_the_folder_and_the_argument_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (write_files(tmp_path / str(seed), seed) for seed in (1, 2))
    assert first[0, 0, 0] != second[0, 0, 0]
    monkeypatch.setenv("OROGRAPH_DATA", str(tmp_path / "1"))
    by_environment = load_data("mnist").train_inputs
    by_argument = load_data("mnist", data_dir=tmp_path / "2").train_inputs
    assert torch.equal(by_environment, load_data("mnist", data_dir=tmp_path / "1").train_inputs)
    assert not torch.equal(by_environment, by_argument)


def test_each_of_three_data_sets_side_by_side_is_found(tmp_path: Path) -> None:
    folders = {"mnist": "MNIST/raw", "fashion-mnist": "FashionMNIST/raw", "kmnist": "kmnist"}
    for seed, (name, layout) in enumerate(folders.items()):
        images = write_files(tmp_path / layout, seed)
        data = load_data(name, data_dir=tmp_path)
        pixels = data.train_inputs * data.std + data.mean
        np.testing.assert_allclose(pixels[:, 0].numpy(), images / 255, atol=1e-6)


@pytest.mark.parametrize("layout", ["fashion-mnist", "FashionMNIST/raw", "Fashion_MNIST"])
def test_a_folder_named_for_another_data_set_is_never_taken(tmp_path: Path, layout: str) -> None:
    folder = tmp_path / layout
    write_files(folder, seed=1)
    with pytest.raises(DataError, match="those of 'fashion-mnist' by the folder's name"):
        load_data("mnist", data_dir=folder)
    assert load_data("fashion-mnist", data_dir=folder).name == "fashion-mnist"


def test_files_known_to_be_another_data_sets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, seed=1, packed=True)
    checksum = pooch.file_hash(str(tmp_path / "train-labels-idx1-ubyte.gz"))
    monkeypatch.setitem(local.CHECKSUMS, "kmnist", ("", checksum, "", ""))
    with pytest.raises(DataError, match="are those of 'kmnist', not of 'mnist'"):
        load_data("mnist", data_dir=tmp_path)
    assert load_data("kmnist", data_dir=tmp_path).name == "kmnist"


def test_a_folder_with_only_some_files_names_the_missing_one(tmp_path: Path) -> None:
    write_files(tmp_path, seed=1)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="lacks t10k-labels-idx1-ubyte"):
        load_data("mnist", data_dir=tmp_path)


def test_labels_that_do_not_match_their_images_are_refused(tmp_path: Path) -> None:
    write_files(tmp_path, seed=1)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.zeros(59, dtype=np.uint8)))
    with pytest.raises(DataError, match=r"60 images.*59"):
        load_data("mnist", data_dir=tmp_path)
    labels.write_bytes(idx_bytes(np.full(60, 10, dtype=np.uint8)))
    with pytest.raises(DataError, match="up to 10"):
        load_data("mnist", data_dir=tmp_path)


def test_offline_without_data_one_sentence_says_what_to_fill(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ConnectionError") as caught:
        load_data("kmnist")
    assert str(tmp_path / "cache" / "orograph" / "kmnist") in str(caught.value)
    assert "OROGRAPH_DATA" in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_the_cache_may_be_filled_by_hand(tmp_path: Path) -> None:
    write_files(tmp_path / "cache" / "orograph" / "kmnist", seed=3, packed=True)
    assert len(load_data("kmnist").train_targets) == 60


def test_mirrors_are_tried_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "mirror", seed=4, packed=True)
    asked = []

    def answer(url: str, known_hash: str, fname: str, **kwargs: object) -> str:
        asked.append(url)
        if "ossci" in url:
            raise requests.exceptions.Timeout
        return str(tmp_path / "mirror" / fname)

    monkeypatch.setattr(pooch, "retrieve", answer)
    assert len(load_data("mnist").train_targets) == 60
    assert len(asked) == 8


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_data("mnist", data_dir=tmp_path / "nowhere")


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'kmnist'"):
        load_data("kmnits")


def test_a_subset_is_stratified_seeded_and_has_a_fifth_for_testing() -> None:
    whole = load_data("mnist-5k")
    data = load_data("mnist-5k", subset_size=205, subset_seed=7)
    counts = torch.bincount(data.train_targets)
    assert counts.sum() == 205
    assert set(counts.tolist()) == {20, 21}
    assert torch.bincount(data.test_targets).sum() == 41
    assert (data.subset_size, data.subset_seed) == (205, 7)
    assert torch.equal(data.train_inputs, load_data("mnist-5k", subset_size=205, subset_seed=7).train_inputs)
    assert not torch.equal(data.train_inputs, load_data("mnist-5k", subset_size=205, subset_seed=8).train_inputs)
    rows = {row.numpy().tobytes() for row in whole.train_inputs}
    assert all(row.numpy().tobytes() in rows for row in data.train_inputs)


def test_the_largest_subset_is_everything() -> None:
    whole = load_data("digits")
    data = load_data("digits", subset_size=len(whole.train_targets))
    assert torch.equal(data.train_inputs, whole.train_inputs)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("mnist-5k", 4001, "4000 training samples.*large enough: mnist, fashion-mnist, kmnist"),
        ("digits", 70_000, "no data set has that many"),
        ("digits", 0, "at least 1"),
    ],
)
def test_an_impossible_subset_names_what_is_possible(name: str, size: int, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load_data(name, subset_size=size)


def test_a_subset_larger_than_the_files_at_hand_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, seed=1)
    with pytest.raises(ConfigurationError, match="60 training samples of 'mnist'"):
        load_data("mnist", data_dir=tmp_path, subset_size=61)


def test_names_are_listed_without_torch() -> None:
    code = "import sys, orograph.data.names, orograph.models.names; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(NAMES) == set(FACTS)


@pytest.mark.skipif(not REAL, reason="OROGRAPH_DATA names no folder of real files")
@pytest.mark.slow
def test_real_mnist_has_the_published_statistics() -> None:
    data = load_data("mnist", data_dir=REAL)
    assert data.train_inputs.shape == (60_000, 1, 28, 28)
    pixels = data.train_inputs.double() * data.std + data.mean
    assert pixels.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert pixels.std().item() == pytest.approx(0.3081, abs=5e-5)
    assert data.train_targets[:5].tolist() == [5, 0, 4, 1, 9]
