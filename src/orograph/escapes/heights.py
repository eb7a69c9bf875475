"""How high a chain must climb: to the saddle that was followed, or no higher than a path between both states."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from orograph.atlas.ladders import stretch_of
from orograph.connectivity.band import nudged_elastic_band
from orograph.connectivity.barriers import curve_profile
from orograph.connectivity.curves import line
from orograph.errors import RunError
from orograph.objective import Objective
from orograph.store.branch import ATLAS_FILE, BRANCH
from orograph.store.encoding import decode
from orograph.store.run import Run
from orograph.store.stretches import Stretch, stretches, stretches_told

FOLLOWED, PATH = "saddle", "path"
_POSITIONS = 41  # at which L_eff is looked at along a path
_CYCLES, _PIVOTS = 4, 5  # of the elastic band


@dataclass(frozen=True)
class Top:
    """The place to be climbed.

    Attributes:
        source: `saddle` or `path`.
        height: L_eff there less that of the state.
        objective: L_eff there.
        order_parameter: q there.
    """

    source: str
    height: float
    objective: float
    order_parameter: float


@dataclass(frozen=True, eq=False)
class Known:
    """What was followed.

    Attributes:
        stretches: of all branches.
        descents: names of a stretch of saddles and of one of minima to which it descends.
    """

    stretches: Sequence[Stretch]
    descents: frozenset[tuple[str, str]]

    @property
    def digest(self) -> str:
        """Of all its numbers."""
        told = [
            (each.name, [sorted((name, str(value)) for name, value in corner.items()) for corner in each.corners])
            for each in self.stretches
        ]
        return hashlib.sha256(repr((sorted(told), sorted(self.descents))).encode()).hexdigest()[:16]


def known_branches(path: str) -> Known:
    """The stretches of an atlas, or of a run of branches.

    Raises:
        RunError: it is neither.
    """
    file = Path(path) / ATLAS_FILE
    if not file.is_file():
        run = Run.open(path)
        if run.kind != BRANCH:
            raise RunError(f"{path} is a run of kind {run.kind}; heights are of an atlas, or of a run of orograph follow.")
        return Known(stretches(run), frozenset())
    content = decode(file)
    edges = (edge for edge in content["edges"] if edge["kind"] == "descent")
    return Known(stretches_told(content), frozenset((edge["from"], edge["to"]) for edge in edges))


def saddle(known: Known, strength: float, q: float, loss: float) -> Top | None:
    """The lowest saddle of index 1 that is joined to the branch of minima on which a state lies: by an event in which both end,
    or by a descent. None where that branch, or such a saddle, is not known at this strength.

    Args:
        known: what was followed.
        strength: λ.
        q: of the state.
        loss: L of the state.
    """
    name = stretch_of(strength, q, loss, [each for each in known.stretches if each.index == 0])
    state = next((each for each in known.stretches if each.name == name), None)
    if state is None:
        return None
    base = _depth(state, strength)[0]
    found = []
    for each in known.stretches:
        if each.index == 1 and each.covers(strength) and (_meet(each, state) or (each.name, name) in known.descents):
            objective, there = _depth(each, strength)
            found.append(Top(FOLLOWED, objective - base, objective, there))
    return min((each for each in found if each.height > 0), key=lambda each: each.height, default=None)


def _depth(stretch: Stretch, strength: float) -> tuple[float, float]:
    """L_eff and q at this λ."""
    loss, q = stretch.at(strength)
    return loss + strength * q, q


def _meet(one: Stretch, other: Stretch) -> bool:
    def ends(stretch: Stretch) -> set[tuple[str, object]]:
        return {(str(stretch.path), event.key) for event in (stretch.begins, stretch.ends) if event is not None}

    return bool(ends(one) & ends(other))


def path_top(objective: Objective, state: Float[Tensor, " P"], other: Float[Tensor, " P"], *, steps: int, seed: int) -> Top:
    """The highest of the positions along the lower of two paths: the straight line, and an elastic band. The saddle is no higher
    than that, but for what lies between the positions."""
    curves = [line(state, other)]
    if steps:
        each = max(1, steps // (_CYCLES * (_PIVOTS + 2)))
        band = nudged_elastic_band(objective, state, other, pivots=_PIVOTS, cycles=_CYCLES, steps=each, seed=seed)
        curves.append(band.curve)
    base, tops = objective.value(state), []
    for curve in curves:
        profile = curve_profile(objective, curve, points=_POSITIONS)
        place = int(profile.objective.argmax())
        (theta,) = curve.at(profile.positions[place : place + 1])[:]
        top = float(profile.objective[place])
        tops.append(Top(PATH, top - base, top, objective.offset(theta).double().square().sum().item()))
    return min(tops, key=lambda each: each.height)
