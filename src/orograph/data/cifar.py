"""CIFAR-10 in its binary version (Krizhevsky, 2009): records of one label byte and 3,072 bytes of a colour image.

Five files of 10,000 training images and one of 10,000 test images, in `cifar-10-binary.tar.gz` or unpacked in the folder
`cifar-10-batches-bin`. Red, green and blue planes follow each other, row by row.
"""

import gzip
import logging
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from orograph.data.names import DATA_VARIABLE, FACTS
from orograph.errors import DataError
from orograph.memory import format_bytes
from orograph.reading import open_file, read_file

NAME = "cifar10"
ARCHIVE, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = "test_batch.bin"
_RECORD = 1 + 3 * 32 * 32
_LARGEST = 2**28  # bytes of the unpacked archive, and of any of its files: there are 184 MB
_SECONDS = 60  # without an answer, before the download is given up

Part = tuple[UInt8[np.ndarray, "_ 3 32 32"], Int64[np.ndarray, " _"]]


def read_cifar(folder: Path | None, cache: Path) -> tuple[Part, Part]:
    """Images and labels for training and for testing.

    Args:
        folder: of the user; looked into for the files and for the archive, itself and in its subfolders of the usual names.
            None, or a folder without either: the cache is taken, and filled by a download where need be.
        cache: where a download is kept.

    Raises:
        DataError: the folder does not exist, files are missing or damaged, or the download fails.
    """
    if folder is not None and not folder.is_dir():
        raise DataError(f"the data folder {folder} does not exist; give the folder that holds {ARCHIVE}.")
    found = _find(folder) if folder is not None else None
    found = found or _find(cache) or _download(cache)
    content = _unpacked(found) if found.is_file() else {name: _read(found / name) for name in (*TRAIN, TEST)}
    parts = [_records(name, content[name], found) for name in TRAIN]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return (images, labels), _records(TEST, content[TEST], found)


def _find(folder: Path) -> Path | None:
    """A folder of the binary files, or an archive of them."""
    for place in (folder / NAME, folder / "CIFAR10", folder):
        for candidate in (place / FOLDER, place):
            if (candidate / TEST).is_file():
                return candidate
        if (place / ARCHIVE).is_file():
            return place / ARCHIVE
    return None


def _download(cache: Path) -> Path:
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    try:
        downloader = pooch.HTTPDownloader(timeout=_SECONDS)
        return Path(pooch.retrieve(URL, SHA256, fname=ARCHIVE, path=cache, downloader=downloader))
    except (OSError, ValueError) as error:  # no connection, a folder that cannot be written; a wrong checksum
        raise DataError(
            f"data set '{NAME}' could not be downloaded ({URL.split('/')[2]}: {type(error).__name__}); "
            f"put {ARCHIVE} into {cache}, or set {DATA_VARIABLE} to a folder that holds it."
        ) from None


class _Bounded:
    """A stream that ends with an error where an archive of these data has long ended."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path, self._left = file, path, _LARGEST

    def read(self, size: int) -> bytes:
        content = self._file.read(min(size, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise DataError(f"{self._path} unpacks to more than {format_bytes(_LARGEST)}; fetch it again.")
        return content


def _unpacked(archive: Path) -> dict[str, bytes]:
    """The files of the archive, read without unpacking it on the disk; links in it are not followed."""
    content: dict[str, bytes] = {}
    try:
        with open_file(archive) as raw:
            stream = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw
            bounded: Any = _Bounded(stream, archive)
            with tarfile.open(fileobj=bounded, mode="r|") as packed:
                for member in packed:
                    name = Path(member.name).name
                    if name not in (*TRAIN, TEST):
                        continue
                    if not member.isreg() or name in content:
                        raise DataError(f"{name} in {archive} is {_what(member)}; fetch it again, in its binary version.")
                    file = packed.extractfile(member)
                    content[name] = file.read() if file else b""
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{archive} is damaged ({type(error).__name__}); fetch it again.") from None
    missing = [name for name in (*TRAIN, TEST) if name not in content]
    if missing:
        raise DataError(f"{archive} lacks {missing[0]}; fetch it again, in its binary version.")
    return content


def _what(member: tarfile.TarInfo) -> str:
    return "there twice" if member.isreg() else "a link" if member.issym() or member.islnk() else "no regular file"


def _read(path: Path) -> bytes:
    try:
        return read_file(path, _LARGEST)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; add it to the other files of '{NAME}'.") from None


def _records(name: str, content: bytes, where: Path) -> Part:
    if not content or len(content) % _RECORD:
        raise DataError(f"{name} of {where} has {len(content)} bytes, not a multiple of {_RECORD}; fetch it again.")
    table = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    labels = table[:, 0].astype(np.int64)
    if labels.max() >= len(FACTS[NAME].classes):
        raise DataError(f"{name} of {where} has the label {labels.max()}; those of '{NAME}' are below 10: is it CIFAR-100?")
    return table[:, 1:].reshape(-1, 3, 32, 32), labels
