"""Which step of a study comes next, whoever does it: the first in the plan whose inputs are committed.

Steps are committed by this process, in the order in which they end; what is written does not depend on it. A step that belongs to
a diverged network is recorded as failed; one that met any other trouble is left, with all that needs it, to the next command.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from orograph.store.cells import Cell
from orograph.store.findings import FindingKey, Result
from orograph.store.run import Run
from orograph.study.bench import StudyBench
from orograph.study.grid import Configuration
from orograph.study.plan import Step
from orograph.study.progress import summary
from orograph.study.stages import Diverged, Inputs, failed
from orograph.study.trainings import commit_training, rate_key
from orograph.work.loop import Task, work_through
from orograph.work.pools import Workers
from orograph.work.progress import WorkProgress


class StudySchedule:
    """The steps of a study that are not committed yet."""

    def __init__(self, bench: StudyBench, run: Run, everything: list[Step], progress: WorkProgress) -> None:
        self._bench, self._run, self._everything, self._progress = bench, run, everything, progress
        self._waiting = [step for step in everything if not step.done(run)]

    def run(self, workers: Workers) -> None:
        """Work until every step is committed."""
        work_through(workers, self._take)

    def _take(self) -> Task | None:
        """The next step that can be computed; one whose inputs cannot be had is committed as failed on the way."""
        while (step := self._next()) is not None:
            try:
                inputs = self._inputs(step)
            except Diverged as error:
                self._keep(step, failed(step, error), 0.0)
            else:
                stage = "train" if step.kind == "training" else "measure"
                return Task(stage, (step, inputs), partial(self._land, step), step.title)
        return None

    def _next(self) -> Step | None:
        """The first step that needs nothing that is still to come, no longer waiting. Of a training, its whole cohort."""
        for step in self._waiting:
            if all(needed.done(self._run) for needed in self._needed(step)):
                if step.kind == "training":
                    step = self._cohort(step)
                taken = {replace(step.key, name=str(seed)) for seed in step.seeds} if step.kind == "training" else {step.key}
                self._waiting = [each for each in self._waiting if each.key not in taken]
                return step
        return None

    def _needed(self, step: Step) -> list[Step]:
        """The steps whose results are its inputs."""
        mine = [each for each in self._everything if each.configuration.name == step.configuration.name]
        rates = [each for each in mine if each.kind == "rate"]
        if step.kind == "rate":
            return []
        if step.kind in ("training", "instability"):
            return rates
        found = [each for each in mine if each.kind == "training" and each.seeds[0] in step.seeds]
        if step.kind == "slice":
            found += [each for each in mine if each.kind == "minimum" and each.seeds == step.seeds]
        elif step.kind == "plane":
            found += [each for each in mine if each.kind == "pair" and each.seeds == step.seeds[:2]]
        return found

    def _cohort(self, step: Step) -> Step:
        """All seeds that train together with this one: trained again as a whole if one of them is missing, to the same bits."""
        seeds, size = self._bench.settings.optimisation.seeds, self._bench.together(step.configuration)
        place = seeds.index(step.seeds[0]) // size * size
        return replace(step, seeds=seeds[place : place + size])

    def _inputs(self, step: Step) -> Inputs:
        """What a step takes from the run: read from there, so that a resumed study computes with the same bits.

        Raises:
            Diverged: a network that it needs has.
            RunError: a file is not what was committed.
        """
        name, rate = step.configuration.name, self._rate(step.configuration)
        if step.kind in ("rate", "training", "instability"):
            return Inputs(rate)
        cells = [Cell(seed, configuration=name) for seed in step.seeds]
        for cell in cells:
            record = self._run.records[cell]
            if record.status == "failed":
                how = f"failed: {record.scalars['error']}" if "error" in record.scalars else "diverged"
                raise Diverged(f"the training of seed {cell.seed} {how}")
        found: dict[str, Any] = {}
        if step.kind == "slice":
            found = self._arrays(FindingKey("minimum", name, str(step.seeds[0])), "eigenvectors")
        elif step.kind == "plane":
            found = self._arrays(FindingKey("pair", name, f"{step.seeds[0]}-{step.seeds[1]}"), "bezier_bend")
        return Inputs(rate, tuple(self._run.weights(cell) for cell in cells), found)

    def _rate(self, chosen: Configuration) -> float | None:
        found = self._run.findings.get(rate_key(chosen))
        return None if found is None else found.scalars["chosen"]

    def _arrays(self, key: FindingKey, name: str) -> dict[str, Any]:
        finding = self._run.findings.get(key)
        found = finding.arrays(self._run.path, lambda each, shape: each == name) if finding else {}
        return {name: torch.from_numpy(array) for name, array in found.items()}

    def _land(self, step: Step, result: Any, seconds: float) -> None:
        if step.kind == "training":
            self._keep_trained(step, result, seconds)
        else:
            self._keep(step, result, seconds)

    def _keep_trained(self, step: Step, result: Any, seconds: float) -> None:
        """The networks of a cohort."""
        for place, seed in enumerate(step.seeds):
            cell = Cell(seed, configuration=step.configuration.name)
            if cell in self._run.records:
                continue
            rate, each = self._rate(step.configuration), seconds / len(step.seeds)
            commit_training(self._bench, self._run, step.configuration, cell, result[place], rate, each)
            record = self._run.records[cell]
            key = FindingKey("training", step.configuration.name, str(seed))
            self._tell(replace(step, key=key, seeds=(seed,)), record.status, record.scalars)

    def _keep(self, step: Step, found: Result, seconds: float) -> None:
        status = "failed" if "error" in found.scalars else "done"
        timings = {"seconds": seconds}
        self._run.commit_finding(step.key, status=status, scalars=found.scalars, arrays=found.arrays, timings=timings)
        self._tell(step, status, found.scalars)

    def _tell(self, step: Step, status: str, scalars: Mapping[str, Any]) -> None:
        self._progress.completed(
            step.title, summary(step.kind, status, scalars, self._run.score), step.work, failed=status == "failed"
        )
