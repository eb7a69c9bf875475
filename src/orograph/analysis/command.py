"""The command `orograph analyze`: all that a finished sweep shows, computed beside its points, resumable at any moment."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from orograph.analysis.chain import Chain, chains
from orograph.analysis.comparisons import LoopAreas, commands, loop_areas, other_run
from orograph.analysis.cost import print_cost
from orograph.analysis.folds import NONE, ends_in_words, known_atlas, with_folds, with_orders
from orograph.analysis.loops import MeasuredLoop, measured_loops
from orograph.analysis.omissions import left_out
from orograph.analysis.parts.every import parts
from orograph.analysis.pictures import draw
from orograph.analysis.refine import refine
from orograph.analysis.saddles import with_saddles
from orograph.analysis.settings import AnalyzeSettings
from orograph.analysis.summary import print_summary
from orograph.analysis.survey import Survey, plain_survey, survey
from orograph.analysis.visit import Part, Visit
from orograph.errors import ConfigurationError, RunError, shown
from orograph.problem import Problem
from orograph.remarks import answer
from orograph.settings.shared import Execution
from orograph.store.analysis import Analysis, of_run
from orograph.store.cells import Cell
from orograph.store.encoding import json_text
from orograph.store.provenance import provenance
from orograph.store.resume import recorded_settings, reopened
from orograph.store.run import Run
from orograph.store.spectra import has_vectors
from orograph.sweep.anchors import ANCHOR_FILE
from orograph.sweep.bench import Bench
from orograph.sweep.record import require_recorded_loss, require_same
from orograph.sweep.settings import SweepSettings
from orograph.sweep.surroundings import saved_in
from orograph.work.problems import INITIAL
from orograph.work.progress import Show, WorkProgress

FILE = "analysis.json"


def analyze(settings: AnalyzeSettings, problem: Problem | None = None, show: Show = "terminal") -> int:
    """The command: checks everything first, then works until every point and every chain is analysed. Returns the exit code.

    Args:
        settings: of the analysis.
        problem: with names, that the run was made of.
        show: where progress is told; `terminal` has the summary too.

    Raises:
        OrographError: the run or an option cannot be used; nothing has been written then.
    """
    console = Console(stderr=settings.json_output)
    old = checked_run(settings)
    rate, null = other_run(settings.rate, "`rate`", old), other_run(settings.null, "`null`", old)
    atlas = known_atlas(settings.atlas, old.path.resolve().name)
    sweep = sweep_settings(old)
    if settings.refine and not sweep.critical:
        raise ConfigurationError("`refine` needs a polished run: the order of a transition is not judged by unconverged points.")
    if settings.refine and len(sweep.ladder.ladder()) < 2:
        raise ConfigurationError("`refine` inserts points between strengths, and the run has one alone.")
    bench = Bench.prepare(sweep, Execution(data_dir=settings.data_dir), problem, saved=partial(saved_in, old))
    if problem is not None:
        require_same(old, sweep, bench)
    chosen = parts(settings, pairs=sweep.spectrum.k, classes=bench.instruments.classes, tolerance=sweep.training.polish_tolerance)
    if settings.dry_run:
        print_cost(bench, old, todo(old, Analysis(old), chosen), Console(), as_json=settings.json_output)
        return 0
    with reopened(old, provenance(bench.device)) as run:
        bench.settle(run)
        require_recorded_loss(bench, run)
        analysis = Analysis(run)
        work = todo(run, analysis, chosen)
        amount = sum(part.work for part, _ in work)
        with WorkProgress("results", len(work), work=amount, quiet=settings.quiet, show=show) as progress:
            for part, cell in work:
                analyse_point(bench, run, analysis, part, cell, progress)
            if settings.refine:
                refine_transitions(bench, run, analysis, chosen, settings, progress)
            progress.say("chains")
            found = surveys(run, analysis, sweep, settings)
            known = [each.chain for each in found]
            measured = measured_loops(
                bench, run, analysis, known, steps=settings.path_steps, seed=settings.seed, say=progress.say
            )
            if atlas is not None:
                name = run.path.resolve().name
                measured = with_saddles(with_folds(measured, atlas, name), atlas, name)
                found = with_orders(found, atlas, name)
        areas = loop_areas(run, known, rate, null)
        results = {
            "settings": settings.model_dump(exclude={"run", "quiet", "json_output", "dry_run", "data_dir", *_unused(settings)}),
            **provenance(bench.device),
            **of_run(run),
            **gather(run, found, measured, areas),
            **({"left_out": missing} if (missing := left_out(bench, run, analysis)) else {}),
        }
        run.keep_results(FILE, results)
        pictures = draw(bench, run, found, measured)
    if settings.json_output:
        answer(json_text(results))
    elif show == "terminal" and not settings.quiet:
        print_summary(run, found, measured, areas, results["commands"], console)
        for sentence in (*(ends_in_words(atlas, run.path.resolve().name) if atlas is not None else ()), *missing):
            console.print(sentence, highlight=False, markup=False)
        numbers, folder = shown(run.path / FILE), shown(pictures[0].parent)
        console.print(Text.assemble("numbers in ", (numbers, "bold"), ", pictures in ", (folder, "bold")), highlight=False)
    return 0


def _unused(settings: AnalyzeSettings) -> set[str]:
    """What is not recorded where it was not given: analyses of before know nothing of it."""
    return {"atlas"} if settings.atlas == NONE else set()


def checked_run(settings: AnalyzeSettings) -> Run:
    """The run to analyse, open for reading.

    Raises:
        ConfigurationError: none was named.
        RunError: it is no sweep, or has no finished point.
    """
    if not settings.run:
        raise ConfigurationError("analyze needs a run: the directory that a sweep wrote.")
    run = Run.open(settings.run)
    if run.kind != "sweep":
        raise RunError(f"{run.path} is a run of kind {run.kind}; analyze reads sweeps and runs of orograph follow.")
    if not any(record.status == "done" for record in run.records.values()):
        failed = len(run.records)
        way = f"all {failed} that were begun failed; `orograph watch` says why." if failed else "run the sweep first."
        raise RunError(f"{run.path} has no finished point; {way}")
    return run


def sweep_settings(run: Run) -> SweepSettings:
    """The settings of a run, with its own copy of the anchor where it has one."""
    settings = recorded_settings(run, SweepSettings)
    sources = {name: found for name, found in settings.problem.sources.items() if name != INITIAL}  # no training begins there
    settings = settings.model_copy(update={"problem": settings.problem.model_copy(update={"sources": sources})})
    kept = run.kept(ANCHOR_FILE)
    if kept is None:
        return settings
    return settings.model_copy(update={"anchor": settings.anchor.model_copy(update={"anchor": str(kept)})})


def todo(run: Run, analysis: Analysis, chosen: Sequence[Part], cells: Sequence[Cell] | None = None) -> list[tuple[Part, Cell]]:
    """What is not known yet, point by point."""
    done = [cell for cell, record in run.records.items() if record.status == "done"] if cells is None else cells
    return [
        (part, cell)
        for cell in done
        for part in chosen
        if not (part.needs_vectors and not has_vectors(run, cell)) and not analysis.current(part.name, cell, part.settings)
    ]


def analyse_point(bench: Bench, run: Run, analysis: Analysis, part: Part, cell: Cell, progress: WorkProgress) -> None:
    """Computes and commits one part at one point."""
    name = f"{cell.model_id}, λ = {cell.strength:g}"
    visit = Visit(bench, run, cell, lambda what, count: progress.say(f"{name}: {what}, product {count}"))
    began = time.perf_counter()
    found = part.compute(visit)
    scalars = found.scalars | {"smooth": visit.smooth}  # of whatever is computed here, the second order leaves out kinks
    analysis.write(part.name, cell, part.settings, scalars, found.arrays)
    progress.completed(name, f"{part.name}, {time.perf_counter() - began:.1f} s", part.work)


def surveys(run: Run, analysis: Analysis, sweep: SweepSettings, settings: AnalyzeSettings) -> list[Survey]:
    """Every chain, surveyed."""
    known = chains(run, analysis, sweep.ladder.ladder())
    return [
        survey(run, analysis, sweep, chain, _repeats(known, chain), resamples=settings.resamples, seed=settings.seed)
        for chain in known
    ]


def _repeats(known: Sequence[Chain], chain: Chain) -> list[Chain]:
    return [other for other in known if other.direction == chain.direction and other.seed != chain.seed]


def refine_transitions(
    bench: Bench, run: Run, analysis: Analysis, chosen: Sequence[Part], settings: AnalyzeSettings, progress: WorkProgress
) -> None:
    """Inserts points around every transition of the order parameter, and analyses them."""
    ladder = np.array(bench.settings.ladder.ladder())
    width = settings.refine_width or float(np.diff(ladder).min()) / 32

    def on_point(cell: Cell) -> None:
        work = todo(run, analysis, chosen, [cell])
        progress.more(len(work), sum(part.work for part, _ in work))
        for part, at in work:
            analyse_point(bench, run, analysis, part, at, progress)

    for found in surveys(run, analysis, bench.settings, settings):
        chain = found.chain
        for transition in found.transitions:
            refine(
                bench,
                run,
                chain.seed,
                chain.direction,
                transition.change,
                ladder,
                others=[other.change for other in found.transitions if other is not transition],
                width=width,
                most=settings.refine_points,
                progress=progress,
                on_point=on_point,
            )


def gather(run: Run, found: Sequence[Survey], measured: Sequence[MeasuredLoop], areas: Sequence[LoopAreas]) -> dict[str, Any]:
    """All results of a run as plain values."""
    both = {each.chain.direction for each in found} == {"up", "down"}
    return {
        "run": Path(run.path).name,
        "classes": list(run.classes),
        "chains": [plain_survey(each) for each in found],
        "loops": [each.plain() for each in measured],
        "loop_areas": [asdict(each) for each in areas],
        "commands": missing_commands(run, areas) if both else {},
    }


def missing_commands(run: Run, areas: Sequence[LoopAreas]) -> dict[str, str]:
    """The commands that make the runs which loops have not been held against."""
    missing = {name for name in ("rate", "null") if any(getattr(each, name) is None for each in areas)}
    return {name: command for name, command in commands(run).items() if name in missing}
