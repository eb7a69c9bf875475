"""Scalar curvature of the graph of L at a point: the full number with its standard error, and R_top_k of the recorded pairs."""

from orograph.analysis.visit import Visit
from orograph.geometry.epsilon_sharpness import finite_trace
from orograph.geometry.ricci import scalar_curvature, scalar_curvature_top_k
from orograph.spectral.intervals import estimate_fields
from orograph.store.findings import Result

_FEW = 128  # parameters: all columns of H cost less than a spectrum, and nothing is estimated


def curvature_part(visit: Visit, *, probes: int, seed: int) -> Result:
    """R, R_top_k, tr H and tr H². Recorded pairs lower the error; they do not move the estimate; of few parameters all is exact.

    The probes are the same at every point: what they miss is common to a ladder, so that errors are those of its level, not of
    differences between neighbours.
    """
    spectrum, size = visit.spectrum, visit.operator.size
    probes = max(probes, size) if size <= _FEW else probes
    visit.say("scalar curvature", 0)
    found = scalar_curvature(visit.operator, visit.gradient, probes=probes, seed=seed, spectrum=spectrum)
    scalars = {
        **estimate_fields("scalar_curvature", found),
        **estimate_fields("trace", found.trace),
        **estimate_fields("frobenius_square", found.frobenius_square),
    }
    if not visit.smooth:
        scalars |= finite_trace(visit.objective, visit.theta, seed=seed)
    if spectrum is not None:
        scalars["scalar_curvature_top_k"] = scalar_curvature_top_k(spectrum, visit.gradient)
    return Result(scalars)
