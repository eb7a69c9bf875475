"""Files against what the file system itself says, and against a disk that fails on purpose."""

import errno
import hashlib
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from orograph.errors import RunError
from orograph.store.atomic import remove_partial, require_space, write_bytes


def test_a_file_is_written_with_its_folders_and_its_hash_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    assert write_bytes(path, b"one") == hashlib.sha256(b"one").hexdigest()
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["c.txt"]


def test_a_disk_that_fills_up_leaves_the_old_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.txt"
    write_bytes(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"c.txt: No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["c.txt"]


def test_what_an_interrupted_write_left_is_removed_at_any_depth(tmp_path: Path) -> None:
    for name in (".a.json.partial", "zarr.9f.partial", "kept.json"):
        write_bytes(tmp_path / "x" / "y" / name, b"")
    remove_partial(tmp_path)
    assert [p.name for p in (tmp_path / "x" / "y").iterdir()] == ["kept.json"]


def test_too_little_disk_names_both_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=12e9))
    require_space(tmp_path / "not" / "there", 11e9)
    with pytest.raises(RunError, match=r"needs 31 GB, .* has 12 GB free"):
        require_space(tmp_path / "not" / "there", 31e9)
    assert not (tmp_path / "not").exists()
