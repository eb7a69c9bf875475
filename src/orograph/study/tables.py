"""A study in the terminal: one row a configuration, means over seeds with their standard deviation, and what should be known."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from orograph.store.lookup import heading, narrow, quantity
from orograph.store.wording import wording_of_results

# Of minima or of pairs, the quantity, how it is written, and how its spread is; what fits into eighty columns. The problem's
# first metric comes before them.
COLUMNS = {
    "test_loss": ("metrics", "{:.4f}", ""),
    "lambda_max": ("metrics", "{:.3g}", "{:.1g}"),
    "trace": ("metrics", "{:.3g}", ""),
    "gradient_norm": ("metrics", "{:.0e}", ""),
    "linear_barrier": ("curves", "{:.3f}", ""),
    "bezier_barrier": ("curves", "{:.3f}", ""),
    "aligned_barrier": ("curves", "{:.3f}", ""),
}
_SHOWN = 4  # correlations named below the table


def study_table(results: Mapping[str, Any]) -> Table:
    """Means over the seeds, or over the pairs of seeds, of each configuration."""
    legend = (
        "means over seeds, ± their standard deviation; barriers of the training loss, means over pairs: on the straight line, on "
        "the trained Bézier curve, and on the line after alignment"
    )
    columns = {name: each for name, each in COLUMNS.items() if name != "test_loss" or "test_images" in results["data"]}
    if (score := wording_of_results(results).score) is not None:
        form = "{:.2f}" if score.unit == "%" else "{:.4g}"
        columns = {score.shown(columns): ("metrics", form, "{:.2f}" if score.unit == "%" else "{:.1g}"), **columns}
    table = Table(caption=legend, caption_justify="left", header_style="bold", box=None, padding=(0, 1, 0, 0))
    table.add_column("configuration", overflow="fold")
    table.add_column("n", justify="right")
    for column in columns:
        table.add_column(narrow(heading(column)), justify="right", no_wrap=True)
    for configuration in results["configurations"]:
        name = configuration["name"]
        rows = [row for row in results["metrics"] if row["configuration"] == name]
        good = sum(row["status"] == "done" for row in rows)
        cells = []
        for column, (source, form, spread) in columns.items():
            entries = [entry for entry in results[source] if entry["configuration"] == name and entry["status"] == "done"]
            cells.append(_mean([entry.get(column) for entry in entries], form, spread))
        table.add_row(name, str(good) if good == len(rows) else f"[red]{good}/{len(rows)}", *cells)
    return table


def _mean(values: Sequence[Any], form: str, spread: str) -> str:
    """`mean±deviation` of what is finite; the deviation where a form for it is given."""
    finite = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    if not finite:
        return ""
    mean = form.format(statistics.fmean(finite))
    return f"{mean}±{spread.format(statistics.stdev(finite))}" if spread and len(finite) > 1 else mean


def notes(results: Mapping[str, Any]) -> list[str]:
    """How learning rates were chosen, what failed, what the correlations say and from how many minima."""
    wording = wording_of_results(results)
    found = list(results.get("left_out", []))
    for entry in results["learning_rates"]:
        place = entry["candidates"].index(entry["chosen"])
        rates = ", ".join(f"{rate:g}" for rate in entry["candidates"])
        by = f"loss of {entry['held_out_loss'][place]:.4g}"
        if "held_out_accuracy" in entry:
            by = f"accuracy of {entry['held_out_accuracy'][place]:.2f} %"
        found.append(
            f"{entry['configuration']}: learning rate {entry['chosen']:g}, chosen among {rates} by its {by} on "
            f"{entry['held_out_images']} {wording.sample}s held out from training, not by the test set; "
            f"{entry['epochs']} epochs for every candidate and network"
        )
    for row in results["metrics"]:
        if row["status"] == "failed":
            diverged = row["failed_epoch"] is not None
            reason = f"the loss was not finite in epoch {row['failed_epoch']}" if diverged else row["error"]
            found.append(f"{row['configuration']}, seed {row['seed']} failed: {reason}")
    for source in ("curves", "surfaces", "instability"):
        for entry in results[source]:
            if entry["status"] == "failed":
                found.append(f"{entry['configuration']}, {entry['kind']} {entry['name']} failed: {entry['error']}")
    if any(" failed: " in line for line in found):
        found.append("what failed is not tried again by itself: delete its record in findings or points first")
    target = "test_loss" if wording.score is None else f"test_{wording.score.name}"
    return found + _correlations(results["correlations"], target)


def _correlations(correlations: Mapping[str, Any], target: str) -> list[str]:
    """The strongest correlations with the problem's first metric on the test data."""
    rows = [
        row
        for row in correlations.get("table", [])
        if row["target"] == target and row["count"] > 2 and row["spearman"]["value"] is not None
    ]
    whole = len(rows)
    rows = [row for row in rows if not row.get("shared")]
    rows.sort(key=lambda row: -abs(row["spearman"]["value"]))
    text = ", ".join(f"{row['metric']} {row['spearman']['value']:+.2f}" for row in rows[:_SHOWN])
    if not rows:
        return []
    chosen = (
        f"the largest {min(_SHOWN, len(rows))} of {whole}, chosen by |ρ| and therefore larger than they would be in another study"
    )
    return [f"with {quantity(target).long_name} go, by Spearman's ρ: {text} ({chosen})", correlations.get("note", "")]
