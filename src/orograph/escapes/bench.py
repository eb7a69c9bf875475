"""What chains work with: the network of a sweep, its data, and the two states beside a jump of its ladder."""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.analysis.command import sweep_settings
from orograph.continuation.follower import default_tolerance
from orograph.errors import ConfigurationError, RunError
from orograph.escapes.heights import Known, known_branches
from orograph.escapes.jumps import Jump, chosen_jump
from orograph.escapes.settings import NONE, EscapeSettings
from orograph.objective import Objective
from orograph.problem import Problem
from orograph.settings.base import folder_name
from orograph.settings.shared import Execution
from orograph.store.cells import Cell
from orograph.store.run import Run
from orograph.sweep.bench import Bench
from orograph.sweep.record import committed_state, require_same
from orograph.sweep.settings import SpectrumSettings, SweepNumerics
from orograph.sweep.surroundings import saved_in
from orograph.training.cohort import fitting_cohort

_BEFORE = 3  # points before a jump that are taken where no strength is named


@dataclass(frozen=True, eq=False)
class EscapeBench:
    """What chains work with.

    Attributes:
        settings: with all that was left open settled.
        sweep: the network and its data, at θ_ref.
        source: the run with the jump.
        jump: which.
        known: branches whose saddles give the heights; None where none were named.
        before: θ before the jump, `(P,)`, as the sweep has it.
        behind: θ behind it, `(P,)`.
    """

    settings: EscapeSettings
    sweep: Bench
    source: Run
    jump: Jump
    known: Known | None
    before: Float[Tensor, " P"]
    behind: Float[Tensor, " P"]

    @classmethod
    def prepare(cls, settings: EscapeSettings, execution: Execution, problem: Problem | None = None) -> "EscapeBench":
        """Loads and checks all that chains need; writes nothing.

        Raises:
            OrographError: anything that cannot be had as asked.
        """
        if not settings.run:
            raise ConfigurationError("escape needs a run: the directory of a sweep with a jump.")
        source = Run.open(settings.run)
        if source.kind != "sweep":
            raise RunError(f"{source.path} is a run of kind {source.kind}; escape begins beside a jump of a sweep.")
        well = settings.well
        jump = chosen_jump(source, well.seed, well.direction, well.jump, well.at)
        strengths = well.at or tuple(cell.strength for cell in jump.before[-_BEFORE:] if cell.strength > 0)
        if not strengths:
            raise ConfigurationError(f"the jump of {source.path} leaves λ = 0, where no state is metastable; give `at`.")
        known = None if well.atlas == NONE else known_branches(well.atlas)
        found = sweep_settings(source)
        numerics = {name: getattr(settings.numerics, name) for name in ("threads", "memory", "cohort", "dtype", "device")}
        own = found.model_copy(update={"spectrum": SpectrumSettings(k=0), "numerics": SweepNumerics(**numerics)})
        bench = Bench.prepare(own, execution, problem, saved=partial(saved_in, source))
        if problem is not None:
            require_same(source, found, bench)
        if bench.states.buffers:
            raise ConfigurationError("the network keeps statistics of its batches, which chains do not carry; take one without.")
        bench.use_anchor(bench.given_anchor)
        settled = {name: getattr(bench.settings.numerics, name) for name in ("threads", "device")}
        settled["cohort"] = settings.numerics.cohort or fitting_cohort(bench.instruments.train)
        settings = settings.model_copy(
            update={
                "well": well.model_copy(update={"at": strengths, "jump": jump.number}),
                "numerics": settings.numerics.model_copy(update=settled),
            }
        )
        before, behind = (_state(bench, source, cell) for cell in (jump.before[-1], jump.behind))
        return cls(settings, bench, source, jump, known, before, behind)

    @property
    def device(self) -> torch.device:
        """Where all is computed."""
        return self.before.device

    @property
    def tolerance(self) -> float:
        """τ of ‖∇L_eff‖ ≤ τ·max(1, 2λ‖θ − θ_ref‖)."""
        return default_tolerance(self.before.dtype)

    @property
    def digest(self) -> str:
        """SHA-256 of both states and of what was followed: what a resumed run must begin with, too."""
        parts = [each.cpu().numpy().tobytes() for each in (self.before, self.behind)]
        parts.append(b"" if self.known is None else self.known.digest.encode())
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def at(self, number: int) -> Objective:
        """L_eff at one of the strengths."""
        return self.sweep.instruments.train.penalised(self.settings.well.at[number], self.sweep.anchor)

    @staticmethod
    def folder_of(settings: EscapeSettings, execution: Execution) -> Path:
        """Where the run is written."""
        return Path(execution.out or Path("runs") / f"{folder_name(Path(settings.run).resolve().name)}-escape")


def _state(bench: Bench, run: Run, cell: Cell) -> Float[Tensor, " P"]:
    state = committed_state(bench, run, cell)
    assert state is not None  # failed points are in no jump
    return bench.states.theta(state)
