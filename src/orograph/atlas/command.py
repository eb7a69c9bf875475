"""The command `orograph atlas`: branches, ladders and their jumps as one graph; resumable at any moment."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orograph.atlas.carrying import carried_to
from orograph.atlas.graph import gather
from orograph.atlas.ladders import LadderPoint, jumps, ladder_points
from orograph.atlas.measured import Work, measured, to_do
from orograph.atlas.minima import CARRIED, met
from orograph.atlas.settings import AtlasSettings
from orograph.branches.bench import FollowBench, followed_settings
from orograph.branches.stages import tensor_of
from orograph.errors import ConfigurationError, RunError, shown
from orograph.figures.atlases import atlas as draw
from orograph.figures.style import save
from orograph.problem import Problem
from orograph.remarks import answer
from orograph.settings.base import folder_name
from orograph.settings.shared import Execution
from orograph.store.atomic import require_writable
from orograph.store.branch import ATLAS, ATLAS_FILE, BRANCH, THETA, courses
from orograph.store.encoding import json_text
from orograph.store.findings import Finding, FindingKey
from orograph.store.provenance import provenance
from orograph.store.resume import begun_run
from orograph.store.run import Run
from orograph.store.stretches import Stretch, stretches
from orograph.work.progress import Show, WorkProgress
from orograph.work.wide import show_table


def folder_of(settings: AtlasSettings) -> Path:
    """Where the atlas is written."""
    first = next((run for run in map(Run.open, settings.runs) if run.kind == BRANCH), None)
    named = "" if first is None else folder_name(first.path.resolve().name)
    return Path(settings.out or Path("runs") / f"{named}-atlas")


def atlas(settings: AtlasSettings, problem: Problem | None = None, show: Show = "terminal") -> int:
    """The command. Returns the exit code.

    Args:
        settings: all that it takes.
        problem: with names, that the runs were made of, where it was in memory alone.
        show: where progress is told; `terminal` has the tables too.

    Raises:
        OrographError: a run cannot be used; nothing has been written then.
    """
    console = Console(stderr=settings.json_output)
    branched, ladders = _given(settings.runs)
    out = folder_of(settings)
    known = [each for run in branched for each in stretches(run)]
    work = list(to_do(known, settings.descents))
    if settings.dry_run:
        counts = {kind: sum(each.kind == kind for each in work) for kind in ("maxwell", "descent")}
        if settings.json_output:
            answer(json_text({"run": str(out), "stretches": len(known), **counts, "products": settings.descent_products}))
            return 0
        text = f"{len(known)} stretches; {counts['maxwell']} crossings to certify, {counts['descent']} descents of at most "
        console.print(f"{text}{settings.descent_products:,} products", highlight=False)
        return 0
    require_writable(out)
    begun_run(out, ATLAS)
    execution = Execution(data_dir=settings.data_dir)
    benches = {str(run.path): FollowBench.prepare(followed_settings(run), execution, problem) for run in branched}
    first = branched[0]
    with Run.create(
        out,
        kind=ATLAS,
        configuration={
            "runs": [{"name": run.path.resolve().name, "digest": _digest(run)} for run in (*branched, *ladders)],
            "atlas": {name: getattr(settings, name) for name in ("descents", "descent_products")},
        },
        numerics=first.numerics,
        provenance=provenance(benches[str(first.path)].device),
        classes=first.classes,
        tensors=first.tensors,
    ) as run:
        found = _measure(run, work, benches, known, settings, show)
        found = _carry(run, found, benches, known, ladders, settings, show)
        points = _points(ladders, known, found)
        results = {
            **gather(known, found, points, jumps(points, known), first.classes),
            "branches": [_plain(each) for each in branched],
        }
        run.keep_results(ATLAS_FILE, results)
        picture, _ = save(draw(results, wording=first.wording), run.path / "figures" / ATLAS)
    if settings.json_output:
        answer(json_text(results))
    elif show == "terminal" and not settings.quiet:
        _print(results, console)
        numbers = shown(run.path / ATLAS_FILE)
        console.print(Text.assemble("numbers in ", (numbers, "bold"), ", picture ", (shown(picture), "bold")), highlight=False)
    return 0


def _given(paths: Sequence[str]) -> tuple[list[Run], list[Run]]:
    """The branches and the ladders among the runs, all of one network."""
    if not paths:
        raise ConfigurationError("atlas needs runs: directories that orograph follow wrote, and sweeps of the same problem.")
    runs = [Run.open(path) for path in paths]
    for run in runs:
        if run.kind not in (BRANCH, "sweep"):
            raise RunError(f"{run.path} is a run of kind {run.kind}; atlas joins branches and sweeps.")
    branched = [run for run in runs if run.kind == BRANCH]
    if not any(courses(run) for run in branched):
        raise RunError(f"{', '.join(paths)}: no branch among them has a point yet; orograph follow makes them.")
    names = [run.path.resolve().name for run in runs]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"two of the runs are called {max(names, key=names.count)}; rename one of their directories.")
    for run in runs[1:]:
        if run.tensors != runs[0].tensors:
            raise RunError(f"{run.path} is of another network than {runs[0].path}; an atlas is of one.")
    return branched, [run for run in runs if run.kind == "sweep"]


def _digest(run: Run) -> str:
    """Of all points: an atlas is one of runs as they were. What an analysis found at points of a sweep changes none of them."""
    recorded = [(key.stem, dict(found.files)) for key, found in run.findings.items() if run.kind == BRANCH]
    recorded += [(repr(cell), dict(record.files)) for cell, record in run.records.items()]
    return hashlib.sha256(repr(sorted(recorded, key=repr)).encode()).hexdigest()[:16]


def _measure(
    run: Run,
    work: Sequence[Work],
    benches: dict[str, FollowBench],
    known: Sequence[Stretch],
    settings: AtlasSettings,
    show: Show,
) -> list[Finding]:
    """What is not measured yet is, one after the other; all findings in their order."""
    keys = [FindingKey(each.kind, ATLAS, each.name) for each in work]
    with WorkProgress("results", len(work), quiet=settings.quiet, show=show) as progress:
        done = sum(key in run.findings for key in keys)
        progress.passed(done, done)
        for key, each in zip(keys, work, strict=True):
            if key in run.findings:
                continue
            result = measured(each, benches, known, settings.descent_products, progress.say)
            run.commit_finding(key, scalars=result.scalars, arrays=result.arrays)
            progress.completed(f"{each.kind} {each.name}", f"λ = {result.scalars['strength']:.6g}")
    return [run.findings[key] for key in keys]


def _points(ladders: Sequence[Run], known: Sequence[Stretch], found: Sequence[Finding]) -> list[LadderPoint]:
    minima = list(dict.fromkeys(met(found).values()))
    return [each for ladder in ladders for each in ladder_points(ladder, known, minima)]


def _carry(
    run: Run,
    found: list[Finding],
    benches: dict[str, FollowBench],
    known: Sequence[Stretch],
    ladders: Sequence[Run],
    settings: AtlasSettings,
    show: Show,
) -> list[Finding]:
    """All findings, with how far the minima of descents reach to the λ of points of ladders that lie on nothing known, and to
    those of each other."""
    path_of = {each.name: str(each.path) for each in known}
    alone = {each.strength for each in _points(ladders, known, found) if not each.stretch}
    fixed = {name: each for name, each in met(found).items() if not each.at_reference}
    if not alone or not fixed:
        return found
    wanted = alone | {each.strength for each in fixed.values()}
    with WorkProgress("minima", len(fixed), quiet=settings.quiet, show=show) as progress:
        for name in fixed:
            key = FindingKey(CARRIED, ATLAS, name)
            if key not in run.findings and met(found)[name].name == fixed[name].name:  # else it is one that was carried before
                descent = run.findings[FindingKey("descent", ATLAS, name)]
                bench = benches[path_of[descent.scalars["first_stretch"]]]
                theta = tensor_of(bench, descent.arrays(run.path)[THETA])
                result = carried_to(wanted, theta, fixed[name].strength, bench, settings.descent_products)
                run.commit_finding(key, scalars=result.scalars)
            if key in run.findings:
                found = [*found, run.findings[key]]
            progress.completed(f"minimum of descent {name}", f"λ = {fixed[name].strength:.6g}")
    return found


def _plain(run: Run) -> dict[str, Any]:
    """The branches of a run without their vectors."""
    return {
        "run": run.path.resolve().name,
        "branches": [
            {
                "name": course.name,
                "ended": course.ended,
                "points": [dict(each.scalars) for each in course.points],
                "events": [dict(each.scalars) for each in course.events],
            }
            for course in courses(run).values()
        ],
    }


def _print(results: dict[str, Any], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "from", "to", "λ", ""):
        table.add_column(name, overflow="fold")
    for edge in results["edges"]:
        if edge["kind"] == "stretch":
            what = "index not known" if edge["index"] is None else "minima" if edge["stable"] else f"index {edge['index']}"
            table.add_row(edge["name"], edge["from"], edge["to"], f"{edge['low']:.6g} to {edge['high']:.6g}", what)
        elif edge["kind"] == "descent":
            goal = f"{edge['to']}{' (an image)' if edge['likeness'] == 'image' else ''}"
            table.add_row("descent", edge["from"], goal, f"{edge['strength']:.6g}", f"barrier {edge['height']:.4g}")
        else:
            table.add_row(
                f"jump of {edge['run']} {edge['chain']}",
                edge["from"],
                edge["to"] or "?",
                f"{edge['low']:.6g} to {edge['high']:.6g}",
                "",
            )
    for each in results["maxwell"]:
        note = f"equal depth, latent {each['latent']:.4g}" if each["certified"] else "equal depth, not certified"
        table.add_row("Maxwell", each["first_stretch"], each["second_stretch"], f"{each['strength']:.8g}", note)
    show_table(table, console)
