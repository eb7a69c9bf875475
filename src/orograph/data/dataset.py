"""A data set in memory: images normalised once, with their labels, split into training and test samples."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer, UInt8
from torch import Tensor

from orograph.brief import brief

Images = UInt8[np.ndarray, "N C H W"]
Labels = Integer[np.ndarray, " N"]


@brief
@dataclass(frozen=True)
class Dataset:
    """Normalised images and labels of one data set.

    Attributes:
        name: what it is called.
        train_inputs: `(N, C, H, W)` float32, `(x − mean) / std` of pixels scaled to [0, 1].
        test_inputs: `(M, C, H, W)`, the same of the test samples.
        train_targets: `(N,)` class indices.
        test_targets: `(M,)` class indices.
        classes: the name of each class.
        mean: what was subtracted.
        std: what was divided by.
        subset_size: training samples of a subset; None where all is used.
        subset_seed: that drew it; None where all is used.
    """

    name: str
    train_inputs: Float[Tensor, "N C H W"]
    train_targets: Int64[Tensor, " N"]
    test_inputs: Float[Tensor, "M C H W"]
    test_targets: Int64[Tensor, " M"]
    classes: tuple[str, ...]
    mean: float
    std: float
    subset_size: int | None = None
    subset_seed: int | None = None

    @property
    def train(self) -> list[tuple[Tensor, Tensor]]:
        """The training samples as one batch."""
        return [(self.train_inputs, self.train_targets)]

    @property
    def test(self) -> list[tuple[Tensor, Tensor]]:
        """The test samples as one batch."""
        return [(self.test_inputs, self.test_targets)]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`(C, H, W)` of one image."""
        _, channels, height, width = self.train_inputs.shape
        return channels, height, width

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of all images and labels: what a run was really made on."""
        digest = hashlib.sha256()
        for tensor in (self.train_inputs, self.train_targets, self.test_inputs, self.test_targets):
            digest.update(repr(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


def normalised(images: Images, mean: float, std: float, full_scale: int = 255) -> Float[Tensor, "N C H W"]:
    """Pixels `0 … full_scale` as float32 of `(x / full_scale − mean) / std`."""
    return torch.from_numpy(images.astype(np.float32)).div_(full_scale).sub_(mean).div_(std)


def pixel_statistics(images: Images, full_scale: int = 255) -> tuple[float, float]:
    """Mean and standard deviation of all pixels scaled to [0, 1], to four decimals as such constants are published.

    Computed from the histogram, so exactly and the same everywhere.
    """
    counts = np.bincount(images.ravel(), minlength=full_scale + 1).astype(object)
    levels = np.arange(len(counts)).astype(object)
    total, first, second = counts.sum(), (counts * levels).sum(), (counts * levels * levels).sum()
    variance = (second * total - first * first) / total**2
    return round(first / total / full_scale, 4), round(float(variance) ** 0.5 / full_scale, 4)
