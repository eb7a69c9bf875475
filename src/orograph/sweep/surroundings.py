"""What stands around θ in the network of a sweep: frozen parameters, and buffers that no training changes.

A run has one such part: that of its anchor where this is a file or the network of a seed, else the network's own as the first
seed makes it. It is saved with every point and with the anchor, and put back from there when the run is gone on with.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from orograph.models.checkpoint import checked_state, load_checkpoint
from orograph.parameters import Layout, first_names
from orograph.store.copies import ANCHOR
from orograph.store.run import Run
from orograph.sweep.states import state_buffers

Saved = Mapping[str, Tensor] | Path | None  # a state dict, or where one lies


def around(model: nn.Module, layout: Layout, *, every: bool) -> set[str]:
    """Names of what is neither θ nor of a point's own state.

    Args:
        model: the network.
        layout: of θ.
        every: whether all buffers belong to the state, as `States.of` has it.
    """
    first, own = first_names(model), {*layout.names, *state_buffers(model, every=every)}
    return {name for name in model.state_dict() if first.get(name, name) not in own}


def saved_in(run: Run | None) -> Saved:
    """A network of a run, as it was saved: its anchor, or its first point; None where there is none yet."""
    if run is None:
        return None
    if (kept := run.kept(ANCHOR)) is not None:
        return kept
    cell = next((cell for cell, record in run.records.items() if record.status == "done"), None)
    return None if cell is None else run.weights(cell)


def read_saved(saved: Saved, model: nn.Module, layout: Layout, dtype: torch.dtype) -> dict[str, Tensor] | None:
    """The state dict that it is, held against the model."""
    if saved is None:
        return None
    if isinstance(saved, Path):
        return load_checkpoint(saved, model, dtype=dtype, names=layout.names)
    return checked_state(saved, model, dtype=dtype, names=layout.names)


def put_around(model: nn.Module, state: Mapping[str, Tensor], dtype: torch.dtype) -> nn.Module:
    """The model with these tensors; in the arithmetic of the run where its own dtype would round them."""
    own = model.state_dict()
    rounded = any(not torch.equal(each.to(own[name].dtype).to(each), each) for name, each in state.items())
    if rounded:
        model = model.double() if dtype is torch.float64 else model.float()
    model.load_state_dict(dict(state), strict=False)
    return model


def differing(known: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str | None:
    """The name of what stands around θ otherwise in a state dict; None where all that it has is the same."""
    both = (name for name in known if name in state)
    return next((name for name in both if not torch.equal(state[name].to(known[name]), known[name])), None)


def at_hand(anchor: str, saved: Callable[[], Saved] | None) -> str:
    """Where an anchor lies: of a run that was moved, whose anchor's file is not here, its own copy of that."""
    if anchor == "origin" or anchor.startswith(("train:", "initial:")) or Path(anchor).exists() or saved is None:
        return anchor
    kept = saved()
    return str(kept) if isinstance(kept, Path) else anchor
