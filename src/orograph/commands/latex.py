"""A sweep or a study as a table for a paper: booktabs, names and units of the registry, digits as the error bars leave them."""

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orograph.commands.rows import Row, columns, table
from orograph.commands.typesetting import escaped, in_latex, number
from orograph.errors import ConfigurationError, RunError, unknown
from orograph.store.encoding import decode
from orograph.store.lookup import BARRIERS, TABLES, quantity
from orograph.store.part import WHOLE, Part
from orograph.store.run import Run
from orograph.study.results import NAME

MOST_ROWS = 25  # of a sweep whose strengths nobody chose: what fits on a page
_SCORE = "score"  # the first metric of the run, on the test data where it has some
_SWEEP = ("train_loss", "test_loss", _SCORE, "objective_gradient_norm", "lambda_first", "trace")  # as wide as an article
_STUDY = (_SCORE, "test_loss", "lambda_max", "trace", "flatness_measure", "linear_barrier", "bezier_barrier")
_OF_A_ROW = ("seed", "L2_strength", "direction", "configuration", "status")


@dataclass(frozen=True)
class _Line:
    """A row of the table: what it is of, the networks behind it, and the pairs of these in a study."""

    key: tuple[Any, ...]
    rows: list[Row]
    pairs: list[Row]

    @property
    def count(self) -> int:
        return sum(row["status"] == "done" for row in self.rows)

    def every(self, name: str) -> list[Any]:
        """All that is known of a quantity."""
        return [row[name] for row in [*self.rows, *self.pairs] if name in row]

    def numbers(self, name: str) -> list[float]:
        return [float(value) for value in self.every(name) if _is_number(value)]


def latex(run: Run, chosen: Sequence[str] = (), part: Part = WHOLE) -> str:
    """A table as LaTeX: of a sweep a row a strength and direction, of a study a row a configuration.

    Where there are several seeds, numbers are means ± standard deviations over them; else a number whose standard error is
    recorded stands with that, and others with four digits.

    Args:
        run: a sweep or a study.
        chosen: columns by the names of the table that `orograph export` writes as CSV, and barriers of a study; those that
            the run has of a few usual ones when empty.
        part: of the run.

    Returns:
        A `table` to be included by a document that loads booktabs and nothing else.

    Raises:
        ConfigurationError: there is no such column.
        RunError: the run is neither a sweep nor a study.
    """
    if run.kind not in ("sweep", "study"):
        raise RunError(f"{run.path} is a run of kind {run.kind}; LaTeX is written of sweeps and studies, CSV of every run.")
    heads, lines = _by_strength(table(run, part)) if run.kind == "sweep" else _by_configuration(run, part)
    known = [name for name in columns([row for line in lines for row in (*line.rows, *line.pairs)]) if name not in _OF_A_ROW]
    names = [_existing(name, known) for name in chosen] or _usual(run, lines, known)
    told = [part.in_words(run)]
    if run.kind == "sweep" and part.strengths is None and len(lines) > MOST_ROWS:
        told.append(f"{MOST_ROWS} of {len(lines)} rows")
        lines = [lines[round(place * (len(lines) - 1) / (MOST_ROWS - 1))] for place in range(MOST_ROWS)]
    return _document(run, heads, lines, names, "; ".join(filter(None, told)))


def _by_strength(rows: Sequence[Row]) -> tuple[list[str], list[_Line]]:
    """What a row is of, and the points of all seeds by direction and strength, ascending."""
    heads = ["direction", "L2_strength"] if len({row["direction"] for row in rows}) > 1 else ["L2_strength"]
    lines: dict[tuple[Any, ...], _Line] = {}
    for row in sorted(rows, key=lambda each: (each["direction"] == "down", each["L2_strength"])):
        key = tuple(row[name] for name in heads)
        lines.setdefault(key, _Line(key, [], [])).rows.append(row)
    return heads, list(lines.values())


def _by_configuration(run: Run, part: Part) -> tuple[list[str], list[_Line]]:
    """The settings in which configurations differ, and minima and pairs of each configuration."""
    path = run.path / NAME
    results = decode(path) if path.is_file() else {}
    varied = list(results.get("varied", []))
    settings = {each["name"]: each for each in results.get("configurations", [])}
    lines: dict[str, _Line] = {}
    for row in table(run, part):
        name = row["configuration"]
        key = tuple(settings.get(name, {}).get(each, "") for each in varied) if varied else (name,)
        lines.setdefault(name, _Line(key, [], [])).rows.append(row)
    for of, found in run.findings.items():
        if of.kind == "pair" and of.configuration in lines and all(map(part.has_seed, found.scalars.get("seeds", ()))):
            lines[of.configuration].pairs.append({name: found.scalars[name] for name in TABLES["pairs"] if name in found.scalars})
    return varied or ["configuration"], list(lines.values())


def _existing(name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise unknown("column", name, known)
    return name


def _usual(run: Run, lines: Sequence[_Line], known: Sequence[str]) -> list[str]:
    """Of the usual columns those in which some row has a number."""
    score = "" if run.score is None else run.score.shown(known)
    usual = [score if name == _SCORE else name for name in (_SWEEP if run.kind == "sweep" else _STUDY)]
    found = [name for name in usual if any(line.numbers(name) for line in lines)]
    if not found:
        raise ConfigurationError(f"{run.path} has none of the usual columns; choose `columns` of {', '.join(known)}.")
    return found


def _document(run: Run, heads: Sequence[str], lines: Sequence[_Line], names: Sequence[str], part: str) -> str:
    spread = any(len(line.numbers(name)) > 1 for line in lines for name in names)
    counts = sorted({line.count for line in lines})
    uneven = spread and len(counts) > 1
    header = [*(_heading(run, name) for name in heads), *(["$n$"] if uneven else []), *(_heading(run, name) for name in names)]
    body = [
        [
            *map(_of_a_row, line.key),
            *([str(line.count)] if uneven else []),
            *(_cell(line, name, percent=quantity(name).units == "%", spread=spread) for name in names),
        ]
        for line in lines
    ]
    left = ["l" if any(isinstance(line.key[place], str) for line in lines) else "r" for place in range(len(heads))]
    name = run.path.resolve().name
    caption = [f"{escaped(name)}{f' ({in_latex(part)})' if part else ''}.", *_notes(lines, names, counts, spread=spread)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{' '.join(caption)}}}",
            rf"  \label{{tab:{re.sub('[^A-Za-z0-9.-]+', '-', name)}}}",
            rf"  \begin{{tabular}}{{{''.join(left)}{'r' * (len(header) - len(heads))}}}",
            r"    \toprule",
            rf"    {' & '.join(header)} \\",
            r"    \midrule",
            *(rf"    {' & '.join(cells)} \\" for cells in body),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _notes(lines: Sequence[_Line], names: Sequence[str], counts: Sequence[int], *, spread: bool) -> list[str]:
    """What the numbers are, in sentences of the caption."""
    told = []
    if spread:
        over = f"{counts[0]} seeds" if len(counts) == 1 else "$n$ seeds"
        pairs = ", of barriers over their pairs" if any(name in BARRIERS for name in names) else ""
        told.append(rf"Mean $\pm$ standard deviation over {over}{pairs}.")
    elif any(line.numbers(f"{name}_error") for line in lines for name in names):
        told.append(r"$\pm$ is the standard error of an estimate.")
    if any(_is_missing(line, name) for line in lines for name in names):
        told.append("--: not known.")
    return told


def _heading(run: Run, name: str) -> str:
    """What stands above a column, and its unit."""
    known = run.wording.of(name, quantity(name))
    return in_latex(known.heading if known.units == "1" else f"{known.heading} ({known.units})")


def _of_a_row(value: Any) -> str:
    return f"{value:.8g}" if isinstance(value, float) else escaped(str(value))


def _cell(line: _Line, name: str, *, percent: bool, spread: bool) -> str:
    values = line.numbers(name)
    if _is_missing(line, name):
        return "--"
    if not values:
        return escaped(", ".join(dict.fromkeys(str(value) for value in line.every(name))))
    if all(isinstance(value, bool) for value in line.every(name)):
        return "yes" if all(values) else "no" if not any(values) else f"{sum(values):.0f} of {len(values)}"
    mean = statistics.fmean(values)
    if len(values) > 1:
        return number(mean, statistics.stdev(values))
    error = math.nan if spread else next(iter(line.numbers(f"{name}_error")), math.nan)
    return f"${mean:.2f}$" if percent and math.isnan(error) else number(mean, error)


def _is_missing(line: _Line, name: str) -> bool:
    """Whether no number and no text of a quantity is known."""
    return not line.numbers(name) and not any(isinstance(value, str) and value for value in line.every(name))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
