"""Which entries of θ make up a block: those of a tensor, of a module, or of all tensors whose names match."""

import fnmatch
from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from orograph.errors import ConfigurationError, unknown
from orograph.parameters import Layout

By = Literal["tensor", "module"] | Mapping[str, str]


def partition(layout: Layout, by: By = "tensor") -> dict[str, Int[Tensor, " p"]]:
    """The blocks of θ by name, in the order of the parameters.

    Args:
        layout: names and shapes of θ, as an objective has them.
        by: `tensor`: every parameter is a block. `module`: the parameters of one module are, as weight and bias of a layer; those
            of the model itself are called `(model)`. Or a name for each comma-separated list of globs of parameter names; what
            matches none is in no block.

    Returns:
        For each block the places of its entries in θ, `(p,)` int64, ascending.

    Raises:
        ConfigurationError: another word, a glob that matches nothing, or a parameter in two blocks.

    Examples:
        >>> import torch, orograph as og
        >>> layout = og.Objective(torch.nn.Linear(3, 2), torch.nn.MSELoss(), [(torch.eye(3), torch.ones(3, 2))]).layout
        >>> {name: len(places) for name, places in og.blockwise.partition(layout).items()}
        {'weight': 6, 'bias': 2}
    """
    if isinstance(by, Mapping):
        members = {block: _matching(layout, globs) for block, globs in by.items()}
        seen: dict[str, str] = {}
        for block, names in members.items():
            for name in names:
                if name in seen:
                    raise ConfigurationError(
                        f"parameter '{name}' is in block '{seen[name]}' and in block '{block}'; blocks must not share any."
                    )
                seen[name] = block
    elif by == "tensor":
        members = {name: [name] for name in layout.names}
    elif by == "module":
        members = {}
        for name in layout.names:
            members.setdefault(name.rpartition(".")[0] or "(model)", []).append(name)
    else:
        raise unknown("by", str(by), ("tensor", "module"))
    if not members:
        raise ConfigurationError("`by` names no block; give at least one name with the globs of its parameters.")
    places = layout.slices()
    return {
        block: torch.cat([torch.arange(places[name].start, places[name].stop) for name in names])
        for block, names in members.items()
    }


def _matching(layout: Layout, globs: str) -> list[str]:
    patterns = [glob.strip() for glob in globs.split(",")]
    for glob in patterns:
        if not fnmatch.filter(layout.names, glob):
            raise unknown("parameter pattern", glob, layout.names)
    return [name for name in layout.names if any(fnmatch.fnmatchcase(name, glob) for glob in patterns)]
