"""The command `orograph card`: the `README.md` with which a run is shared on a model or data hub.

YAML front matter that hubs read (licence, tags, data sets, metrics), what was run, every kind of file with its columns explained,
every field with its unit, how to load, check and cite them; and `SHA256SUMS` beside it.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from orograph.commands import card_notes
from orograph.commands.checksums import FILE as SUMS
from orograph.commands.checksums import checksums
from orograph.commands.settings import CardSettings
from orograph.errors import ConfigurationError, RunError, shown
from orograph.memory import format_bytes
from orograph.store.artifacts import FOLDER
from orograph.store.atomic import write_bytes
from orograph.store.branch import ATLAS, BRANCH
from orograph.store.connection import CONNECTION
from orograph.store.escape import ESCAPE
from orograph.store.finished import finished_run
from orograph.store.names import EXTENSION, require_free
from orograph.store.provenance import mixture
from orograph.store.run import Run
from orograph.store.spectra import judged_pairs
from orograph.store.tables import METRIC_COLUMNS
from orograph.store.track import TRACK
from orograph.store.wording import stated

FILE = "README.md"
_MARKUP = re.compile(r"[|<>\[\]`]")  # what would be a cell, a link or HTML in the page of a hub
_COLUMNS = {
    "L2_strength": "strength λ of the penalty λ‖θ − θ_ref‖²",
    "Train_Loss": "mean loss L over the training set, in nats, without penalty",
    "Train_Reg_Loss": "L + λ‖θ − θ_ref‖²",
    "Test_Loss": "mean loss over the test set, in nats",
    "Test_Accuracy": "percent of the test set",
}


_PUBLISHED = {
    "Train_Loss": "running average of the loss over the last epoch, while the model moved; L at the recorded weights is "
    "`final_train_loss` of the records",
    "Train_Reg_Loss": "running average of L + λ‖θ − θ_ref‖², likewise; at the recorded weights it is `final_objective`",
}


def card(settings: CardSettings) -> int:
    """The command. Returns the exit code.

    Raises:
        OrographError: there is no such run, or nothing in it yet.
    """
    run = finished_run(settings.run, "card")
    if run.kind in (TRACK, BRANCH, ATLAS, ESCAPE, CONNECTION):
        raise RunError(f"{run.path} is a run of kind {run.kind}; card describes sweeps and studies.")
    if (run.path / EXTENSION).is_dir():
        raise RunError(f"{run.path} is being given more pairs, in {EXTENSION}; end that before: orograph extend {run.path}")
    out = Path(settings.out or run.path / FILE)
    if out.is_dir():
        raise ConfigurationError(f"`out` {out} is a directory; name a file, as {out / FILE}.")
    require_free(out)
    write_bytes(out, card_text(run, settings.license).encode())
    told = Text(shown(out), "bold")
    if out.parent.resolve() == run.path.resolve():  # last: it lists the card too
        require_free(run.path / SUMS)
        sums = checksums(run.path)
        write_bytes(run.path / SUMS, sums)
        told.append(f" and {SUMS} of {sums.count(10):,} files", "default")
    Console(highlight=False).print(told, soft_wrap=True)
    return 0


def card_text(run: Run, license_name: str) -> str:
    """The README, front matter first."""
    fields = front_matter(run, license_name).items()
    front = "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields)  # JSON is YAML
    parts = [
        f"---\n{front}---",
        f"# {_text(run.path.resolve().name)}",
        _what(run),
        _loading(run),
        _caveats(run),
        _files(run),
        card_notes.fields(run, _escaped),
        _settings(run),
        card_notes.checking(run),
        card_notes.licence(run, license_name, _escaped),
        card_notes.citing(run, _escaped),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def front_matter(run: Run, license_name: str) -> dict[str, Any]:
    """What hubs read: licence, library, tags, data sets, metrics."""
    return {
        "license": license_name,
        "library_name": "orograph",
        "pretty_name": shown(run.path.resolve().name),
        "tags": ["loss-landscape", "hessian", "curvature", run.kind],
        "datasets": [shown(_setting(run, "data", "dataset"))],
        "metrics": [*(shown(each["name"]) for each in run.metrics), "loss"],
    }


def _setting(run: Run, table: str, name: str) -> Any:
    values = run.configuration.get(table)
    return values.get(name, "unknown") if isinstance(values, Mapping) else "unknown"


def _what(run: Run) -> str:
    done = sum(record.status == "done" for record in run.records.values())
    failed = len(run.records) - done
    lost = f", {failed} failed" if failed else ""
    if run.kind == "study":
        names = list(dict.fromkeys(cell.configuration for cell in run.plan.cells))
        listed = "\n".join(f"- `{name}`" for name in names)
        return f"A landscape study: {len(names)} configurations, {done} trained networks{lost}.\n\n{listed}"
    return _sweep(run, f"{done} of {len(run.plan.cells)} points{lost}")


def _sweep(run: Run, points: str) -> str:
    """What was trained on what, and what there is of each point, for who has never heard of it."""
    strengths = sorted({cell.strength for cell in run.plan.cells})
    models = ", ".join(dict.fromkeys(cell.model_id for cell in run.plan.cells))
    down = " (`-down`: the ladder descended)" if any(cell.direction == "down" for cell in run.plan.cells) else ""
    size = sum(math.prod(shape) for shape in run.tensors.values())
    network = f" of {size:,} parameters" if size else ""
    data, images = _setting(run, "data", "dataset"), _setting(run, "data", "subset_size")
    some = f" {images:,} training samples of" if isinstance(images, int) else ""
    anchor = _setting(run, "anchor", "anchor")
    around = "0 (weight decay)" if anchor == "origin" else f"a fixed state of the network (the setting `anchor`, {_text(anchor)})"
    whose = "L" if _setting(run, "spectrum", "hessian") == "loss" else "L_eff"
    k = _setting(run, "spectrum", "k")
    pairs = f", and {k} eigenpairs of the Hessian of {whose} with their residuals" if isinstance(k, int) and k else ""
    made = (
        "Files made elsewhere, measured and verified by Orograph"
        if "imported" in run.provenance
        else "Made by Orograph; `orograph sweep --config configuration.toml --out ELSEWHERE` makes it again"
    )
    return (
        f"A λ-sweep: the same network{network} trained on{some} {_text(data)} at {len(strengths)} strengths λ of "
        f"L_eff(θ) = L(θ) + λ‖θ − θ_ref‖², from {strengths[0]:g} to {strengths[-1]:g}, where L is the mean loss over the "
        f"training set and θ_ref is {around}. At each strength there are the weights θ, losses, metrics, the gradient ∇L "
        f"over all training samples{pairs}. Model IDs {models}{down}; {points}.\n\n"
        "For whoever studies how minima, their curvature and what they have learned change along λ, without training anything. "
        f"{made}."
    )


def _settings(run: Run) -> str:
    rows = []
    for table, values in stated(run.configuration).items():
        pairs = values.items() if isinstance(values, Mapping) else [("", values)]
        named = [(" ".join(dict.fromkeys(filter(None, [table, name]))).replace("_", " "), value) for name, value in pairs]
        rows += [f"| {_text(name)} | {_text(value)} |" for name, value in named]
    recorded = run.provenance.get("versions")
    versions = recorded if isinstance(recorded, Mapping) else {}
    made = ", ".join(f"{name} {_text(versions[name])}" for name in ("orograph", "torch", "python") if name in versions)
    lines = ["## Settings", "", "| setting | value |", "|---|---|", *rows]
    return "\n".join([*lines, "", f"Made with {made}." if made else "", _escaped(mixture(run))]).rstrip()


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{name} {each}" for name, each in value.items()]
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return _escaped(text) or "–"


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", shown(text))


def _files(run: Run) -> str:
    folder = f"{FOLDER}/{{configuration}}" if run.kind == "study" else FOLDER
    eigenvectors = "one eigenvector a line, in the order of the eigenvalues, parameters flattened in `named_parameters()` order"
    splits = {
        each["name"]: f"the same columns, then the {_text(each['label'])} of each {run.wording.grouping}{_unit(each['unit'])}"
        for each in run.metrics
        if each["name"].isidentifier()
    }
    known = {
        **{f"Model-*_split_{name}.csv": (f"Model-{{ID}}_split_{name}.csv", text) for name, text in splits.items()},
        "gradients-*.csv": (
            "gradients-{ID}-{L2}.csv",
            "one line a parameter tensor, `dL/d{name}: g, g, …`, row-major, of L without penalty",
        ),
        "model_weights-*.pth": ("model_weights-{ID}-{L2}.pth", "a `state_dict`"),
        "Hessian-eigenvalues-*.csv": ("Hessian-eigenvalues-{ID}-{L2}.csv", "one value a line, descending"),
        "Hessian-eigenvectors-*.csv": ("Hessian-eigenvectors-{ID}-{L2}.csv", eigenvectors),
    }
    rows = []
    tables = [path for path in (run.path / FOLDER).rglob("Model-*.csv") if "_split_" not in path.name]
    if tables:
        published = any("final_train_loss" in record.scalars for record in run.records.values())
        meaning = columns_of(run) | (_PUBLISHED if published else {})
        columns = "; ".join(f"`{_text(name)}` {text}" for name, text in meaning.items())
        rows.append(_row(f"{folder}/Model-{{ID}}.csv", tables, columns))
    for pattern, (name, text) in known.items():
        found = list((run.path / FOLDER).rglob(pattern))
        if found:
            rows.append(_row(f"{folder}/{name}", found, text))
    others = {
        "arrays.zarr": "the same arrays and more (residuals, bounds, signs), Zarr v3, one chunk a point",
        "points": "one JSON record a point: all numbers, and the SHA-256 of each of its files",
        "findings": "what was measured beside the points",
        "analysis.json": "branches, transitions, hysteresis, certificates",
        "landscape_analysis_results.json": "everything that the study found",
        "report.html": "the whole run in one page; open it in a browser",
        "configuration.toml": "the settings, to be run again",
        "run.json": "settings, versions, shapes of the parameter tensors, names of the classes",
        "plan.json": "the points, in the order of their places in `arrays.zarr`",
        "copies": "`run.json`, `plan.json` and the metadata of arrays once more, for `orograph doctor --repair`",
        "timings": "when and how long; the only files that differ between equal runs",
        "figures": "the sweep, and what an analysis found, as PNG and PDF",
    }
    for name, text in others.items():
        path = run.path / name
        if path.exists():
            rows.append(_row(name, [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()], text))
    legend = "`{ID}` is the seed of the network, `{L2}` its λ with five decimals or the fewest more that tell all apart."
    return "\n".join(["## Files", "", legend, "", "| path | files | size | content |", "|---|---|---|---|", *rows])


def columns_of(run: Run) -> dict[str, str]:
    """The columns of a table of points and what they are, in their order."""
    wording = run.wording
    usual = _COLUMNS if wording.nats else {name: text.replace(", in nats", "") for name, text in _COLUMNS.items()}
    found = {name: usual[name] for name in METRIC_COLUMNS[:-1]}
    for each in run.metrics:
        column = f"Test_{each['name'].capitalize()}"
        if not run.is_list(each["name"]):
            found[column] = usual.get(column, f"{_text(each['label'])} on the test set{_unit(each['unit'])}")
    return found


def _unit(unit: str) -> str:
    return {"%": " in percent", "1": ""}.get(unit, f" in {_text(unit)}")


def _row(name: str, found: list[Path], text: str) -> str:
    return f"| `{name}` | {len(found)} | {format_bytes(sum(path.stat().st_size for path in found))} | {text} |"


def _loading(run: Run) -> str:
    first = next((cell for cell, record in run.records.items() if record.status == "done"), None)
    stem = run.plan.name(first) if first else "0-0.00000"
    folder, _, point = stem.rpartition("/")
    place = f"{FOLDER}/{folder}/" if folder else f"{FOLDER}/"
    lines = ["import orograph as og  # pip install orograph", ""]
    kind = "an xarray.DataTree" if run.kind == "study" else "an xarray.Dataset, read from the disk when looked at"
    lines += [
        f'ds = og.open_run(".")  # {kind}',
        "print(ds)",
        "",
        "import numpy as np, pandas as pd, torch  # the files, without Orograph",
        "",
    ]
    if run.kind == "sweep":
        lines.append(f'table = pd.read_csv("{place}Model-{point.rpartition("-")[0]}.csv")')
    files = {
        "model_weights": ("pth", 'state = torch.load("{}", weights_only=True)'),
        "Hessian-eigenvalues": ("csv", 'eigenvalues = np.loadtxt("{}")'),
        "Hessian-eigenvectors": ("csv", 'eigenvectors = np.loadtxt("{}", delimiter=",")'),
        "gradients": (
            "csv",
            'gradient = {{line.split(": ")[0]: np.array(line.split(": ")[1].split(","), float) for line in open("{}")}}',
        ),
    }
    for what, (ending, text) in files.items():
        path = f"{place}{what}-{point}.{ending}"
        if (run.path / path).is_file():
            lines.append(text.format(path))
    return "\n".join(["## Loading", "", "```python", *lines, "```"])


def _loss(run: Run) -> str:
    problem = run.configuration.get("problem")
    return str(problem.get("loss")) if isinstance(problem, Mapping) else "cross_entropy"


def _counts(run: Run) -> list[str]:
    """What certificates say of the points and pairs of a sweep, in numbers."""
    points = [record.scalars for record in run.records.values()] if run.kind == "sweep" else []
    k = _setting(run, "spectrum", "k")
    found = []
    within, total = judged_pairs(run.records.values(), k) if points and isinstance(k, int) else (0, 0)
    if total:
        found.append(f"{within:,} of {total:,} eigenpairs are within the tolerance or at noise level; each has its `residual`.")
    if cut := sum(each.get("cut") is True for each in points):
        found.append(
            f"At {cut} points k splits a cluster of eigenvalues (`cut`): which of its members are recorded is arbitrary."
        )
    if polished := [each["polish_converged"] for each in points if each.get("polish_converged") is not None]:
        found.append(f"{sum(map(bool, polished))} of {len(points)} points are critical points of L_eff (`polish_converged`).")
    if frozen := sum(each.get("frozen") is True for each in points):
        found.append(f"{frozen} points equal their neighbour (`frozen`): training found nothing better.")
    return found


def _caveats(run: Run) -> str:
    found = _counts(run)
    if run.kind == "sweep" and not (_setting(run, "training", "polish") or _setting(run, "ending", "end") == "newton"):
        found.append("Points are where training stopped, not critical points; eigenvalues describe that state.")
    if "relu" in (_setting(run, "model", "activation"), *_setting(run, "architecture", "activation")):
        found.append("ReLU is not twice differentiable: second-order results leave out its kinks.")
    if run.kind == "sweep" and _loss(run) == "cross_entropy" and any(cell.strength == 0 for cell in run.plan.cells):
        found.append("At λ = 0 cross-entropy has no finite minimum; what is recorded there is where training stopped.")
    return "\n".join(["## What to know", "", *(f"- {text}" for text in found)]) if found else ""
