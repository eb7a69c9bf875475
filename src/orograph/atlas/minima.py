"""Minima in which descents ended on no stretch that is known: nodes of an atlas, and where a ladder's points lie."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orograph.store.findings import Finding
from orograph.store.stretches import INDEX

AT_REFERENCE = 5e-6  # of q: θ_ref, but for what training leaves
CARRIED = "carried"  # the kind of finding that says how far a minimum was carried
_ONE = 1e-5  # of q and of L: two minima at one λ that are nearer than that are one, or images of it


@dataclass(frozen=True)
class Minimum:
    """A minimum that is known at the λ of a descent and at those that it was carried to; at θ_ref, which stays one as the
    penalty grows, at every larger one.

    Attributes:
        name: unique in an atlas.
        strength: λ.
        order_parameter: q.
        train_loss: L.
        reached: λ, L and q where it was carried to.
    """

    name: str
    strength: float
    order_parameter: float
    train_loss: float
    reached: tuple[tuple[float, float, float], ...] = ()

    @property
    def at_reference(self) -> bool:
        """Whether it is θ_ref itself."""
        return self.order_parameter <= AT_REFERENCE

    def covers(self, strength: float) -> bool:
        """Whether it is known there."""
        known = (self.strength, *(each[0] for each in self.reached))
        return strength in known or (self.at_reference and strength > self.strength)

    def at(self, strength: float) -> tuple[float, float]:
        """L and q at a λ that it covers."""
        there = ((loss, q) for at, loss, q in self.reached if at == strength)
        return next(there, (self.train_loss, self.order_parameter))

    def is_also(self, other: "Minimum") -> bool:
        """Whether another, at its own λ, is this one or an image of it."""
        if not self.covers(other.strength):
            return False
        loss, q = self.at(other.strength)
        return math.isclose(loss, other.train_loss, rel_tol=_ONE) and math.isclose(q, other.order_parameter, rel_tol=_ONE)


def met(findings: Sequence[Finding]) -> dict[str, Minimum]:
    """The minimum of each descent that ended on no stretch, by the descent's name; those at θ_ref are one.

    Args:
        findings: of an atlas; descents, and how far their minima were carried.
    """
    reached = {each.key.name: each.scalars for each in findings if each.key.kind == CARRIED}
    found: dict[str, Minimum] = {}
    for each in findings:
        scalars, name = each.scalars, each.key.name
        if each.key.kind == "descent" and not scalars["second_stretch"] and scalars["certified"] and scalars.get(INDEX) == 0:
            strength, q = float(scalars["strength"]), float(scalars["arrives_order_parameter"])
            loss = float(scalars["arrives_objective"]) - strength * q
            found[name] = Minimum(f"{each.key.kind} {name}", strength, q, loss, _reached(reached.get(name)))
    first = min((each for each in found.values() if each.at_reference), key=lambda each: each.strength, default=None)
    known: list[Minimum] = []
    for name, minimum in found.items():
        same = first if minimum.at_reference else next((other for other in known if other.is_also(minimum)), None)
        found[name] = same or minimum
        known.append(found[name])
    return found


def _reached(scalars: Mapping[str, Any] | None) -> tuple[tuple[float, float, float], ...]:
    names = ("reached_strength", "reached_train_loss", "reached_order_parameter")
    return () if scalars is None else tuple(zip(*(map(float, scalars[name]) for name in names), strict=True))
