"""The graph of an atlas: critical points and what joins them, as plain values and for networkx."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orograph.atlas.ladders import Jump, LadderPoint
from orograph.atlas.stretches import INDEX, Stretch, lost_classes
from orograph.errors import RunError
from orograph.store.branch import ATLAS_FILE
from orograph.store.encoding import decode
from orograph.store.findings import Finding

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
    for stretch in known:
        first, last = (_node(nodes, stretch, at_end) for at_end in (False, True))
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
            edges.append(_descended(nodes, found))
    edges += [_leap(each) for each in leaps]
    return {
        "nodes": list(nodes.values()),
        "edges": edges,
        "maxwell": [dict(each.scalars) for each in findings if each.key.kind == "maxwell"],
        "barriers": _barriers(findings),
        "lost_classes": [
            {"stretch": each.name, "class": name, "strength": at}
            for each in known
            if each.index == 0
            for name, at in lost_classes(each, classes)
        ],
        "ladders": [vars(each) for each in ladders],
    }


def _node(nodes: dict[str, dict[str, Any]], stretch: Stretch, at_end: bool) -> str:
    """The node in which a stretch begins or ends: an event, or the last point that is known."""
    event = stretch.ends if at_end else stretch.begins
    branch = f"{stretch.path.resolve().name}/{stretch.course.name}"
    if event is not None:
        name, kind, scalars = f"{branch}/event {int(event.key.name)}", str(event.scalars["event_kind"]), event.scalars
    else:
        point = stretch.points[-1 if at_end else 0]
        name, scalars = f"{branch}/point {int(point.key.name)}", point.scalars
        kind = "cut" if at_end or int(point.key.name) else "start"
    nodes.setdefault(name, {"name": name, "kind": kind, **_told(scalars)})
    return name


def _told(scalars: Mapping[str, Any]) -> dict[str, Any]:
    return {name: scalars[name] for name in (*_TOLD, "kernel_size", "lowest_eigenvalues") if name in scalars}


def _descended(nodes: dict[str, dict[str, Any]], found: Finding) -> dict[str, Any]:
    scalars = found.scalars
    goal = str(scalars["second_stretch"])
    if not goal:
        goal = f"{found.key.kind} {found.key.name}"
        kind = "minimum" if scalars["certified"] and scalars.get(INDEX) == 0 else "unfinished"
        place = {"strength": scalars["strength"], "objective": scalars["arrives_objective"]}
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


def _barriers(findings: Sequence[Finding]) -> list[dict[str, Any]]:
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
            "one": both["+"].scalars["second_stretch"],
            "other": both["-"].scalars["second_stretch"],
            "from_one": both["+"].scalars["height"],
            "from_other": both["-"].scalars["height"],
        }
        for (saddle, strength), both in sides.items()
        if len(both) == 2
    ]


def read_atlas(path: str | Path) -> "networkx.MultiGraph":
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
