"""A sweep in the terminal: one row a point, and what should be known of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from orograph.errors import shown
from orograph.store.lookup import heading, narrow
from orograph.store.wording import Score
from orograph.sweep.progress import failure

# The quantities of a point, and how each is written; what fits into eighty columns.
COLUMNS = {
    "L2_strength": "{:.5g}",
    "train_loss": "{:.4f}",
    "objective": "{:.4f}",
    "test_loss": "{:.4f}",
    "objective_gradient_norm": "{:.0e}",
    "lambda_first": "{:.3g}",
    "lambda_last": "{:.2g}",
    "epochs": "{}",
}


def columns(score: Score | None, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The columns of a run's points, its first metric behind the losses; test data only where there are some."""
    found: dict[str, str] = {}
    known = {name for row in rows for name in row}
    tested = "test_loss" in known or not any("train_loss" in row for row in rows)
    for name, form in COLUMNS.items():
        if name == "test_loss" and not tested:
            pass
        else:
            found[name] = form
        if name == "test_loss" and score is not None:
            found[f"{'test' if tested else 'train'}_{score.name}"] = "{:.2f}" if score.unit == "%" else "{:.4g}"
    return found


def sweep_table(rows: Sequence[Mapping[str, Any]], score: Score | None, *, most: int = 24) -> Table:
    """The points of a run as a table; of long runs, `most` of them evenly spread, and every failure."""
    rows = sorted(rows, key=_place)
    keep = set(range(len(rows)))
    if len(rows) > most:
        keep = {round(i * (len(rows) - 1) / (most - 1)) for i in range(most)}
        keep |= {index for index, row in enumerate(rows) if row["status"] == "failed"}
    legend = "‖∇‖ is that of L_eff; cut: k splits a cluster of eigenvalues; noise: pairs that are rounding"
    if len(keep) < len(rows):
        legend = f"{len(keep)} of {len(rows)} points, all of them by: orograph export; {legend}"
    table = Table(caption=legend, caption_justify="left", header_style="bold", box=None, padding=(0, 1, 0, 0))
    table.add_column("ID")
    told_of = columns(score, rows)
    for column in told_of:
        table.add_column(narrow(heading(column)).replace("∇L_eff", "∇"), justify="right", no_wrap=True)
    table.add_column("remarks", overflow="fold")
    for index in sorted(keep):
        row = rows[index]
        failed = row["status"] == "failed"
        told = ("L2_strength",) if failed else tuple(told_of)
        cells = [form.format(row[name]) if name in row and name in told else "" for name, form in told_of.items()]
        table.add_row(row["ID"], *cells, _failed(row) if failed else ", ".join(remarks(row)))
    return table


def _place(row: Mapping[str, Any]) -> tuple[int, str, float]:
    """Chain by chain, along each as it goes, whatever the order in which points were made."""
    seed, _, way = row["ID"].partition("-")
    return int(seed), way, -row["L2_strength"] if way else row["L2_strength"]


def _failed(row: Mapping[str, Any]) -> Text:
    """Why, which may be anybody's words."""
    return Text(shown(f"failed: {failure(row)}"), "red")


def remarks(record: Mapping[str, Any]) -> list[str]:
    """What a reader should know about a point."""
    found = [
        (record.get("best_epoch") == 0 and not record.get("frozen"), "no epoch improved on the start"),
        (record.get("frozen"), "frozen"),
        (record.get("branch_kept") is False, "another branch"),
        (record.get("noise_pairs"), f"{record.get('noise_pairs')} noise"),
        (record.get("unconverged_pairs"), f"{record.get('unconverged_pairs')} unconverged"),
        (record.get("cut"), "cut"),
        (record.get("polish_converged") is False, "not a critical point"),
        (record.get("objective_negative_eigenvalues"), f"index {record.get('objective_negative_eigenvalues')}"),
    ]
    return [text for holds, text in found if holds]
