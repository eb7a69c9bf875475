"""What defines a run, whatever its network and its data are called."""

from collections.abc import Mapping
from typing import Any

import torch

from orograph.objective import Objective
from orograph.problem import Problem
from orograph.work.bench import Prepared

_NAMES = {"data", "model", "architecture", "problem"}  # groups of settings that say what things are called


def definition(settings: Prepared, problem: Problem, networks: Mapping[str, Objective]) -> dict[str, Any]:
    """A run's settings, and what their names stand for: a network's parameters and its loss, the values of the data.

    The built-in network under a name of one's own makes the same run; the same names with another activation another.

    Args:
        settings: of the experiment.
        problem: that they name.
        networks: the training loss of each network, at its first parameters, by the name that files have.
    """
    said = {name: value for name, value in settings.configuration().items() if name not in _NAMES}
    parts = settings.problem.model_dump(mode="json", exclude={"sources", "checksum"})
    stand_for = {
        name: {"tensors": list(zip(each.layout.names, each.layout.shapes, strict=True)), "loss": first_loss(each)}
        for name, each in networks.items()
    }
    return {**said, "problem": parts, "data": problem.contents, "networks": stand_for}


def first_loss(objective: Objective) -> float:
    """The loss of the first sample, or of the first batch where samples have none of their own, at θ of the network."""
    with torch.no_grad():
        return objective.summed(objective.theta, *next(iter(objective.batches(1)))).item()
