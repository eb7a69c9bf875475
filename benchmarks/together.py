"""Spectra of several networks computed in step against one after the other, and how many kernels each way launches.

    .venv/bin/python benchmarks/together.py --dataset mnist-5k --markdown docs/benchmarks.md

The published network and a narrow one, trained a little, at several multiples of θ; both ways take turns in one process. Kernels
are what PyTorch dispatches, views left out, with sums in one piece as on a GPU, where each is a launch.
"""

import argparse
import time
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from orograph.curvature import CohortHessian, HessianOperator, shards
from orograph.spectral import Spectrum, lanczos, lanczos_cohort
from orograph.training import TrainingSettings, train
from quiet import Watch, require_quiet
from report import Report, Table, parser, ratio, seconds, set_threads
from workload import initial_workload, read_data


class Kernels(TorchDispatchMode):
    """Counts what is dispatched but views and the small problems, which are float64 and stay on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = (leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor))
        self.count += not function.is_view and any(tensor.dtype == torch.float32 for tensor in tensors)
        return result


class Case:
    """One network on some images at several θ."""

    def __init__(self, images: int, width: int, options: argparse.Namespace) -> None:
        workload = initial_workload(read_data(options.dataset, options.data_dir, images), (width, width)).to(options.device)
        objective = workload.objective(memory=options.memory)
        trained = train(objective, objective.theta, TrainingSettings(epochs=3), order_seed=0).theta
        thetas = trained * torch.linspace(0.7, 1.3, options.models, device=trained.device)[:, None]
        hessian = HessianOperator.of(objective)
        self.operators, self.cohort = [hessian.at(theta) for theta in thetas], CohortHessian(objective, thetas)
        self.pairs, self.memory, self.name = options.pairs, options.memory, f"{images:,} × {width}"

    def alone(self) -> list[Spectrum]:
        return [lanczos(operator, self.pairs) for operator in self.operators]

    def together(self) -> list[Spectrum]:
        return lanczos_cohort(self.operators, self.cohort.__matmul__, self.pairs, memory=self.memory)


def main() -> None:
    """Measures every case, both ways."""
    options = parser("Spectra in step against one after the other.", rounds=2)
    options.add_argument("--models", type=int, default=8, help="networks")
    options.add_argument("--pairs", type=int, default=30, help="eigenpairs of each")
    options.add_argument("--cases", default="500x16,4000x16,4000x128", help="images, and the width of both hidden layers")
    given = options.parse_args()
    set_threads(given.threads)
    quiet = require_quiet(force=given.force)
    report, watch = Report(f"Lanczos in step: {given.models} networks, {given.pairs} pairs of each"), Watch()
    columns = (
        "images × width",
        "one by one",
        "in step",
        "÷ in step",
        "products",
        "kernels a product",
        "in step",
        "largest residual",
    )
    table = Table("Minimum of the rounds", columns)
    for images, width in (map(int, case.split("x")) for case in given.cases.split(",")):
        if given.images is None or images <= given.images:
            table.row(*measured(Case(images, width, given), given.rounds, watch))
    report.add(table)
    report.finish(given, watch, quiet=quiet)


def measured(case: Case, rounds: int, watch: Watch) -> list[str]:
    """A row of the table."""
    times: dict[str, list[float]] = {"alone": [], "together": []}
    kernels, products, residuals = {}, {}, []
    for way in times:
        with Kernels() as counter, mock.patch.object(shards, "_SUM_SPAN", 1 << 40):
            spectra = getattr(case, way)()
        products[way] = sum(spectrum.products for spectrum in spectra)
        kernels[way] = counter.count / products[way]
        residuals += [float(spectrum.relative_residuals[~spectrum.noise].max()) for spectrum in spectra]
    for _ in range(rounds):
        for way, found in times.items():
            began = time.perf_counter()
            getattr(case, way)()
            found.append(time.perf_counter() - began)
            watch.pause()
    alone, together = min(times["alone"]), min(times["together"])
    return [
        case.name,
        seconds(alone),
        seconds(together),
        ratio(alone, together),
        f"{products['alone']}, {products['together']}",
        f"{kernels['alone']:.0f}",
        f"{kernels['together']:.0f}",
        f"{max(residuals):.1e}",
    ]


if __name__ == "__main__":
    main()
