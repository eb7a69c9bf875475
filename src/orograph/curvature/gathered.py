"""Parameters of which every process holds its part, and a whole tensor only while something is computed with it.

All parameters side by side are one vector, cut into one stretch a process (`shards.py`). A tensor is put together where a
function of torch meets it (`meeting`), and so is every process's gradient of it on the way back: summed, each process keeping its
part. Each of the two is the other's derivative, so that gradients can be differentiated again. What autograd would keep of a
whole tensor for that is its name alone (`forgetting`): it is put together anew when it is asked for.

A tensor is sent by those who hold its entries, in one broadcast each: as many collectives as tensors and processes together.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from orograph.curvature.shards import Shards
from orograph.parameters import Layout

_KINDS = ("shape", "dtype", "ndim", "requires_grad", "is_leaf", "layout", "is_sparse", "is_quantized", "is_nested")
_ABOUT = {getattr(Tensor, name).__get__ for name in _KINDS} | {
    Tensor.size,
    Tensor.dim,
    Tensor.numel,
    Tensor.is_floating_point,
    Tensor.is_complex,
    torch.is_floating_point,
    torch.is_complex,
    torch.numel,
}  # what is asked of a tensor without reading it


@dataclass(frozen=True)
class _Kept:
    """What a graph keeps of a whole tensor: which one, and how it is looked at."""

    place: int
    size: torch.Size
    stride: tuple[int, ...]
    offset: Any  # a number; torch says it might be a symbol


class Gathered:
    """Named tensors out of the parts of all processes.

    Args:
        layout: names and shapes, in their order.
        part: this process's stretch of the vector of all, `(W,)`.
        shards: who holds what of it.
        dtype: that the whole tensors are computed with.
    """

    def __init__(self, layout: Layout, part: Float[Tensor, " W"], shards: Shards, dtype: torch.dtype) -> None:
        self.layout, self.part, self.shards, self.dtype = layout, part, shards, dtype
        self.owners = [_owners(place, shards) for place in layout.slices().values()]
        own = [[span for rank, span in owners if rank == shards.rank] for owners in self.owners]
        self.widths = [spans[0].stop - spans[0].start if spans else 0 for spans in own]
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self._last: tuple[int, Tensor] | None = None  # several nodes in a row read it

    def pieces(self, part: Float[Tensor, " W"]) -> tuple[Tensor, ...]:
        """What of a vector's part belongs to each tensor; mostly nothing."""
        return part.split(self.widths)

    def whole(self, piece: Float[Tensor, " w"], place: int) -> Tensor:
        """The tensor of which every process holds a piece."""
        shape, shards = self.layout.shapes[place], self.shards
        if shards.group is None:
            return piece.to(self.dtype).view(shape)
        whole = torch.empty(shape.numel(), dtype=self.dtype, device=piece.device)
        sent = []
        for rank, span in self.owners[place]:
            if rank == shards.rank:
                whole[span] = piece
            sent.append(torch.distributed.broadcast(whole[span], shards.sender(rank), group=shards.group, async_op=True))
        for each in sent:
            each.wait()
        return whole.view(shape)

    def summed(self, whole: Tensor, place: int) -> Float[Tensor, " w"]:
        """This process's piece of the sum of every process's tensor, in the dtype of vectors."""
        shards, flat = self.shards, whole.reshape(-1)
        if shards.group is None:
            return flat.to(self.part.dtype)
        piece = self.part.new_empty(0)
        for rank, span in self.owners[place]:
            sums = flat[span].to(self.part.dtype, copy=True)
            torch.distributed.reduce(sums, shards.sender(rank), group=shards.group)
            piece = sums if rank == shards.rank else piece
        return piece

    def of(self, place: int, piece: Tensor) -> Tensor:
        """A parameter, of a piece of θ: a graph that holds it need not keep it."""
        if self._last is None or self._last[0] != place:
            whole = self.whole(piece.detach(), place)
            if whole.untyped_storage()._cdata == piece.untyped_storage()._cdata:
                return whole
            self._alive = {key: held for key, held in self._alive.items() if not held[0].expired()}
            self._alive[whole.untyped_storage()._cdata] = StorageWeakRef(whole.untyped_storage()), place
            self._last = place, whole
        return self._last[1].detach()

    def pack(self, tensor: Tensor) -> Any:
        """What a graph keeps of a tensor."""
        held = self._alive.get(tensor.untyped_storage()._cdata) if tensor.layout == torch.strided else None
        if held is None or held[0].expired():
            return None
        return _Kept(held[1], tensor.size(), tensor.stride(), tensor.storage_offset())

    def unpack(self, kept: _Kept) -> Tensor:
        """The tensor again."""
        whole = self.of(kept.place, self.pieces(self.part)[kept.place])
        return whole.as_strided(kept.size, kept.stride, kept.offset)

    def release(self) -> None:
        """Lets go of the tensor put together last."""
        self._last = None


class _Whole(torch.autograd.Function):
    """Pieces → whole tensor; `parameter` where it is one of θ, not of a direction."""

    @staticmethod
    def forward(ctx: Any, piece: Tensor, gathered: Gathered, place: int, parameter: bool) -> Tensor:
        ctx.gathered, ctx.place = gathered, place
        return gathered.of(place, piece) if parameter else gathered.whole(piece, place)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        return _Summed.apply(slopes[0], ctx.gathered, ctx.place), None, None, None


class _Summed(torch.autograd.Function):
    """Every process's tensor → this process's piece of their sum."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, gathered: Gathered, place: int) -> Tensor:
        ctx.gathered, ctx.place = gathered, place
        return gathered.summed(whole, place)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        return _Whole.apply(slopes[0], ctx.gathered, ctx.place, False), None, None


class Meeting(TorchFunctionMode):
    """Within it a function of torch that meets a stand-in gets the whole tensor.

    Args:
        gathered: the parameters.
        theta: this process's part of them, `(W,)`, by which is differentiated.
    """

    def __init__(self, gathered: Gathered, theta: Float[Tensor, " W"]) -> None:
        super().__init__()
        self.gathered, self.device = gathered, theta.device
        names, shapes, pieces = gathered.layout.names, gathered.layout.shapes, gathered.pieces(theta)
        self.standins: dict[str, Tensor] = {
            name: torch.empty(shape, dtype=gathered.dtype, device="meta", requires_grad=theta.requires_grad)
            for name, shape in zip(names, shapes, strict=True)
        }
        standing = zip(self.standins.values(), pieces, strict=True)
        self._places = {id(standin): (place, piece) for place, (standin, piece) in enumerate(standing)}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _ABOUT:
            return func(*args, **(kwargs or {}))
        if func == Tensor.device.__get__ and id(args[0]) in self._places:
            return self.device
        return func(*tree_map(self._met, args), **tree_map(self._met, kwargs or {}))

    def _met(self, leaf: Any) -> Any:
        found = self._places.get(id(leaf)) if isinstance(leaf, Tensor) else None
        return leaf if found is None else _Whole.apply(found[1], self.gathered, found[0], True)


def forgetting(*held: Gathered) -> AbstractContextManager[Any]:
    """Within it graphs keep no whole tensor of these."""

    def pack(tensor: Tensor) -> Any:
        for index, gathered in enumerate(held):
            if (kept := gathered.pack(tensor)) is not None:
                return index, kept
        return tensor.detach()  # an output kept by its own node would be a circle that is never freed

    def unpack(kept: Any) -> Tensor:
        return kept if isinstance(kept, Tensor) else held[kept[0]].unpack(kept[1])

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


def part_of(
    layout: Layout, read: Callable[[str], Tensor], shards: Shards, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, " W"]:
    """This process's part of all tensors side by side, of which one is whole at a time.

    Args:
        layout: which, in their order.
        read: gives one of them.
        shards: who holds what.
        dtype: of the part.
        device: of the part.

    Returns:
        `(W,)`.
    """
    part = torch.empty(shards.width, dtype=dtype, device=device)
    for name, place in layout.slices().items():
        tensor = read(name)
        low, high = max(place.start, shards.start), min(place.stop, shards.stop)
        if low < high:
            part[low - shards.start : high - shards.start] = tensor.reshape(-1)[low - place.start : high - place.start]
    return part


def named_wholes(gathered: Gathered, part: Float[Tensor, " W"]) -> Iterator[tuple[str, Tensor]]:
    """The whole tensors of a vector of which every process has its part, one after the other."""
    for place, piece in enumerate(gathered.pieces(part)):
        yield gathered.layout.names[place], gathered.whole(piece, place)


def _owners(place: slice, shards: Shards) -> list[tuple[int, slice]]:
    """The processes that hold entries of a tensor, and which ones."""
    found, start = [], 0
    for rank, width in enumerate(shards.widths):
        low, high = max(place.start, start), min(place.stop, start + width)
        if low < high:
            found.append((rank, slice(low - place.start, high - place.start)))
        start += width
    return found
