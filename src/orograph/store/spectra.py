"""A spectrum as a run keeps it: what a record says of it, its arrays by the store's names, and both read back."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orograph.spectral.spectrum import Spectrum
from orograph.store.cells import Cell
from orograph.store.run import Run


def spectrum_scalars(spectrum: Spectrum) -> dict[str, Any]:
    """What a record says of a spectrum; the pairs themselves are arrays."""
    loose = ~spectrum.converged & ~spectrum.noise
    return {
        "lambda_first": spectrum.eigenvalues[0].item(),
        "lambda_last": spectrum.eigenvalues[-1].item(),
        "noise_level": spectrum.noise_level,
        "noise_pairs": int(spectrum.noise.sum()),
        "unconverged_pairs": int(loose.sum()),
        "clusters": [list(cluster) for cluster in spectrum.clusters],
        "cut": spectrum.cut,
        "products": spectrum.products,
    }


def spectrum_arrays(spectrum: Spectrum) -> dict[str, Tensor]:
    """What is known of each pair, by the store's names."""
    return {
        "residual": spectrum.residuals,
        "bound": spectrum.bounds,
        "converged": spectrum.converged,
        "noise": spectrum.noise,
        "sign": spectrum.signs,
    }


def recorded_spectrum(run: Run, cell: Cell, like: Float[Tensor, " P"]) -> Spectrum | None:
    """The pairs of H that a sweep recorded at a point, of the plain loss whichever Hessian was decomposed.

    Args:
        run, cell: where.
        like: gives the eigenvectors their dtype and device.
    """
    if not has_vectors(run, cell):
        return None
    scalars, chosen = run.records[cell].scalars, run.configuration["spectrum"]
    shift = 2 * cell.strength if scalars["hessian"] == "objective" else 0.0

    def array(name: str) -> Tensor:
        return torch.from_numpy(np.array(run.array(cell, name)))

    values = array("eigenvalue").double() - shift
    return Spectrum(
        eigenvalues=values,
        eigenvectors=array("eigenvector").to(like),
        residuals=array("residual").double(),
        noise_level=float(scalars["noise_level"]),
        converged=array("converged").bool(),
        noise=array("noise").bool(),
        clusters=tuple((int(start), int(stop)) for start, stop in scalars["clusters"]),
        cut=bool(scalars["cut"]),
        bounds=array("bound").double(),
        signs=array("sign").long() if not shift else values.sign().long(),
        products=int(scalars["products"]),
        which=chosen["which"],
        tolerance=chosen["tolerance"],
    )


def has_vectors(run: Run, cell: Cell) -> bool:
    """Whether a point was recorded with its eigenvectors."""
    return any(file.startswith("arrays.zarr/eigenvector/") for file in run.records[cell].files)
