"""CIFAR-10 from records made here by hand, in every place where people keep it."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pooch
import pytest
import requests
import torch

from orograph.data.catalogue import load_data
from orograph.data.cifar import ARCHIVE, FOLDER, TEST, TRAIN
from orograph.errors import DataError


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise requests.exceptions.ConnectionError("offline")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("OROGRAPH_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", refuse)


def records(count: int, seed: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    """The bytes of a file, and what is in it: images `(n, row, column, colour)` and labels."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    content = b""
    for image, label in zip(images, labels, strict=True):
        content += bytes([label])
        for colour in range(3):
            content += image[:, :, colour].tobytes()
    return content, images, labels


def files() -> tuple[dict[str, bytes], np.ndarray]:
    content, images = {}, []
    for seed, name in enumerate((*TRAIN, TEST)):
        content[name], some, _ = records(20, seed)
        images.append(some)
    return content, np.concatenate(images[:5])


def write(folder: Path) -> np.ndarray:
    content, images = files()
    folder.mkdir(parents=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return images


@pytest.mark.parametrize("layout", [".", FOLDER, f"cifar10/{FOLDER}", f"CIFAR10/{FOLDER}", "cifar10"])
def test_local_files_are_found_in_every_layout(tmp_path: Path, layout: str) -> None:
    images = write(tmp_path / "data" / layout)
    data = load_data("cifar10", data_dir=tmp_path / "data")
    assert data.train_inputs.shape == (100, 3, 32, 32)
    assert data.test_inputs.shape == (20, 3, 32, 32)
    pixels = (data.train_inputs * data.std + data.mean).permute(0, 2, 3, 1)
    np.testing.assert_allclose(pixels.numpy(), images / 255, atol=1e-6)
    assert data.train_targets[:12].tolist() == [*range(10), 0, 1]
    assert data.classes[3] == "cat"


def archive(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as packed:
        for name, data in files()[0].items():
            entry = tarfile.TarInfo(f"{FOLDER}/{name}")
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))


def test_the_archive_is_read_as_it_is(tmp_path: Path) -> None:
    archive(tmp_path / "data" / ARCHIVE)
    write(tmp_path / "plain")
    packed, plain = (load_data("cifar10", data_dir=tmp_path / name) for name in ("data", "plain"))
    assert torch.equal(packed.train_inputs, plain.train_inputs)
    assert list((tmp_path / "data").iterdir()) == [tmp_path / "data" / ARCHIVE]


def test_the_cache_may_be_filled_by_hand(tmp_path: Path) -> None:
    archive(tmp_path / "cache" / "orograph" / "cifar10" / ARCHIVE)
    assert len(load_data("cifar10").train_targets) == 100


def test_offline_without_data_one_sentence_says_what_to_fill(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ConnectionError") as caught:
        load_data("cifar10")
    assert str(tmp_path / "cache" / "orograph" / "cifar10") in str(caught.value)


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "data")
    (tmp_path / "data" / TRAIN[2]).write_bytes(b"123")
    with pytest.raises(DataError, match=r"data_batch_3\.bin .*3 bytes"):
        load_data("cifar10", data_dir=tmp_path / "data")
    (tmp_path / "data" / TRAIN[2]).unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin"):
        load_data("cifar10", data_dir=tmp_path / "data")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / ARCHIVE).write_bytes(b"\x1f\x8b torn")
    with pytest.raises(DataError, match="damaged"):
        load_data("cifar10", data_dir=tmp_path / "torn")


def test_labels_of_another_data_set_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "data")
    path = tmp_path / "data" / TEST
    path.write_bytes(bytes([57]) + path.read_bytes()[1:])
    with pytest.raises(DataError, match="label 57"):
        load_data("cifar10", data_dir=tmp_path / "data")
