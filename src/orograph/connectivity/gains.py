"""What ⟨θ₁, g(θ₂)⟩ gains by each pair of units of one group, and the element of that group that gains most.

A linear assignment problem for what changes places, an orthogonal Procrustes problem (Schönemann, 1966) for what is rotated,
`mixing.py` for what is mixed by an invertible matrix, and for units that hold others the assignment by what the best element
within each pair gains. Where norms change, a gain is (‖θ₁‖² + ‖θ₂‖² − ‖θ₁ − g(θ₂)‖²)/2, of which the inner product is a case.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from orograph.connectivity.elements import Element, turned
from orograph.connectivity.freedom import Block, Group, Inner
from orograph.connectivity.mixing import FIRST_STEPS, Tables, best_mixing, most

_TOLD = 1e-8  # of a singular value by the largest: the root of float64's rounding, below which its vectors say nothing


class Gains:
    """What is gained where a unit of the second network comes to stand for one of the first, for one group.

    Attributes:
        direct: `(hosts, hosts)`, from what the units themselves are part of.
        within: `(hosts, hosts, n, n)` by inner kind, from what the units that they hold are part of; `(hosts, 1, n, n)` where
            hosts stay.
        mixed: the tables of what is mixed by an invertible matrix, by inner kind, for each pair likewise.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.direct = torch.zeros(group.size, group.size, dtype=torch.float64)
        across = 1 if group.stays else group.size
        self.within: dict[int, Tensor] = {}
        self.mixed: dict[int, Tables] = {}
        for inner in group.inner:
            size = (inner.size, inner.size)
            cross, first = (torch.zeros(group.size, each, *size, dtype=torch.float64) for each in (across, 1))
            if inner.mixes:
                second = first if group.stays else first.transpose(0, 1)
                self.mixed[inner.kind] = Tables(*(each.clone() for each in (cross, cross, first, first, second, second)))
            else:
                self.within[inner.kind] = cross

    def add(self, a: Tensor, b: Tensor, block: Block, element: Element) -> None:
        """Of one block of θ₁, and of θ₂ with all other groups where they are."""
        group = self.group
        inner = next((each for each in group.inner if each.kind in block.kinds), None)
        moving = inner.kind if inner is not None else group.kind
        places = [place for place, kind in enumerate(block.kinds) if kind == moving]
        for place in places:
            other = b
            for another in places:  # the same kind twice in one weight: the rest of it stays
                if another != place:
                    other = turned(other, block, group, element, another)
            if inner is None:
                rows = [each.movedim(place, 0).reshape(group.size, -1) for each in (a, other)]
                self.direct += (rows[0] @ rows[1].T).cpu()
                continue
            host = () if group.kind is None else (block.kinds.index(group.kind),)
            front = [each.movedim((*host, place), tuple(range(len(host) + 1))) for each in (a, other)]
            rows = [each.reshape(group.size, inner.size, -1) for each in front]
            self._add_within(rows[0], rows[1], inner, dual=block.duals[place])

    def _add_within(self, a: Tensor, b: Tensor, inner: Inner, *, dual: bool) -> None:
        pairs = "iar,ibr->iab" if self.group.stays else "iar,jbr->ijab"
        cross = torch.einsum(pairs, a, b).cpu()
        cross = cross[:, None] if self.group.stays else cross
        if not inner.mixes:
            self.within[inner.kind] += cross
            return
        tables = self.mixed[inner.kind]
        here, there = (torch.einsum("iar,ibr->iab", each, each).cpu() for each in (a, b))
        own = (cross, here[:, None], there[:, None] if self.group.stays else there[None])
        for table, each in zip(tables[int(dual) :: 2], own, strict=True):
            table += each

    def best(self, *, partial: bool = False) -> Element:
        """The element that gains most, with rotations that are zero where they gain nothing, if `partial`."""
        group, hosts = self.group, torch.arange(self.group.size)
        values = self._values({kind: best_mixing(tables, steps=FIRST_STEPS)[1] for kind, tables in self.mixed.items()})
        order = hosts if group.stays else assigned(values)
        chosen = torch.zeros_like(hosts) if group.stays else order
        found: Element = {} if group.kind is None or group.stays else {group.kind: order}
        for inner in group.inner:
            if inner.mixes:
                tables = self.mixed[inner.kind]
                pairs = Tables(*(each.expand(tables.cross.shape)[hosts, chosen] for each in tables))
                found[inner.kind] = best_mixing(pairs)[0]
                continue
            cross = self.within[inner.kind][hosts, chosen]
            if inner.rotates:
                found[inner.kind] = rotations(cross, _TOLD if partial else 0.0)
            else:
                found[inner.kind] = torch.stack([assigned(table) for table in cross])
        return found

    def most(self) -> float:
        """No element of this group gains more."""
        values = self._values({kind: most(tables) for kind, tables in self.mixed.items()})
        hosts = torch.arange(self.group.size)
        return values[hosts, torch.zeros_like(hosts) if self.group.stays else assigned(values)].sum().item()

    def _values(self, mixed: dict[int, Float[Tensor, "hosts _"]]) -> Float[Tensor, "hosts _"]:
        """By pair of hosts, with the best within each."""
        values = self.direct.diagonal()[:, None] if self.group.stays else self.direct
        for inner in self.group.inner:
            values = values + (mixed[inner.kind] if inner.mixes else _most(self.within[inner.kind], inner.rotates))
        return values


def _most(tables: Float[Tensor, "hosts _ n n"], rotates: bool) -> Float[Tensor, "hosts _"]:
    """The most that an element can gain within each pair of hosts."""
    if rotates:
        return torch.linalg.svdvals(tables).sum(-1)
    size = tables.shape[-1]
    flat = tables.reshape(-1, size, size)
    gained = [table[torch.arange(size), assigned(table)].sum() for table in flat]
    return torch.stack(gained).reshape(tables.shape[:2])


def rotations(tables: Float[Tensor, "hosts n n"], least: float = 0.0) -> Float[Tensor, "hosts n n"]:
    """The polar factor; zero where singular values are no more than `least` of the largest, if that is not 0."""
    left, values, right = torch.linalg.svd(tables)
    return (left * (values > least * values[:, :1])[:, None] if least else left) @ right


def completed(partial: Float[Tensor, "hosts n n"]) -> Float[Tensor, "hosts n n"]:
    """A rotation out of a partial isometry, near the identity where it is zero."""
    one = torch.eye(partial.shape[-1], dtype=partial.dtype)
    return rotations(partial + (one - partial @ partial.mT) @ (one - partial.mT @ partial))


def assigned(table: Float[Tensor, "n n"]) -> Int[Tensor, " n"]:
    """The order π that makes Σ table[a, π(a)] largest, exactly."""
    from scipy.optimize import linear_sum_assignment  # half a second, which workers of sweeps do without

    return torch.as_tensor(linear_sum_assignment(table.numpy(), maximize=True)[1])
