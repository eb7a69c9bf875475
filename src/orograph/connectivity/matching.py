"""The element of a network's symmetries that brings one set of weights nearest to another (Ainsworth et al., 2023).

⟨θ₁, g(θ₂)⟩ is maximised one group of units at a time with all others where they are (`gains.py`); where norms change,
‖θ₁ − g(θ₂)‖ is lowered. That step is exact but for what is mixed by invertible matrices. Where a kind of units stands twice in
one weight the step is that of the linearised problem (Vogelstein et al., 2015), or else the best exchange of two units. The whole
is a heuristic; how far it may be from the best element a bound says (`least_distance`).
"""

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from orograph.connectivity.elements import Element, Tensors, acted, identity, opened
from orograph.connectivity.freedom import Block, Freedom, Group
from orograph.connectivity.gains import Gains, completed

_SWEEPS = 1000  # at most; permutations come to rest long before, rotations in steps that shrink


def similarity(one: Tensors, other: Tensors, freedom: Freedom, element: Element) -> float:
    """(‖θ₁‖² + ‖θ₂‖² − ‖θ₁ − g(θ₂)‖²)/2 over all that moves: ⟨θ₁, g(θ₂)⟩ where g leaves norms as they are."""
    pairs = _pairs(one, other, _counted(freedom), [], element)
    return sum(_gain(*pair, freedom.groups, element) for pair in pairs)


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
    return element | {inner.kind: completed(element[inner.kind]) for inner in rotating}


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
    hosts = None if group.kind is None or not group.stays else element.get(group.kind)
    if hosts is not None:  # another group moves them, and here they are in the first network's order by now
        element = element | {inner.kind: element[inner.kind][hosts] for inner in group.inner}
    gains = Gains(group)
    for pair in pairs:
        gains.add(*pair, element)
    size = sum((torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b)).item() for a, b, _ in pairs)
    still = not any(inner.rotates or inner.mixes for inner in group.inner)
    rounding = 8 * torch.finfo(torch.float64).eps if still else 1e-13
    before = sum(_gain(*pair, [group], element) for pair in pairs)
    candidates = [gains.best(partial=partial), *([_exchanged(pairs, gains, element)] if _is_curved(freedom, group) else [])]
    for found in candidates:
        if sum(_gain(*pair, [group], found) for pair in pairs) - before > rounding * size:
            return found if hosts is None else {kind: each[hosts.argsort()] for kind, each in found.items()}
    return None


def least_distance(one: Tensors, other: Tensors, freedom: Freedom) -> float:
    """No element of the symmetries brings the two nearer than this.

    Weights between two groups count for one of them, with the most that the other could make of every pair of rows: the product
    of both in sorted order (Gilmore, 1962; Lawler, 1963) where the other permutes, of their norms where it does anything else.
    What is left is one assignment problem a group, whose optimum, that of its dual, bounds ⟨θ₁, g(θ₂)⟩. With one hidden layer
    there is nothing to bound, and the distance found is the least.

    Where a group mixes its units by an invertible matrix, both sides of the product that sums over them are fitted by matrices of
    their own; of weights in which another group does so nothing is said.

    Args:
        one: θ₁ by name.
        other: θ₂ by name.
        freedom: the symmetries.
    """
    most, squares = 0.0, sum((one[name].double() - other[name].double()).square().sum().item() for name in one)
    left = _counted(freedom)
    mixed = {inner.kind for group in freedom.groups for inner in group.inner if inner.mixes}
    hosted = {group.kind for group in freedom.groups if not group.stays}
    for group in freedom.groups:
        if group.stays and group.kind in hosted:  # another moves them: what is left here counts there
            continue
        gains = Gains(group)
        for block in [block for block in left if group.kinds & set(block.kinds)]:
            left.remove(block)
            a, b = (opened(each[block.name], block).double() for each in (one, other))
            others = [place for place, kind in enumerate(block.kinds) if kind is not None and kind not in _all_kinds(group)]
            twice = [place for place, kind in enumerate(block.kinds) if block.kinds.index(kind) != place and kind is not None]
            if (others or twice) and mixed & set(block.kinds):
                squares -= (a - b).square().sum().item()
                continue
            squares += 2 * torch.sum(a * b).item()  # ‖a‖² + ‖b‖² in place of ‖a − b‖²
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
        most += gains.most()
    return math.sqrt(max(0.0, squares - 2 * most))


def _counted(freedom: Freedom, kinds: Collection[int] | None = None) -> list[Block]:
    return [block for block in freedom.blocks if block.counts and (kinds is None or set(kinds) & set(block.kinds))]


def _pairs(
    one: Tensors, other: Tensors, blocks: Sequence[Block], groups: Sequence[Group], element: Element
) -> list[tuple[Tensor, Tensor, Block]]:
    """Each block of both networks, in float64; that of the second moved by some groups."""
    found = []
    for block in blocks:
        a, b = (opened(each[block.name], block).double() for each in (one, other))
        found.append((a, acted(b, block, groups, element), block))
    return found


def _gain(a: Tensor, b: Tensor, block: Block, groups: Sequence[Group], element: Element) -> float:
    after = acted(b, block, groups, element)
    found = torch.sum(a * after).item()
    if any(inner.mixes and inner.kind in block.kinds for group in groups for inner in group.inner):
        found += (b.square().sum() - after.square().sum()).item() / 2
    return found


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


def _exchanged(pairs: list[tuple[Tensor, Tensor, Block]], gains: Gains, element: Element) -> Element:
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
            for each in (a, acted(b, block, [group], element)):
                square = each.movedim(places, (0, 1)).reshape(group.size, group.size, -1)
                own = square.diagonal().T
                sides.append(own[:, None] + own - square - square.transpose(0, 1))
            table = table + (sides[0] * sides[1]).sum(-1).cpu()
    r, s = divmod(int(table.fill_diagonal_(-torch.inf).argmax()), group.size)
    found = order.clone()
    found[[r, s]] = order[[s, r]]
    return {group.kind: found}


def _permutes(freedom: Freedom, kind: int | None) -> bool:
    held = [inner for group in freedom.groups for inner in group.inner if inner.kind == kind]
    alone = any(group.kind == kind and not group.inner and not group.stays for group in freedom.groups)
    return alone or any(not (inner.rotates or inner.mixes) for inner in held)
