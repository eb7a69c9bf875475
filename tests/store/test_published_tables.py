"""Tables and files that other programs and people make, right and wrong: each mistake is one sentence that names the file."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orograph.errors import DataError, OrographError
from orograph.store.published import Artifacts, find_artifacts, read_eigenvalues, read_gradient, read_pairs
from orograph.store.tables import METRIC_COLUMNS

HEADER = ",".join(METRIC_COLUMNS)
QUICK = settings(max_examples=200)


def weights(folder: Path, *stems: str) -> Path:
    folder.mkdir(exist_ok=True)
    for stem in stems:
        torch.save({"w": torch.ones(1)}, folder / f"model_weights-{stem}.pth")
    return folder


def refused(action: Callable[[], object], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        action()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "stems",
    [("0-0.10000", "0-0.100000"), ("0-0.10000", "00-0.10000"), ("7-down-0.1", "07-down-0.10"), ("0-0.00000", "0-00.0")],
)
def test_two_files_of_one_point_are_refused_by_both_names(tmp_path: Path, stems: tuple[str, str]) -> None:
    folder = weights(tmp_path / "theirs", *stems)
    refused(lambda: find_artifacts(folder), f"model_weights-{stems[1]}.pth|model_weights-{stems[0]}.pth")


def test_points_that_differ_in_anything_are_all_kept(tmp_path: Path) -> None:
    stems = ("0-0.10000", "0-down-0.10000", "1-0.10000", "0-0.100001", "0-0.00000")
    assert len(find_artifacts(weights(tmp_path / "theirs", *stems))) == len(stems)


def test_a_table_with_the_mark_of_utf8_is_read(tmp_path: Path) -> None:
    folder = weights(tmp_path / "theirs", "0-0.10000")
    (folder / "Model-0.csv").write_bytes(f"\ufeff{HEADER}\n0.1,1,2,3,4\n".encode())
    assert find_artifacts(folder)[0].metrics["Train_Loss"] == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no column"),
        (b"\x00" * 50, "no column"),
        (f"{HEADER}\n0.1,1,2,3\n".encode(), "no number"),
        (f"{HEADER}\n0.1,1,2,3,4,5\n".encode(), "no number"),
        (f"{HEADER}\n0.1,1,2,3,\n".encode(), "no number"),
        (f"{HEADER}\n0.1,1,2,3,é\n".encode("latin-1"), "UTF-8"),
        (f'{HEADER}\n0.1,1,2,3,"4\n'.encode(), "no number"),
        (f"{HEADER}\n0.1,1,2,3,{'4' * 200_000}\n".encode(), "no number"),
        (f"{HEADER}\ninf,1,2,3,4\n".encode(), "strength inf"),
        (f"{HEADER}\nnan,1,2,3,4\n".encode(), "strength nan"),
        (f"{HEADER}\n-1,1,2,3,4\n".encode(), "strength -1"),
        (f"{HEADER},L2_strength\n".encode(), "twice"),
        (f"{HEADER}\n0.100001,1,2,3,4\n0.1,1,2,3,4\n".encode(), "several strengths"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    folder = weights(tmp_path / "theirs", "0-0.10000")
    (folder / "Model-0.csv").write_bytes(content)
    refused(lambda: find_artifacts(folder), words)


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path), lambda path: os.symlink("nowhere", path)]
)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = weights(tmp_path / "theirs", "0-0.10000")
    make(folder / "Model-0.csv")
    refused(lambda: find_artifacts(folder), "cannot read .*Model-0.csv")
    make(folder / "values.csv")
    refused(lambda: read_eigenvalues(folder / "values.csv"), "cannot read")
    refused(lambda: read_gradient(folder / "values.csv", {"w": (1,)}), "cannot read")


@pytest.mark.parametrize("stem", ["4294967296-0.10000", "9999999999-0.1"])
def test_a_seed_that_no_stream_knows_is_refused(tmp_path: Path, stem: str) -> None:
    refused(lambda: find_artifacts(weights(tmp_path / "theirs", stem)), "whole number")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no eigenvalue"),
        ("\n \n", "no eigenvalue"),
        ("1.0,2.0\n", "2 numbers in a line"),
        ("1.0 2.0\n", "no number"),
        ("1.0\nnan\n", "NaN or infinity"),
        ("1e999\n", "NaN or infinity"),
        ("\x1b[2J\n", r"no number in '\\x1b\[2J'"),
    ],
)
def test_eigenvalues_are_one_finite_number_a_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "values.csv").write_text(text)
    refused(lambda: read_eigenvalues(tmp_path / "values.csv"), words)


@pytest.mark.parametrize("text", ["", "1,0\n0\n", "1,0\n0,1,0\n", "1,0\n", "1,0\n0,nan\n", "0,0\n1,0\n", "1,0\n0,inf\n"])
def test_eigenvectors_are_one_a_line_of_all_parameters(tmp_path: Path, text: str) -> None:
    (tmp_path / "values.csv").write_text("2\n1\n")
    (tmp_path / "vectors.csv").write_text(text)
    point = Artifacts(None, tmp_path, None, tmp_path / "values.csv", tmp_path / "vectors.csv")  # type: ignore[arg-type]
    refused(lambda: read_pairs(point, 2), "vectors.csv")


@QUICK
@given(st.one_of(st.binary(max_size=200), st.text(alphabet='0123456789.,eE+-naif"\n\r\t \x00;', max_size=200).map(str.encode)))
def test_any_bytes_are_numbers_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    if not folder.exists():
        weights(folder, "0-0.10000")
    path = folder / "Model-0.csv"
    path.write_bytes(content)
    point = Artifacts(None, path, None, path, path)  # type: ignore[arg-type]
    readers = (lambda: find_artifacts(folder), lambda: read_eigenvalues(path), lambda: read_pairs(point, 2))
    for read in (*readers, lambda: read_gradient(path, {"w": (1,)})):
        try:
            found = read()
        except OrographError:
            continue
        assert not isinstance(found, np.ndarray) or np.isfinite(found).all()
