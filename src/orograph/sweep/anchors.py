"""Where θ_ref comes from: the origin, a state dict, or a network as its seed makes it, trained or not, kept with the run."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orograph.errors import DataError, RunError
from orograph.models.checkpoint import load_checkpoint
from orograph.objective import Objective
from orograph.parameters import Layout, state_dict
from orograph.store.artifacts import weights_bytes
from orograph.store.copies import ANCHOR as ANCHOR_FILE
from orograph.store.recorded import require_as_committed
from orograph.store.run import Run
from orograph.sweep.states import Buffers, State, States
from orograph.training.loop import train
from orograph.training.settings import TrainingSettings

Anchor = tuple[Float[Tensor, " P"], Buffers]  # θ_ref, and the buffers of that network's state


def seed_of(name: str) -> int | None:
    """The seed of the network that an anchor's name says; None where it says none."""
    kind, _, seed = name.partition(":")
    return int(seed) if kind in ("train", "initial") and seed else None


def read_anchor(name: str, model: nn.Module, layout: Layout, dtype: torch.dtype) -> dict[str, Tensor] | None:
    """The state dict of the anchor that a file holds; None for the origin and for one that is still to be made.

    Raises:
        DataError: the file is no state dict of this model, or is not finite in its arithmetic.
    """
    if name == "origin" or name.startswith(("train:", "initial:")):
        return None
    state = _read(name, model, layout, dtype)
    if not layout.flatten(state).isfinite().all():
        raise DataError(f"{name} holds weights that {str(dtype).removeprefix('torch.')} cannot hold; use `dtype` float64.")
    return state


def anchor_of(state: Mapping[str, Tensor], objective: Objective, states: States) -> Anchor:
    """θ_ref of a state dict and its buffers; those that it lacks are the network's own."""
    known = {name: state.get(name, each).to(each) for name, each in states.buffers.items()}
    return objective.layout.flatten(state).to(objective.theta), known


def make_anchor(
    name: str,
    given: Anchor | None,
    objective: Objective,
    settings: TrainingSettings,
    initial: Callable[[int], State],
    states: States,
) -> Anchor:
    """The anchor that was given, or the network that its name says, and its buffers."""
    if given is not None:
        return given
    kind, _, seed = name.partition(":")
    theta, buffers = states.split(initial(int(seed)))
    if kind == "initial":
        return theta, buffers
    trained = train(objective.penalised(0.0), theta, settings, order_seed=int(seed), buffers=buffers or None)
    return trained.theta, trained.buffers


def settle_anchor(
    name: str,
    given: Anchor | None,
    run: Run,
    objective: Objective,
    states: States,
    make: Callable[[], Anchor],
) -> Anchor | None:
    """The run's own anchor: read back from it, else made if need be, and stored with it.

    Raises:
        RunError: the file named as anchor is not the one this run was begun with, or the run's own is damaged.
    """
    if name == "origin":
        return None
    kept = run.kept(ANCHOR_FILE)
    if kept:
        anchor = anchor_of(_read(str(kept), objective.model, objective.layout, objective.dtype), objective, states)
        theta = anchor[0]
        # a run that was begun earlier may have rounded it to the module's own dtype
        if given is not None and not any(torch.equal(theta, each) for each in (given[0], given[0].float().to(given[0]))):
            raise RunError(f"{name} is not the anchor that this run was begun with ({kept}); choose another `out`.")
        return anchor
    made = make()
    run.keep(ANCHOR_FILE, weights_bytes(state_dict(objective.model, objective.layout, *made)))
    return made


def _read(path: str, model: nn.Module, layout: Layout, dtype: torch.dtype) -> dict[str, Tensor]:
    """What a file holds, in the arithmetic of the run and not rounded to the module's before."""
    require_as_committed(Path(path))
    return load_checkpoint(path, model, dtype=dtype, names=layout.names)
