"""How much the measure `llc` of a point is its temperature's and its step's: the grid of both around what it takes."""

import math
from collections.abc import Callable

from orograph.arguments import checked
from orograph.degeneracy.sampling import Sampler
from orograph.degeneracy.scanning import scan_learning_coefficient
from orograph.errors import ConfigurationError
from orograph.measures import table
from orograph.objective import Objective

TEMPERATURES = (0.1, 1.0, 10.0)  # of nβ, in units of n/log n
STEPS = (0.05, 0.1, 0.2, 0.4)  # of ε, in units of 1/(nβ λ_max) at each


@checked
def coefficient_scan(
    objective: Objective,
    largest: float,
    *,
    sampler: Sampler = "sgld",
    seed: int = 0,
    on_cell: Callable[[int, int], None] | None = None,
) -> list[dict[str, float]]:
    """The learning coefficient at three temperatures and four steps each, at the localisation of the measure `llc`.

    Costs as much as twelve of that measure; the density is computed once.

    Args:
        objective: L_eff at θ.
        largest: λ_max of H_eff there.
        sampler: `sgld`, or `rmsprop`, preconditioned.
        seed: of chains and probes.
        on_cell: called with the cells done and all.

    Returns:
        A row a cell, as `orograph.degeneracy.scan_learning_coefficient` gives them.

    Raises:
        ConfigurationError: fewer than three samples, or no positive curvature.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(3, 1), torch.nn.MSELoss(), [(torch.eye(3), torch.zeros(3, 1))])
        >>> rows = og.measures.coefficient_scan(objective.moved(torch.zeros(4)), 8 / 3)
        >>> len(rows), sorted({round(row["step"] * row["nbeta"] * 8 / 3, 2) for row in rows})
        (12, [0.05, 0.1, 0.2, 0.4])
    """
    if objective.count < 3 or not largest > 0:
        raise ConfigurationError(
            f"a scan needs 3 samples and positive curvature, not {objective.count} and a largest eigenvalue {largest:.3g}."
        )
    usual = objective.count / math.log(objective.count)
    return scan_learning_coefficient(
        objective,
        objective.theta,
        nbetas=[each * usual for each in TEMPERATURES],
        steps=[each / largest for each in STEPS],
        localisation=usual * largest / table.SPAN,
        chains=table.CHAINS,
        draws=table.DRAWS,
        burn_in=table.BURN_IN,
        batch_size=table.BATCH,
        sampler=sampler,
        seed=seed,
        on_cell=on_cell,
    )
