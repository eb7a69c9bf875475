"""Data sets that come with the package and need neither files nor a network.

`mnist-5k`: 5,000 images of MNIST (LeCun, Cortes & Burges, 1998), 500 of each class. `digits`: 1,797 images of 8 × 8 pixels in 17
levels (Alpaydin & Kaynak, 1998). `files/NOTICE.md` says whence they are, and under which licences.
"""

import importlib.resources
import zipfile
import zlib

import numpy as np
from jaxtyping import Int64, UInt8

from orograph.errors import DataError


def mnist_5k() -> tuple[UInt8[np.ndarray, "5000 1 28 28"], Int64[np.ndarray, " 5000"]]:
    """All images and labels, in classes of 500.

    Raises:
        DataError: the file is not there, or damaged.
    """
    return _read("mnist-5k")


def digits() -> tuple[UInt8[np.ndarray, "1797 1 8 8"], Int64[np.ndarray, " 1797"]]:
    """All images, in levels 0 to 16, and labels.

    Raises:
        DataError: the file is not there, or damaged.
    """
    return _read("digits")


def _read(name: str) -> tuple[UInt8[np.ndarray, "N 1 H W"], Int64[np.ndarray, " N"]]:
    packed = importlib.resources.files("orograph.data").joinpath("files", f"{name}.npz")
    try:
        with packed.open("rb") as file, np.load(file) as arrays:  # whose checksums it tests
            return arrays["images"], arrays["labels"].astype(np.int64)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
        raise DataError(f"{packed} is missing or damaged; install orograph again.") from None
