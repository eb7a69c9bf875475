"""What a sweep works with: data, model, objectives, Hessian and anchor, all checked before anything is written."""

import random
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from orograph.data.catalogue import load_data
from orograph.data.dataset import Dataset
from orograph.errors import ConfigurationError
from orograph.experiments.anchors import read_anchor, settle_anchor
from orograph.experiments.ladder import cells
from orograph.experiments.point import Instruments
from orograph.experiments.settings import Execution, SweepSettings
from orograph.models.catalogue import build_model
from orograph.objective import Objective
from orograph.parameters import Layout
from orograph.spectral.lanczos import least_rows
from orograph.store.cells import Cell
from orograph.store.estimate import DiskEstimate, estimate_disk
from orograph.store.run import Run

Theta = Float[Tensor, " P"]


@dataclass
class Bench:
    """What a sweep works with: data, model, objectives, Hessian and anchor."""

    settings: SweepSettings
    data: Dataset
    device: torch.device
    model: torch.nn.Module
    instruments: Instruments
    given_anchor: Theta | None
    anchor: Theta | None = None
    initial: dict[int, Theta] = field(default_factory=dict)

    @classmethod
    def prepare(cls, settings: SweepSettings, execution: Execution) -> "Bench":
        """Loads and checks all that the sweep needs; writes nothing."""
        numerics = settings.numerics
        threads = numerics.threads or torch.get_num_threads()
        device = choose_device(numerics.device)
        settings = settings.model_copy(
            update={"numerics": numerics.model_copy(update={"threads": threads, "device": device.type})}
        )
        torch.set_num_threads(threads)
        seed_everything(settings.anchor.seeds[0])
        size = settings.data.subset_size
        data = load_data(
            settings.data.dataset,
            data_dir=None if execution.data_dir == "auto" else execution.data_dir,
            subset_size=None if size == "all" else size,
            subset_seed=settings.data.subset_seed,
        )
        model = _build(settings, data, settings.anchor.seeds[0]).to(device)
        dtype = getattr(torch, numerics.dtype)
        train_set, test_set = (
            Objective(model, F.cross_entropy, part, memory=numerics.memory, dtype=dtype) for part in (data.train, data.test)
        )
        parameters = train_set.layout.size
        if settings.spectrum.k >= parameters:
            raise ConfigurationError(f"--k {settings.spectrum.k} must be below the number of parameters, {parameters}.")
        if settings.anchor.anchor == "required":
            raise ConfigurationError("--preset anchor needs --anchor: a .pth or .safetensors state dict, or train:SEED.")
        given = read_anchor(settings.anchor.anchor, model, train_set)
        instruments = Instruments(train_set, test_set, settings.spectrum, len(data.classes))
        sizes = {"cohort": numerics.cohort or fitting_cohort(train_set)}
        sizes["together"] = numerics.together or min(sizes["cohort"], fitting_spectra(train_set, settings.spectrum.k))
        settings = settings.model_copy(update={"numerics": settings.numerics.model_copy(update=sizes)})
        return cls(settings, data, device, model, instruments, given)

    @property
    def layout(self) -> Layout:
        return self.instruments.train.layout

    def disk(self) -> DiskEstimate:
        """What the run will take."""
        chosen = self.settings.spectrum
        return estimate_disk(len(cells(self.settings)), self.layout.size, chosen.k, chosen.eigenvectors, extra_vectors=1)

    def settle(self, run: Run) -> None:
        """Fixes the anchor of the run."""
        objective, name = self.instruments.train, self.settings.anchor.anchor
        self.use_anchor(
            settle_anchor(name, self.given_anchor, run, self.model, objective, self.settings.training, self.initialised)
        )

    def use_anchor(self, anchor: Theta | None) -> None:
        """Takes θ_ref, None for the origin."""
        objective = self.instruments.train
        self.anchor = objective.anchor = None if anchor is None else anchor.to(objective.theta)

    def initialised(self, seed: int) -> Theta:
        """θ as a seed initialises it."""
        if seed not in self.initial:
            objective = self.instruments.train
            named = dict(_build(self.settings, self.data, seed).named_parameters())
            self.initial[seed] = objective.layout.flatten(named).to(objective.theta)
        return self.initial[seed]

    def start(self, cell: Cell, previous: Theta | None) -> Theta:
        """Where training at a point begins."""
        choice = self.settings.anchor
        if choice.start == "previous" and previous is not None:
            return previous
        if choice.start != "anchor":
            return self.initialised(cell.seed)
        objective = self.instruments.train
        base = torch.zeros_like(objective.theta) if self.anchor is None else self.anchor
        noise = torch.randn(len(base), generator=torch.Generator().manual_seed(cell.seed), dtype=base.dtype)
        return base + choice.perturb * noise.to(base.device)


def _build(settings: SweepSettings, data: Dataset, seed: int) -> torch.nn.Module:
    return build_model(
        settings.model.model,
        input_shape=data.input_shape,
        classes=len(data.classes),
        init_seed=seed,
        widths=settings.model.widths,
        activation=settings.model.activation,
    )


def fitting_cohort(objective: Objective) -> int:
    """How many models train together where that is left open: on a CPU more than 16 gain nothing, on a GPU more than 64."""
    most = 16 if objective.device.type == "cpu" else 64
    vectors = 10  # of a model: θ, gradient, moments, the best state of all these, and what a step puts aside
    return max(1, min(most, objective.memory // (vectors * objective.theta.nbytes)))


def fitting_spectra(objective: Objective, k: int) -> int:
    """How many spectra are computed in step where that is left open: on a CPU only narrow networks gain by company."""
    if objective.device.type == "cpu" or not k:
        return 1
    inputs = sum(leaf.nbytes for leaf in tree_leaves(next(iter(objective.batches(1)))[0]))  # of a sample; all models share them
    residuals = 3 * max(0, objective.activation_bytes() - inputs) * objective.count
    return max(1, objective.memory // (least_rows(k) * objective.theta.nbytes + residuals))


def choose_device(name: str) -> torch.device:
    """The device meant by `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigurationError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigurationError(f"--device '{name}' is no device; use auto, cpu or cuda.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"--device {name} needs a CUDA device, and PyTorch finds none; use cpu.")
    return device


def seed_everything(seed: int) -> None:
    """The global streams too, for modules that draw from them."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the legacy global stream is the one meant
    random.seed(seed)
