"""Refuses what has no Hessian: a model or data that do not give the same loss twice.

Dropout and BatchNorm stand still in eval mode; noise that a module draws by itself does not, and neither does a shuffling or
augmenting loader. Both are looked for once, and named.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch

from orograph.errors import ConfigurationError, DataError
from orograph.intake import pairs, placed
from orograph.keeping import rewound
from orograph.objective import Objective
from orograph.samples import equal, joined, parting, record
from orograph.streaming import columns, fingerprints

_SAMPLES = 32


def check_model(objective: Objective) -> None:
    """Evaluates a few samples twice in eval mode.

    Raises:
        ConfigurationError: an output moved; names the innermost module that gave two outputs for one input.
    """
    inputs, _ = next(objective.batches(min(_SAMPLES, objective.count)))
    devices = [objective.device] if objective.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), rewound(objective.model):
        first, second = (
            record(objective.model, lambda given: objective.outputs(objective.theta, given), inputs) for _ in range(2)
        )
    if not equal(first[-1][2], second[-1][2]):
        raise ConfigurationError(
            f"the model gives two outputs for the same input in eval mode: '{parting(first, second)}' is random; "
            "make it deterministic in eval mode, or replace it with its mean."
        )


def check_data(data: Iterable[Any], objective: Objective) -> None:
    """Iterates the data again and compares them with what the objective holds.

    Raises:
        DataError: another length, order or content.
    """
    if isinstance(data, list | tuple) or objective.streamed:  # what it holds cannot move; what is read again was compared
        return
    held = list(objective.batches(objective.count))
    with torch.random.fork_rng(devices=[]):
        torch.rand(1)  # what shuffles by torch's random numbers shall find others than the first time
        found = list(pairs(data))
    count = sum(len(targets) for _, targets in found)
    if not count:
        raise DataError(
            f"the data give {objective.count} samples the first time and none the second: they can be read only once; pass a "
            "list of their batches."
        )
    if count != objective.count:
        raise DataError(f"the data have {objective.count} samples the first time and {count} the second.")
    again = [placed(batch, objective.device, objective.dtype) for batch in found]
    if len(held) == 1:
        again = joined(again)
    first, second = [columns(batch) for batch in held], [columns(batch) for batch in again]
    leaves = zip(chain.from_iterable(first), chain.from_iterable(second), strict=False)
    if all(torch.equal(a, b) for a, b in leaves):
        return
    prints, others = (torch.cat([fingerprints(leaves) for leaves in each]).sort().values for each in (first, second))
    if torch.allclose(prints, others, rtol=1e-12):
        raise DataError("the data come in another order the second time; pass a loader with shuffle=False.")
    raise DataError("the data have another content the second time; switch off random augmentation.")
