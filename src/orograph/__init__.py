"""Orograph measures and maps the loss landscapes of neural networks.

The library's face: operators of curvature for any module, loss and data; what is computed from them; named data and models; runs.
Names are imported when first used, so that `import orograph` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orograph.curvature.fisher import EmpiricalFisherOperator as EmpiricalFisherOperator
    from orograph.curvature.ggn import GaussNewtonOperator as GaussNewtonOperator
    from orograph.curvature.hessian import HessianOperator as HessianOperator
    from orograph.data.catalogue import load_data as load_data
    from orograph.geometry.measurement import Measurement as Measurement
    from orograph.geometry.measurement import measure as measure
    from orograph.models.catalogue import build_model as build_model
    from orograph.objective import Objective as Objective
    from orograph.spectral.cg import conjugate_gradient as conjugate_gradient
    from orograph.spectral.densities import density as density
    from orograph.spectral.eigenpairs import lanczos as lanczos
    from orograph.spectral.spectrum import Spectrum as Spectrum
    from orograph.spectral.traces import trace as trace
    from orograph.store.dataset import open_run as open_run

_HOMES = {
    "conjugate_gradient": "orograph.spectral.cg",
    "Measurement": "orograph.geometry.measurement",
    "measure": "orograph.geometry.measurement",
    "trace": "orograph.spectral.traces",
    "density": "orograph.spectral.densities",
    "EmpiricalFisherOperator": "orograph.curvature.fisher",
    "GaussNewtonOperator": "orograph.curvature.ggn",
    "HessianOperator": "orograph.curvature.hessian",
    "Objective": "orograph.objective",
    "Spectrum": "orograph.spectral.spectrum",
    "build_model": "orograph.models.catalogue",
    "lanczos": "orograph.spectral.eigenpairs",
    "load_data": "orograph.data.catalogue",
    "open_run": "orograph.store.dataset",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'orograph' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
