"""Which parts an analysis has at every point, what each depends on, and what it costs in Hessian-vector products.

Costs are rough and machine-free: they only serve the estimate that is stated before the work.
"""

from functools import partial

from orograph.analysis.parts.certificates import certificate_part
from orograph.analysis.parts.classes import class_part
from orograph.analysis.parts.curvature import curvature_part
from orograph.analysis.parts.density import STEPS, density_part
from orograph.analysis.parts.localisation import localisation_part
from orograph.analysis.parts.response import response_part
from orograph.analysis.settings import AnalyzeSettings
from orograph.analysis.visit import Part

_EXPECTED_LOWEST = 120  # products of λ_min, measured at polished points of an MNIST network
_EXPECTED_RESPONSE = 150
_PER_PAIR = 2  # products that the shares of all classes and samples in one pair cost at most
_PASSES_A_CLASS = 1  # products that a class's gradient and the means of its logits' gradients cost together


def parts(settings: AnalyzeSettings, *, pairs: int, classes: int, tolerance: float) -> list[Part]:
    """The parts that these settings ask for, cheapest certificates first.

    Args:
        settings: of the analysis.
        pairs: recorded at a point.
        classes: C.
        tolerance: τ of a critical point.
    """
    seed, keep = settings.seed, settings.samples == "all"
    lowest, response = settings.lowest_products, settings.response_products
    found = [
        Part(
            "classes",
            {"images": settings.images, "samples": settings.samples},
            partial(class_part, images=settings.images, keep_samples=keep),
            products=_PER_PAIR * pairs + _PASSES_A_CLASS * (classes + 1),
            needs_vectors=True,
        ),
        Part("localisation", {}, localisation_part, products=0, needs_vectors=True),
        Part(
            "curvature",
            {"probes": settings.probes, "seed": seed},
            partial(curvature_part, probes=settings.probes, seed=seed),
            products=settings.probes + 1,
        ),
    ]
    if lowest:
        found.append(
            Part(
                "certificate",
                {"max_products": lowest, "tolerance": tolerance, "seed": seed},
                partial(certificate_part, max_products=lowest, tolerance=tolerance, seed=seed),
                products=min(lowest, _EXPECTED_LOWEST),
            )
        )
    if response:
        found.append(
            Part(
                "response",
                {"max_products": response},
                partial(response_part, max_products=response),
                products=min(response, _EXPECTED_RESPONSE),
            )
        )
    if settings.density:
        found.append(
            Part(
                "density",
                {"probes": settings.density_probes, "steps": STEPS, "seed": seed},
                partial(density_part, probes=settings.density_probes, seed=seed),
                products=settings.density_probes * STEPS,
            )
        )
    return found
