"""The command `orograph measure`: a checkpoint, a model and data by name or by import, and the numbers as table, JSON, figure."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn

from orograph.commands.brought import brought
from orograph.commands.settings import MeasureSettings
from orograph.errors import ConfigurationError, DataError, OrographError, shown
from orograph.figures.eigenvalues import spectrum as draw_spectrum
from orograph.figures.scans import coefficient_scan
from orograph.figures.style import save
from orograph.geometry.scores import scores
from orograph.measures.measurement import Measurement, measure
from orograph.measures.scan import coefficient_scan as scan
from orograph.measures.settings import named_blocks
from orograph.objective import Objective
from orograph.problem import Problem
from orograph.process import out_of_memory
from orograph.remarks import answer
from orograph.sources import first_line
from orograph.spectral.bulk import Outliers
from orograph.spectral.intervals import Estimate
from orograph.store.atomic import write_bytes
from orograph.store.encoding import json_text
from orograph.store.lookup import quantity
from orograph.store.names import require_free, run_around
from orograph.store.provenance import provenance
from orograph.work.bench import chosen_metrics
from orograph.work.progress import Working
from orograph.work.wide import show_table

_IN_95 = "in 95 %"  # what stands behind ± an interval
_ENDINGS = (".json", ".png", ".pdf")  # of what is written


def measure_checkpoint(settings: MeasureSettings) -> int:
    """Loads, measures, shows and writes. Returns the exit code.

    Raises:
        OrographError: the checkpoint, the model, the data or an option cannot be used; nothing has been written then.
    """
    if not settings.checkpoint:
        raise ConfigurationError("measure needs a checkpoint: a .pth or .safetensors state dict.")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    stem = _stem(settings)
    model, problem = brought(settings)
    given: dict[str, Any] = {"test": problem.test, "groups": problem.grouped() if settings.groups and problem.test else None}
    group = process_group()
    first = group is None or torch.distributed.get_rank(group) == 0
    console = Console(stderr=settings.json_output)
    with Working("tracing", console=console, quiet=settings.quiet or not first) as working:

        def on_product(name: str, count: int) -> None:
            working.say(f"{name}: product {count}")

        found = measured(
            settings,
            model,
            problem.loss,
            problem.train,
            k=settings.k,
            which=settings.which,
            tolerance=settings.tolerance,
            probes=settings.probes,
            trace_probes=settings.trace_probes,
            measures=settings.measures,
            blocks=named_blocks(settings.blocks) or "module",
            sampler=settings.sampler,
            kfac=settings.kfac,
            **given,
            parameters=settings.parameters,
            memory=settings.memory,
            dtype=getattr(torch, settings.dtype),
            seed=settings.seed,
            group=group,
            on_product=on_product,
        )
    if not first:
        return 0
    metrics = scored(settings, model, problem, alone=group is None)
    scanned = scan_of(settings, model, problem, found, alone=group is None, console=console)
    fields = {"settings": settings.model_dump(), **provenance(torch.device("cpu")), **found.fields(), **scanned, **metrics}
    text = json_text(fields)
    write_bytes(stem.with_name(f"{stem.name}.json"), text.encode())
    picture, _ = save(_figure(found, settings), stem)
    if scanned:
        save(coefficient_scan(scanned["coefficient_scan"], _title(found, settings)), stem.with_name(f"{stem.name}-scan"))
    if settings.json_output:
        answer(text)
    elif not settings.quiet:
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in [*rows(found), *metric_rows(metrics)]:
            table.add_row(Text(name, "bold"), Text(value))
        show_table(table, console)
        console.print(
            Text.assemble("numbers in ", (shown(f"{stem}.json"), "bold"), ", picture ", (shown(picture), "bold")), highlight=False
        )
    return 0


def measured(settings: MeasureSettings, *arguments: Any, **options: Any) -> Measurement:
    """`measure`, with whatever a person's own code raises beyond its first batch as one sentence.

    Raises:
        DataError: a model, a loss or data of one's own failed.
    """
    try:
        return measure(*arguments, **options)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        own = [name for name in ("model", "loss", "data") if ":" in getattr(settings, name)]
        if isinstance(error, OrographError) or out_of_memory(error) or not own:
            raise
        raise DataError(
            f"{' or '.join(f'`{name}`' for name in own)} failed after the first batch: {first_line(error)}."
        ) from error


def scored(settings: MeasureSettings, model: nn.Module, problem: Problem, *, alone: bool) -> dict[str, Any]:
    """The metrics that were asked for, and by group: fields of the JSON file; none where none was asked for.

    Raises:
        OrographError: a metric or the groups are none of these data.
    """
    if not settings.metrics and not settings.groups:
        return {}
    if not alone:
        raise ConfigurationError("`metrics` and `groups` are of one process; leave them out under torchrun.")
    chosen: dict[str, Any] = {"memory": settings.memory, "dtype": getattr(torch, settings.dtype)}
    objective = Objective(model, problem.loss, problem.train, **chosen)
    found = problem.grouped() if settings.groups else None
    names, labels = ((), None) if found is None else (found.names, found.train)
    values, by_group = scores(objective, objective.theta, chosen_metrics(problem, objective), labels=labels, groups=len(names))
    return {"metrics": values, **({"groups": {"names": list(names), **by_group}} if names else {})}


def scan_of(
    settings: MeasureSettings, model: nn.Module, problem: Problem, found: Measurement, *, alone: bool, console: Console
) -> dict[str, Any]:
    """The scan of the learning coefficient, a field of the JSON file; none where it was not asked for or cannot be had.

    Raises:
        ConfigurationError: there are several processes.
    """
    if not settings.llc_scan:
        return {}
    if not alone:
        raise ConfigurationError("`llc_scan` is of one process; leave it out under torchrun.")
    chosen: dict[str, Any] = {"memory": settings.memory, "dtype": getattr(torch, settings.dtype)}
    objective = Objective(model, problem.loss, problem.train, parameters=settings.parameters, **chosen)
    with Working("scanning", console=console, quiet=settings.quiet) as working:

        def on_cell(done: int, count: int) -> None:
            working.say(f"learning coefficients: {done} of {count}")

        try:
            return {
                "coefficient_scan": scan(
                    objective, found.lambda_max, sampler=settings.sampler, seed=settings.seed, on_cell=on_cell
                )
            }
        except OrographError as error:  # told beside what else was not measured; all else is kept
            found.failures["llc_scan"] = str(error)
            return {}


def metric_rows(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The metrics for reading, each over all samples, and by group behind that."""
    groups = fields.get("groups", {})
    told = []
    for name, value in fields.get("metrics", {}).items():
        parts = zip(groups.get("names", ()), groups.get(name, ()), strict=True) if name in groups else ()
        by_group = ", ".join(f"{group} {_values(part)}" for group, part in parts)
        told.append((name.replace("_", " "), _values(value) + (f" ({by_group})" if by_group else "")))
    return told


def _values(value: float | list[float]) -> str:
    return ", ".join(f"{each:.5g}" for each in (value if isinstance(value, list) else [value]))


def _stem(settings: MeasureSettings) -> Path:
    """Where to write, without endings: a strength in a name is no ending."""
    checkpoint = Path(settings.checkpoint)
    own = f"{checkpoint.stem}-measured"
    run = run_around(checkpoint)
    auto = checkpoint.with_name(own) if run is None else run.with_name(f"{run.name}-{own}")
    out = Path(settings.out or auto)
    stem = out / own if out.is_dir() else out.with_suffix("") if out.suffix in _ENDINGS else out
    if not out.is_dir():
        require_free(out)  # a device or a link that is named without its ending is meant as a file, too
    for ending in _ENDINGS:
        require_free(stem.with_name(f"{stem.name}{ending}"))
    return stem


def process_group() -> Any:
    """The processes that `torchrun` started together with this one, joined; None where it is alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    return torch.distributed.group.WORLD


def rows(found: Measurement) -> list[tuple[str, str]]:
    """The measurement for reading: a name and a value with its error a line."""
    square, index_, edges = found.parameter_norm**2, found.index, found.outliers
    ranks_ = found.ranks
    remarks = {
        ", k cuts a cluster": found.spectrum.cut,
        ", copies of multiple eigenvalues may be missing": not found.spectrum.searched,
    }
    noise = int(found.spectrum.noise.sum())
    loose = int((~found.spectrum.converged).sum())
    pairs = f"{len(found.spectrum.eigenvalues)} pairs by {found.spectrum.which}, {loose} unconverged, {noise} at noise"
    k = ranks_.k
    values = {
        "loss": f"{found.loss:.6g}",
        "gradient_norm": f"{found.gradient_norm:.3e}",
        "parameter_norm": f"{found.parameter_norm:.4g}",
        "eigenvalue": pairs + "".join(text for text, said in remarks.items() if said),
        "lambda_max": _with_error(found.lambda_max, float(found.largest.residuals[0]), "residual"),
        "lambda_min": _with_error(index_.lowest, index_.residual, "residual"),
        "negative_eigenvalues": f"{'at least ' if index_.lower_bound else ''}{index_.count}",
        "trace": _estimate(found.trace),
        "frobenius_square": _estimate(found.density.frobenius),
        f"effective_rank_top_{k}": f"{ranks_.effective_rank:.3g}",
        f"entropy_rank_top_{k}": f"{ranks_.entropy_rank:.3g}",
        "entropy_rank": _estimate(ranks_.full_entropy_rank),
        "participation_ratio": _estimate(ranks_.participation_ratio),
        "outliers": _outliers(edges),
        "scaled_lambda_max": f"{square * found.lambda_max:.4g}",
        "scaled_trace": _with_error(square * found.trace.value, square * found.trace.margin, _IN_95),
        "smooth": _smooth(found),
        "products": f"{found.products}, {found.plan}",
    }
    finite = found.companions
    values |= {name: f"{finite[name]:.5g}" for name in ("finite_lambda_max", "finite_lambda_min") if name in finite}
    if "finite_trace" in finite:
        values["finite_trace"] = _with_error(finite["finite_trace"], finite["finite_trace_margin"], _IN_95)
    told = [(quantity(name).heading, value) for name, value in (values | measure_rows(found.measures)).items()]
    return [*told, *((name, f"not measured: {why.rstrip('.')}") for name, why in found.failures.items())]


def measure_rows(found: Mapping[str, Any]) -> dict[str, str]:
    """The measures that were asked for, each with what its error is; of layers, a number for each. The file has other lists."""
    layers, told = str(found.get("block_names", "")).split(", "), {}
    for name, value in found.items():
        if isinstance(value, list):
            if quantity(name).dims == ("block",):
                told[name] = ", ".join(f"{layer} {each:.5g}" for layer, each in zip(layers, value, strict=True))
        elif not isinstance(value, str) and not name.endswith(("_error", "_margin")):
            told[name] = _with_error(value, found.get(f"{name}_margin", math.nan), _IN_95)
    return told


def _smooth(found: Measurement) -> str:
    if found.kink:
        return f"no: a kink at these very parameters, by {found.kink}"
    return "yes" if found.smooth else "no: the Hessian leaves out the kinks of the activation"


def _outliers(found: Outliers | None) -> str:
    """What stands above the largest gap between neighbours is told first: the bulk's own tail lies above its edge too."""
    if found is None:
        return "no two positive pairs"
    more = " or more" if found.lower_bound else ""
    edge = f"{found.count}{more} above the bulk edge {found.edge:.3g}"
    return f"{found.above_gap} above the largest gap, a factor of {math.exp(found.gap):.3g}; {edge}"


def _estimate(found: Estimate) -> str:
    return _with_error(found.value, found.margin, _IN_95)


def _with_error(value: float, error: float, what: str) -> str:
    return f"{value:.5g}" if math.isnan(error) else f"{value:.5g} ± {error:.2g} ({what})"


def _figure(found: Measurement, settings: MeasureSettings) -> Any:
    density = found.density
    return draw_spectrum(
        found.spectrum.eigenvalues,
        found.spectrum.residuals,
        noise_level=found.spectrum.noise_level,
        density=(density.grid, density.values, density.errors),
        edge=found.outliers.edge if found.outliers else None,
        title=_title(found, settings),
    )


def _title(found: Measurement, settings: MeasureSettings) -> str:
    return f"{Path(settings.checkpoint).name}, {settings.data}: {found.parameters:,} parameters, {found.count:,} samples"
