"""What the dimensions of tensors run over: units, in sums of products of atoms.

A dimension of n places is a sum of segments one after the other (what was concatenated), and each segment a product of atoms in
row-major order (what was flattened): channels and pixels, heads and their components. An atom is a set of units that only ever
move together with themselves. Tensors that meet in an operation have atoms in common; those are found by unification (Robinson,
1965): an atom comes to stand for another, for a product or for a sum of smaller ones. What cannot be matched is held: its units
stay where they are, which is always right.

What a product of tensors sums over is in one factor the dual of what it is in the other: where units of one are mixed by A, those
of the other are by its inverse transposed. The dual of atom a is ~a; an atom that meets itself so, as in xᵀx, is its own.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

Segment = tuple[int, ...]  # atoms or duals of such, the first the slowest
Axis = tuple[Segment, ...]


def plain(atom: int) -> int:
    """The atom, of itself or of its dual."""
    return max(atom, ~atom)


class Part(NamedTuple):
    """One dimension out of several into which another was split, as long as nobody needs to know of which atoms it is.

    Queries, keys and values often come as one dimension that is split into three and then indexed: as three parts of a sum they
    have atoms of their own, as a product of three and the rest they would share them.
    """

    base: Axis
    sizes: tuple[int, ...]
    place: int


class Axes:
    """The atoms of one network, and what is known of them.

    Attributes:
        reasons: why an atom's units stay where they are, by atom.
        alike: atoms that are their own duals.
    """

    def __init__(self) -> None:
        self.reasons: dict[int, str] = {}
        self.alike: set[int] = set()
        self._sizes: list[int] = []
        self._stands: dict[int, Axis] = {}
        self._wholes: dict[Axis, Segment] = {}

    def fresh(self, size: int, reason: str = "") -> Axis:
        """A dimension of which nothing is known yet; held where there is a reason."""
        return (() if size == 1 else (self._atom(size, reason or ("" if size else "having none")),),)

    def dual(self, axis: Axis) -> Axis:
        """What stands on the other side of a product that sums over it."""
        return tuple(tuple(atom if plain(atom) in self.alike else ~atom for atom in segment) for segment in axis)

    def size(self, axis: Axis) -> int:
        return sum(self.length(segment) for segment in axis)

    def length(self, segment: Segment) -> int:
        return math.prod(self._sizes[plain(atom)] for atom in segment)

    def resolved(self, axis: Axis) -> Axis:
        """In the atoms of today."""
        return tuple(part for segment in axis for part in self.joined([self._standing(atom) for atom in segment]))

    def hold(self, axis: Axis, reason: str) -> None:
        """Its units stay where they are; the first reason is kept."""
        for atom in self.atoms(axis):
            self.reasons.setdefault(atom, reason)

    def atoms(self, axis: Axis) -> set[int]:
        """Without telling duals apart."""
        return {plain(atom) for segment in self.resolved(axis) for atom in segment}

    def unify(self, one: Axis, other: Axis, reason: str) -> None:
        """The two run over the same units, or are held if they do not match; a dimension of one place goes with all."""
        while True:
            one, other = self.resolved(one), self.resolved(other)
            held = [all(atom in self.reasons for atom in self.atoms(axis)) for axis in (one, other)]
            if one == other or all(held) or 1 in (self.size(one), self.size(other)):
                return
            a, b = next((a, b) for a, b in zip(one, other, strict=False) if a != b)
            long, short = (a, b) if self.length(a) >= self.length(b) else (b, a)
            same = self.length(a) == self.length(b)
            if not (self._identify(a, b) if same else self._divide(long, self.length(short))):
                self.hold(one, reason)
                self.hold(other, reason)
                return

    def cut(self, axis: Axis, start: int, length: int, reason: str) -> Axis:
        """The places from `start` on; the dimension becomes a sum of which this is a part."""
        if all(atom in self.reasons for atom in self.atoms(axis)):
            return self.fresh(length, next(iter(self._reasons(axis)), reason))
        while True:
            axis = self.resolved(axis)
            ends = [0]
            for segment in axis:
                ends.append(ends[-1] + self.length(segment))
            inside = [
                (segment, border - first)
                for border in (start, start + length)
                for segment, first, last in zip(axis, ends, ends[1:], strict=False)
                if first < border < last
            ]
            if not inside:
                return tuple(s for s, first in zip(axis, ends, strict=False) if start <= first < start + length) or ((),)
            if not self._divide(*inside[0]):
                self.hold(axis, reason)
                return self.fresh(length, reason)

    def joined(self, axes: Sequence[Axis]) -> Axis:
        """Several dimensions as one, in row-major order."""
        found: list[Segment] = [()]
        for axis in axes:
            if len(axis) == 1:
                found = [segment + axis[0] for segment in found]
            elif found == [()]:
                found = list(axis)
            elif all(plain(atom) in self.reasons for segment in axis for atom in segment):
                found = [segment + self._whole(axis) for segment in found]
            else:  # as many copies of the sum: its units are the same in each, and those before them stay
                self.hold(tuple(found), "a sum of parts behind them in one dimension")
                found = list(axis) * sum(self.length(segment) for segment in found)
        return tuple(found)

    def split(self, axis: Axis, sizes: Sequence[int], reason: str) -> list[Axis]:
        """One dimension as several; held where its atoms do not fit them."""
        axis, rest = self.resolved(axis), math.prod(sizes[1:])
        if max(sizes, default=1) == self.size(axis):
            return [axis if size > 1 else self.fresh(1) for size in sizes]
        if len(axis) > 1 and all(self.length(segment) % rest == 0 for segment in axis) and rest > 1:
            rows = [self.split((segment,), (self.length(segment) // rest, *sizes[1:]), reason) for segment in axis]
            for row in rows[1:]:
                for a, b in zip(rows[0][1:], row[1:], strict=True):
                    self.unify(a, b, reason)
            return [tuple(segment for row in rows for segment in self.resolved(row[0])), *rows[0][1:]]
        if len(axis) == 1 and (found := self._factors(axis[0], sizes)) is not None:
            return [(segment,) for segment in found]
        self.hold(axis, reason)
        return [self.fresh(size, reason) for size in sizes]

    def _factors(self, segment: Segment, sizes: Sequence[int]) -> list[Segment] | None:
        queue, found = list(segment), []
        for size in sizes:
            taken: Segment = ()
            while size > 1:
                if not queue:
                    return None
                atom = queue.pop(0)
                own = self._sizes[plain(atom)]
                if own > size and own % size == 0:
                    queue[:0] = self._factored(atom, size)
                elif size % own == 0:
                    taken, size = (*taken, atom), size // own
                else:
                    return None
            found.append(taken)
        return found if not queue else None

    def _atom(self, size: int, reason: str) -> int:
        self._sizes.append(size)
        if reason:
            self.reasons[len(self._sizes) - 1] = reason
        return len(self._sizes) - 1

    def _whole(self, axis: Axis) -> Segment:
        """A sum of parts that all stay, as one that stays."""
        if axis not in self._wholes:
            self._wholes[axis] = (self._atom(self.size(axis), self._reasons(axis)[0]),)
        return self._wholes[axis]

    def _standing(self, atom: int) -> Axis:
        own = plain(atom)
        found = self.resolved(self._stands[own]) if own in self._stands else ((own,),)
        return found if atom == own else self.dual(found)

    def _stand(self, atom: int, axis: Axis) -> None:
        """From now on it stands for an axis, which has what was known of it."""
        own = plain(atom)
        self._stands[own] = axis if atom == own else self.dual(axis)
        for other in {plain(each) for segment in axis for each in segment}:
            if own in self.reasons:
                self.reasons.setdefault(other, self.reasons[own])
            if own in self.alike:
                self.alike.add(other)

    def _reasons(self, axis: Axis) -> list[str]:
        return [self.reasons[atom] for atom in sorted(self.atoms(axis)) if atom in self.reasons]

    def _factored(self, atom: int, size: int) -> Segment:
        pair = (self._atom(size, ""), self._atom(self._sizes[plain(atom)] // size, ""))
        self._stand(atom, (pair,))
        return pair

    def _identify(self, one: Segment, other: Segment) -> bool:
        """Two products of one length: their first atoms that differ become the same, or one of them a factor of the other."""
        a, b = next((a, b) for a, b in zip(one, other, strict=False) if a != b)
        if plain(a) == plain(b):
            self.alike.add(plain(a))
            return True
        sizes = [self._sizes[plain(atom)] for atom in (a, b)]
        if sizes[0] < sizes[1]:
            a, b, sizes = b, a, sizes[::-1]
        if sizes[0] % sizes[1]:
            return False
        self._stand(a if sizes[0] == sizes[1] else self._factored(a, sizes[1])[0], ((b,),))
        return True

    def _divide(self, segment: Segment, length: int) -> bool:
        """The first atom of a product becomes a sum of two, so that the product has a border there."""
        atom, rest = segment[0], self.length(segment[1:])
        if length % rest:
            return False
        size = length // rest
        self._stand(atom, tuple(self.fresh(each)[0] for each in (size, self._sizes[plain(atom)] - size)))
        return True
