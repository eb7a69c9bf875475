"""Where θ_ref comes from: the origin, a state dict, or a network as its seed makes it, trained or not, kept with the run."""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orograph.errors import DataError, RunError
from orograph.models.checkpoint import load_checkpoint
from orograph.objective import Objective
from orograph.parameters import state_dict
from orograph.store.artifacts import weights_bytes
from orograph.store.copies import ANCHOR as ANCHOR_FILE
from orograph.store.recorded import require_as_committed
from orograph.store.run import Run
from orograph.sweep.states import Buffers, State, States
from orograph.training.loop import train
from orograph.training.settings import TrainingSettings


def read_anchor(name: str, model: nn.Module, objective: Objective) -> Float[Tensor, " P"] | None:
    """The anchor that a file holds; None for the origin and for one that is still to be made.

    Raises:
        DataError: the file is no state dict of this model, or is not finite in its arithmetic.
    """
    if name == "origin" or name.startswith(("train:", "initial:")):
        return None
    anchor = _read(name, model, objective)
    if not anchor.isfinite().all():
        raise DataError(f"{name} holds weights that {str(anchor.dtype).removeprefix('torch.')} cannot hold; use `dtype` float64.")
    return anchor


def make_anchor(
    name: str,
    given: Float[Tensor, " P"] | None,
    objective: Objective,
    settings: TrainingSettings,
    initial: Callable[[int], State],
    states: States,
) -> tuple[Float[Tensor, " P"], Buffers]:
    """The anchor that was given, or the network that its name says, and its buffers."""
    if given is not None:
        return given, {}
    kind, _, seed = name.partition(":")
    theta, buffers = states.split(initial(int(seed)))
    if kind == "initial":
        return theta, buffers
    trained = train(objective.penalised(0.0), theta, settings, order_seed=int(seed), buffers=buffers or None)
    return trained.theta, trained.buffers


def settle_anchor(
    name: str,
    given: Float[Tensor, " P"] | None,
    run: Run,
    model: nn.Module,
    objective: Objective,
    make: Callable[[], tuple[Float[Tensor, " P"], Buffers]],
) -> Float[Tensor, " P"] | None:
    """The run's own anchor: read back from it, else made if need be, and stored with it.

    Raises:
        RunError: the file named as anchor is not the one this run was begun with, or the run's own is damaged.
    """
    if name == "origin":
        return None
    kept = run.kept(ANCHOR_FILE)
    if kept:
        anchor = _read(str(kept), model, objective)
        # a run that was begun earlier may have rounded it to the module's own dtype
        if given is not None and not any(torch.equal(anchor, each) for each in (given, given.float().to(given))):
            raise RunError(f"{name} is not the anchor that this run was begun with ({kept}); choose another `out`.")
        return anchor
    made, buffers = make()
    run.keep(ANCHOR_FILE, weights_bytes(state_dict(model, objective.layout, made, buffers)))
    return made


def _read(path: str, model: nn.Module, objective: Objective) -> Float[Tensor, " P"]:
    """θ in a file, in the objective's arithmetic and not rounded to the module's before."""
    require_as_committed(Path(path))
    return objective.layout.flatten(load_checkpoint(path, model, dtype=objective.dtype)).to(objective.theta)
