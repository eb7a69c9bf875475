"""How much of the time of a spectrum goes into anything but products, and where.

    .venv/bin/python benchmarks/besides.py --dataset mnist-5k --markdown docs/benchmarks.md

The published network, trained a little. Parts are told apart by clocks around their functions; the fastest round counts.
"""

import contextlib
import functools
import time
from collections import Counter
from typing import Any
from unittest import mock

from orograph.curvature import HessianOperator
from orograph.curvature.operator import LinearOperator
from orograph.spectral import lanczos
from orograph.spectral.basis import Basis
from orograph.spectral.iteration import Iteration
from orograph.spectral.krylov import Krylov
from orograph.training import TrainingSettings, train
from quiet import Watch, require_quiet
from report import Report, Table, parser, seconds, set_threads
from workload import initial_workload, read_data

PRODUCTS = "products"
PARTS = {  # each without those within it, and without products
    "three-term recurrence": (Krylov, "advance"),
    "Ritz vectors set aside": (Krylov, "_subtract_aside"),
    "postponed passes": (Krylov, "settle"),
    "small problem": (Krylov, "ritz"),
    "search for copies": (Iteration, "_search"),
    "recombination": (Basis, "combine"),
}


class Clocks:
    """Seconds within functions, those within others of them left out."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._inner: list[float] = []

    def timed(self, name: str, function: Any) -> Any:
        """The same function with a clock around it."""

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            self._inner.append(0.0)
            try:
                return function(*args, **options)
            finally:
                took = time.perf_counter() - began
                self.spent[name] += took - self._inner.pop()
                if self._inner:
                    self._inner[-1] += took

        return call


def main() -> None:
    """Measures every case."""
    options = parser("The share of products in the time of a spectrum.", rounds=3)
    options.add_argument("--cases", default="4000x30,1000x100", help="images, and how many pairs")
    given = options.parse_args()
    set_threads(given.threads)
    quiet = require_quiet(force=given.force)
    report, watch = Report("Lanczos besides products: the 118,282-parameter network"), Watch()
    columns = ("images × pairs", "in all", PRODUCTS, *(f"{name}, %" for name in PARTS), "the rest, %", "besides products, %")
    table = Table("Minimum of the rounds", columns)
    for images, pairs in (map(int, case.split("x")) for case in given.cases.split(",")):
        workload = initial_workload(read_data(given.dataset, given.data_dir, images), (128, 128)).to(given.device)
        objective = workload.objective(memory=given.memory)
        trained = train(objective, objective.theta, TrainingSettings(epochs=30), order_seed=0).theta
        operator = HessianOperator.of(objective).at(trained)
        lanczos(operator, pairs)
        found = []
        for _ in range(given.rounds):
            clocks = Clocks()
            with contextlib.ExitStack() as stack:
                for part, (kind, name) in {PRODUCTS: (LinearOperator, "__matmul__"), **PARTS}.items():
                    stack.enter_context(mock.patch.object(kind, name, clocks.timed(part, getattr(kind, name))))
                began = time.perf_counter()
                spectrum = lanczos(operator, pairs)
                total = time.perf_counter() - began
            found.append((total, spectrum.products, clocks.spent))
            watch.pause()
        table.row(f"{images:,} × {pairs}", *measured(*min(found, key=lambda each: each[0])))
    report.add(table)
    report.finish(given, watch, quiet=quiet)


def measured(total: float, products: int, spent: Counter[str]) -> list[str]:
    """The cells of a row."""
    parts, besides = [spent[name] for name in PARTS], total - spent[PRODUCTS]
    shares = [f"{100 * each / total:.1f}" for each in (*parts, besides - sum(parts), besides)]
    return [seconds(total), f"{products} in {seconds(spent[PRODUCTS])}", *shares]


if __name__ == "__main__":
    main()
