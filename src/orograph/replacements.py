"""Operations of torch that cannot be differentiated rightly twice and in both modes, and what stands in for them.

`weight_norm` is fused, and its second derivative takes for constant what is not; a bag of embeddings has one derivative and no
more: both are computed by their definitions. The row `padding_idx` of an embedding stays where it is in training, for reverse
mode leaves its gradient out; forward mode does not. What is looked up there is detached, so that both modes hold it fast.
Checkpointed functions are run once: run again in the backward pass they would read the module's own parameters, not those given.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint

from orograph.parameters import Layout


class _Replaced(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        replacement = _REPLACEMENTS.get(func, func)
        return replacement(*args, **(kwargs or {}))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """v·g/‖v‖, the norm over all dimensions but one; over all for −1."""
    if dim == -1:
        return v * (g / torch.linalg.vector_norm(v))
    others = [each for each in range(v.ndim) if each != dim]
    return v * (g / (torch.linalg.vector_norm(v, dim=others, keepdim=True) if others else v.abs()))


def _embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    found = functional.embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq)
    if padding_idx is None:
        return found
    return torch.where((input == padding_idx % len(weight))[..., None], found.detach(), found)


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sum, mean or maximum of each bag, `(b, d)`; padding belongs to none."""
    found = functional.embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq)
    counted = torch.ones_like(input, dtype=weight.dtype)
    if padding_idx is not None:
        counted = (input != padding_idx % len(weight)).to(weight.dtype)
    if mode == "max":
        if offsets is not None:
            raise NotImplementedError("maxima over bags of unequal length cannot be differentiated twice.")
        found = found.masked_fill((counted == 0)[..., None], -torch.inf).amax(1)
        return torch.where(counted.any(1)[:, None], found, torch.zeros_like(found))
    found = found * (counted if per_sample_weights is None else counted * per_sample_weights)[..., None]
    if offsets is None:
        total, counts = found.sum(1), counted.sum(1)
    else:
        bags = (offsets[:-1] if include_last_offset else offsets).contiguous()
        where = torch.searchsorted(bags, torch.arange(len(input), device=bags.device), right=True) - 1
        total = torch.zeros(len(bags), weight.shape[1], dtype=weight.dtype, device=weight.device).index_add(0, where, found)
        counts = torch.zeros(len(bags), dtype=weight.dtype, device=weight.device).index_add(0, where, counted)
    return total / counts.clamp(min=1)[:, None] if mode == "mean" else total


_REPLACEMENTS: dict[Any, Any] = {
    torch._weight_norm: _weight_norm,
    functional.embedding: _embedding,
    functional.embedding_bag: _embedding_bag,
}


def needs_replacements(model: nn.Module) -> bool:
    """Whether a module has anything of the kind."""
    return any(
        isinstance(module, _WeightNorm | nn.EmbeddingBag)
        or (isinstance(module, nn.Embedding) and (module.padding_idx is not None or module.sparse))
        or any(isinstance(hook, WeightNorm) for hook in module._forward_pre_hooks.values())
        for module in model.modules()
    )


@contextlib.contextmanager
def replaced(wanted: bool) -> Iterator[None]:
    """Within, they are replaced, if this is wanted; checkpoints always are."""
    kept = {name: getattr(checkpoint, name) for name in _CHECKPOINTS}
    try:
        for name, other in _CHECKPOINTS.items():
            setattr(checkpoint, name, other)
        with _Replaced() if wanted else contextlib.nullcontext():
            yield
    finally:
        for name, own in kept.items():
            setattr(checkpoint, name, own)


def _no_recomputing(*_: Any, **__: Any) -> Iterator[None]:
    yield


class _Directly:
    @staticmethod
    def apply(function: Any, preserve_random_state: bool, *arguments: Any) -> Any:
        return function(*arguments)


# How torch's two kinds of checkpoints go about it, where this torch has them.
_CHECKPOINTS: dict[str, Any] = {
    name: other
    for name, other in {
        "_checkpoint_without_reentrant_generator": _no_recomputing,
        "CheckpointFunction": _Directly,
    }.items()
    if hasattr(checkpoint, name)
}


def moving(model: nn.Module, layout: Layout) -> Bool[Tensor, " P"]:
    """Which entries of θ differentiation moves: all but the padding of embeddings that share their weight with nothing."""
    mask = torch.ones(layout.size, dtype=torch.bool)
    slices = layout.slices()
    names: dict[int, int] = {}
    for _, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)] = names.get(id(parameter), 0) + 1
    for name, module in model.named_modules():
        weight = f"{name}.weight".lstrip(".")
        padded = isinstance(module, nn.Embedding) and module.padding_idx is not None
        if padded and weight in slices and names.get(id(module.weight)) == 1:
            mask[slices[weight]].view(module.weight.shape)[module.padding_idx] = False
    return mask
