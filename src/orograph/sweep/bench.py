"""What a sweep works with: data, model, objectives, Hessian and anchor, all checked before anything is written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.errors import ConfigurationError
from orograph.geometry.scores import require_numbers
from orograph.geometry.smoothness import SMOOTHED, require_smooth
from orograph.objective import Objective
from orograph.parameters import Layout, layout_of
from orograph.problem import Problem
from orograph.settings.base import is_own
from orograph.settings.shared import Execution
from orograph.sources import MEMORY, imported, require_own
from orograph.spectral.cohort import fitting_spectra
from orograph.spectral.eigenpairs import least_rows
from orograph.store.cells import Cell
from orograph.store.run import Run
from orograph.store.size import DiskEstimate, estimate_disk
from orograph.sweep.anchors import Anchor, anchor_of, make_anchor, read_anchor, seed_of, settle_anchor
from orograph.sweep.plan import cells
from orograph.sweep.point import Instruments
from orograph.sweep.settings import SweepSettings
from orograph.sweep.states import Buffers, State, States
from orograph.sweep.surroundings import Saved, around, at_hand, put_around, read_saved
from orograph.training.cohort import fitting_cohort
from orograph.training.own import Trainer, by_optimizer, indexed, try_optimizer
from orograph.work.bench import chosen_metrics, objectives, prepare, with_numerics
from orograph.work.trial import require_memory
from orograph.wrapping import unwrapped

Theta = Float[Tensor, " P"]


@dataclass
class Bench:
    """What a sweep works with: data, model, objectives, Hessian and anchor."""

    settings: SweepSettings
    problem: Problem
    device: torch.device
    model: torch.nn.Module
    instruments: Instruments
    given_anchor: Anchor | None
    states: States
    around: Buffers  # what was put around θ: frozen parameters, and buffers of no state; empty where these are the network's own
    anchor: Theta | None = None
    anchor_buffers: Buffers = field(default_factory=dict)
    initial: dict[int, State] = field(default_factory=dict)
    _measured: tuple[Buffers, Instruments] | None = field(default=None, init=False, repr=False)

    @classmethod
    def prepare(
        cls,
        settings: SweepSettings,
        execution: Execution,
        problem: Problem | None = None,
        room: Callable[[int], None] | None = None,
        saved: Callable[[], Saved] | None = None,
        known: Buffers | None = None,
    ) -> "Bench":
        """Loads and checks all that the sweep needs; writes nothing.

        Args:
            settings: of the sweep.
            execution: where named data lie.
            problem: an object in memory, in place of what the settings name.
            room: refuses a number of parameters for which there is no room; asked before anything is tried on the network.
            saved: gives a network of the run that is gone on with, or looked at: what stands around θ there is put back.
            known: what is to stand around θ, where it was found before.

        Raises:
            OrographError: anything that cannot be had as asked.
        """
        first = settings.anchor.seeds[0]
        settings, device, problem = prepare(settings, settings.model, execution.data_dir, seed=first, problem=problem)
        numerics = settings.numerics
        require_room(settings, problem, device)
        model = unwrapped(problem.build(first)).to(device)
        layout = layout_of(model, problem.parameters)
        parameters = layout.size
        if settings.spectrum.k >= parameters:
            raise ConfigurationError(f"`k` {settings.spectrum.k} must be below the number of parameters, {parameters}.")
        if room is not None:
            room(parameters)
        name = settings.anchor.anchor
        if name == "required":
            raise ConfigurationError(
                "`preset` anchor needs `anchor`: a .pth or .safetensors state dict, train:SEED or initial:SEED."
            )
        own, dtype = problem.trainer is not None, getattr(torch, numerics.dtype)
        read = read_anchor(at_hand(name, saved), model, layout, dtype)
        outside = around(model, layout, every=own)
        seed = seed_of(name)
        if outside and seed not in (None, first):
            model = unwrapped(problem.build(seed)).to(device)
        if outside and not known:
            made = {} if seed is None else {each: tensor.cpu() for each, tensor in model.state_dict().items()}
            found = read_saved(None if saved is None else saved(), model, layout, dtype) or read or made
            known = {each: found[each] for each in sorted(outside & found.keys())}
        if known:
            model = put_around(model, known, dtype)
        train_set, test_set = objectives(model, problem, numerics)
        metrics, groups = chosen_metrics(problem, train_set), problem.grouped()
        chosen = settings.spectrum, metrics, groups, problem.groups is None, settings.stability.index, settings.measuring.measures
        instruments = Instruments(train_set, test_set, *chosen)
        if any(map(is_own, (settings.model.model, settings.data.dataset, *settings.problem.metrics))):
            require_numbers(train_set, instruments.scores(train_set, train_set.theta, by_group=False)[0])
        sizes = {"cohort": numerics.cohort or fitting_cohort(train_set)}
        sizes["together"] = numerics.together or min(sizes["cohort"], fitting_spectra(train_set, settings.spectrum.k))
        states = States.of(train_set, every=own)
        given = None if read is None else anchor_of(read, train_set, states)
        if states.buffers:
            sizes["together"] = 1  # each has buffers of its own, and so a graph of its own
            _require_batches(settings, train_set)
        bench = cls(with_numerics(settings, **sizes), problem, device, model, instruments, given, states, known or {})
        trains = bench.trainer is not None  # an optimiser that does not exist is refused here
        if bench.optimizer is not None:
            try_optimizer(train_set, settings.training, bench.optimizer)
        if trains and (settings.training.published or settings.tracking.track_curvature):
            raise ConfigurationError(
                "`published` and `track_curvature` are of the program's own training, which draws its mini-batches from samples "
                "of one shape; leave them out"
            )
        return bench

    @property
    def layout(self) -> Layout:
        return self.instruments.train.layout

    def ended(self) -> SweepSettings:
        """The settings of a new run, with the end of its points decided.

        Raises:
            ConfigurationError: a branch is to be followed of a loss that is not twice differentiable.
        """
        settings = self.settings
        asked = "`end` newton" if settings.ending.end == "newton" else "`spacing` adaptive" if settings.ladder.unplaced else ""
        if asked:
            way_out = f"of this network is not: leave it out, or train with {SMOOTHED}"
            require_smooth(self.instruments.train, f"{asked} follows a branch, which needs", way_out)
        if settings.ending.end != "auto":
            return settings
        plain = settings.anchor.start == "previous" and not (settings.training.published or settings.tracking.track_curvature)
        follows = plain and self.trainer is None and not self.states.buffers and self.instruments.smooth
        return settings.ending_as("newton" if follows else "train")

    def disk(self) -> DiskEstimate:
        """What the run will take."""
        return disk_of(self.settings, self.layout.size)

    def settle(self, run: Run) -> None:
        """Fixes the anchor of the run."""
        objective, name = self.instruments.train, self.settings.anchor.anchor
        self.use_anchor(settle_anchor(name, self.given_anchor, run, objective, self.states, lambda: self.made_anchor))

    @cached_property
    def made_anchor(self) -> Anchor:
        """θ_ref before there is a run that holds it, and its buffers; not for the origin."""
        objective, chosen = self.instruments.train, self.settings
        return make_anchor(chosen.anchor.anchor, self.given_anchor, objective, chosen.training, self.initialised, self.states)

    def use_anchor(self, anchor: Anchor | None) -> None:
        """Takes θ_ref and its buffers, None for the origin."""
        plain = self.instruments.train
        self.anchor = None if anchor is None else anchor[0].to(plain.theta)
        self.anchor_buffers = {} if anchor is None else anchor[1]
        self.instruments.train, self._measured = plain.penalised(0.0, self.anchor), None

    def initialised(self, seed: int) -> State:
        """A network as a seed initialises it."""
        if seed not in self.initial:
            self.initial[seed] = self.states.of_module(self.instruments.train, self.problem.build(seed))
        return self.initial[seed]

    @cached_property
    def optimizer(self) -> Callable[..., Any] | None:
        """What makes an optimiser of one's own; None where there is none, or where it is not at hand."""
        name, given = self.settings.training.optimizer, self.problem.optimizer
        if self.problem.trainer is not None or not is_own(name):
            return None
        if given is None and not name.startswith(MEMORY):
            given = imported("optimizer", name)
            require_own("optimizer", name, given)
        return given

    @cached_property
    def trainer(self) -> Callable[[Objective], Trainer] | None:
        """What trains in place of the program's own training, from the objective of a point; None for that."""
        given, training = self.problem.trainer, self.settings.training
        if given is not None:
            return lambda objective: given
        if is_own(training.optimizer):
            make = self.optimizer or partial(_absent_optimizer, training.optimizer)
        elif indexed(self.instruments.train, training.batch_size) is not None:
            return None
        else:
            more = {"weight_decay": training.weight_decay, **({"momentum": training.momentum} if training.momentum else {})}
            make = partial(getattr(torch.optim, training.optimizer), **more)
        return lambda objective: by_optimizer(objective, training, make)

    def measuring(self, buffers: Buffers) -> Instruments:
        """What measures a network with buffers of its own; the last of these is kept, with its trace."""
        if not buffers:
            return self.instruments
        known = self._measured
        if known is None or any(not torch.equal(each, known[0][name]) for name, each in buffers.items()):
            known = {name: each.clone() for name, each in buffers.items()}, self.instruments.with_buffers(buffers)
            self._measured = known
        return known[1]

    def start(self, cell: Cell, previous: State | None) -> State:
        """Where training at a point begins."""
        choice = self.settings.anchor
        if choice.start == "previous" and previous is not None:
            return previous
        objective, states = self.instruments.train, self.states
        theta, buffers = states.split(self.initialised(cell.seed))
        frozen = self.anchor_buffers and any(name in self.around for name, _ in self.model.named_parameters())
        if choice.start != "anchor":  # statistics are of the layers around θ, where these are the anchor's
            return states.join(theta, self.anchor_buffers if frozen else buffers)
        base = torch.zeros_like(objective.theta) if self.anchor is None else self.anchor
        noise = torch.randn(len(base), generator=torch.Generator().manual_seed(cell.seed), dtype=base.dtype)
        return states.join(base + choice.perturb * noise.to(base.device), self.anchor_buffers or buffers)


def disk_of(settings: SweepSettings, parameters: int) -> DiskEstimate:
    """What a run of a network of so many parameters will take."""
    chosen = settings.spectrum
    return estimate_disk(len(cells(settings)), parameters, chosen.k, chosen.eigenvectors, extra_vectors=1)


def _absent_optimizer(name: str, *_: Any, **__: Any) -> None:
    """In place of what makes an optimiser, where that was an object in memory: refuses to train; what is there is measured."""
    raise ConfigurationError(
        f"the optimizer of this run, {name.removeprefix(MEMORY)}, was an object in memory; give it again, in Python: "
        "og.sweep(problem, optimizer=…, …)."
    )


def require_room(settings: SweepSettings, problem: Problem, device: torch.device) -> None:
    """Refuses a named model of which memory does not hold the training or the spectrum; one's own is asked when it is made.

    Raises:
        ConfigurationError: it is too large.
    """
    chosen, k = settings.model, settings.spectrum.k
    if not is_own(chosen.model):
        shape = {"input_shape": problem.shape, "classes": problem.outputs, **chosen.options()}
        dtype, memory = getattr(torch, settings.numerics.dtype), settings.numerics.memory
        require_memory(chosen.model, shape, dtype=dtype, device=device, kept=k, rows=least_rows(k) if k else 0, memory=memory)


def _require_batches(settings: SweepSettings, objective: Objective) -> None:
    """Refuses mini-batches of one sample, of which BatchNorm knows no variance."""
    size = settings.training.batch_size
    if min(size, objective.count) < 2:
        raise ConfigurationError(f"`batch_size` {size} must be at least 2: BatchNorm needs two samples in a batch")
