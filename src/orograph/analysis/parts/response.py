"""The susceptibility at a point of a sweep."""

import torch

from orograph.analysis.visit import Visit
from orograph.geometry.smoothness import finite_companions
from orograph.ladder.thermodynamics import response
from orograph.store.findings import Result


def response_part(visit: Visit, *, max_products: int) -> Result:
    """The susceptibility at a point."""
    visit.say("susceptibility", 0)
    found = response(visit.operator, visit.offset, visit.cell.strength, spectrum=visit.spectrum, max_products=max_products)
    length = found.direction.double().norm().item()
    along = found.direction / length if length else found.direction
    shift, kinks = 2 * visit.cell.strength, dict[str, float]()
    if length and not visit.smooth:
        kinks = finite_companions(visit.objective, visit.theta, {"response_curvature": along}, shift=shift)
        kinks["response_curvature"] = torch.dot(along.double(), (visit.operator @ along).double()).item() + shift
    return Result(
        {
            "susceptibility": found.susceptibility,
            "susceptibility_residual": found.residual,
            "susceptibility_converged": found.converged,
            "susceptibility_negative_curvature": found.negative_curvature,
            "response_norm": length,
            "susceptibility_products": found.products,
            **kinks,
        }
    )
