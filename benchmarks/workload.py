"""What is measured on: images in memory, a sigmoid multilayer perceptron and a θ, passed between processes as plain arrays.

Every competitor runs in a process of its own. The images go there as `.npy` files, which are read without any transient copy, so
that a competitor's peak memory is its own.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orograph.data import Dataset, load_data
from orograph.errors import OrographError
from orograph.models import build_model
from orograph.objective import Objective
from orograph.parameters import layout_of

CLASSES = 10
Batches = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Workload:
    """Images `(N, 1, 28, 28)`, labels `(N,)`, the widths of the hidden layers, and θ `(P,)`."""

    inputs: Tensor
    targets: Tensor
    widths: tuple[int, ...]
    theta: Tensor

    @property
    def count(self) -> int:
        return len(self.targets)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of every layer, the input's and the output's included."""
        return (self.inputs[0].numel(), *self.widths, CLASSES)

    def model(self) -> nn.Module:
        """The module at θ."""
        model = module(self.widths)
        load_theta(model, self.theta)
        return model.to(self.theta.device).eval()

    def batches(self, length: int) -> Batches:
        """Views of the data in order, in batches of `length`."""
        return list(zip(self.inputs.split(length), self.targets.split(length), strict=True))

    def objective(self, **options: object) -> Objective:
        return Objective(self.model(), F.cross_entropy, [(self.inputs, self.targets)], **options)  # type: ignore[arg-type]

    def to(self, device: str) -> "Workload":
        inputs, targets, theta = (tensor.to(device) for tensor in (self.inputs, self.targets, self.theta))
        return Workload(inputs, targets, self.widths, theta)

    def save(self, folder: Path) -> None:
        for name in ("inputs", "targets", "theta"):
            np.save(folder / f"{name}.npy", getattr(self, name).cpu().numpy())
        np.save(folder / "widths.npy", np.array(self.widths))

    @staticmethod
    def load(folder: Path, device: str) -> "Workload":
        tensors = [torch.from_numpy(np.load(folder / f"{name}.npy")).to(device) for name in ("inputs", "targets", "theta")]
        inputs, targets, theta = tensors
        return Workload(inputs, targets, tuple(np.load(folder / "widths.npy").tolist()), theta)


def module(widths: tuple[int, ...], init_seed: int = 0) -> nn.Module:
    """The multilayer perceptron of the published sweeps, with these hidden layers."""
    return build_model("mlp", widths=widths, activation="sigmoid", init_seed=init_seed)


def load_theta(model: nn.Module, theta: Tensor) -> None:
    """Writes a flat θ into a module."""
    with torch.no_grad():
        for name, value in layout_of(model).unflatten(theta.cpu()).items():
            model.get_parameter(name).copy_(value)


def initial_workload(data: Dataset, widths: tuple[int, ...] = (128, 128)) -> Workload:
    """The training images of a data set, and θ at its seeded initialisation."""
    model = module(widths)
    theta = layout_of(model).flatten(dict(model.named_parameters()))
    return Workload(data.train_inputs.contiguous(), data.train_targets.contiguous(), widths, theta)


def read_data(dataset: str, data_dir: str | None, images: int | None) -> Dataset:
    """A named data set, or a stratified subset of its training images; ends the program with one sentence where there is none."""
    try:
        return load_data(dataset, data_dir=data_dir, subset_size=images)
    except OrographError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
