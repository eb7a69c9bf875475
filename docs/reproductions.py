"""The published numbers of the landscape study beside those of runs, for `docs/reproductions.md`; the text around them stays.

    .venv/bin/python docs/reproductions.py wide runs/wide
    .venv/bin/python docs/reproductions.py narrow runs/narrow

A run is a finished `orograph study --plot`. Its pictures are copied to `images/` beside the page, and its tables go between
`<!-- NAME -->` and `<!-- end -->`, NAME being the run's folder.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sections import insert, number, pictures, table

RESULTS = "landscape_analysis_results.json"
PICTURES = ("connectivity", "training_curves", "spectra")


@dataclass(frozen=True)
class Claim:
    """A published number: its name, the range in words and in numbers, and where ours stands in the results."""

    name: str
    published: str
    low: float
    high: float
    quantity: str
    of_pairs: bool = False
    form: str = "{:.3g}"


WIDE = (
    Claim("λ_max", "0.20 to 0.30", 0.20, 0.30, "lambda_max"),
    Claim("trace", "2.4 to 2.6", 2.4, 2.6, "trace"),
    Claim("gradient norm ‖∇L‖", "4.4e-3 to 4.8e-3", 4.4e-3, 4.8e-3, "gradient_norm"),
    Claim("test accuracy, %", "96.2 to 96.5", 96.2, 96.5, "test_accuracy", form="{:.2f}"),
    Claim("test loss", "about 0.18", 0.175, 0.185, "test_loss"),
    Claim("barrier of the test loss on the straight line", "0.017", 0.0165, 0.0175, "published", of_pairs=True),
    Claim("largest test loss on that line", "0.195", 0.1945, 0.1955, "largest_test_loss", of_pairs=True),
)
NARROW = (Claim("λ_max", "1 to 25", 1, 25, "lambda_max"),)
CLAIMS = {"wide": WIDE, "narrow": NARROW}
CORRELATIONS = (  # Pearson's, as published from the three minima of the wide study
    ("flatness_measure", "test_accuracy", 0.91),
    ("lambda_max", "test_accuracy", -0.93),
    ("trace", "test_loss", -0.97),
)
BARRIERS = ("train_loss", "test_loss", "test_error", "published")


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("setting", choices=tuple(CLAIMS), help="whose published numbers stand beside it")
    options.add_argument("run", type=Path, help="a finished study")
    options.add_argument("--page", type=Path, default=Path("docs/reproductions.md"), help="the page to write into")
    chosen = options.parse_args(arguments)
    if not (chosen.run / RESULTS).is_file():
        print(f"{chosen.run} is no finished study: it has no {RESULTS}.", file=sys.stderr)
        return 2
    text = section(chosen.run, chosen.setting, chosen.page.parent / "images")
    insert(chosen.page, chosen.run.name, text, title="Reproductions")
    return 0


def section(run: Path, setting: str, images: Path) -> str:
    """Everything about one study as Markdown."""
    results = json.loads((run / RESULTS).read_text(encoding="utf-8"))
    blocks = [described(run, results)]
    for configuration in results["configurations"]:
        name = configuration["name"]
        minima = [row for row in results["metrics"] if row["configuration"] == name and row["status"] == "done"]
        pairs = [row for row in results["curves"] if row["configuration"] == name and row["status"] == "done"]
        blocks += [f"**{name}**, {configuration['parameters']:,} parameters", claims_table(CLAIMS[setting], minima, pairs)]
        blocks += [barrier_table(pairs), spent(minima)] if pairs else [spent(minima)]
    if setting == "wide":
        blocks.append(correlation_table(results["correlations"]["table"]))
    return "\n\n".join(blocks + pictures(run, images, PICTURES)) + "\n"


def described(run: Path, results: Mapping[str, Any]) -> str:
    """What was run, where, and how long it took."""
    data, chosen = results["data"], results["configuration"]["optimisation"]
    session = json.loads(max((run / "timings" / "sessions").glob("*.json")).read_text(encoding="utf-8"))["provenance"]
    hours = sum(seconds(file) for file in (run / "timings").rglob("*.json") if file.parent.name != "sessions") / 3600
    hardware = session["hardware"]
    return (
        f"{data['name']}, {data['train_images']:,} training and {data['test_images']:,} test images; {chosen['num_seeds']} "
        f"seeds, {chosen['epochs']} epochs, {', '.join(chosen['scheduler'])}. {hardware['processor']}, {hardware['cores']} "
        f"cores, torch {session['versions']['torch']}: {hours:.1f} hours."
    )


def seconds(timing: Path) -> float:
    found = json.loads(timing.read_text(encoding="utf-8"))
    return sum(value for value in found.values() if isinstance(value, int | float))


def claims_table(claims: Iterable[Claim], minima: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for claim in claims:
        values = (
            [pair["paths"]["linear"]["barriers"].get(claim.quantity) for pair in pairs if "linear" in pair["paths"]]
            if claim.of_pairs
            else [row.get(claim.quantity) for row in minima]
        )
        found = [value for value in values if isinstance(value, int | float)]
        rows.append((claim.name, claim.published, spread(found, claim.form), verdict(claim, found)))
    return table(("", "published", "here, each seed or pair", ""), rows)


def spread(values: Sequence[float], form: str) -> str:
    return ", ".join(form.format(value) for value in values) or "–"


def verdict(claim: Claim, values: Sequence[float]) -> str:
    """How many of ours lie in the published range, and by which factor their mean misses it."""
    if not values:
        return "not obtained"
    within = sum(claim.low <= value <= claim.high for value in values)
    if within == len(values):
        return "agrees"
    mean = statistics.fmean(values)
    if claim.low <= mean <= claim.high:
        return f"{within} of {len(values)} within, their mean too"
    bound, name = (claim.low, "lower") if mean < claim.low else (claim.high, "upper")
    return f"{within} of {len(values)} within; mean {mean / bound:.2f}× the {name} bound"


def barrier_table(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Every path's barriers, means over the pairs, and what failed."""
    names = dict.fromkeys(name for pair in pairs for name in pair["paths"])
    rows = []
    for name in names:
        found = [pair["paths"][name]["barriers"] for pair in pairs if name in pair["paths"]]
        rows.append((name, *(number(mean(each[which] for each in found)) for which in BARRIERS)))
    headings = ("path", "barrier of train loss", "of test loss", "of test error, points", "published form")
    lines = [table(headings, rows)]
    failures = sorted({f"{name}: {reason}" for pair in pairs for name, reason in pair["failures"].items()})
    gains = [pair["ensemble_gain"] for pair in pairs if "ensemble_gain" in pair]
    if gains:
        apart = statistics.fmean(pair["disagreement"] for pair in pairs if "disagreement" in pair)
        lines.append(
            f"The ends disagree on {apart:.2f} % of the test images; their ensemble gains {statistics.fmean(gains):.2f} points."
        )
    return "\n\n".join(lines + failures)


def mean(values: Iterable[float | str | None]) -> float | None:
    """Of what is finite: JSON has infinities and NaN as words."""
    finite = [value for value in values if isinstance(value, int | float)]
    return statistics.fmean(finite) if finite else None


def spent(minima: Sequence[Mapping[str, Any]]) -> str:
    """The Hessian products of each minimum, and what their limit cut short."""
    texts = []
    for row in minima:
        products = row["products"]
        cut = "; ".join(products["cut"].values()) or "nothing cut short"
        texts.append(f"seed {row['seed']}: {products['spent']} of {products['limit']} Hessian products ({cut})")
    return ". ".join(texts) + "."


def correlation_table(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = []
    for metric, target, published in CORRELATIONS:
        found = [row for row in rows if row["metric"] == metric and row["target"] == target]
        value = found[0]["pearson"]["value"] if found else None
        count = str(found[0]["count"]) if found else "–"
        cells.append((metric, target, f"{published:+.2f}", number(value, "{:+.2f}"), count))
    return table(("metric", "with", "published", "here (Pearson)", "minima"), cells)


if __name__ == "__main__":
    raise SystemExit(main())
