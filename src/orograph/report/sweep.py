"""What the report of a sweep shows: every chain with its scalars and small arrays, and what an analysis found."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from orograph.analysis.command import FILE as ANALYSIS
from orograph.errors import RunError
from orograph.figures.sweeps import stretched_from
from orograph.report.about import about
from orograph.report.packing import packed
from orograph.report.shapes import Analysis, require
from orograph.sources import MEMORY
from orograph.store.analysis import of_another
from orograph.store.dataset import open_sweep
from orograph.store.encoding import decode
from orograph.store.lookup import described, tables_of
from orograph.store.part import WHOLE, Part, chosen_of
from orograph.store.run import Run

# Arrays that are shown at one point; eigenvalues are kept exactly, for the tables that readers save.
ARRAYS = ("eigenvalue", "residual", "noise", "converged", "branch", "class_share", "density_grid", "density")
BLOCKS = (
    *("block_lambda_max", "block_trace", "block_effective_rank", "block_kfac_error"),
    *("block_learning_coefficient", "block_quadratic_coefficient"),
)  # of layers
INFLUENCE = ("influence", "influence_residual", "influence_polishing")  # of classes
BY_METRIC = ("class_", "group_", "train_", "test_")  # what a list of a metric is named by, which goes by group or by output
BINS = np.arange(-12.0, 2.01, 0.25)  # of log₁₀|∂L/∂θᵢ|
_NUMBER = re.compile(r"\d[\d.,]*(?:e[+-]?\d+)?")


def sweep_data(run: Run, part: Part = WHOLE) -> dict[str, Any]:
    """All that the page of a sweep, or of a part of it, is made of, as plain values and packed arrays."""
    ds = chosen_of(open_sweep(run), part)
    chains = [
        _chain(run, ds.sel(seed=seed, direction=direction))
        for seed in ds.seed.values
        for direction in ds.direction.values
        if (ds.status.sel(seed=seed, direction=direction) != "missing").any()
    ]
    names = dict.fromkeys(name for chain in chains for name in (*chain["scalars"], *chain["texts"], *chain["arrays"]))
    configuration, wording = run.configuration, run.wording
    return {
        "kind": "sweep",
        "title": f"{_called(configuration, 'model', 'model')} on {_called(configuration, 'data', 'dataset')}: "
        f"{run.path.resolve().name}",
        "about": about(run),
        "part": part.in_words(run),
        "planned": sum(map(part.holds, run.plan.cells)),
        "recorded": sum(map(part.holds, run.records)),
        "parameters": sum(int(np.prod(shape)) for shape in run.tensors.values()),
        "classes": list(run.classes),
        "tensors": list(run.tensors),
        "blocks": [str(each) for each in ds.block.values] if "block" in ds.coords else [],
        "missing": _missing(run, part),
        "gradient_bins": BINS.tolist(),
        "quantities": described(names, wording),
        "tables": tables_of([each["name"] for each in run.metrics]),
        "metrics": [{"name": each["name"], "label": each["label"]} for each in run.metrics],
        "grouping": wording.grouping,
        "score": wording.score.label if wording.score else "",
        "endless": _endless(configuration),
        "stretched_from": stretched_from(ds),
        "chains": chains,
        "analysis": _analysis(run, part),
    }


def _missing(run: Run, part: Part) -> list[dict[str, Any]]:
    """Measures that points do not have, with the reason and how many: what many lack for one reason is told once, in the words of
    the first."""
    failures = [record.scalars.get("failures") for cell, record in run.records.items() if part.holds(cell)]
    found: dict[tuple[str, str], list[str]] = {}
    for name, why in (item for each in failures if isinstance(each, Mapping) for item in each.items()):
        found.setdefault((name, _NUMBER.sub("", str(why))), []).append(str(why))
    return [{"name": name, "why": whys[0], "points": len(whys), "same": len(set(whys)) == 1} for (name, _), whys in found.items()]


def _analysis(run: Run, part: Part) -> dict[str, Any] | None:
    path = run.path / ANALYSIS
    if not path.exists():
        return None
    again = f"orograph analyze {run.path}"
    if of_another(run, results := decode(path)):
        raise RunError(f"{path} was found in another run; have it made anew by: {again}.")
    found = require(Analysis, results, path, again)
    return found if part.whole else _of_part(found, part)


def _of_part(analysis: Mapping[str, Any], part: Part) -> dict[str, Any]:
    """What an analysis found of a part: what belongs to a place on the ladder where the part has it; coincidences, classes and
    areas, which belong to a whole ladder, where the part has all of that.
    """
    chains = []
    for each in analysis["chains"]:
        if not part.has_seed(each["seed"]):
            continue
        within = {
            "meetings": [one for one in each["meetings"] if _meets(part, one["strength"], one["strength"])],
            "transitions": [one for one in each["transitions"] if _meets(part, one["change"]["low"], one["change"]["high"])],
            "changes": {
                name: [one for one in found if _meets(part, one["low"], one["high"])] for name, found in each["changes"].items()
            },
        }
        ladder: dict[str, Any] = {} if part.strengths is None else {"coincidences": [], "class_relations": []}
        chains.append({**each, **within, **ladder})
    loops = [one for one in analysis["loops"] if part.has_seed(one["seed"]) and _meets(part, one.get("low"), one.get("high"))]
    areas = [one for one in analysis["loop_areas"] if part.has_seed(one["seed"]) and part.strengths is None]
    return {**analysis, "chains": chains, "loops": loops, "loop_areas": areas, "commands": {}}


def _meets(part: Part, low: Any, high: Any) -> bool:
    """Whether a stretch reaches into a part; one whose ends are no numbers is shown."""
    return not all(isinstance(end, int | float) for end in (low, high)) or part.meets(low, high)


def _endless(configuration: Mapping[str, Any]) -> bool:
    """Whether the loss has no finite minimum where samples can be told apart without error."""
    return _of(configuration, "problem", "loss") in ("sweep", "model", "cross_entropy")


def _called(configuration: Mapping[str, Any], table: str, name: str) -> str:
    return _of(configuration, table, name).removeprefix(MEMORY)


def _of(configuration: Mapping[str, Any], table: str, name: str) -> str:
    values = configuration.get(table)
    return str(values.get(name, "model")) if isinstance(values, Mapping) else "sweep"


def _chain(run: Run, line: xr.Dataset) -> dict[str, Any]:
    """One seed and direction, its recorded points in ascending order of λ."""
    line = line.isel(strength=np.flatnonzero(line.status.values != "missing"))
    own = {str(name): variable for name, variable in line.data_vars.items() if variable.dims == ("strength",)}
    found: dict[str, Any] = {
        "seed": int(line.seed),
        "direction": str(line.direction.values),
        "strengths": line.strength.values.tolist(),
        "scalars": {name: each.values.tolist() for name, each in own.items() if each.dtype.kind == "f"},
        "texts": {name: each.values.tolist() for name, each in own.items() if each.dtype.kind == "O"},
        "arrays": {},
    }
    lists = [f"{kind}{each['name']}" for each in run.metrics for kind in BY_METRIC]
    for name in (*ARRAYS, *BLOCKS, *INFLUENCE, *lists):
        if name in line and len(line[name].dims) > 1 and np.isfinite(values := line[name].values).any():
            found["arrays"][name] = packed(values, exact=name == "eigenvalue")
    if "gradient" in line:
        norms, counts = gradient_summary(line["gradient"], run.tensors)
        found["arrays"] |= {"tensor_gradient_norm": packed(norms), "gradient_counts": packed(counts)}
    return found


def gradient_summary(
    gradient: xr.DataArray, tensors: Mapping[str, tuple[int, ...]]
) -> tuple[Float[np.ndarray, "points tensors"], Float[np.ndarray, "points bins"]]:
    """Of ∇L at each point: its norm on every parameter tensor, and how many entries have which magnitude.

    Args:
        gradient: dims `strength, parameter`; one point is read at a time.
        tensors: shape by name, in the order of the parameters.
    """
    ends = np.cumsum([int(np.prod(shape)) for shape in tensors.values()])
    norms = np.full((gradient.sizes["strength"], len(ends)), np.nan)
    counts = np.zeros((len(norms), len(BINS) - 1))
    for index in range(len(norms)):
        values = gradient.isel(strength=index).values.astype(np.float64)
        if not np.isfinite(values).all():
            continue
        norms[index] = [np.linalg.norm(part) for part in np.split(values, ends[:-1])]
        with np.errstate(divide="ignore"):
            counts[index] = np.histogram(np.clip(np.log10(np.abs(values)), BINS[0], BINS[-1]), BINS)[0]
    return norms, counts
