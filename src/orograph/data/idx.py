"""IDX files (LeCun, Cortes & Burges, 1998): two zero bytes, a type byte, the number of dimensions, the dimensions, the data.

All integers are big-endian. The type of every file read here is 0x08, unsigned bytes. A gzipped file is known by its content; its
checksum says nothing (the same data can be packed differently), so that magic number, shape and exact length are checked instead.
"""

import contextlib
import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from orograph.errors import DataError
from orograph.memory import format_bytes
from orograph.reading import open_file

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08
_LARGEST = {1: 2**24, 3: 2**30}  # bytes that labels and images may have: all of EMNIST fits
_STEP = 2**20


def read_idx(path: Path, dimensions: int) -> UInt8[np.ndarray, "..."]:
    """The array in an IDX file of unsigned bytes, plain or gzipped. Nothing is unpacked that its header does not announce.

    Args:
        path: the file.
        dimensions: how many the array must have: 1 for labels, 3 for images.

    Raises:
        DataError: the file is missing, is no IDX file of that many dimensions, or is truncated, corrupt or too long.
    """
    with _unpacked(path) as file:
        start = file.read(4)
        expected = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
        if start != expected:
            raise DataError(
                f"{path} is no IDX file of {dimensions}-d unsigned bytes: it starts with {start.hex()}, not {expected.hex()}."
            )
        header = file.read(4 * dimensions)
        if len(header) < 4 * dimensions:
            raise DataError(f"{path} is truncated inside its header; fetch it again.")
        shape = struct.unpack(f">{dimensions}I", header)
        announced, most = math.prod(shape), _LARGEST.get(dimensions, 2**30)
        sizes = f"its header announces {' × '.join(map(str, shape))} = {announced} bytes"
        if announced > most:
            raise DataError(f"{path} is corrupt: {sizes}, more than the {format_bytes(most)} of any such file; fetch it again.")
        content = _read(file, announced + 1)
    if len(content) != announced:
        state, found = ("truncated", str(len(content))) if len(content) < announced else ("corrupt", "more")
        raise DataError(f"{path} is {state}: {sizes}, but {found} follow; fetch it again.")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file as it lies there, packed or not; empty where it is larger than any such file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() if path.stat().st_size <= max(_LARGEST.values()) else ""
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[BufferedIOBase]:
    """The content of a file, unpacked as it is read."""
    try:
        with open_file(path) as raw:
            packed = raw.peek(2)[:2] == _GZIP_MAGIC
            if path.suffix == ".gz" and not packed:
                raise DataError(
                    f"{path} is not a gzip file although its name ends in .gz; fetch it again, or rename it if it is unpacked."
                )
            with gzip.GzipFile(fileobj=raw) if packed else contextlib.nullcontext(raw) as file:
                yield file
    except EOFError:
        raise DataError(f"{path} is a truncated gzip file; fetch it again.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is a corrupt gzip file ({error}); fetch it again.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None


def _read(file: BufferedIOBase, most: int) -> bytearray:
    """As many bytes as there are, but at most so many, in steps: memory follows what is there, not what is announced."""
    content = bytearray()
    while len(content) < most and (part := file.read(min(_STEP, most - len(content)))):
        content += part
    return content
