"""Arrays of a run: one Zarr v3 array a quantity, with one uncompressed chunk a point along its first axis.

Metadata are made by zarr, in memory, so that every reader of Zarr finds its way. They and the chunks, which are plain
little-endian bytes, are written here, atomically and durably, which zarr's own store does not do. The size of a chunk is known
beforehand and its bytes depend on no compressor. Later points append chunks and never rewrite one. Metadata are sealed by an
attribute, as other records are by a field.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from orograph.errors import ConfigurationError, RunError
from orograph.store.atomic import write_bytes
from orograph.store.encoding import SEAL, decode, is_digest, seal_of, way_out
from orograph.store.lookup import quantity

FOLDER = "arrays.zarr"
SLOT = "slot"
METADATA = "zarr.json"


class ArrayStore:
    """The arrays in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """The quantities that have an array."""
        return sorted(path.parent.name for path in self.folder.glob(f"[!.]*/{METADATA}"))

    def open(self, name: str) -> Any:
        """The zarr array of a quantity, read-only.

        Raises:
            RunError: its metadata are damaged, or not of the form in which they are written here.
        """
        import zarr  # here and below: a third of a second, which workers do without: they store nothing

        path = self.folder / name / METADATA
        check_metadata(path)
        try:
            return zarr.open_array(self.folder / name, mode="r")
        except Exception as error:  # whatever zarr makes of them
            raise RunError(f"{path} is damaged ({type(error).__name__}); {way_out(path)}") from None

    def read(self, name: str, slot: int) -> Shaped[np.ndarray, "..."]:
        """What a slot holds, mapped from the disk: only what is looked at is read."""
        array = self.open(name)
        return map_chunk(self.chunk_path(name, slot, array.ndim - 1), array)

    def chunk_path(self, name: str, slot: int, dimensions: int) -> Path:
        """The file of the chunk of a slot, where a point has an array of so many dimensions."""
        return self.folder / name / ".".join(["c", str(slot), *("0" for _ in range(dimensions))])

    def write(
        self, name: str, slot: int, values: Shaped[np.ndarray, "..."], length: int, dims: Sequence[str] = ()
    ) -> tuple[Path, str]:
        """Write the values of one slot.

        Args:
            name: the quantity.
            slot: which point.
            values: its array, of the same shape and type at every point.
            length: number of slots that the array should have at least.
            dims: names of the dimensions of `values`; those of the quantity if left out.

        Returns:
            The chunk's file and its SHA-256.

        Raises:
            ConfigurationError: a scalar, or dimensions that do not fit.
            RunError: another shape or type than at the points before.
        """
        dims = tuple(dims) or quantity(name).dims
        if not values.ndim or len(dims) != values.ndim:
            raise ConfigurationError(
                f"array '{name}' of shape {values.shape} has the dimensions {list(dims)}; name one for each axis."
            )
        self._prepare(name, values, length, dims)
        little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        path = self.chunk_path(name, slot, values.ndim)
        return path, write_bytes(path, little.reshape(-1).view(np.uint8).data)

    def _prepare(self, name: str, values: np.ndarray, length: int, dims: Sequence[str]) -> None:
        """Make the array, or check it and make it long enough."""
        path = self.folder / name / METADATA
        if not path.exists():
            if not (self.folder / METADATA).exists():
                write_bytes(self.folder / METADATA, _group_metadata())
            write_bytes(path, _array_metadata(name, values, length, dims))
            return
        array = self.open(name)
        if array.shape[1:] != values.shape or array.dtype != values.dtype:
            was, now = f"{array.shape[1:]} {array.dtype}", f"{values.shape} {values.dtype}"
            raise RunError(f"array '{name}' holds {was} at every point, but {now} came; start a new run for another shape.")
        if array.shape[0] < length:
            write_bytes(path, _array_metadata(name, values, length, dims))


def _group_metadata() -> bytes:
    import zarr
    from zarr.storage import MemoryStore

    written: dict[str, Any] = {}
    zarr.create_group(MemoryStore(written), zarr_format=3)
    return _sealed(written[METADATA].to_bytes())


def _array_metadata(name: str, values: np.ndarray, length: int, dims: Sequence[str]) -> bytes:
    import zarr
    from zarr.storage import MemoryStore

    label, written = quantity(name), dict[str, Any]()
    zarr.create_array(
        MemoryStore(written),
        shape=(length, *values.shape),
        chunks=(1, *values.shape),
        dtype=values.dtype,
        fill_value=np.nan if values.dtype.kind == "f" else 0,
        compressors=None,
        chunk_key_encoding={"name": "default", "separator": "."},  # no folders of one file each
        dimension_names=(SLOT, *dims),
        attributes={"long_name": label.long_name, "units": label.units},
    )
    return _sealed(written[METADATA].to_bytes())


def _sealed(metadata: bytes) -> bytes:
    content = json.loads(metadata)
    content["attributes"] = {**content.get("attributes", {}), SEAL: _seal_of(content)}
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def _seal_of(content: dict[str, Any]) -> str:
    attributes = {name: value for name, value in content.get("attributes", {}).items() if name != SEAL}
    return seal_of({**content, "attributes": attributes})


def check_metadata(path: Path) -> None:
    """Raises:
    RunError: the metadata are not those that were written.
    """
    content = decode(path)
    attributes = content.get("attributes", {}) if isinstance(content, dict) else None
    if not isinstance(attributes, dict):
        raise RunError(f"{path} is damaged: it has no attributes; {way_out(path)}")
    given = attributes.get(SEAL)
    if given != _seal_of(content) if given is not None else any(map(is_digest, attributes.values())):
        raise RunError(f"{path} is damaged: it is not what was written (another SHA-256); {way_out(path)}")


def map_chunk(path: Path, array: Any) -> Shaped[np.ndarray, "..."]:
    """A chunk of a zarr array, mapped from the disk.

    Raises:
        RunError: it has another size than the metadata say.
    """
    size = array.dtype.itemsize * math.prod(array.shape[1:])
    if path.stat().st_size != size:
        raise RunError(f"{path} has {path.stat().st_size} bytes, not the {size} of its array; {way_out(path)}")
    return np.memmap(path, array.dtype, "r", shape=array.shape[1:])
