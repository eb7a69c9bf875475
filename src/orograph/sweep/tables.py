"""A sweep in the terminal: one row a point, and what should be known of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from orograph.sweep.progress import failure


def sweep_table(rows: Sequence[Mapping[str, Any]], *, most: int = 24) -> Table:
    """The points of a run as a table; of long runs, `most` of them evenly spread, and every failure."""
    keep = set(range(len(rows)))
    if len(rows) > most:
        keep = {round(i * (len(rows) - 1) / (most - 1)) for i in range(most)}
        keep |= {index for index, row in enumerate(rows) if row["status"] == "failed"}
    legend = "‖∇‖ is that of L_eff; cut: k splits a cluster of eigenvalues; noise: pairs that are rounding"
    table = Table(caption=legend, caption_justify="left", header_style="bold", box=None, padding=(0, 1, 0, 0))
    table.add_column("ID")
    for column in ("λ", "L", "L_eff", "test L", "acc. %", "‖∇‖", "λ₁", "λ_k", "ep."):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("remarks", overflow="fold")
    for index in sorted(keep):
        row = rows[index]
        point = (row["ID"], f"{row['L2_strength']:.5g}")
        if row["status"] == "failed":
            table.add_row(*point, *[""] * 8, f"[red]failed: {failure(row)}")
            continue
        table.add_row(
            *point,
            f"{row['train_loss']:.4f}",
            f"{row['objective']:.4f}",
            f"{row['test_loss']:.4f}",
            f"{row['test_accuracy']:.2f}",
            f"{row['objective_gradient_norm']:.0e}",
            f"{row['lambda_first']:.3g}" if "lambda_first" in row else "",
            f"{row['lambda_last']:.2g}" if "lambda_last" in row else "",
            str(row["epochs"]),
            ", ".join(remarks(row)),
        )
    return table


def remarks(record: Mapping[str, Any]) -> list[str]:
    """What a reader should know about a point."""
    found = [
        (record.get("frozen"), "frozen"),
        (record.get("noise_pairs"), f"{record.get('noise_pairs')} noise"),
        (record.get("unconverged_pairs"), f"{record.get('unconverged_pairs')} unconverged"),
        (record.get("cut"), "cut"),
        (record.get("polish_converged") is False, "not a critical point"),
    ]
    return [text for holds, text in found if holds]
