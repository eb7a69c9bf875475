"""IDX files (LeCun, Cortes & Burges, 1998): two zero bytes, a type byte, the number of dimensions, the dimensions, the data.

All integers are big-endian. The type of every file read here is 0x08, unsigned bytes. A gzipped file is known by its content; its
checksum says nothing (the same data can be packed differently), so that magic number, shape and exact length are checked instead.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from orograph.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, dimensions: int) -> UInt8[np.ndarray, "..."]:
    """The array in an IDX file of unsigned bytes, plain or gzipped.

    Args:
        path: the file.
        dimensions: how many the array must have: 1 for labels, 3 for images.

    Raises:
        DataError: the file is missing, is no IDX file of that many dimensions, or is truncated, corrupt or too long.
    """
    content = _content(path)
    expected = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if content[:4] != expected:
        raise DataError(
            f"{path} is no IDX file of {dimensions}-d unsigned bytes: it starts with {content[:4].hex()}, not {expected.hex()}."
        )
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path} is truncated inside its header; fetch it again.")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    announced, found = math.prod(shape), len(content) - start
    if announced != found:
        state = "truncated" if found < announced else "corrupt"
        sizes = f"its header announces {' × '.join(map(str, shape))} = {announced} bytes, but {found} follow"
        raise DataError(f"{path} is {state}: {sizes}; fetch it again.")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        if raw[:2] == _GZIP_MAGIC:
            return gzip.decompress(raw)
    except EOFError:
        raise DataError(f"{path} is a truncated gzip file; fetch it again.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is a corrupt gzip file ({error}); fetch it again.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    if path.suffix == ".gz":
        raise DataError(
            f"{path} is not a gzip file although its name ends in .gz; fetch it again, or rename it if it is unpacked."
        )
    return raw
