"""The study: train a grid of networks, measure every minimum and every pair of minima, relate geometry to generalisation.

Every step is committed when it is done; the same command again does the rest. A network that diverges, or a measurement that
cannot be made, is recorded with its reason, and the others go on.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from orograph.errors import OrographError
from orograph.experiments.provenance import provenance
from orograph.experiments.settings import NumericsSettings
from orograph.experiments.study.bench import Minimum, StudyBench
from orograph.experiments.study.estimate import disk_bytes, print_plan
from orograph.experiments.study.findings import Findings
from orograph.experiments.study.grid import Configuration, varied
from orograph.experiments.study.minimum import measure_minimum
from orograph.experiments.study.pairs import connect
from orograph.experiments.study.pictures import draw
from orograph.experiments.study.plan import Step, steps
from orograph.experiments.study.progress import StudyProgress
from orograph.experiments.study.relations import relate
from orograph.experiments.study.results import NAME, study_results
from orograph.experiments.study.settings import StudyCommand, StudyExecution, StudySettings
from orograph.experiments.study.slices import plane_of_minima, slice_minimum
from orograph.experiments.study.tables import notes, study_table
from orograph.experiments.study.trainings import choose_rate, commit_training, instability, rate_key, train_seeds
from orograph.memory import format_bytes
from orograph.store.atomic import require_space
from orograph.store.cells import Cell
from orograph.store.encoding import encode, plain
from orograph.store.findings import FindingKey
from orograph.store.run import MARKER, Run


def study_command(command: StudyCommand) -> int:
    """The command, as the command line gives it."""
    return study(StudySettings.model_validate(command.model_dump(exclude={"execution"})), command.execution)


def study(settings: StudySettings, execution: StudyExecution) -> int:
    """Checks everything first, then works until every step is committed. Returns the exit code.

    Raises:
        OrographError: anything that the user can mend; nothing has been written then.
    """
    console = Console(stderr=execution.json_output)
    out = Path(execution.out if execution.out != "auto" else f"runs/study-{settings.data.dataset}-{settings.digest()}")
    if (out / MARKER).exists():  # a resumed run keeps its numerics
        settings = settings.model_copy(update={"numerics": NumericsSettings(**Run.open(out).numerics)})
    bench = StudyBench.prepare(settings, execution)
    settings = bench.settings
    if execution.dry_run:
        print_plan(bench, out, console)
        return 0
    require_space(out, 0 if (out / MARKER).exists() else disk_bytes(bench))
    run = Run.create(
        out,
        kind="study",
        configuration=settings.model_dump(mode="json", exclude={"numerics"}),
        numerics=settings.numerics.model_dump(),
        provenance=provenance(bench.device),
        cells=bench.cells(),
        classes=bench.data.classes,
    )
    with run:
        everything = steps(bench)
        todo = [step for step in everything if not step.done(run)]
        done = [step for step in everything if step.done(run)]
        if not execution.quiet:
            print_head(bench, out, len(everything), len(done), console)
        with StudyProgress(todo, done, quiet=execution.quiet) as progress:
            _Work(bench, run, progress).all(everything)
        results = gather(bench, run)
        if execution.save_results:
            run.keep(NAME, encode(results))
        pictures = draw(results, run) if execution.plot else []
    if execution.json_output:
        json.dump(results, sys.stdout, indent=1)
    elif not execution.quiet:
        console.print(study_table(results))
        for note in notes(results):
            console.print(note, highlight=False, markup=False, soft_wrap=True)
        if execution.save_results:
            console.print(f"results in [bold]{out / NAME}[/]", highlight=False, soft_wrap=True)
        if pictures:
            console.print(f"{len(pictures)} pictures in [bold]{pictures[0].parent}[/]", highlight=False, soft_wrap=True)
    return 0


def print_head(bench: StudyBench, out: Path, total: int, done: int, console: Console) -> None:
    """What is about to be done, with the budget of products."""
    settings = bench.settings
    console.print(
        f"[bold]{out}[/]: {len(bench.configurations)} configurations × {settings.optimisation.num_seeds} seeds, {total} steps, "
        f"{done} done; at most {settings.metrics.products} Hessian products a minimum; "
        f"{format_bytes(disk_bytes(bench))} when finished",
        highlight=False,
        soft_wrap=True,
    )


def gather(bench: StudyBench, run: Run) -> dict[str, Any]:
    """The results with their correlations, from the records alone."""
    data, chosen = bench.data, bench.configurations
    facts = {
        "name": data.name,
        "train_images": len(data.train_targets),
        "test_images": len(data.test_targets),
        "classes": list(data.classes),
        "checksum": data.checksum,
    }
    sizes = {each.name: bench.objectives(each)[0].layout.size for each in chosen}
    results = study_results(run, chosen, varied(chosen), facts, sizes)
    rows = [row for row in results["metrics"] if row["status"] == "done"]
    results["correlations"] = plain(relate(rows, [row["configuration"] for row in rows]))
    return results


@dataclass
class _Work:
    """What does the steps of a study."""

    bench: StudyBench
    run: Run
    progress: StudyProgress
    _minima: dict[tuple[str, int], Minimum] = field(default_factory=dict)

    def all(self, everything: list[Step]) -> None:
        do = {
            "rate": self.rate,
            "training": self.training,
            "instability": self.instability,
            "minimum": self.minimum,
            "pair": self.pair,
            "slice": self.slice,
            "plane": self.plane,
        }
        last = ""
        for step in everything:
            if step.configuration.name != last:
                last = step.configuration.name
                self._minima.clear()
            if not step.done(self.run):
                do[step.kind](step)

    def rate(self, step: Step) -> None:
        began = time.perf_counter()
        self._keep(step, choose_rate(self.bench, step.configuration, self.progress.say), began)

    def _rate(self, chosen: Configuration) -> float | None:
        found = self.run.findings.get(rate_key(chosen))
        return None if found is None else found.scalars["chosen"]

    def training(self, step: Step) -> None:
        """The cohort of seeds that the step belongs to, trained again as a whole if one of it is missing."""
        chosen, seeds = step.configuration, self.bench.settings.optimisation.seeds
        size = self.bench.together(chosen)
        place = seeds.index(step.seeds[0]) // size * size
        group = seeds[place : place + size]
        began, rate = time.perf_counter(), self._rate(chosen)
        fitted = train_seeds(self.bench, chosen, group, rate, self.progress.say)
        seconds = (time.perf_counter() - began) / len(group)
        for seed, each in zip(group, fitted, strict=True):
            cell = Cell(seed, configuration=chosen.name)
            if cell in self.run.records:
                continue
            commit_training(self.bench, self.run, chosen, cell, each, rate, seconds)
            record = self.run.records[cell]
            key = FindingKey("training", chosen.name, str(seed))
            member = replace(step, key=key, seeds=(seed,))
            self.progress.completed(member, record.status, record.scalars)

    def instability(self, step: Step) -> None:
        epoch = int(step.key.name.rpartition("-")[2])
        rate = self._rate(step.configuration)
        self._commit(step, lambda: instability(self.bench, step.configuration, rate, epoch, self.progress.say))

    def minimum(self, step: Step) -> None:
        def work() -> Findings:
            found = self._minimum(step, 0)

            def on_product(part: str, count: int) -> None:
                self.progress.say(f"{part}, product {count} · {step.title}")

            settings = self.bench.settings.metrics
            return measure_minimum(
                found.train, found.test, found.theta, settings=settings, seed=step.seeds[0], on_product=on_product
            )

        self._commit(step, work)

    def pair(self, step: Step) -> None:
        def work() -> Findings:
            first, second = self._minimum(step, 0), self._minimum(step, 1)

            def on_step(path: str, count: int) -> None:
                self.progress.say(f"{path}, step {count} · {step.title}")

            settings, seed = self.bench.settings.connectivity, step.seeds[0]
            return connect(first.train, first.test, first.theta, second.theta, settings=settings, seed=seed, on_step=on_step)

        self._commit(step, work, {"seeds": list(step.seeds)})

    def slice(self, step: Step) -> None:
        def work() -> Findings:
            found, seed = self._minimum(step, 0), step.seeds[0]
            kept = self.run.findings.get(FindingKey("minimum", step.configuration.name, str(seed)))
            vectors = kept.arrays(self.run.path).get("eigenvectors") if kept else None
            directions = None if vectors is None else torch.from_numpy(vectors).to(found.theta)
            self.progress.say(f"evaluating · {step.title}")
            settings = self.bench.settings.surfaces
            return slice_minimum(found.train, found.test, found.theta, settings=settings, eigenvectors=directions, seed=seed)

        self._commit(step, work, {"seeds": list(step.seeds)})

    def plane(self, step: Step) -> None:
        def work() -> Findings:
            minima = [self._minimum(step, place) for place in range(3)]
            pair = FindingKey("pair", step.configuration.name, f"{step.seeds[0]}-{step.seeds[1]}")
            kept = self.run.findings.get(pair)
            bend = kept.arrays(self.run.path).get("bezier_bend") if kept else None
            path = None if bend is None else torch.from_numpy(bend).to(minima[0].theta)
            self.progress.say(f"evaluating · {step.title}")
            thetas = torch.stack([each.theta for each in minima])
            return plane_of_minima(minima[0].train, minima[0].test, thetas, settings=self.bench.settings.surfaces, path=path)

        self._commit(step, work, {"seeds": list(step.seeds)})

    def _minimum(self, step: Step, place: int) -> Minimum:
        """A network of the step.

        Raises:
            OrographError: its training failed.
        """
        name, seed = step.configuration.name, step.seeds[place]
        if self.run.records[Cell(seed, configuration=name)].status == "failed":
            raise OrographError(f"the training of seed {seed} diverged")
        if (name, seed) not in self._minima:
            self._minima[name, seed] = self.bench.minimum(self.run, step.configuration, seed)
        return self._minima[name, seed]

    def _commit(self, step: Step, work: Callable[[], Findings], more: dict[str, Any] | None = None) -> None:
        """Does the work and commits what it found, or why it found nothing."""
        self.progress.say(step.title)
        began = time.perf_counter()
        try:
            found = work()
        except (OrographError, RuntimeError, ArithmeticError) as error:
            found = Findings({"error": (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")})
        self._keep(step, Findings({**found.scalars, **(more or {})}, found.arrays), began)

    def _keep(self, step: Step, found: Findings, began: float) -> None:
        status, seconds = "failed" if "error" in found.scalars else "done", {"seconds": time.perf_counter() - began}
        self.run.commit_finding(step.key, status=status, scalars=found.scalars, arrays=found.arrays, timings=seconds)
        self.progress.completed(step, status, found.scalars)
