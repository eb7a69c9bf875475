"""A network of a sweep as one vector: θ, and behind it the buffers that belong to its state (BatchNorm's running statistics).

Chains, workers and schedules hand on one vector a network, whatever it is made of. Measured with the buffers of another point a
network would be another function; they are kept in the point's `.pth` and come back from there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orograph.objective import Objective
from orograph.training.gradient import tracks_statistics

Buffers = dict[str, Tensor]
State = Float[Tensor, " S"]


def state_buffers(model: nn.Module, *, every: bool) -> list[str]:
    """Names of the buffers that belong to a network's state: those of normalisation, or `every` one that is saved."""
    persistent = set(model.state_dict())
    names = [
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in model.named_modules()
        if every or tracks_statistics(module)
        for name, _ in module.named_buffers(recurse=False)
    ]
    return [name for name in names if name in persistent]


@dataclass(frozen=True)
class States:
    """How θ and buffers lie in a vector.

    Attributes:
        size: P, the number of parameters.
        buffers: what training changes, by name: a value of each, for its shape and dtype; empty for most networks.
    """

    size: int
    buffers: Mapping[str, Tensor]

    @classmethod
    def of(cls, objective: Objective, *, every: bool = False) -> "States":
        """The states of a network.

        Args:
            objective: gives the network.
            every: whether all its buffers belong to the state, and not only those that normalisation keeps.
        """
        names = state_buffers(objective.model, every=every)
        return cls(objective.layout.size, {name: objective.constants[name] for name in names})

    def join(self, theta: Float[Tensor, " P"], buffers: Mapping[str, Tensor]) -> State:
        """One vector; θ itself where there are no buffers."""
        if not self.buffers:
            return theta
        return torch.cat([theta, *(buffers[name].to(theta).flatten() for name in self.buffers)])

    def split(self, state: State) -> tuple[Float[Tensor, " P"], Buffers]:
        """θ and the buffers."""
        if not self.buffers:
            return state, {}
        sizes = [each.numel() for each in self.buffers.values()]
        theta, *parts = state.split([self.size, *sizes])
        return theta, {
            name: part.view(each.shape).to(each) for part, (name, each) in zip(parts, self.buffers.items(), strict=True)
        }

    def theta(self, state: State) -> Float[Tensor, " P"]:
        """θ alone."""
        return self.split(state)[0]

    def of_module(self, objective: Objective, model: nn.Module) -> State:
        """A module's state."""
        named = dict(model.named_parameters())
        return self.join(objective.layout.flatten(named).to(objective.theta), dict(model.named_buffers()))

    def of_saved(self, objective: Objective, saved: Mapping[str, Tensor]) -> State:
        """That of a state dict."""
        return self.join(objective.layout.flatten(saved).to(objective.theta), saved)
