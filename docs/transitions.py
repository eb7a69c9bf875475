"""Tables and pictures of analysed sweeps for `docs/transitions.md`, each run between its own markers; the text around them stays.

.venv/bin/python docs/transitions.py runs/two-layers runs/one-layer --page docs/transitions.md

A run needs `orograph analyze` first. Its pictures are copied to `images/` beside the page, and its tables go between
`<!-- NAME -->` and `<!-- end -->`, which are appended to the page where it does not have them yet.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sections import insert, number, pictures, table

PICTURES = ("sweep", "hysteresis-{seed}", "thermodynamics-{seed}", "classes-{seed}-up")
LEVEL = 0.05  # of what is told from chance


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("runs", nargs="+", type=Path, help="analysed run directories")
    options.add_argument("--page", type=Path, default=Path("docs/transitions.md"), help="the page to write into")
    chosen = options.parse_args(arguments)
    for run in chosen.runs:
        if not (run / "analysis.json").is_file():
            print(f"{run} is not analysed: run orograph analyze {run} first.", file=sys.stderr)
            return 2
    for run in chosen.runs:
        insert(chosen.page, run.name, section(run, chosen.page.parent / "images"), title="Transitions")
    return 0


def section(run: Path, images: Path) -> str:
    """Everything about one run as Markdown."""
    results = json.loads((run / "analysis.json").read_text(encoding="utf-8"))
    marker = json.loads((run / "run.json").read_text(encoding="utf-8"))
    blocks = [f"## {run.name}", described(marker["configuration"], results)]
    for chain in results["chains"]:
        blocks += chain_blocks(chain)
    blocks += [loop_table(loop) for loop in results["loops"]]
    if any(each["rate"] or each["null"] for each in results["loop_areas"]):
        blocks.append(area_table(results["loop_areas"]))
    seed = results["chains"][0]["seed"]
    blocks += pictures(run, images, [pattern.format(seed=seed) for pattern in PICTURES])
    return "\n\n".join(blocks) + "\n"


def described(configuration: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    data, model, ladder = configuration["data"], configuration["model"], configuration["ladder"]
    training, hardware = configuration["training"], results["hardware"]
    size = "all training images" if data["subset_size"] == "all" else f"{data['subset_size']:,} training images"
    widths = ", ".join(map(str, model["widths"]))
    anchor = configuration["anchor"]
    return (
        f"{data['dataset']}, {size}; {model['model']} with hidden layers {widths}, {model['activation']}; {ladder['points']} "
        f"strengths from {ladder['min']:g} to {ladder['max']:g}, {ladder['direction']}, start {anchor['start']}, anchor "
        f"{anchor['anchor']}; {training['optimizer']}, learning rate {training['lr']:g}, at most {training['epochs']} epochs, "
        f"{'polished' if training['polish'] else 'not polished'}. {hardware['processor']}, torch {results['versions']['torch']}."
    )


def chain_blocks(chain: Mapping[str, Any]) -> list[str]:
    name = f"Seed {chain['seed']}, {chain['direction']}"
    certificates = Counter(str(verdict) for verdict in chain["certificates"].values())
    told = [step for step in chain["envelope"] if step["critical"] and step["rounding"] < 0.01 and step["defect"] is not None]
    good = [step["defect"] for step in told if step["outside"] == 0]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in certificates.most_common()) or "none"
    lines = [f"**{name}.** {chain['points']} points, {chain['inserted']} of them inserted. Certificates: {counts}."]
    if told:
        median = sorted(good)[len(good) // 2] if good else math.nan
        lines.append(
            f"The envelope identity is told at {len(told)} steps; its median defect within the bounds is {median:.1e}, and "
            f"{len(told) - len(good)} steps leave the bounds."
        )
    blocks = [" ".join(lines)]
    if chain["transitions"]:
        blocks.append(transition_table(chain["transitions"]))
    else:
        blocks.append("The order parameter has no transition on this ladder.")
    if chain["changes_not_searched"]:
        blocks.append(f"Other quantities were not searched for changes: {chain['changes_not_searched']}.")
    else:
        blocks.append(change_table(chain["changes"]))
        if chain["coincidences"]:
            blocks.append(coincidence_table(chain["coincidences"]))
    related = [row for row in chain["class_relations"] if row["p_value"] is not None]
    if related:
        blocks.append(relation_table(related))
    return blocks


def transition_table(transitions: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for each in transitions:
        judgement = each["judgement"]
        losses = sorted(each["class_changes"].items(), key=lambda item: -item[1]["accuracy_lost"])[:2]
        lost = ", ".join(f"{name} ({change['accuracy_lost']:.0f})" for name, change in losses if change["accuracy_lost"] > 0)
        rows.append(
            (
                f"{judgement['low']:.6g} to {judgement['high']:.6g}",
                each["change"]["kind"],
                judgement["order"],
                f"{judgement['change']:.3g}",
                number(judgement["steepness"], "{:.3g}"),
                str(each["inserted"]),
                lost,
            )
        )
    return table(("λ", "kind", "order", "Δq", "steeper than beside", "points inserted", "loses most (percentage points)"), rows)


def change_table(changes: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """One row a quantity that changes abruptly, where and how."""
    rows = [
        (
            name,
            "; ".join(f"{each['kind']} at {each['strength']:.5g} ({each['low']:.5g} to {each['high']:.5g})" for each in found),
            number(max((each["p_value"] for each in found if each["p_value"] is not None), default=None)),
        )
        for name, found in changes.items()
        if found
    ]
    return (
        table(("quantity", "change at λ (95 %)", "p, at most"), rows) if rows else "No quantity changes abruptly on this ladder."
    )


def coincidence_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The quantities whose changes come together more often than by chance; one sentence on the others."""
    held = [row for row in rows if all(row["counts"])]
    if not held:
        return "Nothing to hold side by side."
    told = [row for row in held if row["adjusted"] is not None and row["adjusted"] < LEVEL]
    least = min((row["p_value"] for row in held if row["p_value"] is not None), default=None)
    cells = [
        (
            row["first"],
            row["second"],
            f"{row['together']} of {row['counts'][0]} and {row['counts'][1]}",
            number(row["adjusted"]),
        )
        for row in told
    ]
    blocks = [table(("quantity", "with", "together", "p after Holm"), cells)] if told else []
    if len(told) < len(held):
        others = f"{len(held) - len(told)} pairs of quantities change together no more often than by chance"
        blocks.append(f"{others} (p of single pairs {number(least)} at least, after Holm's rule none below {LEVEL:g}).")
    return "\n\n".join(blocks)


def relation_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The classes whose accuracy goes with their share of the curvature; one sentence on the others."""
    told = [row for row in rows if row["p_value"] < LEVEL]
    cells = [
        (row["name"], number(row["correlation"], "{:.2f}"), number(row["p_value"]), f"{row['lost_at']:.5g}", f"{row['lost']:.0f}")
        for row in told
    ]
    head = ("class", "accuracy with share of curvature", "p", "loses most at λ", "percentage points")
    blocks = [table(head, cells)] if told else []
    if len(told) < len(rows):
        names = ", ".join(str(row["name"]) for row in rows if row["p_value"] >= LEVEL)
        blocks.append(f"Not told from chance: the accuracy of class {names} with its share of the curvature.")
    return "\n\n".join(blocks)


def loop_table(loop: Mapping[str, Any]) -> str:
    barrier = loop["barrier"]
    rows = [
        ("branches differ", f"{loop['low']:.6g} to {loop['high']:.6g}"),
        ("Maxwell point", number(loop["maxwell"], "{:.6g}")),
        ("escape of the way up", step(loop["escape_up"])),
        ("escape of the way down", step(loop["escape_down"])),
        ("spinodal of the way up", spinodal(loop["spinodal_up"])),
        ("spinodal of the way down", spinodal(loop["spinodal_down"])),
        ("width between escapes", number(loop["width"])),
        ("width between spinodals", number(loop["spinodal_width"])),
        ("area ∮ q dλ", number(loop["area"], "{:.4g}")),
    ]
    if barrier:
        rows.append(
            (f"barrier of L_eff at λ = {loop['barrier_at']:g}, lowest path found", number(barrier["barrier_best"], "{:.4g}"))
        )
        rows.append(("on the straight line", number(barrier["barrier_linear"], "{:.4g}")))
    return table((f"loop of seed {loop['seed']}", ""), rows)


def spinodal(found: Mapping[str, Any]) -> str:
    """Its estimate with its bounds, which older analyses have not."""
    bounds = f", {found['low']:.6g} to {found['high']:.6g}" if isinstance(found.get("low"), float) else ""
    return f"{number(found['estimate'], '{:.6g}')} ({found['law']}{bounds})"


def area_table(areas: Iterable[Mapping[str, Any]]) -> str:
    def against(other: Mapping[str, Any] | None) -> str:
        return "–" if other is None else f"{other['other']:.4g} ({number(other['ratio'], '{:.2f}')})"

    rows = [(str(each["seed"]), f"{each['area']:.4g}", against(each["rate"]), against(each["null"])) for each in areas]
    return table(("seed", "loop area", "half the step, a third of the learning rate (ratio)", "two ways up (ratio)"), rows)


def step(interval: Sequence[float | str | None]) -> str:
    if any(isinstance(end, str) for end in interval):
        return "beyond the ladder"
    return f"{interval[0]:.6g} to {interval[1]:.6g}"


if __name__ == "__main__":
    raise SystemExit(main())
