"""Matrices of known spectrum: a diagonal turned by a random orthogonal matrix, with an exact float64 twin where the noise
matters."""

import numpy as np
import torch
from torch import Tensor

from orograph.curvature.operator import LinearOperator, MatrixOperator


def turned(eigenvalues: np.ndarray, seed: int = 0) -> Tensor:
    """A symmetric float64 matrix with these eigenvalues and random eigenvectors."""
    generator = torch.Generator().manual_seed(seed)
    size = len(eigenvalues)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    matrix = (basis * torch.as_tensor(eigenvalues)) @ basis.T
    return (matrix + matrix.T) / 2


class Rounded(MatrixOperator):
    """A float64 matrix multiplied in float32: its products carry real rounding, and its float64 twin does not."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(matrix.float())
        self.exact = matrix

    def double(self) -> LinearOperator:
        return MatrixOperator(self.exact)


def extremes(eigenvalues: np.ndarray, k: int, which: str) -> np.ndarray:
    """The k wanted eigenvalues, descending, straight from the definition of `which`."""
    ascending = np.sort(eigenvalues)
    if which == "LM":
        chosen = ascending[np.argsort(-np.abs(ascending))[:k]]
    elif which == "LA":
        chosen = ascending[-k:]
    elif which == "SA":
        chosen = ascending[:k]
    else:
        chosen = np.concatenate([ascending[: k // 2], ascending[len(ascending) - (k - k // 2) :]])
    return np.sort(chosen)[::-1]
