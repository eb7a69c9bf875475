"""A spectrum as a run keeps it, written and read here alone: scalars of the record, arrays, and the published files.

The record says of which Hessian the pairs are (`hessian`: of L, or of L_eff = L + λ‖θ − θ_ref‖²) and how good they are; each
array holds one number a pair.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orograph.errors import RunError
from orograph.spectral.spectrum import Spectrum
from orograph.store.artifacts import Values
from orograph.store.cells import Cell
from orograph.store.encoding import way_out
from orograph.store.names import MARKER
from orograph.store.records import FOLDER, Record
from orograph.store.run import Run
from orograph.store.size import Eigenvectors

_ARRAYS = {"residual": "residuals", "bound": "bounds", "converged": "converged", "noise": "noise", "sign": "signs"}


def commit_spectrum(
    run: Run,
    cell: Cell,
    spectrum: Spectrum | None,
    *,
    hessian: str,
    keep: Eigenvectors,
    scalars: Mapping[str, Any],
    arrays: Mapping[str, Values],
    **rest: Any,
) -> Record:
    """Commits a point with its spectrum.

    Args:
        run, cell: where.
        spectrum: None where there is none.
        hessian: whose pairs they are, `loss` or `objective`.
        keep: where eigenvectors go.
        scalars, arrays, rest: what else is committed, as `Run.commit` takes it.
    """
    if spectrum is None:
        return run.commit(cell, scalars=scalars, arrays=arrays, **rest)
    return run.commit(
        cell,
        scalars={**scalars, **_scalars(spectrum), "hessian": hessian},
        arrays={**arrays, **{name: getattr(spectrum, field) for name, field in _ARRAYS.items()}},
        eigenvalues=spectrum.eigenvalues,
        eigenvectors=spectrum.eigenvectors if keep != "none" else None,
        eigenvectors_csv=keep == "both",
        **rest,
    )


def _scalars(spectrum: Spectrum) -> dict[str, Any]:
    loose = ~spectrum.converged & ~spectrum.noise
    return {
        "lambda_first": spectrum.eigenvalues[0].item(),
        "lambda_last": spectrum.eigenvalues[-1].item(),
        "noise_level": spectrum.noise_level,
        "noise_pairs": int(spectrum.noise.sum()),
        "unconverged_pairs": int(loose.sum()),
        "clusters": [list(cluster) for cluster in spectrum.clusters],
        "cut": spectrum.cut,
        "copies_searched": spectrum.searched,
        "products": spectrum.products,
    }


def judged_pairs(records: Iterable[Record], k: int) -> tuple[int, int]:
    """Of points with k pairs each: how many pairs are within their tolerance or at noise level, and how many were judged."""
    loose = [
        record.scalars["unconverged_pairs"] for record in records if isinstance(record.scalars.get("unconverged_pairs"), int)
    ]
    return k * len(loose) - sum(loose), k * len(loose)


def recorded_spectrum(run: Run, cell: Cell, *, vectors: bool = True) -> Spectrum:
    """The pairs of a sweep's point, as they were recorded: of H, or of H + 2λI where the record's `hessian` is `objective`.

    Args:
        run, cell: where; the point has a spectrum.
        vectors: whether to read the eigenvectors, float32 on the CPU; without them they are `(k, 0)`.

    Raises:
        RunError: its record lacks a part of it.
    """
    try:
        return _recorded(run, cell, vectors)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _incomplete(run, cell, str(error)) from None


def _incomplete(run: Run, cell: Cell, why: str) -> RunError:
    record = run.path / FOLDER / f"{run.plan.name(cell)}.json"
    return RunError(f"{record} is damaged: it holds no whole spectrum ({why}); {way_out(record)}")


def _recorded(run: Run, cell: Cell, vectors: bool) -> Spectrum:
    scalars, chosen = run.records[cell].scalars, _chosen(run)
    arrays: dict[str, Any] = {field: _array(run, cell, name) for name, field in _ARRAYS.items()}
    values = _array(run, cell, "eigenvalue")
    return Spectrum(
        eigenvalues=values,
        eigenvectors=_array(run, cell, "eigenvector") if vectors else torch.empty(len(values), 0),
        noise_level=float(scalars["noise_level"]),
        clusters=tuple((int(start), int(stop)) for start, stop in scalars["clusters"]),
        cut=bool(scalars["cut"]),
        searched=bool(scalars.get("copies_searched", False)),  # older runs do not say
        products=int(scalars["products"]),
        which=chosen["which"],
        tolerance=chosen["tolerance"],
        shared_size=0 if vectors else sum(int(np.prod(shape)) for shape in run.tensors.values()),
        **arrays,
    )


def _chosen(run: Run) -> Mapping[str, Any]:
    chosen = run.configuration.get("spectrum")
    if not isinstance(chosen, Mapping) or not {"which", "tolerance"} <= chosen.keys():
        raise RunError(f"{run.path / MARKER} is damaged: it says nothing of the spectrum; {way_out(run.path / MARKER)}")
    return chosen


def loss_spectrum(run: Run, cell: Cell, like: Float[Tensor, " P"]) -> Spectrum | None:
    """The recorded pairs as those of the Hessian of the plain loss; None without eigenvectors.

    Args:
        run, cell: where.
        like: gives the eigenvectors their dtype and device.
    """
    if not has_vectors(run, cell):
        return None
    found = recorded_spectrum(run, cell)
    found = replace(found, eigenvectors=found.eigenvectors.to(like))
    whose = run.records[cell].scalars.get("hessian")
    if whose not in ("loss", "objective"):
        raise _incomplete(run, cell, f"of the Hessian of {whose!r}")
    if whose == "loss" or not cell.strength:
        return found
    values = found.eigenvalues - 2 * cell.strength
    return replace(found, eigenvalues=values, signs=values.sign().long())


def has_vectors(run: Run, cell: Cell) -> bool:
    """Whether a point was recorded with its eigenvectors."""
    return any(file.startswith("arrays.zarr/eigenvector/") for file in run.records[cell].files)


def _array(run: Run, cell: Cell, name: str) -> Tensor:
    return torch.from_numpy(np.array(run.array(cell, name)))
