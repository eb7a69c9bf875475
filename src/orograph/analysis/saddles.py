"""Barriers of loops by the saddles of an atlas: where one of index 1 parts the two branches, its height is the barrier.

A path between the branches gives the height of that path, which no barrier exceeds. A critical point of index 1 from which both
sides come down to the two of them is where the lowest path near it goes over; that no lower saddle parts them is not shown.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from orograph.analysis.loops import MeasuredLoop
from orograph.store.branch import DIVIDING

LAW = "barrier_law"  # which of the two was used: `saddle` or `path`


def with_saddles(found: Sequence[MeasuredLoop], atlas: Mapping[str, Any], run: str) -> list[MeasuredLoop]:
    """Loops whose barriers say by what they are known, with the heights of the lowest saddle where the atlas has one.

    Args:
        found: the loops.
        atlas: as its file has it.
        run: name of the sweep.
    """
    result = []
    for each in found:
        sides = [_stretch_at(atlas, run, f"{each.seed}-{way}", each.barrier_at) for way in ("up", "down")]
        result.append(replace(each, barrier={**each.barrier, **_over(atlas, sides, each.barrier_at)}))
    return result


def _over(atlas: Mapping[str, Any], sides: Sequence[str], strength: float) -> dict[str, Any]:
    """The heights of the lowest saddle that parts two stretches of minima at this λ, above each of them."""
    saddles = {
        each["saddle"] for each in atlas["barriers"] if {each["one"], each["other"]} == set(sides) and len(set(sides)) == 2
    }
    heights = {saddle: height for saddle in saddles if (height := _energy(atlas, saddle, strength)) is not None}
    minima = [_energy(atlas, side, strength) for side in sides] if heights else []
    if not heights or None in minima:
        return {LAW: "path"}
    lowest = min(heights, key=lambda name: heights[name])
    up, down = (heights[lowest] - depth for depth in minima if depth is not None)
    return {LAW: "saddle", "barrier_saddle": lowest, "barrier_saddle_up": up, "barrier_saddle_down": down}


def _stretch_at(atlas: Mapping[str, Any], run: str, chain: str, strength: float) -> str:
    """The stretch on which a point of a ladder lies; empty where it is on none that is known."""
    points = (each for each in atlas["ladders"] if (each["run"], each["chain"], each["strength"]) == (run, chain, strength))
    return str(next((each["stretch"] for each in points), ""))


def _energy(atlas: Mapping[str, Any], stretch: str, strength: float) -> float | None:
    """L_eff on a stretch, between its points the cubic that has their slopes dL_eff/dλ = q; None where it does not reach."""
    node = next((each for each in atlas["nodes"] if each["name"] == stretch), None)
    if node is not None:  # a minimum of a descent, known here because it is θ_ref, λ is its own or it was carried here
        there = next((each for each in node.get("reached", []) if each["strength"] == strength), node)
        return float(there["objective"] + there["order_parameter"] * (strength - there["strength"]))
    corners = {each["strength"]: each for each in _corners(atlas, stretch)}
    places = sorted(corners)
    if len(places) < 2 or not places[0] <= strength <= places[-1]:
        return None
    energies, slopes = (np.array([corners[at][name] for at in places]) for name in ("objective", "order_parameter"))
    return float(CubicHermiteSpline(np.array(places), energies, slopes)(strength))


def _corners(atlas: Mapping[str, Any], stretch: str) -> list[Mapping[str, Any]]:
    """The points of a stretch, `run/branch/number`, with the events at its ends that divide the branch."""
    run, name, number = stretch.rsplit("/", 2)
    branches: Sequence[Mapping[str, Any]] = next((each["branches"] for each in atlas["branches"] if each["run"] == run), [])
    branch = next((each for each in branches if each["name"] == name), None)
    if branch is None:
        return []
    dividing = [event for event in branch["events"] if event["event_kind"] in DIVIDING]
    ends = [0, *(int(event["after"]) + 1 for event in dividing), len(branch["points"])]
    parts = [
        [*dividing[place - 1 : place], *branch["points"][first:last], *dividing[place : place + 1]]
        for place, (first, last) in enumerate(itertools.pairwise(ends))
        if last > first  # two events between the same points leave no stretch
    ]
    return parts[int(number)] if int(number) < len(parts) else []
