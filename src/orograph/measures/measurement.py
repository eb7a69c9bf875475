"""All numbers of one minimum: loss, gradient, spectrum, density, trace, ranks, index and their scale-aware companions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from orograph.arguments import checked
from orograph.blockwise.kronecker import Kind
from orograph.blockwise.parts import By, partition
from orograph.brief import brief
from orograph.curvature.counting import OnProduct, renamed
from orograph.curvature.determinism import check_data
from orograph.curvature.hessian import HessianOperator
from orograph.degeneracy.sampling import Sampler
from orograph.errors import ConfigurationError
from orograph.geometry.epsilon_sharpness import finite_trace
from orograph.geometry.smoothness import finite_companions, is_smooth
from orograph.measures.settings import chosen
from orograph.measures.table import take
from orograph.memory import DEFAULT_MEMORY
from orograph.objective import Loss, Objective
from orograph.problem import Groups
from orograph.spectral.bulk import Outliers, outliers
from orograph.spectral.densities import Density, density, require_density
from orograph.spectral.effective_ranks import Ranks, ranks
from orograph.spectral.eigenpairs import Which, lanczos
from orograph.spectral.intervals import Estimate, estimate_fields
from orograph.spectral.morse_index import Index, index
from orograph.spectral.spectrum import Spectrum
from orograph.spectral.traces import trace

_LOWEST = 3  # pairs of the lower end: λ_min, and whether the index goes on
_EXACT = 4  # times the probes: of so few parameters the trace is taken exactly, for fewer products than the density's


@brief
@dataclass(frozen=True, eq=False)
class Measurement:
    """What `measure` found at θ.

    Attributes:
        loss: L(θ), over all data.
        gradient_norm: ‖∇L(θ)‖.
        parameter_norm: ‖θ‖.
        count: N, the number of samples.
        over: what the loss is averaged over, in words: samples, targets that count, class weights, batches; `sum`: nothing.
        parameters: P.
        smooth: whether the loss is C² in θ; if not, the Hessian leaves out the kinks (ReLU).
        kink: a parameter by which the loss has a kink at θ itself (a ReLU of zeros), where no Hessian is; empty if none has.
        spectrum: the k pairs asked for.
        largest: pairs that hold λ_max: the same, unless those are of the lower end or all negative.
        lowest: a few pairs of the lower end.
        index: what all these show.
        density: of all eigenvalues, normalised to 1.
        trace: XTrace's, sharper than the density's own.
        ranks: of the k pairs and of the whole spectrum.
        outliers: None where fewer than two pairs are positive.
        companions: curvature at a finite radius, where the loss is not C² (and one process measures).
        method: how products were computed.
        plan: what was chosen for that, in one line.
        products: how many, in all.
        measures: what else was asked for, as `orograph.measures.take` gives it.
        failures: why a measure of these was not taken, by its name.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.eye(9), torch.arange(9) % 2)]
        >>> found = og.measure(torch.nn.Linear(9, 2), torch.nn.CrossEntropyLoss(), data, k=2, steps=9)
        >>> found.count, found.smooth, found.lowest.which
        (9, True, 'SA')
    """

    loss: float
    gradient_norm: float
    parameter_norm: float
    count: int
    over: str
    parameters: int
    smooth: bool
    kink: str
    spectrum: Spectrum
    largest: Spectrum
    lowest: Spectrum
    index: Index
    density: Density
    trace: Estimate
    ranks: Ranks
    outliers: Outliers | None
    companions: dict[str, float]
    method: str
    plan: str
    products: int
    measures: dict[str, Any]
    failures: dict[str, str]

    @property
    def lambda_max(self) -> float:
        """The largest eigenvalue, whichever pairs were asked for."""
        return float(self.largest.eigenvalues[0])

    def fields(self) -> dict[str, Any]:
        """What the JSON file holds.

        Returns:
            Plain values by name, with the units of the registry of quantities.
        """
        found, square = self.outliers, self.parameter_norm**2
        return {
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
            "parameter_norm": self.parameter_norm,
            "samples": self.count,
            "averaged_over": self.over,
            "parameters": self.parameters,
            "smooth": self.smooth,
            "kink": self.kink or None,
            "lambda_max": self.lambda_max,
            "lambda_max_residual": float(self.largest.residuals[0]),
            "lambda_min": self.index.lowest,
            "lambda_min_residual": self.index.residual,
            "negative_eigenvalues": self.index.count,
            "negative_eigenvalues_lower_bound": self.index.lower_bound,
            **estimate_fields("trace", self.trace),
            **estimate_fields("frobenius_square", self.density.frobenius),
            "scaled_lambda_max": square * self.lambda_max,
            **estimate_fields("scaled_trace", self.trace, square),
            **self.companions,
            **self.ranks.fields(),
            "outliers": found.count if found else None,
            "bulk_edge": found.edge if found else None,
            "outlier_gap": found.gap if found else None,
            "method": self.method,
            "plan": self.plan,
            "products": self.products,
            **self.spectrum.fields(),
            "density_grid": self.density.grid.tolist(),
            "density_values": self.density.values.tolist(),
            "density_errors": self.density.errors.tolist(),
            **self.measures,
            **({"failures": self.failures} if self.failures else {}),
        }


@checked
def measure(
    model: nn.Module,
    loss: Loss,
    data: Iterable[Any],
    *,
    k: int = 30,
    which: Which = "LM",
    tolerance: float = 1e-3,
    probes: int = 6,
    steps: int = 80,
    trace_probes: int = 16,
    measures: Sequence[str] = (),
    test: Iterable[Any] | None = None,
    groups: Groups | None = None,
    blocks: By = "module",
    sampler: Sampler = "sgld",
    kfac: Kind = "kfac",
    parameters: str = "*",
    memory: str | int = DEFAULT_MEMORY,
    dtype: torch.dtype | None = None,
    seed: int = 0,
    group: Any = None,
    on_product: OnProduct | None = None,
) -> Measurement:
    """All numbers of a model at its present parameters.

    Args:
        model: any module; evaluated in eval mode.
        loss: `(output, target) → ` one value per sample, a mean or a sum; what a standard loss averages over is kept.
        data: re-iterable of `(inputs, targets)`.
        k: how many eigenpairs, below P; 1 where P is 1.
        which: of the spectrum, as `lanczos` takes it.
        tolerance: of ‖Hv − λv‖/|λ|, as `lanczos` takes it.
        probes: of the density; each costs `steps` products. At least 3 give ranks their error, and the pairs of the spectrum make
            tr H² and ranks many times sharper than probes alone.
        steps: of the density.
        trace_probes: of XTrace, two products each; of up to four times as many parameters the trace is exact.
        measures: also these, of `layers`, `llc`, `llc-layers`, `sharpening`, `sam`, `asymmetry`, `influence`, `kfac`; or `all`
            alone; see `orograph.measures.take`.
        test: data like `data`, whose loss `influence` is on; None where there are none.
        groups: of training and test samples, in place of classes, for `influence`.
        blocks: of `layers` and `llc-layers`, as `orograph.blockwise.partition` takes them.
        sampler: of `llc` and `llc-layers`: `sgld`, or `rmsprop`, preconditioned.
        kfac: what `kfac` is of: `kfac` or `ekfac`.
        parameters: comma-separated globs of the parameter names that make up θ.
        memory: budget for activations and residuals.
        dtype: of θ and all products; the module's own when None.
        seed: of all random vectors.
        group: a process group of `torch.distributed`. Every process calls this with the same arguments and takes its share of the
            samples and of the Lanczos basis; the eigenvectors of the result are then this process's part of them.
        on_product: called with what is being computed and the products it took so far; see `orograph.curvature.counting`.

    Returns:
        Every number with its error where it is estimated; `str` gives them for reading, losses in nat where they are
        cross-entropies.

    Raises:
        ConfigurationError: an argument is out of range, or the model gives two outputs for one input.
        DataError: the data cannot be used, or a product is not finite.

    Examples:
        >>> import torch, orograph as og
        >>> data = [(torch.eye(9), torch.arange(9) % 2)]
        >>> found = og.measure(torch.nn.Linear(9, 2), torch.nn.CrossEntropyLoss(), data, k=2, steps=9)
        >>> found.spectrum.eigenvalues.shape, found.parameters
        (torch.Size([2]), 20)
    """
    objective = Objective(model, loss, data, parameters=parameters, memory=memory, dtype=dtype)
    size = objective.layout.size
    if not 1 <= k < max(2, size):
        most = f"below P = {size}" if size > 1 else "no more than P = 1"
        raise ConfigurationError(f"`k` {k} must be at least 1 and {most}, the number of parameters.")
    asked = chosen(tuple(measures))
    if asked and group is not None:
        raise ConfigurationError(f"`measures` {','.join(asked)} are of one process; leave them out, or leave out `group`.")
    on = None if test is None else Objective(model, loss, test, parameters=parameters, memory=memory, dtype=dtype)
    partition(objective.layout, blocks)  # refused before work starts
    check_data(data, objective)
    operator = HessianOperator.of(objective, group=group)
    require_density(operator, steps, memory)  # which comes last, and has the largest basis
    common: Any = {"tolerance": tolerance, "seed": seed, "memory": memory}
    spectrum = lanczos(operator, k, which=which, **common, on_product=on_product)
    few = max(1, min(_LOWEST, size - 1))
    lowest = lanczos(operator, few, which="SA", **common, on_product=renamed(on_product, "λ_min"))
    largest, spent = spectrum, 0
    if not spectrum.holds_largest:
        largest = lanczos(operator, 1, which="LA", **common, on_product=renamed(on_product, "λ_max"))
        spent = largest.products
    profile = density(operator, probes=probes, steps=steps, seed=seed, memory=memory, spectrum=spectrum, on_product=on_product)
    rows = max(2, size) if size <= _EXACT * trace_probes else trace_probes
    total = trace(operator, probes=rows, seed=seed, on_product=on_product)
    given: dict[str, Any] = {"spectrum": largest, "hessian": operator, "on": on, "groups": groups}
    given |= {"blocks": blocks, "sampler": sampler, "kfac": kfac}
    taken, failures = take(asked, objective, operator.theta, **given, seed=seed, on_product=on_product)
    positive, smooth = int((spectrum.signs > 0).sum()), is_smooth(objective) and not operator.kink
    return Measurement(
        loss=operator.loss,
        gradient_norm=operator.gradient.double().norm().item(),
        parameter_norm=operator.theta.double().norm().item(),
        count=objective.count,
        over=objective.over,
        parameters=size,
        smooth=smooth,
        kink=operator.kink,
        spectrum=spectrum,
        largest=largest,
        lowest=lowest,
        index=index(lowest, negative=int((spectrum.signs < 0).sum())),
        density=profile,
        trace=total,
        ranks=ranks(spectrum, profile),
        outliers=outliers(spectrum, profile) if positive > 1 and which != "SA" else None,
        companions={} if smooth or group is not None else _companions(objective, operator.theta, largest, lowest, seed),
        method=operator.method,
        plan=operator.plan,
        products=spectrum.products + lowest.products + spent + profile.products + total.products,
        measures=taken,
        failures=failures,
    )


def _companions(
    objective: Objective, theta: Float[Tensor, " P"], largest: Spectrum, lowest: Spectrum, seed: int
) -> dict[str, float]:
    """What kinks add: λ_max, λ_min and the trace at a finite radius, where the Hessian of autograd leaves them out."""
    ends = {"lambda_max": largest.eigenvectors[0], "lambda_min": lowest.eigenvectors[-1]}
    return finite_companions(objective, theta, ends) | finite_trace(objective, theta, seed=seed)
