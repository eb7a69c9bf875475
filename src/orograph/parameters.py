"""The parameters of a module as one flat vector, in `named_parameters()` order."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orograph.errors import ConfigurationError, unknown


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the parameters that make up θ, and where each lies in the flat vector.

    Tied parameters appear once, under the first of their names; frozen ones (`requires_grad=False`) do not appear.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @property
    def sizes(self) -> list[int]:
        return [shape.numel() for shape in self.shapes]

    @property
    def size(self) -> int:
        """P, the length of θ."""
        return sum(self.sizes)

    def slices(self) -> dict[str, slice]:
        """Where each parameter lies in the flat vector."""
        result, start = {}, 0
        for name, size in zip(self.names, self.sizes, strict=True):
            result[name] = slice(start, start + size)
            start += size
        return result

    def flatten(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, " P"]:
        """One new vector out of named tensors."""
        return torch.cat([tensors[name].detach().reshape(-1) for name in self.names])

    def unflatten(self, theta: Float[Tensor, "*models P"]) -> dict[str, Tensor]:
        """Named views into a flat vector; leading dimensions are kept."""
        parts = theta.split(self.sizes, dim=-1)
        lead = theta.shape[:-1]
        return {name: part.view((*lead, *shape)) for name, shape, part in zip(self.names, self.shapes, parts, strict=True)}

    def arguments(self, theta: Float[Tensor, " P"]) -> dict[str, Tensor]:
        """The same for a module to compute with: pairs of numbers that may stand for complex ones begin at an even place."""
        odd = {name: (part.start % 2 or self.size % 2) for name, part in self.slices().items()}
        return {
            name: tensor.clone() if odd[name] and tensor.shape[-1:] == (2,) else tensor
            for name, tensor in self.unflatten(theta).items()
        }


def layout_of(model: nn.Module, pattern: str = "*") -> Layout:
    """The layout of a module's trainable parameters whose names match a comma-separated list of globs.

    Raises:
        ConfigurationError: nothing is trainable, or a glob matches no name.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not named:
        raise ConfigurationError("the model has no trainable parameter: set requires_grad on those to be measured.")
    globs = [glob.strip() for glob in pattern.split(",")]
    for glob in globs:
        if fnmatch.filter(named, glob):
            continue
        frozen = fnmatch.filter(dict(model.named_parameters()), glob)
        if frozen:
            raise ConfigurationError(
                f"`parameters` '{glob}' matches frozen parameters only ('{frozen[0]}'); set requires_grad on those to measure."
            )
        raise unknown("parameter pattern", glob, named)
    chosen = [name for name in named if any(fnmatch.fnmatchcase(name, glob) for glob in globs)]
    return Layout(tuple(chosen), tuple(named[name].shape for name in chosen))


def first_names(model: nn.Module) -> dict[str, str]:
    """By each name of a parameter or buffer the first of that tensor's names: tied tensors have several."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    first = {id(tensor): name for name, tensor in reversed(named)}
    return {name: first[id(tensor)] for name, tensor in named}


def state_dict(
    model: nn.Module, layout: Layout, theta: Float[Tensor, " P"], buffers: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The model's state dict with θ in place of its parameters, and buffers if given, in the model's own key order.

    Tied tensors are the same under all their names.
    """
    own, first = model.state_dict(), first_names(model)
    values = {**own, **(buffers or {}), **layout.unflatten(theta)}
    return {name: values.get(first.get(name, name), values[name]).detach().cpu().clone() for name in own}


def working_dtype(layout: Layout, model: nn.Module, asked: torch.dtype | None = None) -> torch.dtype:
    """The floating dtype in which θ is kept and everything is evaluated: that asked for, else the widest of the parameters'.

    Half precision has too few digits for curvature; its weights are taken into float32, which holds them exactly.

    Raises:
        ConfigurationError: complex parameters, or another dtype than float32 and float64 asked for.
    """
    named = dict(model.named_parameters())
    for name in layout.names:
        if named[name].is_complex():
            raise ConfigurationError(
                f"parameter '{name}' is complex ({str(named[name].dtype).removeprefix('torch.')}), and θ is real: keep it as "
                "torch.view_as_real gives it and use torch.view_as_complex in forward."
            )
    if asked not in (None, torch.float32, torch.float64):
        raise ConfigurationError(
            f"dtype {str(asked).removeprefix('torch.')} has too few digits for curvature; float32 or float64 do."
        )
    widest = torch.float32
    for each in named.values():
        if each.is_floating_point():
            widest = torch.promote_types(widest, each.dtype)
    return asked or widest


def follow(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in this floating dtype, or the complex one of as many digits; integers and flags stay as they are."""
    if tensor.is_complex():
        return tensor.to(dtype.to_complex())
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
