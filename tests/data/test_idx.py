"""IDX files written here byte by byte with struct, from the format's description, and then damaged in every way."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from orograph.data.idx import read_idx
from orograph.errors import DataError


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + array.astype(">u1").tobytes()


IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_plain_and_gzipped_files_give_the_same_array(tmp_path: Path, pack) -> None:
    path = tmp_path / "images"
    path.write_bytes(pack(idx_bytes(IMAGES)))
    np.testing.assert_array_equal(read_idx(path, 3), IMAGES)


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


GOOD = idx_bytes(IMAGES)
PACKED = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 256, (50, 8, 8), dtype=np.uint8)))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a", GOOD[:-1], "truncated.*59 follow"),
        ("a", GOOD + b"x", "corrupt.*more follow"),
        ("a", GOOD[:10], "truncated inside its header"),
        ("a", b"", "no IDX file"),
        ("a", flipped(GOOD, 2), "no IDX file"),
        ("a", idx_bytes(IMAGES[0]), "no IDX file of 3-d"),
        ("a.gz", GOOD, "not a gzip file"),
        ("a.gz", PACKED[: len(PACKED) // 2], "truncated gzip"),
        ("a.gz", flipped(PACKED, len(PACKED) // 2), "corrupt gzip|truncated gzip"),
        ("a.gz", flipped(PACKED, len(PACKED) - 6), "corrupt gzip"),
    ],
)
def test_a_damaged_file_is_named_in_one_sentence(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_idx(path, 1)
