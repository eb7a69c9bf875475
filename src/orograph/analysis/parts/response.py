"""The susceptibility at a point of a sweep."""

from orograph.analysis.visit import Visit
from orograph.ladder.thermodynamics import response
from orograph.store.findings import Result


def response_part(visit: Visit, *, max_products: int) -> Result:
    """The susceptibility at a point."""
    visit.say("susceptibility", 0)
    found = response(visit.operator, visit.offset, visit.cell.strength, spectrum=visit.spectrum, max_products=max_products)
    return Result(
        {
            "susceptibility": found.susceptibility,
            "susceptibility_residual": found.residual,
            "susceptibility_converged": found.converged,
            "susceptibility_negative_curvature": found.negative_curvature,
            "response_norm": found.direction.double().norm().item(),
            "susceptibility_products": found.products,
        }
    )
