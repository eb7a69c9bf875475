"""What following works with: the network, its data and θ_ref, and the point at which a branch begins."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.analysis.command import sweep_settings
from orograph.branches.settings import FollowSettings
from orograph.continuation.equation import State
from orograph.continuation.follower import Follower, Limits, default_tolerance, size_of
from orograph.continuation.symmetry import layer_rotations
from orograph.errors import ConfigurationError, DataError, RunError, a
from orograph.geometry.smoothness import SMOOTHED, require_smooth
from orograph.models.checkpoint import load_checkpoint
from orograph.objective import Objective
from orograph.problem import Problem
from orograph.settings.base import BEGINS_AT
from orograph.settings.shared import Execution
from orograph.store.cells import Cell
from orograph.store.marker import has_marker
from orograph.store.run import Run
from orograph.sweep.bench import Bench
from orograph.sweep.point import Instruments
from orograph.sweep.record import committed_state
from orograph.sweep.settings import AnchorSettings, SpectrumSettings, SweepNumerics, SweepSettings
from orograph.sweep.surroundings import differing, saved_in
from orograph.training.polishing import polish

Say = Callable[[str], None]

COLLAPSED = 1e-3  # ‖θ − θ_ref‖ up to which a trained state is θ_ref itself, but for its training


@dataclass(frozen=True, eq=False)
class FollowBench:
    """What following works with.

    Attributes:
        settings: with all that was left open settled.
        instruments: what measures a point; at θ_ref of the branch.
        start: θ where the branch begins, `(P,)`, before it is polished.
        follower: the equation, and what is asked of its solutions.
        limits: how far branches are followed.
    """

    settings: FollowSettings
    instruments: Instruments
    start: Float[Tensor, " P"]
    follower: Follower
    limits: Limits

    @classmethod
    def prepare(
        cls,
        settings: FollowSettings,
        execution: Execution,
        problem: Problem | None = None,
        room: Callable[[int], None] | None = None,
    ) -> "FollowBench":
        """Loads and checks all that following needs; writes nothing. `problem` and `room` as the bench of a sweep takes them.

        Raises:
            OrographError: anything that cannot be had as asked.
        """
        if not settings.run:
            raise ConfigurationError("follow needs a start: the directory of a sweep, or a .pth or .safetensors state dict.")
        source = Run.open(settings.run) if Path(settings.run).is_dir() and has_marker(Path(settings.run)) else None
        sweep = _of_checkpoint(settings) if source is None else _of_sweep(settings, source)
        bench = Bench.prepare(sweep, execution, problem, room, partial(saved_in, source))
        settings = settings.model_copy(
            update={
                "numerics": settings.numerics.model_copy(
                    update={name: getattr(bench.settings.numerics, name) for name in ("threads", "device")}
                ),
                **{name: getattr(bench.settings, name) for name in ("data", "model", "problem")},
            }
        )
        bench.use_anchor(bench.given_anchor)
        if source is None:
            strength = settings.begin.strength
            assert strength is not None  # refused before
            start, instruments = _loaded(settings.run, bench)
        else:
            cell = _chosen(source, settings)
            state = committed_state(bench, source, cell)
            if state is None:
                raise RunError(f"the point at λ = {cell.strength:g} of {source.path} failed; give another `strength`.")
            start, buffers = bench.states.split(state)
            strength, instruments = cell.strength, bench.measuring(buffers)
        require_smooth(instruments.train, "a branch needs", f"of this network is not: train it with {SMOOTHED}")
        low, high = settings.branch.between
        if not low <= strength <= high:
            raise ConfigurationError(f"`strength` {strength:g} of the start lies outside `min` {low:g} … `max` {high:g}.")
        settings = _settled(settings, instruments.train, start, strength)
        chosen = settings.branch
        assert chosen.tolerance is not None
        assert chosen.longest_step is not None
        follower = Follower(instruments.train, chosen.tolerance, chosen.pairs, _symmetry(chosen.symmetry, instruments.train), 0)
        limits = Limits(
            chosen.between, chosen.longest_step, math.inf if chosen.max_products is None else float(chosen.max_products)
        )
        return cls(settings, instruments, start, follower, limits)

    @property
    def device(self) -> torch.device:
        """Where all is computed."""
        return self.start.device

    @property
    def digest(self) -> str:
        """SHA-256 of where the branch begins and of θ_ref: what a resumed run must begin with, too."""
        anchor = self.instruments.train.anchor
        parts = [self.start, *([] if anchor is None else [anchor])]
        return hashlib.sha256(b"".join(each.cpu().numpy().tobytes() for each in parts)).hexdigest()

    def critical(self, say: Say) -> State:
        """The critical point next to the start.

        Raises:
            ConfigurationError: there is none that the budget reaches.
        """
        begin, chosen = self.settings.begin, self.settings.branch
        assert begin.strength is not None
        assert chosen.tolerance is not None
        found = polish(
            self.instruments.train.penalised(begin.strength, self.instruments.train.anchor),
            self.start,
            hessian=self.instruments.hessian,
            tolerance=chosen.tolerance,
            max_products=begin.polish_products,
            on_product=lambda stage, count: say(f"polishing the start: product {count}"),
        )
        if not found.converged:
            raise ConfigurationError(
                f"the start at λ = {begin.strength:g} is no critical point: ‖∇L_eff‖ is {found.gradient_norm_before:.3g} "
                f"there and {found.gradient_norm:.3g} after `polish_products` {begin.polish_products}; give more of them, "
                "a larger `strength`, or a start that was trained further."
            )
        return self.follower.begin(found.theta, begin.strength)


def followed_settings(run: Run) -> FollowSettings:
    """The settings of a run of branches."""
    values = {name: value for name, value in run.configuration.items() if name != BEGINS_AT}
    return FollowSettings.model_validate({**values, "numerics": run.numerics})


def _of_checkpoint(settings: FollowSettings) -> SweepSettings:
    """The network and data that are named, as those of a sweep."""
    if not Path(settings.run).is_file():
        raise DataError(f"{settings.run} is neither a run nor a file; give the directory of a sweep, or a state dict.")
    if settings.begin.strength is None:
        raise ConfigurationError(f"{settings.run} is a state dict, which says nothing of λ; give `strength`.")
    return SweepSettings(
        data=settings.data,
        model=settings.model,
        problem=settings.problem,
        anchor=AnchorSettings(anchor=settings.begin.anchor),
        **_own(settings),
    )


def _of_sweep(settings: FollowSettings, run: Run) -> SweepSettings:
    """Those of a sweep, in the arithmetic of the branch."""
    if run.kind != "sweep":
        raise RunError(f"{run.path} holds {a(run.kind)}; follow begins at a point of a sweep, or at a state dict.")
    found = sweep_settings(run)
    for given, recorded in ((settings.data, found.data), (settings.model, found.model), (settings.problem, found.problem)):
        usual = type(given)()
        own = [name for name, value in given if value not in (getattr(usual, name), getattr(recorded, name))]
        if own:
            name = own[0]
            raise ConfigurationError(f"`{name}` is of a checkpoint: {run.path} says itself what it was made of; leave it out.")
    if settings.begin.anchor != "origin":
        raise ConfigurationError(f"`anchor` is of a checkpoint: {run.path} has its own; leave it out.")
    return found.model_copy(update=_own(settings))


def _loaded(path: str, bench: Bench) -> tuple[Float[Tensor, " P"], Instruments]:
    """θ of a state dict, and what measures a network with all else that it holds: buffers, and parameters that are not in θ."""
    objective = bench.instruments.train
    saved = load_checkpoint(path, bench.model, dtype=objective.dtype, names=objective.layout.names)
    if (name := differing(bench.around, saved)) is not None:
        raise ConfigurationError(
            f"`anchor` {bench.settings.anchor.anchor} and {path} differ in '{name}', which is not in θ, and a branch is of one "
            "network; give states that differ in θ alone, or a larger `parameters`."
        )
    theta = objective.layout.flatten(saved).to(objective.theta)
    rest = {name: saved[name].to(each) for name, each in objective.constants.items() if name in saved}
    return theta, bench.instruments.with_buffers(rest) if rest else bench.instruments


def _own(settings: FollowSettings) -> dict[str, SpectrumSettings | SweepNumerics]:
    chosen = settings.numerics
    numerics = {name: getattr(chosen, name) for name in ("threads", "memory", "dtype", "chunks", "device")}
    return {"spectrum": SpectrumSettings(k=0), "numerics": SweepNumerics(**numerics)}


def _chosen(run: Run, settings: FollowSettings) -> Cell:
    """The point of a sweep at which the branch begins."""
    begin = settings.begin
    known = [cell for cell in run.records if (cell.seed, cell.direction) == (begin.seed, begin.chain)]
    if not known:
        raise ConfigurationError(
            f"{run.path} has no point of `seed` {begin.seed} on its way {begin.chain}; give `seed` or `chain`."
        )
    if begin.strength is None:
        done = [cell for cell in known if cell.strength > 0 and run.records[cell].status == "done"]
        if not done:
            raise ConfigurationError(f"{run.path} has no point with λ > 0 that did not fail; give `strength`.")
        return min(done, key=lambda cell: cell.strength)
    nearest = min(known, key=lambda cell: abs(cell.strength - (begin.strength or 0.0)))
    if nearest.strength != begin.strength:
        raise ConfigurationError(
            f"{run.path} has no point at `strength` {begin.strength:g}; the nearest is {nearest.strength:g}."
        )
    return nearest


def _settled(settings: FollowSettings, objective: Objective, start: Float[Tensor, " P"], strength: float) -> FollowSettings:
    """The settings with numbers for what was left open."""
    chosen = settings.branch
    far = objective.offset(start).double().norm().item()
    size = size_of(far if far > COLLAPSED else 0.0, strength, objective.dtype)
    found = {
        "step": chosen.step or 0.01 * size,
        "longest_step": chosen.longest_step or 0.1 * size,
        "tolerance": chosen.tolerance or default_tolerance(objective.dtype),
    }
    return settings.model_copy(
        update={
            "branch": chosen.model_copy(update=found),
            "begin": settings.begin.model_copy(update={"strength": strength}),
        }
    )


def _symmetry(kind: str, objective: Objective) -> Callable[[Tensor], Tensor] | None:
    if kind == "none":
        return None
    layout = objective.layout
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        if len(shape) != 2:
            raise ConfigurationError(f"`symmetry` rotations is of linear layers without biases, and {name} is of shape {shape}.")
    return lambda theta: layer_rotations(layout, theta, layout.names)
