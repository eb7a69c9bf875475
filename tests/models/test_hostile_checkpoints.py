"""Checkpoints that ask for more than they hold, hold what is no array of numbers, or are bytes of any kind."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orograph.errors import DataError
from orograph.models.checkpoint import SUFFIXES, read_state

QUICK = settings(max_examples=150)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


GOOD = saved({"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)})


def refused(path: Path, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_state(path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("shape", [(10**6, 10**6), (2, 1), (1024, 1024, 1024, 1024)])
def test_a_view_that_asks_for_more_than_the_file_holds_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    torch.save({"w": torch.ones(1).expand(shape)}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "asks for .* out of 4 B.*clone")


def test_tied_weights_and_views_of_a_larger_storage_are_read(tmp_path: Path) -> None:
    table = torch.randn(5, 4)
    torch.save({"in": table, "out": table, "row": table[1], "turned": table.T}, tmp_path / "a.pth")
    found = read_state(tmp_path / "a.pth")
    assert torch.equal(found["turned"], table.T)
    assert torch.equal(found["row"], table[1])


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, device="meta"),
        torch.eye(3).to_sparse(),
        torch.eye(3).to_sparse_csr(),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_dense_array_is_refused_by_its_kind(tmp_path: Path, tensor: torch.Tensor) -> None:
    torch.save({"w": tensor}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "another kind|truncated, corrupt|more than tensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.int8, torch.bool])
def test_dense_arrays_of_every_kind_of_number_are_read(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save({"w": torch.ones(3).to(dtype)}, tmp_path / "a.pth")
    assert read_state(tmp_path / "a.pth")["w"].dtype == dtype


@pytest.mark.parametrize("value", [float("nan"), float("inf"), complex(0, float("nan"))])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, value: complex) -> None:
    torch.save({"w": torch.tensor([1.0, value])}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "non-finite values in 'w'")


def test_keys_from_elsewhere_cannot_forge_a_message(tmp_path: Path) -> None:
    torch.save({"w\x1b[2J\nerror: all is well": torch.tensor([float("nan")])}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", r"\\x1b\[2J\\nerror")
    torch.save({"w" * 100_000: torch.tensor([float("nan")])}, tmp_path / "b.pth")
    refused(tmp_path / "b.pth", "www … www")
    torch.save({3: torch.ones(1)}, tmp_path / "c.pth")
    refused(tmp_path / "c.pth", "by int, not by text")


def test_a_packed_archive_is_refused_unread(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as packed, zipfile.ZipFile(io.BytesIO(GOOD)) as good:
        for entry in good.infolist():
            packed.writestr(entry.filename, good.read(entry) + bytes(10**7))
    refused(tmp_path / "a.pth", "packed archive")


def test_lists_in_lists_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    refused(tmp_path / "a.pth", "checkpoint")


def bombs() -> list[bytes]:
    """Small pickles that ask for much."""
    storage = OrderedDict([("w", bytearray(5))])
    large = b"\x80\x02cbuiltins\nbytearray\n\x8a\x06" + (2**46).to_bytes(6, "little") + b"\x85R."
    return [large, pickle.dumps(storage), pickle.dumps({"w": 10**5000}), b"\x80\x02\x8b" + struct.pack("<i", 2**30) + b"."]


@pytest.mark.slow
@QUICK
@given(st.sampled_from(SUFFIXES), st.binary(max_size=300))
@example(".pth", bombs()[0])
@example(".pth", bombs()[1])
@example(".pt", bombs()[2])
@example(".pth", bombs()[3])
@example(".safetensors", struct.pack("<Q", 2**60) + b"{}")
@example(".safetensors", struct.pack("<Q", 58) + b'{"w":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}    ' + bytes(4))
@pytest.mark.filterwarnings("ignore")
def test_bytes_of_any_kind_are_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"bytes{suffix}"
    path.write_bytes(content)
    refused(path, "checkpoint")


@QUICK
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=5), st.integers(0, len(GOOD)))
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_checkpoint_is_refused_or_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], end: int
) -> None:
    content = bytearray(GOOD)
    for place, value in changes:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    path.write_bytes(content[:end] if not changes else content)
    try:
        found = read_state(path)
    except DataError:
        return
    assert {tensor.numel() for tensor in found.values()} <= {6, 2}
