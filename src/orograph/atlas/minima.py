"""Minima in which descents ended on no stretch that is known: nodes of an atlas, and where a ladder's points lie."""

from collections.abc import Sequence
from dataclasses import dataclass

from orograph.atlas.stretches import INDEX
from orograph.store.findings import Finding

AT_REFERENCE = 5e-6  # of q: θ_ref, but for what training leaves


@dataclass(frozen=True)
class Minimum:
    """A minimum that is known at one λ; at θ_ref, which stays one as the penalty grows, at every larger one too.

    Attributes:
        name: unique in an atlas.
        strength: λ.
        order_parameter: q.
        train_loss: L.
    """

    name: str
    strength: float
    order_parameter: float
    train_loss: float

    @property
    def at_reference(self) -> bool:
        """Whether it is θ_ref itself."""
        return self.order_parameter <= AT_REFERENCE

    def covers(self, strength: float) -> bool:
        """Whether it is known there."""
        return strength == self.strength or (self.at_reference and strength > self.strength)

    def at(self, strength: float) -> tuple[float, float]:
        """L and q at a λ that it covers."""
        return self.train_loss, self.order_parameter


def met(findings: Sequence[Finding]) -> dict[str, Minimum]:
    """The minimum of each descent that ended on no stretch, by the descent's name; those at θ_ref are one.

    Args:
        findings: of an atlas; those that are no descents are left out.
    """
    found: dict[str, Minimum] = {}
    for each in findings:
        scalars = each.scalars
        if each.key.kind == "descent" and not scalars["second_stretch"] and scalars["certified"] and scalars.get(INDEX) == 0:
            strength, q = float(scalars["strength"]), float(scalars["arrives_order_parameter"])
            loss = float(scalars["arrives_objective"]) - strength * q
            found[each.key.name] = Minimum(f"{each.key.kind} {each.key.name}", strength, q, loss)
    first = min((each for each in found.values() if each.at_reference), key=lambda each: each.strength, default=None)
    return {name: first if first is not None and each.at_reference else each for name, each in found.items()}
