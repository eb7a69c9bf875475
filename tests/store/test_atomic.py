"""Files against what the file system itself says, and against a disk that fails on purpose."""

import errno
import fcntl
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from orograph.errors import RunError
from orograph.store.atomic import remove_partial, require_space, temporary_name, write_bytes


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


def test_what_an_interrupted_write_left_is_removed_at_any_depth_and_nothing_of_anybody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "x" / "y"
    theirs = {"thesis.partial", ".notes.partial", "kept.json", ".movie.0123456789abcdeX.partial"}
    for name in (*theirs, temporary_name("a.json"), temporary_name("ä" * 150)):
        write_bytes(folder / name, b"")
    with (folder / temporary_name("b.json")).open("wb") as written:
        fcntl.flock(written, fcntl.LOCK_EX)
        remove_partial(tmp_path)
        assert {p.name for p in folder.iterdir()} == {*theirs, Path(written.name).name}


def test_a_link_under_the_name_of_a_file_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    for name in ("report.html", ".report.html.partial"):
        (tmp_path / name).symlink_to(tmp_path / "precious")
    write_bytes(tmp_path / "report.html", b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (tmp_path / "report.html").read_bytes() == b"new"
    assert not (tmp_path / "report.html").is_symlink()


def test_many_writers_of_one_file_all_succeed_and_one_of_them_is_there_whole(tmp_path: Path) -> None:
    contents = [bytes([letter]) * 100_000 for letter in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: [write_bytes(tmp_path / "c", content) for _ in range(5)], contents))
    assert (tmp_path / "c").read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_file_has_the_permissions_that_others_have(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_bytes(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["a" * 255, "ü" * 127])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / name, b"x")
    assert (tmp_path / name).read_bytes() == b"x"


def test_too_little_disk_names_both_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=12e9))
    require_space(tmp_path / "not" / "there", 11e9)
    with pytest.raises(RunError, match=r"needs 31 GB, .* has 12 GB free"):
        require_space(tmp_path / "not" / "there", 31e9)
    assert not (tmp_path / "not").exists()


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    """As which a device is told too: nobody's /dev/null becomes a file, even of those who may write there."""
    pipe = tmp_path / "report.html"
    os.mkfifo(pipe)
    with pytest.raises(RunError, match="a device, a pipe"):
        write_bytes(pipe, b"x")
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["report.html"]
