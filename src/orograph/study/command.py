"""The study: train a grid of networks, measure every minimum and every pair of minima, relate geometry to generalisation.

Every step is committed when it is done; the same command again does the rest. A network that diverges, or a measurement that
cannot be made, is recorded with its reason, and the others go on.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from orograph.errors import shown
from orograph.memory import format_bytes
from orograph.problem import Problem
from orograph.remarks import answer
from orograph.settings.base import folder_name
from orograph.store.analysis import of_run
from orograph.store.atomic import require_space, require_writable
from orograph.store.encoding import json_text, plain
from orograph.store.provenance import mixture, provenance
from orograph.store.resume import begun_run, settled_numerics
from orograph.store.run import Run
from orograph.study.bench import StudyBench
from orograph.study.cost import disk_bytes, rough_plan, show_plan, vector_bytes
from orograph.study.grid import varied
from orograph.study.omissions import left_out
from orograph.study.plan import steps
from orograph.study.relations import relate
from orograph.study.results import NAME, study_results
from orograph.study.schedule import StudySchedule
from orograph.study.settings import StudyCommand, StudyExecution, StudySettings
from orograph.study.stages import StudyContext
from orograph.study.tables import notes, study_table
from orograph.study.trainings import require_recorded_losses
from orograph.work.definition import definition
from orograph.work.pools import start_workers
from orograph.work.problems import as_begun, packed_problem
from orograph.work.progress import Show, WorkProgress
from orograph.work.wide import show_table


def study_command(command: StudyCommand) -> int:
    """The command, as the command line gives it."""
    return study(StudySettings.model_validate(command.model_dump(exclude={"execution"})), command.execution)


def study(settings: StudySettings, execution: StudyExecution, problems: Sequence[Problem] = (), show: Show = "terminal") -> int:
    """Checks everything first, then works until every step is committed. Returns the exit code: 1 where a step failed.

    Args:
        settings: of the study.
        execution: how this process does it.
        problems: with names, in place of what the settings name; they differ in their networks alone.
        show: where progress is told; `terminal` has the tables too.

    Raises:
        OrographError: anything that the user can mend; nothing has been written then.
    """
    console = Console(stderr=execution.json_output)
    out = folder_of(settings, execution)
    if not execution.dry_run:
        require_writable(out)
    asked = settings.numerics.model_dump()
    resumed = begun_run(out, "study")
    if resumed is None:
        settings.architecture.require_taken()
    numerics = settled_numerics(resumed, settings.numerics, execution)
    if execution.dry_run and not problems and rough_plan(settings, execution, out, Console()):
        return 0
    begun = as_begun(settings.problem, resumed.configuration if resumed else None)
    settings = settings.model_copy(update={"numerics": numerics, "problem": begun})

    def room(parameters: int) -> None:
        if resumed is None and not execution.dry_run:
            require_space(out, vector_bytes(settings, parameters))

    bench = StudyBench.prepare(settings, execution, problems, room)
    settings = bench.settings
    if execution.dry_run:
        show_plan(bench, out, Console(), as_json=execution.json_output)
        return 0
    require_space(out, 0 if resumed else disk_bytes(bench))  # with its records
    everything = steps(bench)

    def context() -> StudyContext:
        return StudyContext(settings, execution.data_dir, sent)

    sent = tuple(packed_problem(each) for each in problems) if execution.parallel != "none" else ()
    told_all = show == "terminal" and not execution.quiet
    amount = sum(step.work for step in everything)
    progress = WorkProgress("steps", len(everything), work=amount, quiet=execution.quiet, show=show)
    with ExitStack() as until:
        workers = start_workers(
            bench, StudyContext, context, execution, progress.say
        )  # before anything is written: a cluster may not answer
        until.callback(workers.close)
        with Run.create(
            out,
            kind="study",
            configuration=settings.configuration(),
            numerics=settings.numerics.model_dump(),
            asked=asked,
            provenance=provenance(bench.device),
            cells=bench.cells(),
            classes=bench.names,
            metrics=bench.metrics,
            defined_by=lambda: definition(
                settings, bench.problem, {each.name: bench.objectives(each)[0] for each in bench.configurations}
            ),
        ) as run:
            require_recorded_losses(bench, run)
            done = [step for step in everything if step.done(run)]
            if told_all:
                print_head(bench, out, len(everything), len(done), console)
            progress.passed(len(done), sum(step.work for step in done))
            with progress:
                StudySchedule(bench, run, everything, progress).run(workers)
            until.close()  # a cluster ends while the pictures are drawn
            results = gather(bench, run)
            if execution.save_results:
                run.keep_results(NAME, results)
            pictures = []
            if execution.plot:
                from orograph.study.pictures import draw  # imports what draws

                pictures = draw(results, run)
    if execution.json_output:
        answer(json_text(results))
    elif told_all:
        show_table(study_table(results), console)
        for note in (*notes(results), *filter(None, [mixture(run)])):
            console.print(note, highlight=False, markup=False, soft_wrap=True)
        if execution.save_results:
            console.print(Text.assemble("results in ", (shown(out / NAME), "bold")), highlight=False, soft_wrap=True)
        if pictures:
            folder = Text.assemble(f"{len(pictures)} pictures in ", (shown(pictures[0].parent), "bold"))
            console.print(folder, highlight=False, soft_wrap=True)
    statuses = {record.status for record in run.records.values()} | {finding.status for finding in run.findings.values()}
    return 1 if "failed" in statuses else 0


def folder_of(settings: StudySettings, execution: StudyExecution) -> Path:
    """Where the run is written."""
    return Path(execution.out or f"runs/study-{folder_name(settings.data.dataset)}-{settings.digest()}")


def print_head(bench: StudyBench, out: Path, total: int, done: int, console: Console) -> None:
    """What is about to be done, with the budget of products."""
    settings = bench.settings
    counts = (
        f": {len(bench.configurations)} configurations × {settings.optimisation.num_seeds} seeds, {total} steps, "
        f"{done} done; at most {settings.metrics.products} Hessian products a minimum; "
        f"{format_bytes(disk_bytes(bench))} when finished"
    )
    console.print(Text.assemble((shown(out), "bold"), counts), highlight=False, soft_wrap=True)


def gather(bench: StudyBench, run: Run) -> dict[str, Any]:
    """The results with their correlations, from the records alone."""
    chosen = bench.configurations
    train, test = bench.objectives(chosen[0])
    facts = {
        "name": bench.settings.data.dataset,
        "train_images": train.count,
        **({} if test is None else {"test_images": test.count}),
        "classes": list(bench.names),
        "checksum": bench.problem.checksum,
    }
    sizes = {each.name: bench.objectives(each)[0].layout.size for each in chosen}
    results = study_results(run, chosen, varied(chosen), facts, sizes)
    rows = [row for row in results["metrics"] if row["status"] == "done"]
    results["correlations"] = plain(relate(rows, [row["configuration"] for row in rows]))
    if left := left_out(bench):
        results["left_out"] = left
    return results | (of_run(run) if run.identity else {})  # of an earlier version's run: what that wrote
