"""Five networks, seven kinds of work, four programs: side by side in one process, at equal residuals and errors.

    .venv/bin/pip install --no-deps -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/models.py --markdown docs/benchmarks.md

A cell is one kind of work on one network by every program. Its rounds are interleaved, each in another order; the median
counts. What a program found is verified outside the timing, by plain double backward or by the standard errors, and a program
that misses what was asked is made to work longer until it has it, or marked. Every finished cell is a file under
`build/models`, and is not measured again: a run that was stopped goes on. `--quick` measures twenty samples of each and three
pairs, to see that everything works.

curvlinops is used as it comes. `--compiled` adds its product compiled. `torch.compile` leaves its functions as they are, so the
graph of a product is recorded first; compiling takes up to a minute, which is not timed.
"""

import argparse
import gc
import itertools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from floors import counted_flops, gemm_rate, random_block, synchronise
from judge import Judge
from ours import Orograph
from peers import Curvlinops, HessianEigenthings, Missing, Number, Pairs, PyHessian
from quiet import LIMIT, Watch, require_quiet
from report import Report, Table, chosen, gflops, parser, ratio, seconds, set_threads
from subjects import FIVE, Case, five

OURS = "orograph"
TOOLS: Mapping[str, Callable[..., Any]] = {
    OURS: Orograph,
    "curvlinops": Curvlinops,
    "hessian-eigenthings": HessianEigenthings,
    "PyHessian": PyHessian,
}
COMPILED = "product, compiled"
WORKS = ("product", "block of 16", "Gauss–Newton product", "10 pairs", "30 pairs", "trace", "density")
GOALS = {"10 pairs": 1.2, "30 pairs": 1.2}  # times as fast as each other; others 1.3
ROUNDING = 1e-3  # relative difference of a float32 product from the truth: sums in another order, over many samples
TRACE_ERROR = 0.05
PROBES, STEPS = 3, 20  # of a density
PYHESSIAN_PAIRS = 3  # its power iteration needs up to a hundred products for each
ATTEMPTS = 4  # at what was asked, each longer; then the table says by how much it is missed
MOST_PRODUCTS = 480  # that a trace may take


@dataclass
class Turns:
    """What one program needed in one cell: seconds of each round, products, and the residual or error that was verified."""

    seconds: list[float] = field(default_factory=list)
    products: int = 0
    reached: float = float("nan")
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else float("nan")


@dataclass(frozen=True)
class Task:
    """One program's part of a cell.

    Attributes:
        run: what is timed.
        check: of what it returned, the products and the residual or error, outside the timing.
        limit: that these may reach.
        longer: lets the next run work longer; False where it cannot.
        warm: whether the first run is not counted.
        once: whether it is not repeated.
    """

    run: Callable[[], Any]
    check: Callable[[Any], tuple[int, float]]
    limit: float
    longer: Callable[[], bool] = lambda: False
    warm: bool = False
    once: bool = False


class Field:
    """The programs on one network, each built when it is first asked for."""

    def __init__(self, case: Case, tools: Sequence[str], tolerance: float, most_pairs: int) -> None:
        self.case, self.tools, self.tolerance, self.most_pairs = case, tools, tolerance, most_pairs
        self.judge = Judge(case)
        self.known: dict[str, Any] = {}
        self.failures: dict[str, str] = {}
        self.truth: dict[str, np.ndarray] = {}

    def program(self, tool: str) -> Any:
        if tool not in self.known:
            with kernels(tool):
                self.known[tool] = TOOLS[tool](self.case)
        return self.known[tool]

    def task(self, tool: str, work: str, cell: Mapping[str, Turns]) -> Task:
        """
        Raises:
            Missing: the program does not have it.
        """
        program = self.program(tool)
        if work == "product":
            return Task(program.product, self._difference("product"), ROUNDING, warm=True)
        if work == "block of 16":
            return Task(program.block, self._difference("block"), ROUNDING, warm=True)
        if work == "Gauss–Newton product":
            return Task(program.gauss_newton, self._difference("gauss_newton"), ROUNDING, warm=True)
        if work == "trace":
            return self._trace(program, cell)
        if work == "density":
            return Task(lambda: program.density(PROBES, STEPS, self._ends()), self._within(cell), 4.0)
        if work == COMPILED:
            if isinstance(program, Curvlinops):
                program.compile()
            elif not isinstance(program, Orograph):
                raise Missing("is measured as it comes")
            return Task(program.product, self._difference("product"), ROUNDING, warm=True)
        return self._pairs(program, min(int(work.split()[0]), self.most_pairs))

    def _difference(self, what: str) -> Callable[[np.ndarray], tuple[int, float]]:
        """From plain autograd; of a block two columns."""

        def check(found: np.ndarray) -> tuple[int, float]:
            if what not in self.truth:
                if what == "block":
                    columns = random_block(self.case)[:, :2].double().T
                    self.truth[what] = torch.stack([self.judge.multiply(column) for column in columns], 1).cpu().numpy()
                else:
                    self.truth[what] = getattr(self.judge, what)()
            truth = self.truth[what]
            given = found[:, :2] if what == "block" else found
            return found.shape[-1] if what == "block" else 1, float(np.linalg.norm(given - truth) / np.linalg.norm(truth))

        return check

    def _pairs(self, program: Any, k: int) -> Task:
        tight = [self.tolerance]
        asked = min(k, PYHESSIAN_PAIRS) if isinstance(program, PyHessian) else k
        if isinstance(program, HessianEigenthings):
            program.tune(k, 0.9 * self.tolerance)

        def check(pairs: Pairs) -> tuple[int, float]:
            return pairs.products, float(self.judge.residuals(pairs.eigenvalues, pairs.eigenvectors).max())

        def longer() -> bool:
            if isinstance(program, HessianEigenthings):
                program.steps += 5
            elif isinstance(program, Curvlinops):
                tight[0] /= 10
            return isinstance(program, HessianEigenthings | Curvlinops)

        once = isinstance(program, PyHessian)
        return Task(lambda: program.pairs(asked, tight[0]), check, self.tolerance, longer, once=once)

    def _trace(self, program: Any, cell: Mapping[str, Turns]) -> Task:
        """Each by its own estimator; where one states no error, as many products as the same estimator of ours."""
        if isinstance(program, Orograph):
            return Task(lambda: program.trace(TRACE_ERROR), relative, TRACE_ERROR)
        count = [cell[OURS].products if isinstance(program, Curvlinops) and OURS in cell else 60]

        def longer() -> bool:
            count[0] *= 2
            return count[0] <= MOST_PRODUCTS

        def check(found: Number) -> tuple[int, float]:
            stated = isinstance(program, HessianEigenthings | PyHessian)
            return found.products, relative(found)[1] if stated else cell[OURS].reached if OURS in cell else float("nan")

        return Task(lambda: program.trace(count[0]), check, TRACE_ERROR, longer, once=isinstance(program, PyHessian))

    def _within(self, cell: Mapping[str, Turns]) -> Callable[[Number], tuple[int, float]]:
        """How far the trace that a density implies lies from ours, in joint standard errors; ours from itself is 0."""

        def check(found: Number) -> tuple[int, float]:
            ours = self.known.setdefault("density", found)
            errors = np.hypot(ours.error, ours.error if np.isnan(found.error) else found.error)
            return found.products, abs(found.value - ours.value) / errors

        return check

    def _ends(self) -> tuple[float, float]:
        """What bounds the spectrum, for a program that must be told."""
        if "ends" not in self.known:
            found = self.program(OURS).pairs(2, 1e-2)
            reach = 1.1 * float(np.abs(found.eigenvalues).max())
            self.known["ends"] = (-reach, reach)
        return self.known["ends"]


def relative(found: Number) -> tuple[int, float]:
    """The products of an estimate, and its standard error over its value."""
    return found.products, found.error / abs(found.value)


def kernels(tool: str) -> AbstractContextManager[Any]:
    """Of attention: the one that torch can differentiate twice, for whoever does not see to it."""
    return nullcontext() if tool == OURS else sdpa_kernel(SDPBackend.MATH)


def measure(field_: Field, work: str, rounds: int, budget: float) -> dict[str, Turns]:
    """All programs at one kind of work, at most so many rounds and about so many seconds."""
    cell: dict[str, Turns] = {}
    tasks: dict[str, Task] = {}
    for tool in field_.tools:
        try:
            task, cell[tool] = settle(field_, tool, work, cell)
            tasks[tool] = task
        except ImportError:
            cell[tool] = Turns(note="not installed")
        except Missing as reason:
            cell[tool] = Turns(note=str(reason))
        except Exception as error:  # a competitor's own failure is a result
            cell[tool] = Turns(note=f"fails: {' '.join(str(error).split())[:90]}")
    again = [tool for tool, task in tasks.items() if not task.once]
    first = sum(cell[tool].seconds[-1] for tool in again)
    least = int(any(task.warm for task in tasks.values()))
    count = max(least, min(rounds - 1, int(budget / max(first, 1e-6)) - 1))
    for number in range(count):
        turn = (number + 1) % max(len(again), 1)
        for tool in [*again[turn:], *again[:turn]]:
            cell[tool].seconds.append(timed(tool, tasks[tool].run, field_.case)[0])
    for tool in again:
        if tasks[tool].warm and len(cell[tool].seconds) > 1:
            cell[tool].seconds.pop(0)
    return cell


def settle(field_: Field, tool: str, work: str, cell: Mapping[str, Turns]) -> tuple[Task, Turns]:
    """The first run that reaches what is asked; those before it were too short and are not counted."""
    with kernels(tool):
        task = field_.task(tool, work, cell)
    for attempt in itertools.count(1):
        taken, result = timed(tool, task.run, field_.case)
        with kernels("judge"):
            products, reached = task.check(result)
        if reached <= task.limit or attempt == ATTEMPTS or not task.longer():
            missed = "" if reached <= task.limit else "misses it"
            if isinstance(result, Pairs) and len(result.eigenvalues) < min(int(work.split()[0]), field_.most_pairs):
                missed = f"{missed} {len(result.eigenvalues)} pairs only".strip()
            elif tool == OURS and work.endswith("pairs"):
                missed = f"set-up {seconds(result.details['building'])}, {result.details['certifying']} products certify"
            return task, Turns([taken], products, reached, missed)
    raise AssertionError("a count has no end")


def timed(tool: str, run: Callable[[], Any], case: Case) -> tuple[float, Any]:
    gc.collect()
    with kernels(tool):
        synchronise(case.inputs.device)
        began = time.perf_counter()
        result = run()
        synchronise(case.inputs.device)
    return time.perf_counter() - began, result


def main() -> None:
    """Measures the cells that are not there, then writes the table of all that are."""
    options = _options()
    set_threads(options.threads)
    torch.backends.mha.set_fastpath_enabled(False)  # it has no derivatives, and others fall into it
    quiet = require_quiet(force=options.force)
    folder = options.folder / ("quick" if options.quick else options.device)
    folder.mkdir(parents=True, exist_ok=True)
    models, works = chosen(FIVE, options.models), chosen(WORKS, options.works) + [COMPILED] * options.compiled
    tools = chosen(list(TOOLS), options.only)
    watch, began = Watch(), time.monotonic()
    missing = [(model, work) for model in models for work in works if not _file(folder, model, work).exists()]
    rate = gemm_rate(options.device, 0.1 if options.quick else 1.0)
    for number, (model, work) in enumerate(missing):
        if number == 0 or missing[number - 1][0] != model:
            field_ = Field(_trained(model, folder, options), tools, options.tolerance, 3 if options.quick else 30)
            flops = counted_flops(field_.case.module, field_.case.inputs, field_.case.targets)
            watch.skip()
        cell = measure(field_, work, options.rounds, options.seconds)
        watch.look()
        record = {
            "case": str(field_.case),
            "flops": flops[1] if work.startswith("Gauss") else flops[0],
            "rate": rate,
            "quiet": quiet and watch.cores <= LIMIT,
            "turns": {tool: asdict(turns) for tool, turns in cell.items()},
        }
        _file(folder, model, work).write_text(json.dumps(record, indent=1), encoding="utf-8")
        spent = time.monotonic() - began
        left = spent / (number + 1) * (len(missing) - number - 1)
        shown = "  ".join(f"{tool} {seconds(turns.median)}" for tool, turns in cell.items())
        print(f"[{number + 1}/{len(missing)}, {left:.0f} s left] {model}, {work}: {shown}", flush=True)
    report = _report(folder, models, works, options.tolerance)
    if options.quick:
        report.say("Twenty samples of each network, three pairs: these times show that everything works, and nothing else.")
    report.finish(options, watch, quiet=quiet)


def _options() -> argparse.Namespace:
    options = parser("Five networks against other programs.", rounds=9)
    options.add_argument("--models", default="", help="comma-separated parts of names of networks")
    options.add_argument("--works", default="", help="comma-separated parts of names of kinds of work")
    options.add_argument("--quick", action="store_true", help="twenty samples of each, to see that everything works")
    options.add_argument("--compiled", action="store_true", help="also curvlinops' product, compiled")
    options.add_argument("--seconds", type=float, default=15.0, help="about as long the rounds of a cell may take; one is made")
    options.add_argument("--tolerance", type=float, default=1e-3, help="residual of each pair, relative to its eigenvalue")
    options.add_argument("--folder", type=Path, default=Path("build") / "models", help="of finished cells")
    options.set_defaults(dataset="mnist-5k")
    return options.parse_args()


def _file(folder: Path, model: str, work: str) -> Path:
    return folder / f"{'-'.join((model + ' ' + work).replace(',', '').split())}.json"


def _trained(model: str, folder: Path, options: argparse.Namespace) -> Case:
    """A network at the θ of the first run that measured it."""
    case, kept = five(model, options.quick), folder / f"{'-'.join(model.replace(',', '').split())}.pt"
    if not kept.exists():
        torch.save(case.trained(1 if options.quick else 5), kept)
    return case.at(torch.load(kept)).to(options.device)


def _report(folder: Path, models: Sequence[str], works: Sequence[str], tolerance: float) -> Report:
    report = Report("Five networks against other programs")
    others = [tool for tool in TOOLS if tool != OURS]
    heads = [head for tool in others for head in (tool, "÷ ours")]
    table = Table("Median of interleaved rounds", ("", "floor", OURS, *heads, "products", "verified", "what stands in the way"))
    cases: dict[str, str] = {}
    notes: dict[str, None] = {}
    rates = []
    for model in models:
        for work in works:
            if not _file(folder, model, work).exists():
                continue
            record = json.loads(_file(folder, model, work).read_text(encoding="utf-8"))
            cell = {tool: Turns(**turns) for tool, turns in record["turns"].items()}
            cases[model] = record["case"]
            rates.append(record["rate"])
            notes.update({f"{tool}, {work}: {cell[tool].note}": None for tool in others if tool in cell and cell[tool].note})
            table.row(*_row(model, work, cell, record))
    report.add(table)
    report.say(f"{'; '.join(cases.values())}. θ after five epochs, of the quick ones one.")
    rates_shown = f"{gflops(min(rates))} to {gflops(max(rates))}" if rates else "–"
    report.say(
        f"The floor is that of the matrix products alone, by PyTorch's count, at the rate of a large square one ({rates_shown}); "
        "of pairs, traces and densities it is that of as many products as Orograph made. Pairs: residual at most "
        f"{tolerance:g}, verified by plain double backward; from module, loss and data to the pairs, set-up included. Trace: "
        f"standard error at most {100 * TRACE_ERROR:.0f} %, by the program's own statement, with XTrace (curvlinops, which "
        "states none: as many products as ours took), Hutch++ (hessian-eigenthings) or Hutchinson's (PyHessian). Density: "
        f"{PROBES} probes of {STEPS} steps; verified is the distance of the trace it implies from ours, in standard errors. "
        "Products: the relative difference from plain autograd. † measured beside other load."
    )
    for note in notes:
        report.say(f"{note}.")
    return report


def _row(model: str, work: str, cell: Mapping[str, Turns], record: Mapping[str, Any]) -> list[str]:
    ours = cell.get(OURS, Turns())
    floor = record["flops"] * max(ours.products, 1) / record["rate"]
    cells, behind = [], []
    for tool in TOOLS:
        turns = cell.get(tool, Turns())
        if tool == OURS:
            continue
        partial = turns.note.endswith("only")
        cells += [seconds(turns.median), ("≥ " if partial else "") + ratio(turns.median, ours.median)]
        if turns.median / ours.median < GOALS.get(work, 1.3):
            behind.append(f"{tool}: {ours.products} products to {turns.products}" if turns.products else tool)
    if behind:
        behind += [f"{ratio(ours.median, floor)} the floor", *([ours.note] if ours.note else [])]
    products = " ".join(str(cell[tool].products or "–") if tool in cell else "–" for tool in TOOLS)
    reached = " ".join(f"{cell[tool].reached:.0e}" if tool in cell and cell[tool].seconds else "–" for tool in TOOLS)
    mark = "" if record["quiet"] else " †"
    return [f"{model}, {work}{mark}", seconds(floor), seconds(ours.median), *cells, products, reached, "; ".join(behind) or "–"]


if __name__ == "__main__":
    main()
