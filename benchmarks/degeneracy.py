"""The local learning coefficient of one small network by Orograph and by devinterp, at equal settings, beside the quadratic's.

    .venv/bin/pip install --no-deps -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/degeneracy.py --dataset digits --markdown docs/benchmarks.md

One minimum of a sigmoid perceptron, penalised so that it has one: both programs sample L_eff around it at the same settings,
with as many chains, draws and samples a batch. Errors are computed from each program's own draws by one function, with the
effective size of Vehtari et al. (2021). Beside them stands what the law is worth, by chains with Metropolis's test over all data,
whose step does nothing.
"""

import argparse
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og
from orograph.data import load_data
from orograph.degeneracy import effective_size, split_rhat
from quiet import Watch, require_quiet
from report import Report, Table, chosen, parser, seconds, set_threads

NAMES = ("orograph", "devinterp", "plain loop")
STRENGTH = 1e-3  # λ of the penalty
SPAN = 10.0  # nβ λ_max/γ


@dataclass(frozen=True)
class Settings:
    """What both programs are given."""

    nbeta: float
    localisation: float
    step: float
    chains: int
    draws: int
    burn_in: int
    batch_size: int | None

    @property
    def fields(self) -> dict[str, Any]:
        return vars(self)


@dataclass(frozen=True)
class Found:
    """λ̂ with its error, R̂, effective size and the seconds it took."""

    value: float
    error: float
    rhat: float
    size: float
    seconds: float


def main() -> None:
    options = _options()
    set_threads(options.threads)
    quiet = require_quiet(force=options.force)
    objective = minimum(options)
    largest = og.lanczos(og.HessianOperator.of(objective).shifted(2 * STRENGTH), 1, which="LA").eigenvalues[0].item()
    nbeta = objective.count / math.log(objective.count)
    localisation = nbeta * largest / SPAN
    report = Report(
        f"Learning coefficients: {objective.count:,} samples, {objective.layout.size:,} parameters, "
        f"{options.chains} chains of {options.draws:,} draws"
    )
    watch = Watch()
    given: dict[str, Any] = {
        "nbeta": nbeta,
        "localisation": localisation,
        "chains": options.chains,
        "draws": options.draws,
        "burn_in": options.burn_in,
    }
    names = chosen(NAMES, options.only)
    unit = 1 / (nbeta * largest + localisation)
    law = og.local_learning_coefficient(objective, **given, step=0.8 * unit, batch_size=None, metropolis=True, seed=1)
    for batch in (None, options.batch):
        settings = Settings(**given, step=0.2 * unit, batch_size=batch)
        compare(report, objective, settings, names, law, options.rounds, watch)
    report.say(
        "devinterp and the plain loop take slopes and losses of a batch as they are, Orograph less those of the same batch at θ, "
        "for a second gradient a step. Effective draws count the noise of batch losses as draws: with it they are many. "
        "devinterp's time has its data loader in it, which goes sample by sample; with all data it and the plain loop draw the "
        "same numbers."
    )
    report.finish(options, watch, quiet=quiet)


def _options() -> argparse.Namespace:
    options = parser("Local learning coefficients beside devinterp's.", rounds=1)
    options.set_defaults(dataset="digits")
    options.add_argument("--widths", type=int, nargs="+", default=[16], help="units of the hidden layers")
    options.add_argument("--chains", type=int, default=4, help="chains of each program")
    options.add_argument("--draws", type=int, default=4000, help="draws of each chain")
    options.add_argument("--burn-in", type=int, default=1000, help="steps of each chain before")
    options.add_argument("--batch", type=int, default=64, help="samples of a mini-batch")
    return options.parse_args()


def minimum(options: argparse.Namespace) -> og.Objective:
    """L_eff of the data where its gradient is zero."""
    data = load_data(options.dataset, data_dir=options.data_dir, subset_size=options.images)
    batches = list(data.train)
    inputs, targets = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    model = og.build_model("mlp", widths=tuple(options.widths), activation="sigmoid", input_shape=inputs.shape[1:], init_seed=0)
    objective = og.Objective(model, F.cross_entropy, [(inputs, targets)]).penalised(STRENGTH)
    settings = og.FitSettings(optimizer="Adam", lr=1e-2, epochs=60, batch_size=64)
    (fitted,) = og.fit(objective, [og.initial(objective, objective.theta, settings)], settings, order_seeds=[0])
    found = og.polish(objective, fitted.state.theta, hessian=og.HessianOperator.of(objective), tolerance=1e-5, max_products=5000)
    return objective.moved(found.theta)


def compare(
    report: Report,
    objective: og.Objective,
    settings: Settings,
    names: list[str],
    exact: og.degeneracy.LearningCoefficient,
    rounds: int,
    watch: Watch,
) -> None:
    """One table: each program at these settings, beside the law that all of them approach."""
    table = Table(
        f"{'All data' if settings.batch_size is None else f'{settings.batch_size} samples'} a step, "
        f"nβ {settings.nbeta:.4g}, γ {settings.localisation:.3g}, ε {settings.step:.2g}",
        ("", "λ̂", "standard error", "R̂", "effective draws", "time"),
    )
    runs = {"orograph": ours, "devinterp": devinterp, "plain loop": plain}
    found: dict[str, Found] = {}
    for name in names:
        try:
            tries = [runs[name](objective, settings) for _ in range(rounds)]
        except ImportError:
            table.row(f"{name}: not installed", *["–"] * 5)
            continue
        watch.look()
        found[name] = min(tries, key=lambda each: each.seconds)
        each = found[name]
        table.row(name, f"{each.value:.2f}", f"{each.error:.2f}", f"{each.rhat:.3f}", f"{each.size:.0f}", seconds(each.seconds))
    law = exact.estimate
    table.row(
        "the law itself (Metropolis's test)",
        f"{law.value:.2f}",
        f"{law.error:.2f}",
        f"{exact.rhat:.3f}",
        f"{exact.effective_size:.0f}",
        "–",
    )
    quadratic = exact.quadratic
    table.row("its quadratic, ½ Σ nβλ/(nβλ + γ)", f"{quadratic.value:.2f}", f"{quadratic.error:.2f}", "–", "–", "–")
    report.add(table)
    for name, each in found.items():
        apart = (each.value - law.value) / math.hypot(each.error, law.error)
        report.say(f"{name}, from the law: {each.value - law.value:+.2f}, {abs(apart):.1f} standard errors of both.")


def told(draws: np.ndarray, nbeta: float, spent: float) -> Found:
    """Of what chains saw, `(C, T)` differences of losses."""
    size = effective_size(draws)
    return Found(nbeta * draws.mean(), nbeta * draws.std(ddof=1) / math.sqrt(size), split_rhat(draws), size, spent)


def ours(objective: og.Objective, settings: Settings) -> Found:
    """Orograph's chains: control variates, and all chains as one stack."""
    began = time.perf_counter()
    walked = og.degeneracy.langevin(objective, objective.theta, **settings.fields)
    return told(walked.differences, settings.nbeta, time.perf_counter() - began)


def devinterp(objective: og.Objective, settings: Settings) -> Found:
    """devinterp 2: its own chain with its own SGLD, one after the other, of this loss; batches as its data loader draws them."""
    from devinterp.optim.sgmcmc import SGMCMC
    from devinterp.slt.sampler import sample_single_chain

    model, (inputs, targets) = network(objective), data_of(objective)
    initial = loss_of(model, inputs, targets).item()
    draws = np.empty((settings.chains, settings.draws))

    def evaluate(module: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Any]]:
        chosen = batch["input_ids"]  # of its language models; here the numbers of samples
        return loss_of(module, inputs[chosen], targets[chosen]), {}

    def keep(*, loss: Tensor, draw: int, chain: int, **_: Any) -> None:
        draws[chain, draw] = loss.item() - initial

    began = time.perf_counter()
    for chain in range(settings.chains):
        sample_single_chain(
            model,
            [{"input_ids": number} for number in range(len(targets))],
            evaluate,
            {name: None for name, _ in model.named_parameters()},
            num_draws=settings.draws,
            num_burnin_steps=settings.burn_in,
            sampling_method=SGMCMC.sgld,
            sampling_method_kwargs={"lr": settings.step, "nbeta": settings.nbeta, "localization": settings.localisation},
            chain=chain,
            seed=chain,
            dataloader_seed=chain,
            batch_size=settings.batch_size or len(targets),
            callbacks=[keep],
        )
    return told(draws, settings.nbeta, time.perf_counter() - began)


def plain(objective: og.Objective, settings: Settings) -> Found:
    """Welling & Teh's loop (2011) as it stands in the paper, one chain after the other: slopes and losses of the batch alone."""
    model, (inputs, targets) = network(objective), data_of(objective)
    began = time.perf_counter()
    draws = np.empty((settings.chains, settings.draws))
    centre = [each.detach().clone() for each in model.parameters()]
    initial = loss_of(model, inputs, targets).item()
    for chain in range(settings.chains):
        generator = torch.Generator().manual_seed(chain)
        for parameter, value in zip(model.parameters(), centre, strict=True):
            parameter.data.copy_(value)
        for number in range(settings.burn_in + settings.draws):
            batch = slice(None)
            if settings.batch_size is not None:
                batch = torch.randint(len(targets), (settings.batch_size,), generator=generator)
            loss = loss_of(model, inputs[batch], targets[batch])
            if number >= settings.burn_in:
                draws[chain, number - settings.burn_in] = loss.item() - initial
            slopes = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for parameter, slope, middle in zip(model.parameters(), slopes, centre, strict=True):
                    noise = torch.randn(parameter.shape, generator=generator)
                    drift = settings.nbeta * slope + settings.localisation * (parameter - middle)
                    parameter += -settings.step / 2 * drift + settings.step**0.5 * noise
    return told(draws, settings.nbeta, time.perf_counter() - began)


def network(objective: og.Objective) -> nn.Module:
    """The module at θ."""
    model = objective.model
    named = objective.layout.unflatten(objective.theta)
    model.load_state_dict({**model.state_dict(), **named})
    return model


def data_of(objective: og.Objective) -> tuple[Tensor, Tensor]:
    """All samples as one pair of tensors."""
    return next(objective.batches(objective.count))


def loss_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """L_eff of a batch."""
    penalty = sum(each.square().sum() for each in model.parameters())
    return F.cross_entropy(model(inputs), targets) + STRENGTH * penalty


if __name__ == "__main__":
    main()
