"""The spectral density at a point, its bulk edge and the outliers beyond it, held against C − 1 where there are classes."""

import math

from orograph.analysis.visit import Visit
from orograph.spectral.bulk import outliers
from orograph.spectral.densities import density
from orograph.store.findings import Result

STEPS = 80


def density_part(visit: Visit, *, probes: int, seed: int) -> Result:
    """The density with its standard error; outliers where the recorded pairs hold two positive ones."""
    operator, memory = visit.operator, visit.objective.memory
    profile = density(operator, probes=probes, steps=STEPS, seed=seed, memory=memory, on_product=visit.counting("density"))
    spectrum = visit.spectrum
    known = spectrum is not None and spectrum.which != "SA" and int((spectrum.signs > 0).sum()) > 1
    edges = outliers(visit.pairs(), profile) if known else None
    scalars = {
        "bulk_edge": edges.edge if edges else math.nan,
        "outliers": edges.count if edges else math.nan,
        "outliers_lower_bound": edges.lower_bound if edges else False,
    }
    if visit.classifies:
        scalars["outliers_beyond_classes"] = edges.count - (visit.classes - 1) if edges else math.nan
    return Result(
        scalars,
        {
            "density_grid": profile.grid.cpu().numpy(),
            "density": profile.values.cpu().numpy(),
            "density_error": profile.errors.cpu().numpy(),
        },
    )
