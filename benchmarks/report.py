"""Options that all benchmarks share, and their tables: on the terminal, and as Markdown for the documentation."""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table as RichTable

from quiet import LIMIT, Watch, describe, machine


def parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    options.add_argument("--dataset", default="mnist", help="named data set")
    options.add_argument("--data-dir", default=None, help="folder of its files; OROGRAPH_DATA if not given")
    options.add_argument("--images", type=int, default=None, help="use a stratified subset of so many training images")
    options.add_argument("--rounds", type=int, default=rounds, help="how often each competitor is timed")
    options.add_argument("--only", default="", help="comma-separated parts of names: leave the other competitors out")
    options.add_argument(
        "--threads", type=int, default=None, help="threads of each competitor; the libraries' choice if not given"
    )
    options.add_argument("--device", default="cpu", help="cpu, or cuda")
    options.add_argument("--memory", default="4GiB", help="memory budget given to Orograph")
    options.add_argument("--force", action="store_true", help="measure beside other load; the tables are marked as not valid")
    options.add_argument(
        "--markdown", type=Path, default=None, help="write the tables to this file, or between this script's markers in it"
    )
    return options


def set_threads(threads: int | None) -> None:
    """Fixes the threads of this process and of those it will start, NumPy's and SciPy's included."""
    if threads:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = str(threads)
        torch.set_num_threads(threads)


def chosen(names: Sequence[str], only: str) -> list[str]:
    """The names that contain one of the comma-separated parts of `only`."""
    parts = [part.strip().lower() for part in only.split(",") if part.strip()]
    return [name for name in names if not parts or any(part in name.lower() for part in parts)]


@dataclass
class Report:
    """What a benchmark found: tables, and sentences between them."""

    title: str
    parts: list["Table | str"] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        self.parts.append(sentence)

    def add(self, table: "Table") -> None:
        self.parts.append(table)

    def finish(self, options: argparse.Namespace, watch: Watch, *, quiet: bool) -> None:
        """Prints everything, and writes it as Markdown if asked to."""
        device = options.device
        validity = _validity(watch, quiet=quiet)
        settings = [
            f"{name} {getattr(options, name)}" for name in ("dataset", "images", "rounds") if getattr(options, name) is not None
        ]
        head = [*machine(device), f"{', '.join(settings)}. {validity}"]
        console = Console(width=None if sys.stdout.isatty() else 200)
        console.rule(self.title)
        for line in head:
            console.print(line, markup=False, highlight=False)
        for part in self.parts:
            console.print()
            if isinstance(part, Table):
                console.print(part.rich())
            else:
                console.print(part, markup=False, highlight=False)
        if options.markdown:
            blocks = [f"## {self.title}", "  \n".join(head), *(p.markdown() if isinstance(p, Table) else p for p in self.parts)]
            _write(options.markdown, "\n\n".join(blocks) + "\n")


def _write(path: Path, text: str) -> None:
    """Writes the file, or only the part of it between the markers of this script, `<!-- spectrum.py -->` … `<!-- end -->`."""
    marker, end = f"<!-- {Path(sys.argv[0]).name} -->\n", "<!-- end -->"
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if marker in old:
        before, _, rest = old.partition(marker)
        text = f"{before}{marker}\n{text}\n{end}{rest.partition(end)[2]}"
    path.write_text(text, encoding="utf-8")


def _validity(watch: Watch, *, quiet: bool) -> str:
    if not quiet:
        return "NOT VALID: measured beside other load."
    if watch.worst is None:
        return "Quiet machine."
    if watch.cores > LIMIT:
        used = f"others used {100 * watch.cores:.0f} % of a core on average while it measured"
        return f"NOT VALID: {used}; at worst, {describe(watch.worst)}"
    seen = f"{100 * watch.cores:.1f} % of a core on average, {100 * watch.worst.cores:.0f} % at worst"
    return f"Quiet machine: while it measured, others used {seen}."


@dataclass
class Table:
    """A table: its title, its columns, and rows of text; the first column is aligned left, the others right."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)

    def row(self, *cells: str) -> None:
        self.rows.append(list(cells))

    def rich(self) -> RichTable:
        table = RichTable(title=self.title, title_justify="left")
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="right" if index else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = [self.columns, rule, *self.rows]
        return f"**{self.title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seconds(value: float) -> str:
    """A time for people, to three digits."""
    if math.isnan(value):
        return "–"
    return f"{value:.3g} s" if value >= 0.1 else f"{1000 * value:.3g} ms"


def ratio(numerator: float, denominator: float) -> str:
    """`2.31×`, or a dash."""
    return "–" if not denominator or math.isnan(numerator / denominator) else f"{numerator / denominator:.2f}×"


def gflops(rate: float) -> str:
    """A rate of floating-point operations."""
    return "–" if math.isnan(rate) else f"{rate / 1e9:.0f} GFLOP/s" if rate < 1e12 else f"{rate / 1e12:.1f} TFLOP/s"


def verdict(what: str, measured: float, target: float, *, at_least: bool, unit: str = "×") -> str:
    """One line that holds a measurement against its target."""
    if math.isnan(measured):
        return f"{what}: not measured."
    met = measured >= target if at_least else measured <= target
    shown = f"{100 * measured:.1f} %" if unit == "%" else f"{measured:.2f}{unit}"
    limit = f"{100 * target:.0f} %" if unit == "%" else f"{target:g}{unit}"
    return f"{what}: {shown} (target: {'at least' if at_least else 'at most'} {limit}) {'met' if met else 'MISSED'}."
