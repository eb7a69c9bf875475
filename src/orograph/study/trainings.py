"""The networks of a configuration: learning rates chosen where optimisers are compared, trainings, and two orders of the data.

*Learning rates* are chosen on a sixth of the training samples, held out and stratified: the first seed is trained on the others
with every candidate under the whole budget, and the rate of the largest held-out accuracy wins (of equal ones, and without
classes, that of the smallest held-out loss). Test samples play no part, and all networks are then trained on all training
samples.

*Instability* (Frankle et al., 2020): from the state after epoch e two networks go on with different orders of the data; the
barrier on the line between them says whether the outcome was already decided.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orograph.connectivity.barriers import curve_profile
from orograph.connectivity.curves import line
from orograph.data.split import stratified_subset
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.parameters import state_dict
from orograph.response.edge_of_stability import central_flow
from orograph.store.cells import Cell
from orograph.store.findings import FindingKey, Result
from orograph.store.resume import require_same_loss
from orograph.store.run import Run
from orograph.study.bench import StudyBench
from orograph.study.grid import Configuration, candidates
from orograph.study.pairs import profile_fields
from orograph.training.fitting import Fitted, State, fit
from orograph.training.gradient import tracks_statistics
from orograph.training.history import decay_rate, epoch_record
from orograph.training.moment import Moment
from orograph.training.own import Trainer, train_own
from orograph.training.stability import Rule, StabilityObserver
from orograph.work.worker import Say

HELD_OUT = 6  # one sample in so many
ORDERS = 1000  # what is added to a seed for the other orders of the data


def rate_key(chosen: Configuration) -> FindingKey:
    return FindingKey("rate", chosen.name, "held-out")


def choose_rate(bench: StudyBench, chosen: Configuration, say: Say) -> Result:
    """The learning rate of a configuration, on held-out training samples."""
    objective, _ = bench.objectives(chosen)
    seed, settings = bench.settings.optimisation.seed, bench.settings.optimisation
    classes = bench.classifies
    labels = objective.targets.cpu().numpy() if classes else np.zeros(objective.count, dtype=np.int64)
    held = torch.from_numpy(stratified_subset(labels, max(1, len(labels) // HELD_OUT), seed))
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[held] = False
    training, testing = objective.subset(kept.nonzero()[:, 0]), objective.subset(held)
    rates = candidates(chosen.optimizer, settings.lr)
    fitted: list[Fitted] = []
    for first in range(0, len(rates), bench.together(chosen)):
        group = rates[first : first + bench.together(chosen)]
        course = chosen.fit(group[0])
        fitted += fit(
            training,
            [bench.start(chosen, seed, course)] * len(group),
            course.model_copy(update={"min_lr": min(chosen.min_lr, *group)}),
            order_seeds=seed,
            test=testing,
            rates=group,
            gradients=False,
            on_epoch=lambda epoch, loss: say(f"epoch {epoch}, loss {loss:.4f} · choosing the learning rate of {chosen.name}"),
        )
    scores = [_held_out(each) for each in fitted]
    best = max(range(len(rates)), key=lambda place: (scores[place][0], -scores[place][1]))
    return Result(
        {
            "optimizer": chosen.optimizer,
            "candidates": list(rates),
            **({"held_out_accuracy": [accuracy for accuracy, _ in scores]} if classes else {}),
            "held_out_loss": [loss for _, loss in scores],
            "held_out_images": len(held),
            "training_images": training.count,
            "epochs": chosen.epochs,
            "chosen": rates[best],
        }
    )


def _held_out(fitted: Fitted) -> tuple[float, float]:
    """Accuracy (0 without classes) and loss at the end; the worst there are where the training diverged."""
    if fitted.failed_epoch is not None:
        return -1.0, math.inf
    return fitted.history[-1].get("test_accuracy", 0.0), fitted.history[-1]["test_loss"]


def train_seeds(bench: StudyBench, chosen: Configuration, seeds: Sequence[int], rate: float | None, say: Say) -> list[Fitted]:
    """Networks of one configuration, as one cohort with a stream of mini-batches each."""
    train, test = bench.objectives(chosen)
    if bench.problem.trainer is not None:
        return [_train_own(bench, bench.problem.trainer, chosen, seed, say) for seed in seeds]
    settings, every = chosen.fit(rate), bench.settings.optimisation.track_curvature
    steps = math.ceil(train.count / chosen.batch_size)
    name = f"{chosen.name}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    return fit(
        train,
        [bench.start(chosen, seed, settings) for seed in seeds],
        settings,
        order_seeds=list(seeds),
        test=test,
        scored=bench.scored,
        observer=StabilityObserver(train, settings, partial(foreseen, steps=steps)) if every else None,
        every=max(1, every),
        on_epoch=lambda epoch, loss: say(f"epoch {epoch}, loss {loss:.4f} · {name}"),
    )


def foreseen(
    objective: Objective, moment: Moment, sharpness: float, direction: Tensor, rule: Rule, *, steps: int
) -> dict[str, float]:
    """What the central flow says of the next epoch, of so many steps; nothing of what cannot be differentiated three times."""
    try:
        found = central_flow(objective, moment.theta.clone(), sharpness, direction, decay=rule.decay)
    except ConfigurationError:
        return {}
    time = steps * rule.lr / (2 - rule.edge)  # 1 − β is 2 − the edge
    return {"flow_sharpening": found.rate * time, "central_oscillation": found.oscillation, "oscillation": found.seen}


def _train_own(bench: StudyBench, trainer: Trainer, chosen: Configuration, seed: int, say: Say) -> Fitted:
    """A network that a function of one's own trained; one record, of its end."""
    train, test = bench.objectives(chosen)
    settings, name = chosen.fit(), f"{chosen.name}, seed {seed}"
    start = bench.start(chosen, seed, settings)
    found = train_own(
        train,
        start.theta,
        trainer,
        seed=seed,
        buffers=start.buffers,
        on_epoch=lambda epoch, loss: say(f"epoch {epoch}, loss {loss:.4f} · {name}"),
    )
    epoch = max(1, found.epochs)
    record = epoch_record(train, test, found.theta, found.buffers, [], epoch=epoch, lr=math.nan, scored=bench.scored)
    failed = found.failed_epoch is not None or not math.isfinite(record["train_loss"])
    return Fitted(State([found.theta], found.buffers), [record], [], epoch if failed else None)


def commit_training(
    bench: StudyBench, run: Run, chosen: Configuration, cell: Cell, fitted: Fitted, rate: float | None, seconds: float
) -> None:
    """Records a trained network."""
    objective, _ = bench.objectives(chosen)
    settings, last, own = chosen.fit(rate), fitted.history[-1], bench.problem.trainer is not None
    failed = fitted.failed_epoch is not None
    scalars: dict[str, Any] = {name: value for name, value in last.items() if name not in ("epoch", "lr", "gradient_decay")}
    scalars |= {
        "lr": None if own else settings.lr,
        "objective": last["train_loss"],
        "failed_epoch": fitted.failed_epoch,
        "epochs": int(last["epoch"]),
        "total_steps": None if own else len(fitted.history) * -(-objective.count // min(settings.batch_size, objective.count)),
        "gradient_decay_rate": decay_rate(*([each[name] for each in fitted.history] for name in ("epoch", "gradient_norm"))),
        "trained": _how(bench, chosen),
        "history": [{name: value for name, value in each.items() if not isinstance(value, list)} for each in fitted.history],
        "curvature": fitted.observed,
    }
    weights = None if failed else state_dict(objective.model, objective.layout, fitted.state.theta, fitted.state.buffers)
    status = "failed" if failed else "done"
    run.commit(cell, status=status, scalars=scalars, weights=weights, timings={"training": seconds})


def require_recorded_losses(bench: StudyBench, run: Run) -> None:
    """Refuses a problem whose loss at a measured minimum is not the one that is recorded: one minimum of each configuration.

    Raises:
        RunError: it is another.
    """
    for chosen in bench.configurations:
        cells = [cell for cell in bench.cells() if cell.configuration == chosen.name and cell in run.records]
        keys = {cell: FindingKey("minimum", chosen.name, str(cell.seed)) for cell in cells}
        scalars = {cell: run.findings[key].scalars for cell, key in keys.items() if key in run.findings}
        losses = {cell: each["train_loss"] for cell, each in scalars.items() if isinstance(each.get("train_loss"), float)}
        known = next((cell for cell, loss in losses.items() if math.isfinite(loss)), None)
        if known is not None:
            minimum = bench.minimum(chosen, run.weights(known))
            now = minimum.train.loss(minimum.theta)
            require_same_loss(f"of {chosen.name}, seed {known.seed},", losses[known], now, minimum.theta.dtype)


def _how(bench: StudyBench, chosen: Configuration) -> str:
    objective, _ = bench.objectives(chosen)
    if bench.problem.trainer is not None:
        return "by a function of one's own"
    if any(tracks_statistics(module) for module in objective.model.modules()):
        return "one at a time in train mode, for its BatchNorm"
    return "as a cohort of seeds" if bench.together(chosen) > 1 else "one at a time"


def instability(bench: StudyBench, chosen: Configuration, rate: float | None, spawn: int, say: Say) -> Result:
    """The barrier between two networks of the first seed that share all but the order of the data after epoch `spawn`."""
    train, _ = bench.objectives(chosen)
    settings, seed = chosen.fit(rate), bench.settings.optimisation.seed
    scalars: dict[str, Any] = {"seed": seed, "epoch": spawn}
    title = f"{chosen.name}, two orders from epoch {spawn}"

    def on_epoch(epoch: int, loss: float) -> None:
        say(f"epoch {epoch}, loss {loss:.4f} · {title}")

    start = bench.start(chosen, seed, settings)
    common = fit(train, [start], settings, order_seeds=[seed], last_epoch=spawn, gradients=False, on_epoch=on_epoch)[0]
    if common.failed_epoch is not None:
        return Result(scalars | {"error": f"the common course diverged in epoch {common.failed_epoch}"})
    orders, children = [seed + ORDERS, seed + 2 * ORDERS], []
    for group in [orders] if bench.together(chosen) > 1 else [[order] for order in orders]:
        states = [common.state] * len(group)
        children += fit(train, states, settings, order_seeds=group, first_epoch=spawn + 1, gradients=False, on_epoch=on_epoch)
    return _barrier(bench, chosen, scalars, children)


def _barrier(bench: StudyBench, chosen: Configuration, scalars: dict[str, Any], children: Sequence[Fitted]) -> Result:
    """On the line between two networks; BatchNorm's statistics are estimated anew along it."""
    if any(child.failed_epoch is not None for child in children):
        return Result(scalars | {"error": "a network diverged after the spawn"})
    train, test = bench.objectives(chosen)
    first, second = (child.state.theta for child in children)
    profile = curve_profile(train, line(first, second), test=test, points=bench.settings.connectivity.curve_points)
    linear = profile_fields(profile)
    distance = (first - second).double().norm().item()
    found = {"linear_barrier": linear["barriers"]["train_loss"], "distance": distance, "paths": {"linear": linear}}
    return Result(scalars | found)
