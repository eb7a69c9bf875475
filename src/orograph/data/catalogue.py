"""Data sets by name: embedded ones, local files, downloads; and stratified subsets of them."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Integer, UInt8

from orograph.data import embedded
from orograph.data.cifar import read_cifar
from orograph.data.dataset import Dataset, Images, Labels, normalised, pixel_statistics
from orograph.data.download import cache_folder, download
from orograph.data.idx import read_idx
from orograph.data.local import find_files
from orograph.data.names import DATA_VARIABLE, FACTS, NAMES
from orograph.data.split import fixed_split, stratified_subset
from orograph.errors import ConfigurationError, DataError, unknown

# The published normalisation of MNIST; that of the others is measured on their training images.
_MNIST_STATISTICS = (0.1307, 0.3081)


def load_data(
    name: str,
    *,
    data_dir: str | Path | None = None,
    subset_size: int | None = None,
    subset_seed: int = 0,
) -> Dataset:
    """A named data set, in memory and normalised.

    Args:
        name: one of `orograph.data.names.NAMES`.
        data_dir: folder of the files; the environment variable OROGRAPH_DATA when None. Files that are not there are
            downloaded into the user's cache.
        subset_size: number of training samples to take, stratified; with a fifth as many test samples. None takes all.
        subset_seed: seed of that choice.

    Returns:
        Images `(N, C, H, W)` float32 and labels `(N,)` for training and for testing.

    Raises:
        ConfigurationError: an unknown name, or a subset that is empty or larger than the data.
        DataError: files are missing, damaged or another data set's.

    Examples:
        >>> import orograph as og
        >>> og.load_data("digits", subset_size=100).train_inputs.shape
        torch.Size([100, 1, 8, 8])
    """
    if name not in NAMES:
        raise unknown("data set", name, NAMES)
    if subset_size is not None and subset_size < 1:
        raise ConfigurationError(f"subset size {subset_size} must be at least 1, or left out to take all of '{name}'.")
    if subset_size is not None and subset_size > FACTS[name].train:
        raise _too_large(name, subset_size, FACTS[name].train)
    data = _whole(name, data_dir)
    return data if subset_size is None else _subset(data, subset_size, subset_seed)


def _whole(name: str, data_dir: str | Path | None) -> Dataset:
    if name == "mnist-5k":
        return _split(name, *embedded.mnist_5k(), statistics=_MNIST_STATISTICS)
    if name == "digits":
        return _split(name, *embedded.digits(), full_scale=16)
    if name == "cifar10":
        folder = data_dir or os.environ.get(DATA_VARIABLE)
        (train, train_labels), (test, test_labels) = read_cifar(Path(folder).expanduser() if folder else None, cache_folder(name))
        return _dataset(name, train, train_labels, test, test_labels)
    files = _files(name, data_dir)
    parts = [read_idx(path, dimensions) for path, dimensions in zip(files, (3, 1, 3, 1), strict=True)]
    for images, labels, path in ((parts[0], parts[1], files[0]), (parts[2], parts[3], files[2])):
        _check(name, images, labels, path)
    statistics = _MNIST_STATISTICS if name == "mnist" else None
    return _dataset(name, parts[0][:, None], parts[1], parts[2][:, None], parts[3], statistics=statistics)


def _files(name: str, data_dir: str | Path | None) -> tuple[Path, ...]:
    folder = data_dir or os.environ.get(DATA_VARIABLE)
    if not folder:
        return download(name)
    found = find_files(name, Path(folder).expanduser())
    return found.files or download(name, found.reason)


def _check(name: str, images: np.ndarray, labels: np.ndarray, path: Path) -> None:
    shape, classes = FACTS[name].input_shape[1:], len(FACTS[name].classes)
    if images.shape[1:] != shape or not len(images):
        raise DataError(f"{path} holds images of shape {images.shape}; those of '{name}' are N × {shape[0]} × {shape[1]}.")
    if len(images) != len(labels):
        raise DataError(f"{path} holds {len(images)} images, but the file of labels beside it {len(labels)}; fetch both again.")
    if labels.max() >= classes:
        raise DataError(
            f"the labels beside {path} go up to {labels.max()}; those of '{name}' are below {classes}; fetch them again."
        )


def _split(
    name: str, images: Images, labels: Labels, *, statistics: tuple[float, float] | None = None, full_scale: int = 255
) -> Dataset:
    train, test = fixed_split(labels)
    parts = images[train], labels[train], images[test], labels[test]
    return _dataset(name, *parts, statistics=statistics, full_scale=full_scale)


def _dataset(
    name: str,
    train: UInt8[np.ndarray, "N C H W"],
    train_labels: Integer[np.ndarray, " N"],
    test: UInt8[np.ndarray, "M C H W"],
    test_labels: Integer[np.ndarray, " M"],
    *,
    statistics: tuple[float, float] | None = None,
    full_scale: int = 255,
) -> Dataset:
    mean, std = statistics or pixel_statistics(train, full_scale)
    return Dataset(
        name=name,
        train_inputs=normalised(train, mean, std, full_scale),
        train_targets=torch.from_numpy(train_labels.astype(np.int64)),
        test_inputs=normalised(test, mean, std, full_scale),
        test_targets=torch.from_numpy(test_labels.astype(np.int64)),
        classes=FACTS[name].classes,
        mean=mean,
        std=std,
    )


def _subset(data: Dataset, size: int, seed: int) -> Dataset:
    count = len(data.train_targets)
    if size > count:
        raise _too_large(data.name, size, count)
    test_size = min(max(1, size // 5), len(data.test_targets))
    train = torch.from_numpy(stratified_subset(data.train_targets.numpy(), size, seed))
    test = torch.from_numpy(stratified_subset(data.test_targets.numpy(), test_size, seed))
    return dataclasses.replace(
        data,
        train_inputs=data.train_inputs[train],
        train_targets=data.train_targets[train],
        test_inputs=data.test_inputs[test],
        test_targets=data.test_targets[test],
        subset_size=size,
        subset_seed=seed,
    )


def _too_large(name: str, size: int, count: int) -> ConfigurationError:
    larger = [other for other, facts in FACTS.items() if facts.train >= size and other != name]
    way = f"large enough: {', '.join(larger)}." if larger else f"no data set has that many; take at most {count}."
    return ConfigurationError(f"subset size {size} is larger than the {count} training samples of '{name}'; {way}")
