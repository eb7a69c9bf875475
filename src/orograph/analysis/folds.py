"""Where branches truly end, taken from an atlas: an event to which one was followed stands in place of an extrapolation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orograph.analysis.loops import MeasuredLoop
from orograph.analysis.survey import Survey, Transition
from orograph.errors import ConfigurationError
from orograph.ladder.hysteresis import Interval, Spinodal, with_ends
from orograph.store.branch import ATLAS_FILE, DIVIDING
from orograph.store.encoding import decode

NONE = "none"


def known_atlas(path: str, run: str) -> Mapping[str, Any] | None:
    """What an atlas says; None where none was named.

    Args:
        path: the directory of the atlas, or `none`.
        run: name of the sweep that is analysed.

    Raises:
        ConfigurationError: it is none, or knows nothing of this sweep.
    """
    if path == NONE:
        return None
    file = Path(path) / ATLAS_FILE
    if not file.is_file():
        raise ConfigurationError(f"`atlas` {path} holds no atlas; orograph atlas RUN … makes one.")
    found: Mapping[str, Any] = decode(file)
    if not any(each["run"] == run for each in found["ladders"]):
        raise ConfigurationError(f"`atlas` {path} was made without this sweep; give {run} among the runs that it joins.")
    return found


def with_folds(found: Sequence[MeasuredLoop], atlas: Mapping[str, Any], run: str) -> list[MeasuredLoop]:
    """Loops whose spinodals are the events in which the stretches end that the ladder left, where the atlas knows these."""
    result = []
    for each in found:
        loop = each.loop
        up = _followed(loop.spinodal_up, atlas, run, f"{each.seed}-up", loop.escape_up, upward=True)
        down = _followed(loop.spinodal_down, atlas, run, f"{each.seed}-down", loop.escape_down, upward=False)
        result.append(replace(each, loop=with_ends(loop, loop.escape_up, loop.escape_down, up, down)))
    return result


def _followed(spinodal: Spinodal, atlas: Mapping[str, Any], run: str, chain: str, escape: Interval, *, upward: bool) -> Spinodal:
    for jump in _jumps(atlas, run, chain, escape):
        if (node := _end(atlas, jump, upward=upward)) is not None:
            wanted = node["strength"]
            return replace(spinodal, estimate=wanted, law="followed", low=wanted, high=wanted)
    return spinodal


def _jumps(atlas: Mapping[str, Any], run: str, chain: str, where: Interval) -> list[Mapping[str, Any]]:
    """Those of a chain that meet an interval of λ."""
    return [
        edge
        for edge in atlas["edges"]
        if edge["kind"] == "jump" and (edge["run"], edge["chain"]) == (run, chain) and _meet((edge["low"], edge["high"]), where)
    ]


def _end(atlas: Mapping[str, Any], jump: Mapping[str, Any], *, upward: bool) -> Mapping[str, Any] | None:
    """The event in which the stretch ends that a ladder left; None where it was not followed so far."""
    stretch = next((edge for edge in atlas["edges"] if edge["kind"] == "stretch" and edge["name"] == jump["from"]), None)
    if stretch is None:  # the minimum of a descent
        return None
    wanted = stretch["high"] if upward else stretch["low"]
    near = (node for node in atlas["nodes"] if node["name"] in (stretch["from"], stretch["to"]))
    return next((node for node in near if node["kind"] in DIVIDING and node["strength"] == wanted), None)


def with_orders(found: Sequence[Survey], atlas: Mapping[str, Any], run: str) -> list[Survey]:
    """Chains whose jumps are of first order where the atlas has the ladder leave a branch that ends in a fold, if nothing has
    judged them before.

    Args:
        found: the chains.
        atlas: as its file has it.
        run: name of the sweep.
    """
    return [replace(each, transitions=tuple(_ordered(each, one, atlas, run) for one in each.transitions)) for each in found]


def _ordered(survey: Survey, transition: Transition, atlas: Mapping[str, Any], run: str) -> Transition:
    judgement, chain = transition.judgement, survey.chain
    if judgement.order != "unresolved" or transition.change.kind != "jump":
        return transition
    for jump in _jumps(atlas, run, f"{chain.seed}-{chain.direction}", (judgement.low, judgement.high)):
        node = _end(atlas, jump, upward=chain.direction == "up")
        if node is not None and node["kind"] == "fold":
            return replace(transition, judgement=replace(judgement, order="first"))
    return transition


def ends_in_words(atlas: Mapping[str, Any], run: str) -> list[str]:
    """A sentence for each jump of a sweep: where its branch ends, as far as the atlas knows.

    Args:
        atlas: as its file has it.
        run: name of the sweep.
    """
    told = []
    for jump in atlas["edges"]:
        if jump["kind"] == "jump" and jump["run"] == run:
            seed, way = jump["chain"].rsplit("-", 1)
            node = _end(atlas, jump, upward=way == "up")
            end = "its end was not followed" if node is None else f"it ends in a {node['kind']} at λ = {node['strength']:.9g}"
            leaves = f"seed {seed}, {way}: between λ = {jump['low']:.6g} and {jump['high']:.6g} the ladder leaves {jump['from']}"
            told.append(f"{leaves}{' for ' + jump['to'] if jump['to'] else ''}; by the atlas {end}")
    return told


def _meet(one: Interval, other: Interval) -> bool:
    return max(one[0], other[0]) < min(one[1], other[1])
