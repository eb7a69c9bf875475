"""Names that quantities had in records written before: applied once, where a record or a finding is read.

One number has one name: tr H² is `frobenius_square` everywhere; `lambda_min` and negative eigenvalues are those of the Hessian of
L, and those of L_eff say so; a cosine is that of two minima, and that of a plane's directions says so.
"""

from collections.abc import Mapping
from typing import Any

# By kind of finding.
FORMER: dict[str, dict[str, str]] = {
    "certificate": {
        "lambda_min": "objective_lambda_min",
        "lambda_min_residual": "objective_lambda_min_residual",
        "lambda_min_noise": "objective_lambda_min_noise",
        "index": "objective_negative_eigenvalues",
        "index_lower_bound": "objective_negative_eigenvalues_lower_bound",
        "gradient_norm_before_polishing": "polish_gradient_before",
    },
    "curvature": {"squared_trace": "frobenius_square", "squared_trace_error": "frobenius_square_error"},
    "slice": {"cosine": "direction_cosine"},
}


def with_present_names(kind: str, scalars: Mapping[str, Any]) -> dict[str, Any]:
    """The scalars of a finding by the names that they have now."""
    former = FORMER.get(kind, {})
    return {former.get(name, name): value for name, value in scalars.items()}
