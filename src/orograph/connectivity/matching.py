"""The element of a network's symmetries that brings one set of weights nearest to another (Ainsworth et al., 2023).

⟨θ₁, g(θ₂)⟩ is maximised one group of units at a time with all others where they are. That step is exact: a linear assignment
problem for what changes places, an orthogonal Procrustes problem (Schönemann, 1966) for what is rotated, and for units that hold
others the assignment by what the best element within each pair gives. Where a kind of units stands twice in one weight the step
is that of the linearised problem (Vogelstein et al., 2015), or else the best exchange of two units. The whole is a heuristic; how
far it may be from the best element a bound says (`least_distance`).
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orograph.connectivity.freedom import Block, Freedom, Group, Inner

Element = dict[int, Tensor]  # by kind: order `(n,)`; of an inner kind orders `(hosts, n)`, or rotations `(hosts, n, n)`
Tensors = Mapping[str, Tensor]

_TOLD = 1e-8  # of a singular value by the largest: the root of float64's rounding, below which its vectors say nothing
_SWEEPS = 1000  # at most; permutations come to rest long before, rotations in steps that shrink


def identity(freedom: Freedom) -> Element:
    """The element that leaves all where it is."""
    return _element(freedom, lambda group: torch.arange(group.size), _still)


def drawn(freedom: Freedom, generator: torch.Generator) -> Element:
    """An element at random, uniformly."""

    def order(group: Group) -> Tensor:
        return torch.arange(group.size) if group.stays else torch.randperm(group.size, generator=generator)

    def within(group: Group, inner: Inner) -> Tensor:
        if not inner.rotates:
            return torch.stack([torch.randperm(inner.size, generator=generator) for _ in range(group.size)])
        normal = torch.randn(group.size, inner.size, inner.size, generator=generator, dtype=torch.float64)
        q, r = torch.linalg.qr(normal)
        return q * r.diagonal(dim1=1, dim2=2).sign()[:, None]

    return _element(freedom, order, within)


def moved(tensors: Tensors, freedom: Freedom, element: Element) -> dict[str, Tensor]:
    """Named tensors with all units where the element puts them; those that it does not move are the same objects."""
    result = dict(tensors)
    for name in {block.name for block in freedom.blocks} & result.keys():
        result[name] = result[name].clone()
        for block in freedom.blocks:
            if block.name == name:
                part = _acted(_opened(tensors[name], block), block, freedom.groups, element)
                result[name][block.where] = part.reshape(tensors[name][block.where].shape)
    return result


def similarity(one: Tensors, other: Tensors, freedom: Freedom, element: Element) -> float:
    """⟨θ₁, g(θ₂)⟩ over all that moves."""
    return sum(_product(*pair, freedom.groups, element) for pair in _pairs(one, other, _counted(freedom), [], element))


def climbed(one: Tensors, other: Tensors, freedom: Freedom, element: Element, generator: torch.Generator) -> tuple[Element, int]:
    """From an element to one that no step of a single group betters, and the rounds taken."""
    element, groups = dict(element), freedom.groups
    unsettled, sweeps = set(range(len(groups))), 0
    shared = [
        {
            place
            for place, other_group in enumerate(groups)
            if any(other_group.kinds & set(block.kinds) and group.kinds & set(block.kinds) for block in freedom.blocks)
        }
        for group in groups
    ]
    while unsettled and sweeps < _SWEEPS:
        sweeps += 1
        for place in torch.randperm(len(groups), generator=generator).tolist():
            if place in unsettled:  # it or a neighbour has changed since it was assigned
                unsettled.remove(place)
                found = stepped(one, other, freedom, element, groups[place])
                if found is not None:
                    element |= found
                    unsettled |= shared[place] if _is_curved(freedom, groups[place]) else shared[place] - {place}
    return element, sweeps


def matched_forwards(one: Tensors, other: Tensors, freedom: Freedom) -> Element:
    """A first guess: groups in the order of the network, each by the weights in which nothing else is still to be matched.

    Where these weights span fewer dimensions than a rotation has, it stands for a partial isometry, zero on what is left, and the
    rounds go on as long as what others determine adds to it. Exact where the second network is a moved copy of the first, and
    its weights determine every rotation so.
    """
    rotating = [inner for group in freedom.groups for inner in group.inner if inner.rotates]
    element, todo = identity(freedom), list(freedom.groups)
    element |= {inner.kind: torch.zeros_like(element[inner.kind]) for inner in rotating}
    while todo:
        looked = [(group, _determined(freedom, group, todo)) for group in todo]
        # A bias by itself tells little: weights that join the units to others come first.
        telling = [(group, blocks) for group, blocks in looked if any(set(b.kinds) - _all_kinds(group) for b in blocks)]
        group, blocks = (telling or looked)[0]
        element |= stepped(one, other, freedom, element, group, blocks, partial=True) or {}
        todo.remove(group)
    most, rank = sum(element[inner.kind].shape[:2].numel() for inner in rotating), -1
    while rank < (rank := round(sum(element[inner.kind].square().sum().item() for inner in rotating))) < most:
        for group in freedom.groups:
            found = stepped(one, other, freedom, element, group, _determined(freedom, group, []), partial=True)
            element |= found or {}
    return element | {inner.kind: _completed(element[inner.kind]) for inner in rotating}


def stepped(
    one: Tensors,
    other: Tensors,
    freedom: Freedom,
    element: Element,
    group: Group,
    blocks: Sequence[Block] | None = None,
    *,
    partial: bool = False,
) -> Element | None:
    """The best element of one group while all others stay; None where it is better by no more than rounding.

    Args:
        one: θ₁ by name.
        other: θ₂ by name.
        freedom: the symmetries.
        element: of all groups, so far.
        group: the one.
        blocks: of θ that are looked at; all that the group moves when None.
        partial: whether rotations are zero where these blocks do not determine them.
    """
    rest = [each for each in freedom.groups if each is not group]
    pairs = _pairs(one, other, _counted(freedom, group.kinds) if blocks is None else blocks, rest, element)
    gains = Gains(group)
    for pair in pairs:
        gains.add(*pair, element)
    size = sum((torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b)).item() for a, b, _ in pairs)
    rounding = 1e-13 if any(inner.rotates for inner in group.inner) else 8 * torch.finfo(torch.float64).eps
    before = sum(_product(*pair, [group], element) for pair in pairs)
    candidates = [gains.best(partial=partial)[0], *([_exchanged(pairs, gains, element)] if _is_curved(freedom, group) else [])]
    for found in candidates:
        if sum(_product(*pair, [group], found) for pair in pairs) - before > rounding * size:
            return found
    return None


class Gains:
    """What ⟨θ₁, g(θ₂)⟩ gains where a unit of the second network comes to stand for one of the first, for one group.

    Attributes:
        direct: `(hosts, hosts)`, from what the units themselves are part of.
        within: `(hosts, hosts, n, n)` by inner kind, from what the units that they hold are part of; `(hosts, 1, n, n)` where
            hosts stay.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.direct = torch.zeros(group.size, group.size, dtype=torch.float64)
        across = 1 if group.stays else group.size
        self.within = {
            inner.kind: torch.zeros(group.size, across, inner.size, inner.size, dtype=torch.float64) for inner in group.inner
        }

    def add(self, a: Tensor, b: Tensor, block: Block, element: Element) -> None:
        """Of one block of θ₁, and of θ₂ with all other groups where they are."""
        group = self.group
        inner = next((each for each in group.inner if each.kind in block.kinds), None)
        moving = inner.kind if inner is not None else group.kind
        places = [place for place, kind in enumerate(block.kinds) if kind == moving]
        for place in places:
            turned = b
            for another in places:  # the same kind twice in one weight: the rest of it stays
                if another != place:
                    turned = _turned(turned, block, group, element, another)
            if inner is None:
                rows = [each.movedim(place, 0).reshape(group.size, -1) for each in (a, turned)]
                self.direct += (rows[0] @ rows[1].T).cpu()
                continue
            host = () if group.kind is None else (block.kinds.index(group.kind),)
            front = [each.movedim((*host, place), tuple(range(len(host) + 1))) for each in (a, turned)]
            rows = [each.reshape(group.size, inner.size, -1) for each in front]
            if group.stays:
                self.within[inner.kind] += torch.einsum("iar,ibr->iab", *rows)[:, None].cpu()
            else:
                self.within[inner.kind] += torch.einsum("iar,jbr->ijab", *rows).cpu()

    def best(self, *, partial: bool = False) -> tuple[Element, float]:
        """The element that gains most, and how much; with rotations that are zero where they gain nothing, if `partial`."""
        group, hosts = self.group, torch.arange(self.group.size)
        values = self.direct.diagonal()[:, None] if group.stays else self.direct
        values = values + sum((_most(self.within[inner.kind], inner.rotates) for inner in group.inner), torch.zeros_like(values))
        order = hosts if group.stays else _assigned(values)
        chosen = torch.zeros_like(hosts) if group.stays else order
        found = {} if group.kind is None else {group.kind: order}
        for inner in group.inner:
            tables = self.within[inner.kind][hosts, chosen]
            if inner.rotates:
                found[inner.kind] = _rotations(tables, _TOLD if partial else 0.0)
            else:
                found[inner.kind] = torch.stack([_assigned(table) for table in tables])
        return found, values[hosts, chosen].sum().item()


def least_distance(one: Tensors, other: Tensors, freedom: Freedom) -> float:
    """No element of the symmetries brings the two nearer than this.

    Weights between two groups count for one of them, with the most that the other could make of every pair of rows: the product
    of both in sorted order (Gilmore, 1962; Lawler, 1963) where the other permutes, of their norms where it does anything else.
    What is left is one assignment problem a group, whose optimum, that of its dual, bounds ⟨θ₁, g(θ₂)⟩. With one hidden layer
    there is nothing to bound, and the distance found is the least.

    Args:
        one: θ₁ by name.
        other: θ₂ by name.
        freedom: the symmetries.
    """
    most, squares = 0.0, sum((one[name].double() - other[name].double()).square().sum().item() for name in one)
    left = _counted(freedom)
    for group in freedom.groups:
        gains = Gains(group)
        for block in [block for block in left if group.kinds & set(block.kinds)]:
            left.remove(block)
            a, b = (_opened(each[block.name], block).double() for each in (one, other))
            squares += 2 * torch.sum(a * b).item()  # ‖a‖² + ‖b‖² in place of ‖a − b‖²
            others = [place for place, kind in enumerate(block.kinds) if kind is not None and kind not in _all_kinds(group)]
            twice = [place for place, kind in enumerate(block.kinds) if block.kinds.index(kind) != place and kind is not None]
            if not others and not twice:
                gains.add(a, b, block, {})
                continue
            host = block.kinds.index(group.kind) if group.kind in block.kinds and group.kind is not None else None
            rows = [each.unsqueeze(0) if host is None else each.movedim(host, 0) for each in (a, b)]
            free = [place for place, kind in enumerate(block.kinds) if kind is not None and place != host]
            if host is not None and len(free) == 1 and _permutes(freedom, block.kinds[free[0]]):
                place = free[0] + (free[0] < host)
                rows = [each.sort(dim=place).values.reshape(group.size, -1) for each in rows]
                gains.direct += (rows[0] @ rows[1].T).cpu()
            else:
                norms = [torch.linalg.vector_norm(each.reshape(group.size, -1), dim=1) for each in rows]
                gains.direct += torch.outer(*norms).cpu()
        most += gains.best()[1]
    return math.sqrt(max(0.0, squares - 2 * most))


def _element(freedom: Freedom, order: Callable[[Group], Tensor], within: Callable[[Group, Inner], Tensor]) -> Element:
    found: Element = {}
    for group in freedom.groups:
        if group.kind is not None:
            found[group.kind] = order(group)
        for inner in group.inner:
            found[inner.kind] = within(group, inner)
    return found


def _still(group: Group, inner: Inner) -> Tensor:
    if inner.rotates:
        return torch.eye(inner.size, dtype=torch.float64).repeat(group.size, 1, 1)
    return torch.arange(inner.size).repeat(group.size, 1)


def _counted(freedom: Freedom, kinds: Collection[int] | None = None) -> list[Block]:
    return [block for block in freedom.blocks if block.counts and (kinds is None or set(kinds) & set(block.kinds))]


def _pairs(
    one: Tensors, other: Tensors, blocks: Sequence[Block], groups: Sequence[Group], element: Element
) -> list[tuple[Tensor, Tensor, Block]]:
    """Each block of both networks, in float64; that of the second moved by some groups."""
    found = []
    for block in blocks:
        a, b = (_opened(each[block.name], block).double() for each in (one, other))
        found.append((a, _acted(b, block, groups, element), block))
    return found


def _product(a: Tensor, b: Tensor, block: Block, groups: Sequence[Group], element: Element) -> float:
    return torch.sum(a * _acted(b, block, groups, element)).item()


def _all_kinds(group: Group) -> set[int | None]:
    return {group.kind, *(inner.kind for inner in group.inner)}


def _determined(freedom: Freedom, group: Group, todo: list[Group]) -> list[Block]:
    """Weights of a group in which no other group is still to be matched, nor it itself a second time."""
    unknown = {kind for each in todo if each is not group for kind in each.kinds}
    return [
        block
        for block in _counted(freedom, group.kinds)
        if not unknown & set(block.kinds) and all(block.kinds.count(kind) < 2 for kind in group.kinds)
    ]


def _is_curved(freedom: Freedom, group: Group) -> bool:
    return any(block.kinds.count(kind) > 1 for block in freedom.blocks for kind in group.kinds)


def _exchanged(pairs: list[tuple[Tensor, Tensor, Block]], gains: "Gains", element: Element) -> Element:
    """The exchange of two units that gains most, where a weight has them twice: of first order and of second."""
    group = gains.group
    if group.kind is None or group.inner:
        return element
    order = element[group.kind]
    here = gains.direct[:, order]
    table = here + here.T - here.diagonal()[:, None] - here.diagonal()
    for a, b, block in pairs:
        places = [place for place, kind in enumerate(block.kinds) if kind == group.kind]
        if len(places) == 2:
            sides = []
            for each in (a, _acted(b, block, [group], element)):
                square = each.movedim(places, (0, 1)).reshape(group.size, group.size, -1)
                own = square.diagonal().T
                sides.append(own[:, None] + own - square - square.transpose(0, 1))
            table = table + (sides[0] * sides[1]).sum(-1).cpu()
    r, s = divmod(int(table.fill_diagonal_(-torch.inf).argmax()), group.size)
    found = order.clone()
    found[[r, s]] = order[[s, r]]
    return {group.kind: found}


def _permutes(freedom: Freedom, kind: int | None) -> bool:
    return any(group.kind == kind and not group.inner and not group.stays for group in freedom.groups)


def _opened(tensor: Tensor, block: Block) -> Tensor:
    return tensor[block.where].reshape(block.shape)


def _acted(tensor: Tensor, block: Block, groups: Sequence[Group], element: Element) -> Tensor:
    for group in groups:
        kinds = group.kinds
        # What hosts hold is turned in the order of the first network.
        for place, kind in enumerate(block.kinds):
            if kind == group.kind and kind in kinds:
                tensor = _turned(tensor, block, group, element, place)
        for place, kind in enumerate(block.kinds):
            if kind != group.kind and kind in kinds:
                tensor = _turned(tensor, block, group, element, place)
    return tensor


def _turned(tensor: Tensor, block: Block, group: Group, element: Element, place: int) -> Tensor:
    """One dimension of a block as the element has it."""
    kind = block.kinds[place]
    assert kind is not None
    what = element[kind].to(tensor.device)
    if kind == group.kind:
        return tensor.index_select(place, what)
    host = () if group.kind is None else (block.kinds.index(group.kind),)
    front = tuple(range(len(host) + 1))
    rows = tensor.movedim((*host, place), front)
    flat = rows.reshape(len(what), what.shape[1], -1)
    flat = (what @ flat.double()).to(tensor.dtype) if what.ndim == 3 else flat.take_along_dim(what[..., None], 1)
    return flat.reshape(rows.shape).movedim(front, (*host, place))


def _most(tables: Float[Tensor, "hosts hosts n n"], rotates: bool) -> Float[Tensor, "hosts hosts"]:
    """The most that an element can gain within each pair of hosts."""
    if rotates:
        return torch.linalg.svdvals(tables).sum(-1)
    size = tables.shape[-1]
    flat = tables.reshape(-1, size, size)
    gained = [table[torch.arange(size), _assigned(table)].sum() for table in flat]
    return torch.stack(gained).reshape(tables.shape[:2])


def _rotations(tables: Float[Tensor, "hosts n n"], least: float = 0.0) -> Float[Tensor, "hosts n n"]:
    """The polar factor; zero where singular values are no more than `least` of the largest, if that is not 0."""
    left, values, right = torch.linalg.svd(tables)
    return (left * (values > least * values[:, :1])[:, None] if least else left) @ right


def _completed(partial: Float[Tensor, "hosts n n"]) -> Float[Tensor, "hosts n n"]:
    """A rotation out of a partial isometry, near the identity where it is zero."""
    one = torch.eye(partial.shape[-1], dtype=partial.dtype)
    return _rotations(partial + (one - partial @ partial.mT) @ (one - partial.mT @ partial))


def _assigned(table: Float[Tensor, "n n"]) -> Int[Tensor, " n"]:
    from scipy.optimize import linear_sum_assignment  # half a second, which workers of sweeps do without

    return torch.as_tensor(linear_sum_assignment(table.numpy(), maximize=True)[1])
