"""Data files that promise much and hold little, or hold much and promise little: refused before they take memory or time."""

import gzip
import io
import os
import struct
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from orograph.cli import main
from orograph.data.catalogue import load_data
from orograph.data.cifar import ARCHIVE, TEST, TRAIN, read_cifar
from orograph.data.idx import read_idx
from orograph.data.local import STEMS, find_files
from orograph.errors import DataError

MUCH = 300 * 2**20  # bytes, in 300 kB when packed
LITTLE = 60 * 2**20  # bytes that refusing may take
RECORD = bytes(3073)


def packed_zeros(head: bytes) -> bytes:
    """A gzip file of so many zeros behind a head, made in pieces."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as file:
        file.write(head)
        for _ in range(MUCH // 2**20):
            file.write(bytes(2**20))
    return buffer.getvalue()


def within_bounds(action: Callable[[], object], words: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=words) as caught:
            action()
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()
    assert len(str(caught.value).splitlines()) == 1


@pytest.fixture(scope="module")
def zeros() -> bytes:
    return packed_zeros(b"")


@pytest.fixture(scope="module")
def labels() -> bytes:
    return packed_zeros(struct.pack(">II", 2049, 20))


def test_gzip_is_not_unpacked_beyond_what_its_header_announces(tmp_path: Path, zeros: bytes, labels: bytes) -> None:
    (tmp_path / "a").write_bytes(zeros)
    within_bounds(lambda: read_idx(tmp_path / "a", 1), "no IDX file")
    (tmp_path / "b").write_bytes(labels)
    within_bounds(lambda: read_idx(tmp_path / "b", 1), "corrupt.*20 bytes, but more follow")


@pytest.mark.parametrize("shape", [(2**32 - 1,), (2**25,), (2**31, 2**31, 2**31), (60_000, 1000, 1000)])
def test_a_header_that_announces_too_much_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    head = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    for name, content in (("a", head), ("b.gz", gzip.compress(head))):
        (tmp_path / name).write_bytes(content)
        within_bounds(lambda name=name: read_idx(tmp_path / name, len(shape)), "more than the")


def test_doctor_looks_at_hostile_data_within_bounds(tmp_path: Path, zeros: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    for stem in STEMS:
        (tmp_path / f"{stem}.gz").write_bytes(zeros)
    within_bounds(lambda: find_files("mnist", tmp_path), "no IDX file")
    assert main(["doctor", "--data-dir", str(tmp_path)]) == 0
    assert "no IDX file" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "images")
    within_bounds(lambda: read_idx(tmp_path / "images", 3), "it is (no regular file|a folder)")
    for stem in STEMS:
        make(tmp_path / stem)
    within_bounds(lambda: load_data("kmnist", data_dir=tmp_path), r"regular file|downloaded")


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as packed:
        for member, content in members:
            packed.addfile(member, io.BytesIO(content))


def member(name: str, content: bytes = RECORD, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def test_a_small_good_archive_is_read(tmp_path: Path) -> None:
    archive(tmp_path / ARCHIVE, *(member(name) for name in (*TRAIN, TEST)))
    (images, labels), (test, _) = read_cifar(tmp_path, tmp_path)
    assert (images.shape, labels.shape, test.shape) == ((5, 3, 32, 32), (5,), (1, 3, 32, 32))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0}, "a link"),
        ({"type": tarfile.LNKTYPE, "linkname": f"cifar-10-batches-bin/{TRAIN[0]}", "size": 0}, "a link"),
        ({"type": tarfile.FIFOTYPE, "size": 0}, "no regular file"),
        ({"type": tarfile.DIRTYPE, "size": 0}, "no regular file"),
    ],
)
def test_links_and_devices_in_an_archive_are_not_followed(tmp_path: Path, fields: dict[str, object], words: str) -> None:
    archive(tmp_path / ARCHIVE, *(member(name) for name in TRAIN), member(TEST, b"", **fields))
    within_bounds(lambda: read_cifar(tmp_path, tmp_path), words)


def test_an_archive_with_a_file_twice_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / ARCHIVE, *(member(name) for name in (*TRAIN, TEST, TEST)))
    within_bounds(lambda: read_cifar(tmp_path, tmp_path), "there twice")


@pytest.mark.slow
def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, zeros: bytes) -> None:
    info = tarfile.TarInfo("padding")
    info.size = MUCH
    (tmp_path / ARCHIVE).write_bytes(gzip.compress(info.tobuf(), 1) + zeros)
    within_bounds(lambda: read_cifar(tmp_path, tmp_path), "unpacks to more than")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x1f\x8b", b"\x1f\x8b\x08" + bytes(40), b"x" * 2000, gzip.compress(b"x" * 2000)],
    ids=["nothing", "magic", "header", "text", "gzip"],
)
def test_an_archive_of_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ARCHIVE).write_bytes(content)
    within_bounds(lambda: read_cifar(tmp_path, tmp_path), "damaged|lacks")
