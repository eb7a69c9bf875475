"""Where in the network a direction lies: its weight on each tensor, how many parameters carry it, and what it points at.

With a unit vector v: the weight of a tensor is Σ v_p² over its parameters; the inverse participation ratio Σ v_p⁴ is 1 for a
single parameter and 1/P for all alike (Bell & Dean 1970), so that 1/Σ v_p⁴ counts parameters; the overlap with a vector u is
(vᵀu)²/‖u‖². Within a cluster of eigenvalues single vectors are arbitrary: there sums over the cluster mean something for
weights and overlaps, and the participation of one vector does not.
"""

from orograph.analysis.visit import Visit
from orograph.geometry.localisation import localise
from orograph.store.findings import Result


def localisation_part(visit: Visit) -> Result:
    """Every recorded pair's localisation."""
    found = localise(visit.pairs().eigenvectors, visit.objective.layout, visit.gradient, visit.offset)
    return Result(
        {},
        {
            "tensor_weight": found.tensor_weights.cpu().numpy(),
            "inverse_participation": found.inverse_participation.cpu().numpy(),
            "gradient_overlap": found.gradient_overlaps.cpu().numpy(),
            "anchor_overlap": found.offset_overlaps.cpu().numpy(),
        },
    )
