"""The pictures of a study, written beside its results as PNG and PDF."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orograph.figures import study as figures
from orograph.figures.style import save
from orograph.store.run import Run
from orograph.store.wording import Wording, wording_of_results

FOLDER = "figures"


def draw(results: Mapping[str, Any], run: Run) -> list[Path]:
    """Every picture for which there is something to show."""
    data = results["data"]
    wording = wording_of_results(results)
    title = f"{data['name'].rpartition('/')[2]}, {data['train_images']:,} training {wording.sample}s"
    wanted = {"training_curves": figures.training_curves, "by_setting": figures.by_setting}
    if any(entry["arrays"].get("eigenvalues") for entry in results["spectra"]):
        wanted["spectra"] = figures.spectra
    if any(entry["status"] == "done" for entry in results["curves"]):
        wanted["connectivity"] = figures.connectivity
    if any(entry["status"] == "done" for entry in results["instability"]):
        wanted["instability"] = figures.instability
    if results["correlations"].get("table"):
        wanted["correlations"] = figures.correlations
    written = []
    for name, function in wanted.items():
        written += save(function(results, title), run.path / FOLDER / name)
    for entry in results["surfaces"]:
        if entry["status"] == "done":
            stem = f"{entry['kind']}-{entry['configuration']}-{entry['name']}".replace(".", "_")  # a dot would begin a suffix
            written += save(_surface(entry, wording), run.path / FOLDER / stem)
    return written


def _surface(entry: Mapping[str, Any], wording: Wording) -> Any:
    seeds = [f"seed {seed}" for seed in entry["seeds"]]
    if entry["kind"] == "plane":
        through = f"{entry['configuration']}: plane through {', '.join(seeds)}"
        return figures.surface(entry["arrays"], through, marks=seeds, wording=wording)
    title = f"{entry['configuration']}, {seeds[0]}: directions {entry['directions']}, radius {entry['radius']:g}‖θ‖"
    return figures.surface(entry["arrays"], title, wording=wording)
