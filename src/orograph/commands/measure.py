"""The command `orograph measure`: a checkpoint, a model and data by name or by import, and the numbers as table, JSON, figure."""

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F

from orograph.commands.settings import MeasureSettings
from orograph.data.catalogue import load_data
from orograph.data.names import NAMES as DATASETS
from orograph.errors import ConfigurationError, DataError, unknown
from orograph.figures.eigenvalues import spectrum as draw_spectrum
from orograph.figures.style import save
from orograph.geometry.measurement import Measurement, measure
from orograph.models.catalogue import build_model
from orograph.models.checkpoint import load_checkpoint
from orograph.objective import Loss
from orograph.spectral.traces import Estimate
from orograph.store.atomic import write_bytes
from orograph.store.lookup import quantity
from orograph.store.names import require_free
from orograph.store.provenance import provenance
from orograph.work.progress import duration

_IN_95 = "in 95 %"  # what stands behind ± an interval


def measure_checkpoint(settings: MeasureSettings) -> int:
    """Loads, measures, shows and writes. Returns the exit code.

    Raises:
        OrographError: the checkpoint, the model, the data or an option cannot be used; nothing has been written then.
    """
    if not settings.checkpoint:
        raise ConfigurationError("measure needs a checkpoint: a .pth or .safetensors state dict.")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    data, shape = _data(settings)
    model = _model(settings, shape)
    model.load_state_dict(load_checkpoint(settings.checkpoint, model))
    stem = _stem(settings)
    group = process_group()
    first = group is None or torch.distributed.get_rank(group) == 0
    console = Console(stderr=settings.json_output)
    began = time.monotonic()
    with console.status("tracing") if first and not settings.quiet else nullcontext() as status:

        def on_product(name: str, count: int) -> None:
            assert status is not None
            status.update(f"{name}: product {count}, {duration(time.monotonic() - began)}")

        found = measure(
            model,
            _loss(settings.loss),
            data,
            k=settings.k,
            which=settings.which,
            tolerance=settings.tolerance,
            probes=settings.probes,
            trace_probes=settings.trace_probes,
            parameters=settings.parameters,
            memory=settings.memory,
            dtype=getattr(torch, settings.dtype),
            seed=settings.seed,
            group=group,
            on_product=None if status is None else on_product,
        )
    if not first:
        return 0
    fields = {"settings": settings.model_dump(), **provenance(torch.device("cpu")), **found.fields()}
    text = json.dumps(fields, indent=1, ensure_ascii=False)
    write_bytes(stem.with_name(f"{stem.name}.json"), text.encode())
    picture, _ = save(_figure(found, settings), stem)
    if settings.json_output:
        print(text)
    elif not settings.quiet:
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in rows(found):
            table.add_row(f"[bold]{name}", value)
        console.print(table)
        console.print(f"numbers in [bold]{stem}.json[/], picture [bold]{picture}[/]", highlight=False)
    return 0


def _stem(settings: MeasureSettings) -> Path:
    """Where to write, without endings: a strength in a name is no ending."""
    checkpoint = Path(settings.checkpoint)
    own = f"{checkpoint.stem}-measured"
    out = Path(settings.out or checkpoint.with_name(own))
    stem = out / own if out.is_dir() else out
    for ending in (".json", ".png", ".pdf"):
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
        "outliers": f"{'at least ' if edges.lower_bound else ''}{edges.count} above the bulk edge {edges.edge:.3g}"
        if edges
        else "no two positive pairs",
        "scaled_lambda_max": f"{square * found.lambda_max:.4g}",
        "scaled_trace": _with_error(square * found.trace.value, square * found.trace.margin, _IN_95),
        "smooth": "yes" if found.smooth else "no: the Hessian leaves out the kinks of the activation",
        "products": f"{found.products}, {found.plan}",
    }
    finite = found.companions
    values |= {name: f"{finite[name]:.5g}" for name in ("finite_lambda_max", "finite_lambda_min") if name in finite}
    if "finite_trace" in finite:
        values["finite_trace"] = _with_error(finite["finite_trace"], finite["finite_trace_margin"], _IN_95)
    return [(quantity(name).heading, value) for name, value in values.items()]


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
        title=f"{Path(settings.checkpoint).name}, {settings.data}: {found.parameters:,} parameters, {found.count:,} samples",
    )


def _data(settings: MeasureSettings) -> tuple[Iterable[Any], tuple[tuple[int, ...], int] | None]:
    """The batches, and for a named set the shape of an input and the number of classes."""
    if ":" in settings.data:
        return imported("`data`", settings.data)(), None
    if settings.data not in DATASETS:
        raise unknown("data set", settings.data, DATASETS)
    found = load_data(settings.data, data_dir=settings.data_dir, subset_size=settings.subset_size)
    return found.train, (found.input_shape, len(found.classes))


def _model(settings: MeasureSettings, shape: tuple[tuple[int, ...], int] | None) -> nn.Module:
    if ":" in settings.model:
        made = imported("`model`", settings.model)()
        if not isinstance(made, nn.Module):
            raise ConfigurationError(f"`model` {settings.model} gave {type(made).__name__}, not a torch.nn.Module.")
        return made
    if shape is None:
        raise ConfigurationError(f"`model` {settings.model} needs named data to know its input; use module:factory instead.")
    options = {"widths": settings.widths, "activation": settings.activation} if settings.model == "mlp" else {}
    return build_model(settings.model, input_shape=shape[0], classes=shape[1], init_seed=0, **options)


def _loss(name: str) -> Loss:
    if ":" in name:
        return imported("`loss`", name)
    found = getattr(F, name, None)
    if not callable(found):
        raise unknown("loss", name, [loss for loss in dir(F) if loss.endswith(("loss", "entropy"))])
    return found


def imported(flag: str, path: str) -> Callable[..., Any]:
    """The function that `module:name` means, looked for in the working directory too.

    Raises:
        ConfigurationError: there is no such module or name.
        DataError: importing the module fails.
    """
    module_name, _, name = path.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{flag} {path}: no module named '{error.name}'; run where it can be imported.") from None
    except Exception as error:  # whatever the user's module raises
        raise DataError(f"{flag} {path}: importing {module_name} failed with {type(error).__name__}: {error}.") from error
    if not callable(getattr(module, name, None)):
        raise ConfigurationError(f"{flag} {path}: module {module_name} has no function '{name}'.")
    return getattr(module, name)
