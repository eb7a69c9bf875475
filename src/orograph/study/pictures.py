"""The pictures of a study, written beside its results as PNG and PDF."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orograph.figures import study as figures
from orograph.figures.style import save
from orograph.figures.topologies import barcode, merge_tree
from orograph.store.run import Run
from orograph.store.wording import Wording, wording_of_results
from orograph.study.topologies import shape_of

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
            if "surface_minima" in entry:
                tree, diagram = shape_of(entry)
                written += save(merge_tree(tree, _title(entry), wording=wording), run.path / FOLDER / f"{stem}-tree")
                written += save(barcode(diagram, _title(entry), wording=wording), run.path / FOLDER / f"{stem}-barcode")
    return written


def _surface(entry: Mapping[str, Any], wording: Wording) -> Any:
    marks = _seeds(entry) if entry["kind"] == "plane" else None
    return figures.surface(entry["arrays"], _title(entry), marks=marks, wording=wording)


def _title(entry: Mapping[str, Any]) -> str:
    if entry["kind"] == "plane":
        return f"{entry['configuration']}: plane through {', '.join(_seeds(entry))}"
    return f"{entry['configuration']}, {_seeds(entry)[0]}: directions {entry['directions']}, radius {entry['radius']:g}‖θ‖"


def _seeds(entry: Mapping[str, Any]) -> list[str]:
    return [f"seed {seed}" for seed in entry["seeds"]]
