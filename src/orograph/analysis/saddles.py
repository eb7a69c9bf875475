"""Barriers of loops by the saddles of an atlas: where one of index 1 parts the two branches, its height is the barrier.

A path between the branches gives the height of that path, which no barrier exceeds. A critical point of index 1 from which both
sides come down to the two of them is where the lowest path near it goes over; that no lower saddle parts them is not shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orograph.analysis.loops import MeasuredLoop
from orograph.store.stretches import Stretch, stretches_told

LAW = "barrier_law"  # which of the two was used: `saddle` or `path`


def with_saddles(found: Sequence[MeasuredLoop], atlas: Mapping[str, Any], run: str) -> list[MeasuredLoop]:
    """Loops whose barriers say by what they are known, with the heights of the lowest saddle where the atlas has one.

    Args:
        found: the loops.
        atlas: as its file has it.
        run: name of the sweep.
    """
    known = {each.name: each for each in stretches_told(atlas)}
    result = []
    for each in found:
        sides = [_stretch_at(atlas, run, f"{each.seed}-{way}", each.barrier_at) for way in ("up", "down")]
        result.append(replace(each, barrier={**each.barrier, **_over(atlas, known, sides, each.barrier_at)}))
    return result


def _over(atlas: Mapping[str, Any], known: Mapping[str, Stretch], sides: Sequence[str], strength: float) -> dict[str, Any]:
    """The heights of the lowest saddle that parts two stretches of minima at this λ, above each of them."""
    saddles = {
        each["saddle"] for each in atlas["barriers"] if {each["one"], each["other"]} == set(sides) and len(set(sides)) == 2
    }
    heights = {saddle: height for saddle in saddles if (height := _energy(atlas, known, saddle, strength)) is not None}
    minima = [_energy(atlas, known, side, strength) for side in sides] if heights else []
    if not heights or None in minima:
        return {LAW: "path"}
    lowest = min(heights, key=lambda name: heights[name])
    up, down = (heights[lowest] - depth for depth in minima if depth is not None)
    return {LAW: "saddle", "barrier_saddle": lowest, "barrier_saddle_up": up, "barrier_saddle_down": down}


def _stretch_at(atlas: Mapping[str, Any], run: str, chain: str, strength: float) -> str:
    """The stretch on which a point of a ladder lies; empty where it is on none that is known."""
    points = (each for each in atlas["ladders"] if (each["run"], each["chain"], each["strength"]) == (run, chain, strength))
    return str(next((each["stretch"] for each in points), ""))


def _energy(atlas: Mapping[str, Any], known: Mapping[str, Stretch], name: str, strength: float) -> float | None:
    """L_eff on a stretch, between its points the cubic that has their slopes dL_eff/dλ = q; None where it does not reach."""
    node = next((each for each in atlas["nodes"] if each["name"] == name), None)
    if node is not None:  # a minimum of a descent, known here because it is θ_ref, λ is its own or it was carried here
        there = next((each for each in node.get("reached", []) if each["strength"] == strength), node)
        return float(there["objective"] + there["order_parameter"] * (strength - there["strength"]))
    stretch = known.get(name)
    if stretch is None or stretch.energy is None or not stretch.covers(strength):
        return None
    return float(stretch.energy(strength))
