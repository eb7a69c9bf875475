"""Scalar curvature of the graph of L at a point: the full number with its standard error, and R_top_k of the recorded pairs."""

from orograph.analysis.visit import Visit
from orograph.geometry.ricci import scalar_curvature, scalar_curvature_top_k
from orograph.store.findings import Result


def curvature_part(visit: Visit, *, probes: int, seed: int) -> Result:
    """R, R_top_k, tr H and tr H². Recorded pairs lower the error; they do not move the estimate."""
    spectrum = visit.spectrum
    visit.say("scalar curvature", 0)
    found = scalar_curvature(visit.operator, visit.gradient, probes=probes, seed=seed, spectrum=spectrum)
    scalars = {
        "scalar_curvature": found.value,
        "scalar_curvature_error": found.error,
        "trace": found.trace.value,
        "trace_error": found.trace.error,
        "frobenius_square": found.squared_trace.value,
        "frobenius_square_error": found.squared_trace.error,
    }
    if spectrum is not None:
        scalars["scalar_curvature_top_k"] = scalar_curvature_top_k(spectrum, visit.gradient)
    return Result(scalars)
