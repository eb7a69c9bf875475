"""The graph of an atlas: critical points and what joins them, as plain values and for networkx."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from orograph.atlas.ladders import Jump, LadderPoint
from orograph.atlas.minima import Minimum, met
from orograph.continuation.equal_depth import SAME
from orograph.errors import RunError
from orograph.store.branch import ATLAS_FILE, THETA
from orograph.store.encoding import decode
from orograph.store.findings import Finding
from orograph.store.stretches import INDEX, Stretch, lost_classes

if TYPE_CHECKING:
    import networkx

_TOLD = ("strength", "order_parameter", "objective", "train_loss", "test_loss", "test_accuracy", "objective_lambda_min", INDEX)


def gather(
    known: Sequence[Stretch],
    findings: Sequence[Finding],
    ladders: Sequence[LadderPoint],
    leaps: Sequence[Jump],
    classes: Sequence[str],
) -> dict[str, Any]:
    """The graph as plain values.

    Args:
        known: stretches of all branches.
        findings: what was measured beside them.
        ladders: points of sweeps.
        leaps: jumps between them.
        classes: names.

    Returns:
        `nodes` (critical points where stretches begin, end or meet, and minima that descents ended in), `edges` (stretches,
        descents, jumps), `maxwell`, `barriers`, `lost_classes`, `ladders`.
    """
    nodes: dict[str, dict[str, Any]] = {}
    edges: list[dict[str, Any]] = []
    minima = met(findings)
    points: dict[str, tuple[Stretch, Finding]] = {}
    for stretch in known:
        first, last = (_node(nodes, points, stretch, at_end) for at_end in (False, True))
        stable = stretch.index == 0 if stretch.index is not None else None
        edges.append(
            {
                "kind": "stretch",
                "name": stretch.name,
                "from": first,
                "to": last,
                "index": stretch.index,
                "stable": stable,
                "low": stretch.low,
                "high": stretch.high,
                "points": len(stretch.points),
            }
        )
    for found in findings:
        if found.key.kind == "descent":
            edges.append(_descended(nodes, found, minima))
    edges += [_leap(each) for each in leaps]
    return {
        "nodes": list(nodes.values()),
        "edges": edges,
        "maxwell": [dict(each.scalars) for each in findings if each.key.kind == "maxwell"],
        "barriers": _barriers(findings, minima),
        "lost_classes": [
            {"stretch": each.name, "class": name, "strength": at}
            for each in known
            if each.index == 0
            for name, at in lost_classes(each, classes)
        ],
        "ladders": [vars(each) for each in ladders],
    }


def _node(nodes: dict[str, dict[str, Any]], points: dict[str, tuple[Stretch, Finding]], stretch: Stretch, at_end: bool) -> str:
    """The node in which a stretch begins or ends: an event, or the last point that is known; one critical point is one node."""
    event = stretch.ends if at_end else stretch.begins
    branch = f"{stretch.path.resolve().name}/{stretch.course.name}"
    if event is not None:
        name, kind, scalars = f"{branch}/event {int(event.key.name)}", str(event.scalars["event_kind"]), event.scalars
    else:
        point = stretch.points[-1 if at_end else 0]
        name, scalars = f"{branch}/point {int(point.key.name)}", point.scalars
        kind = "cut" if at_end or int(point.key.name) else "start"
        name = next((known for known, other in points.items() if _are_one((stretch, point), other)), name)
        points.setdefault(name, (stretch, point))
    nodes.setdefault(name, {"name": name, "kind": kind, **_told(scalars)})
    return name


def _are_one(one: tuple[Stretch, Finding], other: tuple[Stretch, Finding]) -> bool:
    """Whether two points of branches are one critical point, as both ways begin in one."""
    if one[1].scalars["strength"] != other[1].scalars["strength"]:
        return False
    here, there = (torch.from_numpy(point.arrays(stretch.path)[THETA]) for stretch, point in (one, other))
    size = max(float(one[1].scalars["order_parameter"]) ** 0.5, 1e-3)
    return (here - there).double().norm().item() <= SAME[here.dtype] * size


def _told(scalars: Mapping[str, Any]) -> dict[str, Any]:
    return {name: scalars[name] for name in (*_TOLD, "kernel_size", "lowest_eigenvalues") if name in scalars}


def _descended(nodes: dict[str, dict[str, Any]], found: Finding, minima: Mapping[str, Minimum]) -> dict[str, Any]:
    scalars = found.scalars
    goal = _goal(found, minima)
    if not scalars["second_stretch"] and goal not in nodes:
        kind = "minimum" if scalars["certified"] and scalars.get(INDEX) == 0 else "unfinished"
        place = {"strength": scalars["strength"], "objective": scalars["arrives_objective"]}
        if (minimum := minima.get(found.key.name)) is not None:
            place["strength"] = minimum.strength  # of the first descent that met it
            place["reached"] = [
                {"strength": at, "order_parameter": q, "objective": loss + at * q} for at, loss, q in minimum.reached
            ]
        nodes[goal] = {"name": goal, "kind": kind, **place, "order_parameter": scalars["arrives_order_parameter"]}
    return {
        "kind": "descent",
        "from": scalars["first_stretch"],
        "to": goal,
        "likeness": scalars["likeness"],
        "side": scalars["descent_side"],
        "strength": scalars["strength"],
        "height": scalars["height"],
    }


def _goal(found: Finding, minima: Mapping[str, Minimum]) -> str:
    """Where a descent ends: a stretch, or a node of its own."""
    name = found.key.name
    return str(found.scalars["second_stretch"]) or (minima[name].name if name in minima else f"{found.key.kind} {name}")


def _leap(jump: Jump) -> dict[str, Any]:
    return {
        "kind": "jump",
        "from": jump.leaves,
        "to": jump.arrives,
        "run": jump.run,
        "chain": jump.chain,
        "low": min(jump.before, jump.behind),
        "high": max(jump.before, jump.behind),
    }


def _barriers(findings: Sequence[Finding], minima: Mapping[str, Minimum]) -> list[dict[str, Any]]:
    """Saddles from which both sides come down to minima: the barrier between these, from each of them."""
    sides: dict[tuple[str, float], dict[str, Finding]] = {}
    for each in findings:
        if each.key.kind == "descent" and each.scalars["certified"]:
            sides.setdefault((each.scalars["first_stretch"], each.scalars["strength"]), {})[each.scalars["descent_side"]] = each
    return [
        {
            "saddle": saddle,
            "strength": strength,
            "objective": both["+"].scalars["objective"],
            "one": _goal(both["+"], minima),
            "other": _goal(both["-"], minima),
            "from_one": both["+"].scalars["height"],
            "from_other": both["-"].scalars["height"],
        }
        for (saddle, strength), both in sides.items()
        if len(both) == 2
    ]


def read_atlas(path: str | Path) -> "networkx.MultiGraph[Any]":
    """An atlas as a graph: a node a critical point (or a minimum that was met), an edge a stretch of a branch.

    Args:
        path: the directory that `orograph atlas` wrote.

    Returns:
        A `networkx.MultiGraph`, whose nodes and edges carry all that is known of them; descents and jumps, which join stretches
        and not points, stand in `graph["descents"]` and `graph["jumps"]` beside `graph["maxwell"]` and `graph["barriers"]`.

    Raises:
        RunError: it holds no atlas.
    """
    import networkx

    file = Path(path) / ATLAS_FILE
    if not file.is_file():
        raise RunError(f"{path} holds no atlas; orograph atlas RUN … makes one.")
    content = decode(file)
    graph = networkx.MultiGraph(
        **{name: content[name] for name in ("maxwell", "barriers", "lost_classes")},
        descents=[each for each in content["edges"] if each["kind"] == "descent"],
        jumps=[each for each in content["edges"] if each["kind"] == "jump"],
    )
    graph.add_nodes_from((each["name"], each) for each in content["nodes"])
    graph.add_edges_from((each["from"], each["to"], each) for each in content["edges"] if each["kind"] == "stretch")
    return graph
