"""Elements of a network's symmetries, and what they do to its tensors.

Units change places, within hosts or with them; within hosts they are rotated or mixed by an invertible A too, and what a product
sums over together with these is mixed by A⁻ᵀ, so that the product is as it was.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from orograph.connectivity.freedom import Block, Freedom, Group, Inner

# By kind: order `(n,)`; of an inner kind orders `(hosts, n)`, or matrices `(hosts, n, n)`. Hosts are counted as in the first
# network; those of a group that leaves them in their places as in the second.
Element = dict[int, Tensor]
Tensors = Mapping[str, Tensor]

CONDITION = 1e3  # at most, of what mixes: rounding of the function grows with it, to 1e-13 in float64 and 1e-4 in float32


def identity(freedom: Freedom) -> Element:
    """The element that leaves all where it is."""
    return _element(freedom, lambda group: torch.arange(group.size), _still)


def drawn(freedom: Freedom, generator: torch.Generator) -> Element:
    """An element at random: orders and rotations uniformly, what mixes as two rotations and factors between 1/2 and 2."""

    def order(group: Group) -> Tensor:
        return torch.randperm(group.size, generator=generator)

    def rotation(group: Group, inner: Inner) -> Tensor:
        normal = torch.randn(group.size, inner.size, inner.size, generator=generator, dtype=torch.float64)
        q, r = torch.linalg.qr(normal)
        return q * r.diagonal(dim1=1, dim2=2).sign()[:, None]

    def within(group: Group, inner: Inner) -> Tensor:
        if inner.rotates:
            return rotation(group, inner)
        if inner.mixes:
            factors = 2 ** (2 * torch.rand(group.size, 1, inner.size, generator=generator, dtype=torch.float64) - 1)
            return (rotation(group, inner) * factors) @ rotation(group, inner)
        return torch.stack([torch.randperm(inner.size, generator=generator) for _ in range(group.size)])

    return _element(freedom, order, within)


def moved(tensors: Tensors, freedom: Freedom, element: Element) -> dict[str, Tensor]:
    """Named tensors with all units where the element puts them; those that it does not move are the same objects."""
    result = dict(tensors)
    for name in {block.name for block in freedom.blocks} & result.keys():
        result[name] = result[name].clone()
        for block in freedom.blocks:
            if block.name == name:
                part = acted(opened(tensors[name], block), block, freedom.groups, element)
                result[name][block.where] = part.reshape(tensors[name][block.where].shape)
    return result


def opened(tensor: Tensor, block: Block) -> Tensor:
    """A block of a tensor, with a dimension for every kind of units."""
    return tensor[block.where].reshape(block.shape)


def acted(tensor: Tensor, block: Block, groups: Sequence[Group], element: Element) -> Tensor:
    """A block, opened, with the units of some groups where the element puts them."""
    for group in sorted(groups, key=lambda group: not group.stays):  # what is held by hosts in the second network's order first
        kinds = group.kinds
        for place, kind in enumerate(block.kinds):
            if kind == group.kind and kind in kinds:
                tensor = turned(tensor, block, group, element, place)
        for place, kind in enumerate(block.kinds):
            if kind != group.kind and kind in kinds:
                tensor = turned(tensor, block, group, element, place)
    return tensor


def turned(tensor: Tensor, block: Block, group: Group, element: Element, place: int) -> Tensor:
    """One dimension of a block as the element has it."""
    kind = block.kinds[place]
    assert kind is not None
    what = element[kind].to(tensor.device)
    if kind == group.kind:
        return tensor.index_select(place, what)
    if block.duals[place] and any(inner.mixes for inner in group.inner if inner.kind == kind):
        what = torch.linalg.inv(what).mT
    host = () if group.kind is None else (block.kinds.index(group.kind),)
    front = tuple(range(len(host) + 1))
    rows = tensor.movedim((*host, place), front)
    flat = rows.reshape(len(what), what.shape[1], -1)
    flat = (what @ flat.double()).to(tensor.dtype) if what.ndim == 3 else flat.take_along_dim(what[..., None], 1)
    return flat.reshape(rows.shape).movedim(front, (*host, place))


def _element(freedom: Freedom, order: Callable[[Group], Tensor], within: Callable[[Group, Inner], Tensor]) -> Element:
    found: Element = {}
    for group in freedom.groups:
        if group.kind is not None and not group.stays:
            found[group.kind] = order(group)
        for inner in group.inner:
            found[inner.kind] = within(group, inner)
    return found


def _still(group: Group, inner: Inner) -> Tensor:
    if inner.rotates or inner.mixes:
        return torch.eye(inner.size, dtype=torch.float64).repeat(group.size, 1, 1)
    return torch.arange(inner.size).repeat(group.size, 1)
