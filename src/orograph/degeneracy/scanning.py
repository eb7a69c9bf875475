"""How much a learning coefficient is its temperature's and its step's: the grid of both, shown and not hidden."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.degeneracy.coefficient import LearningCoefficient, local_learning_coefficient
from orograph.errors import ConfigurationError, DataError
from orograph.objective import Objective


@checked
def scan_learning_coefficient(
    objective: Objective,
    theta: Float[Tensor, " P"] | None = None,
    *,
    nbetas: Sequence[float],
    steps: Sequence[float],
    on_cell: Callable[[int, int], None] | None = None,
    **given: Any,
) -> list[dict[str, float]]:
    """λ̂ for each temperature and step, with the quadratic's number beside each.

    A plateau is where neighbours in the step agree; along nβ the quadratic's number moves too; the difference is what to read.

    Args:
        objective: as for `local_learning_coefficient`.
        theta: θ, `(P,)`.
        nbetas: values of nβ.
        steps: values of ε, in units of 1/nβ of each row, as what is stable is.
        on_cell: called with the cells done and all.
        **given: what else `local_learning_coefficient` takes.

    Returns:
        A row a cell: nβ, ε, λ̂ and its error, the quadratic's number, step bias, R̂, effective size; nan where chains diverged.

    Raises:
        ConfigurationError: no values, or an argument is out of range.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(3, 1), torch.nn.MSELoss(), [(torch.eye(3), torch.zeros(3, 1))])
        >>> given = {"nbetas": [10.0, 100.0], "steps": [0.05, 0.1], "batch_size": None, "draws": 100, "localisation": 5.0}
        >>> len(og.degeneracy.scan_learning_coefficient(objective, torch.zeros(4), **given))
        4
    """
    if not nbetas or not steps:
        raise ConfigurationError("`nbetas` and `steps` must have at least one value each.")
    rows, curvature, done = [], given.pop("curvature", None), 0
    for nbeta in nbetas:
        for step in steps:
            try:
                found: LearningCoefficient | None = local_learning_coefficient(
                    objective, theta, nbeta=nbeta, step=step / nbeta, curvature=curvature, **given
                )
            except DataError:  # diverged: that is what a scan is to show
                found = None
            curvature = curvature if found is None else found.density
            rows.append(_row(nbeta, step / nbeta, found))
            done += 1
            if on_cell is not None:
                on_cell(done, len(nbetas) * len(steps))
    return rows


def _row(nbeta: float, step: float, found: LearningCoefficient | None) -> dict[str, float]:
    nan = float("nan")
    row = {"nbeta": nbeta, "step": step, "coefficient": nan, "error": nan, "quadratic": nan, "step_bias": nan}
    if found is None:
        return row | {"rhat": nan, "effective_size": nan}
    row |= {"coefficient": found.estimate.value, "error": found.estimate.error, "quadratic": found.quadratic.value}
    return row | {"step_bias": found.step_bias, "rhat": found.rhat, "effective_size": found.effective_size}
