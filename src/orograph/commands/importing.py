"""The command `orograph import`: published artifacts made elsewhere become a run, verified on the way, that analyses work on.

Files say what their maker found; a run holds what was measured. So every point is measured again at the imported weights (a few
passes over the data), and each imported eigenpair gets its residual from a product in float64, which certifies it whoever it is
from. What the files claimed is kept beside it (`claimed_…`), and the largest differences are told.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from rich.console import Console
from rich.text import Text
from torch import Tensor

from orograph.commands.settings import ImportSettings
from orograph.curvature.hessian import HessianOperator
from orograph.errors import ConfigurationError, RunError, shown
from orograph.memory import parse_bytes
from orograph.models.checkpoint import load_checkpoint
from orograph.settings.shared import Execution
from orograph.spectral.spectrum import Spectrum, certified
from orograph.store.atomic import require_writable
from orograph.store.cells import Cell
from orograph.store.copies import ANCHOR
from orograph.store.marker import read_marker
from orograph.store.names import MARKER
from orograph.store.provenance import provenance
from orograph.store.published import Artifacts, find_artifacts, read_eigenvalues, read_gradient, read_pairs
from orograph.store.resume import begun_run, recorded_settings
from orograph.store.run import Run
from orograph.store.spectra import commit_spectrum, has_vectors, judged_pairs, recorded_spectrum
from orograph.sweep.bench import Bench
from orograph.sweep.point import measure_points
from orograph.sweep.progress import describe
from orograph.sweep.settings import LadderSettings, SpectrumSettings, SweepNumerics, SweepSettings
from orograph.sweep.surroundings import Saved, differing, saved_in
from orograph.work.problems import as_begun
from orograph.work.progress import WorkProgress

_CLAIMS = {"Train_Loss": "train_loss", "Train_Reg_Loss": "objective", "Test_Loss": "test_loss"}


def import_run(settings: ImportSettings) -> int:
    """The command. Returns the exit code.

    Raises:
        OrographError: the files are not those of this model, or an option cannot be used.
    """
    if not settings.folder:
        raise ConfigurationError("import needs a folder of published artifacts.")
    folder = Path(settings.folder)
    points, source = find_artifacts(folder), own_run(folder)
    own = None if source is None else own_settings(source)
    settings = settings if own is None else taken_from(own, settings)
    out = Path(settings.execution.out or f"runs/{folder.resolve().name}")
    require_writable(out)
    if out.resolve() == folder.resolve() and not (out / MARKER).exists():
        raise ConfigurationError(f"`out` {out} is the folder that is imported; choose another, its files are left as they are.")
    begun = begun_run(out, "sweep")
    if begun is None:
        settings.model.require_taken()
    sweep = sweep_settings(settings, points, source)
    if own is not None:
        sweep = sweep.model_copy(update={"training": own.training})
    sweep = sweep.model_copy(update={"problem": as_begun(settings.problem, begun.configuration if begun else None)})
    alone = settings.anchor.anchor == "origin"

    def saved() -> Saved:
        return saved_in(begun) or (points[0].weights if alone else None)

    bench = Bench.prepare(sweep, Execution(data_dir=settings.execution.data_dir), saved=saved)
    sweep = sweep.model_copy(update={"problem": bench.settings.problem})
    bench.instruments.settings = sweep.spectrum.model_copy(update={"k": 0})  # pairs come from the files
    layout = bench.layout
    room, states = parse_bytes(sweep.numerics.memory), dict[Cell, dict[str, Tensor]]()
    for point in points:  # all of them before the folder is made: what it is begun with is not changed by the next command
        if begun is None or point.cell not in begun.records:
            state = read_weights(bench, point)
            room -= sum(tensor.nbytes for tensor in state.values())
            if room >= 0:  # read once; what memory does not hold is read again
                states[point.cell] = state
    console = Console(stderr=True)
    with Run.create(
        out,
        kind="sweep",
        configuration=stated(sweep, out),
        numerics=bench.settings.numerics.model_dump(),
        provenance={**provenance(bench.device), "imported": {"from": folder.resolve().name, "training": "not known"}},
        cells=[point.cell for point in points],
        classes=bench.instruments.names,
        metrics=bench.instruments.metrics,
        tensors=dict(zip(layout.names, layout.shapes, strict=True)),
    ) as run:
        bench.settle(run)
        differences: dict[str, float] = {}
        with WorkProgress("points", len(points), quiet=settings.execution.quiet) as progress:
            progress.passed(len(run.records), len(run.records))
            for point in points:
                if point.cell not in run.records:
                    import_point(bench, run, point, states.pop(point.cell, None), settings, source, differences)
                    name = f"{point.cell.model_id}, λ = {point.cell.strength:g}"
                    progress.completed(name, describe({"status": "done", **run.records[point.cell].scalars}, run.score))
    if not settings.execution.quiet:
        told = ", ".join(f"{name} {value:.2g}" for name, value in differences.items())
        differ = f"; files differ from what was measured by at most: {told}" if told else ""
        counted = f": {len(points)} points{verified_pairs(run, sweep.spectrum.k, settings.tolerance)}{differ}"
        console.print(Text.assemble((shown(out), "bold"), counted), highlight=False)
    return 0


def verified_pairs(run: Run, k: int, tolerance: float) -> str:
    """How many pairs of an imported run were multiplied again, and how many of them are within the tolerance."""
    (within, judged), recorded = judged_pairs(run.records.values(), k), k * len(run.records)
    if not judged:
        return ", no eigenvectors to verify" if k else ""
    rest = f", {recorded - judged:,} without eigenvectors" if judged < recorded else ""
    return f", {judged:,} pairs verified by a product each: {within:,} within the tolerance {tolerance:g}{rest}"


def own_run(folder: Path) -> Run | None:
    """The sweep of this program whose folder is imported; None of files that are made elsewhere."""
    marker = read_marker(folder)
    return None if marker is None or marker["kind"] != "sweep" else Run.open(folder)


def own_settings(run: Run) -> SweepSettings:
    """What a sweep of this program was made with, its kept anchor named by its file."""
    own = recorded_settings(run, SweepSettings)
    kept = run.kept(ANCHOR)
    return own if kept is None else own.model_copy(update={"anchor": own.anchor.model_copy(update={"anchor": str(kept)})})


def taken_from(own: SweepSettings, settings: ImportSettings) -> ImportSettings:
    """The settings with what a run of one's own says of itself in place of what was not given."""
    found: dict[str, Any] = {
        name: getattr(own, name)
        for name in ("data", "model", "problem", "anchor")
        if getattr(settings, name) == type(getattr(own, name))()
    }
    usual = type(settings).model_fields
    found |= {
        name: getattr(own.spectrum, name)
        for name in ("hessian", "which", "tolerance")
        if getattr(settings, name) == usual[name].default
    }
    if settings.numerics.dtype == type(settings.numerics).model_fields["dtype"].default:
        found["numerics"] = settings.numerics.model_copy(update={"dtype": own.numerics.dtype})
    return settings.model_copy(update=found)


def stated(sweep: SweepSettings, out: Path) -> dict[str, Any]:
    """What was given, without what stands at a default that nobody chose: how the points were trained, and their ladder's making.

    Runs that an earlier version imported state it all, and go on to do so.
    """
    full = sweep.configuration()
    if (out / MARKER).exists() and Run.open(out).configuration == full:
        return full
    kept = {"ladder": ("strengths", "direction"), "training": ("polish_tolerance",)}  # the latter is the limit of certificates
    return {
        table: {name: value for name, value in values.items() if name in kept.get(table, values)}
        for table, values in full.items()
    }


def sweep_settings(settings: ImportSettings, points: list[Artifacts], source: Run | None = None) -> SweepSettings:
    """The settings of a sweep with these points; those of its training are not known and stand at their defaults."""
    cells = [point.cell for point in points]
    ways = {cell.direction for cell in cells}
    counts = {point.eigenvalues: len(read_eigenvalues(point.eigenvalues)) for point in points if point.eigenvalues}
    k = next(iter(counts.values()), 0)
    for file, count in counts.items():  # all before anything is computed: an import takes its time
        if count != k:
            raise RunError(f"{file} holds {count} eigenvalues, other files {k}; make them alike.")
    keep: Any = "both"
    if not all(point.eigenvectors for point in points):
        keep = "zarr" if all(vectors_in(source, cell) for cell in cells) else "none"
    if k and not settings.tolerance < 1:
        raise ConfigurationError(f"`tolerance` {settings.tolerance} must lie between 0 and 1")
    return SweepSettings(
        data=settings.data,
        model=settings.model,
        problem=settings.problem,
        ladder=LadderSettings(
            strengths=tuple(sorted({cell.strength for cell in cells})), direction="both" if len(ways) > 1 else ways.pop()
        ),
        anchor=settings.anchor.model_copy(update={"seeds": tuple(sorted({cell.seed for cell in cells}))}),
        spectrum=SpectrumSettings(
            k=k, which=settings.which, tolerance=settings.tolerance, hessian=settings.hessian, eigenvectors=keep
        ),
        numerics=SweepNumerics(**settings.numerics.model_dump()),
    )


def read_weights(bench: Bench, point: Artifacts) -> dict[str, Tensor]:
    """The state dict of a point, of a network that is that of the run but for θ and the buffers of its state.

    Raises:
        OrographError: it is of another network.
    """
    state = load_checkpoint(point.weights, bench.model, dtype=bench.instruments.train.dtype)
    if (name := differing(bench.around, state)) is not None:
        raise RunError(
            f"{point.weights} has another '{name}' than the first point, or the anchor, and it is not in θ: a run is of one "
            "network; import points that differ in θ alone, or give a larger `parameters`."
        )
    return state


def import_point(
    bench: Bench,
    run: Run,
    point: Artifacts,
    known: dict[str, Tensor] | None,
    settings: ImportSettings,
    source: Run | None,
    differences: dict[str, float],
) -> None:
    """Reads one point, unless its weights are known, measures and commits it."""
    state = read_weights(bench, point) if known is None else known
    theta, buffers = bench.states.split(bench.states.of_saved(bench.instruments.train, state))
    instruments = bench.measuring(buffers)
    [measured] = measure_points(instruments, [theta], [point.cell.strength])
    gradient = bench.layout.unflatten(measured.gradient)
    scalars = dict(measured.scalars)
    columns = {f"Test_{each.name.capitalize()}": f"test_{each.name}" for each in bench.instruments.metrics}
    for column, name in (_CLAIMS | columns).items():
        if column in point.metrics and isinstance(scalars.get(name), float):
            scalars[f"claimed_{name}"] = point.metrics[column]
            _note(differences, name, abs(point.metrics[column] - scalars[name]))
    if point.gradient is not None:
        claimed = read_gradient(point.gradient, run.tensors)
        apart = (
            sum(float(((gradient[name].double().cpu() - torch.from_numpy(g)) ** 2).sum()) for name, g in claimed.items()) ** 0.5
        )
        scalars["claimed_gradient_difference"] = apart
        _note(differences, "gradient", apart)
    spectrum: Spectrum | None = None
    bare: dict[str, Any] = {}  # eigenvalues that nothing certifies
    if point.eigenvalues is not None:
        pairs, rows = pairs_of(point, bench.layout.size, source)
        values = torch.from_numpy(pairs)
        if rows is None:
            bare = {"eigenvalues": values}
        else:
            operator = instruments.hessian.at(theta)
            shift = 2 * point.cell.strength if settings.hessian == "objective" else 0.0
            spectrum = imported_spectrum(operator, values, torch.from_numpy(rows), shift, settings.tolerance, settings.which)
            _note(differences, "‖Hv − λv‖", spectrum.residuals.max().item())
    commit_spectrum(
        run,
        point.cell,
        spectrum,
        hessian=settings.hessian,
        keep=bench.settings.spectrum.eigenvectors,
        scalars=scalars,
        arrays={"theta": theta},
        weights=state,
        gradient=gradient,
        timings=measured.seconds,
        **bare,
    )


def vectors_in(source: Run | None, cell: Cell) -> bool:
    """Whether the arrays of the run whose folder is imported, if it is one, hold eigenvectors of a point."""
    return source is not None and cell in source.records and has_vectors(source, cell)


def pairs_of(
    point: Artifacts, parameters: int, source: Run | None
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, "k P"] | None]:
    """The pairs of a point: of its files, else of the arrays of a run of this program, which may alone hold eigenvectors."""
    if point.eigenvectors is None and source is not None and vectors_in(source, point.cell):
        found = recorded_spectrum(source, point.cell)
        vectors = found.eigenvectors.double()
        return found.eigenvalues.double().numpy(), (vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True)).numpy()
    return read_pairs(point, parameters)


def imported_spectrum(
    operator: HessianOperator,
    values: Float64[Tensor, " k"],
    vectors: Float64[Tensor, "k P"],
    shift: float,
    tolerance: float,
    which: str = "LM",
) -> Spectrum:
    """What pairs certify, by a float64 product each: rounding is no part of these residuals, so no noise is set apart.

    Args:
        operator: the Hessian of L.
        values, vectors: the pairs, descending.
        shift: 2λ where they are of L_eff.
        tolerance: what converged means.
        which: of the pairs these are.
    """
    exact = operator.double()
    assert exact is not None
    rows = vectors.to(exact.device)
    products = torch.stack([(exact @ row).cpu() for row in rows]) + shift * vectors
    residuals = torch.linalg.vector_norm(products - values[:, None] * vectors, dim=1)
    rows = vectors.to(operator.dtype)
    return certified(values, rows, residuals, tolerance=tolerance, which=which, products=len(values))


def _note(differences: dict[str, float], name: str, value: float) -> None:
    differences[name] = float(np.nanmax([differences.get(name, 0.0), value]))
