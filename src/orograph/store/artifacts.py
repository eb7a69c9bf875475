"""The bytes of the published files of one point, readable by pandas, `numpy.loadtxt` and `torch.load(weights_only=True)`.

Large files hold floats in the shortest form that reads back to the same float32.
"""

import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

FOLDER = "test_data"

Values = Shaped[np.ndarray, "..."] | Tensor


def point_files(
    stem: str,
    weights: Mapping[str, Tensor] | None,
    gradient: Mapping[str, Tensor] | None,
    eigenvalues: Values | None,
    eigenvectors: Values | None,
    *,
    rows: bool,
) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """What is published of a point, and the arrays that hold the same numbers.

    Args:
        stem: `{ID}-{L2}` of the point.
        weights: its state dict.
        gradient: by parameter name, in the order of the flat vector.
        eigenvalues: `(k,)`, descending.
        eigenvectors: `(k, P)`, in the same order.
        rows: whether the eigenvectors have a file.

    Returns:
        Files and arrays by name.
    """
    files: dict[str, bytes] = {}
    arrays: dict[str, np.ndarray] = {}
    if weights is not None:
        files[weights_name(stem)] = weights_bytes(weights)
    if gradient is not None:
        named = {name: as_numpy(tensor) for name, tensor in gradient.items()}
        files[gradients_name(stem)] = gradients_bytes(named)
        arrays["gradient"] = np.concatenate([values.ravel() for values in named.values()])
    if eigenvalues is not None:
        arrays["eigenvalue"] = as_numpy(eigenvalues, np.float64)
        files[eigenvalues_name(stem)] = eigenvalues_bytes(arrays["eigenvalue"])
    if eigenvectors is not None:
        arrays["eigenvector"] = as_numpy(eigenvectors, np.float32)
        if rows:
            files[eigenvectors_name(stem)] = eigenvectors_bytes(arrays["eigenvector"])
    return files, arrays


def as_numpy(values: Values, dtype: type | None = None) -> np.ndarray:
    """As NumPy has them, on the CPU."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype)


def weights_name(stem: str) -> str:
    """File name of the weights of the point `{ID}-{L2}`."""
    return _name("model_weights", stem, "pth")


def gradients_name(stem: str) -> str:
    """File name of the gradient."""
    return _name("gradients", stem, "csv")


def eigenvalues_name(stem: str) -> str:
    """File name of the eigenvalues."""
    return _name("Hessian-eigenvalues", stem, "csv")


def eigenvectors_name(stem: str) -> str:
    """File name of the eigenvectors."""
    return _name("Hessian-eigenvectors", stem, "csv")


def _name(what: str, stem: str, ending: str) -> str:
    """`{what}-{stem}.{ending}`, in the folder that the stem begins with, if any."""
    folder, slash, point = stem.rpartition("/")
    return f"{folder}{slash}{what}-{point}.{ending}"


def weights_bytes(state: Mapping[str, Tensor]) -> bytes:
    """A state dict as `torch.save` writes it, its keys in the order given.

    Each tensor is copied, since a view would drag the whole of its storage into the file, and saved to memory, since
    `torch.save` writes the name of a file into the file.
    """
    copies = {key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for key, tensor in state.items()}
    buffer = io.BytesIO()
    torch.save(copies, buffer)
    return buffer.getvalue()


def gradients_bytes(gradient: Mapping[str, Float[np.ndarray, "..."]]) -> bytes:
    """One line a parameter tensor: `dL/d{name}: g, g, …`, row-major."""
    return b"".join(f"dL/d{name}: ".encode() + _joined(values.ravel(), ", ") + b"\n" for name, values in gradient.items())


def eigenvalues_bytes(eigenvalues: Float[np.ndarray, " k"]) -> bytes:
    """One value a line, as ordered."""
    return "".join(f"{value!r}\n" for value in eigenvalues.tolist()).encode()


def eigenvectors_bytes(eigenvectors: Float[np.ndarray, "k P"]) -> bytes:
    """One eigenvector a line, comma-separated."""
    return b"".join(_joined(vector, ",") + b"\n" for vector in eigenvectors)


def _joined(values: Float[np.ndarray, " n"], separator: str) -> bytes:
    """Numbers in their shortest float32 form, by Arrow: thirty times as fast as Python's own formatting."""
    texts = pc.cast(pa.array(np.ascontiguousarray(values, dtype=np.float32)), pa.string())
    row = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    return pc.binary_join(row, separator)[0].as_buffer().to_pybytes()
