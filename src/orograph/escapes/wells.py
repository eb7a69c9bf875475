"""The state that is left at one strength, the one behind the jump there, and what lies between them.

Both are polished where the sweep has them and then followed along their branches to the strength. A chain counts as escaped when
its q crosses that of the saddle, where one was followed, and else the middle between both states.
"""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from orograph.errors import ConfigurationError, OrographWarning
from orograph.escapes.bench import EscapeBench
from orograph.escapes.heights import path_top, saddle
from orograph.spectral.eigenpairs import lanczos
from orograph.store.branch import THETA
from orograph.store.findings import Finding, Result
from orograph.training.advancing import advance
from orograph.training.polishing import LOSS_ROUNDING, gradient_target, polish
from orograph.work.progress import WorkProgress

OTHER = "other_theta"


def measured_well(bench: EscapeBench, number: int, progress: WorkProgress) -> Result:
    """Both states at one strength, and how high it is between them.

    Raises:
        ConfigurationError: one of the branches does not reach so far.
    """
    objective, strength = bench.at(number), bench.settings.well.at[number]
    jump = bench.jump
    state = _followed(bench, bench.before, jump.before[-1].strength, number, "before", progress)
    other = _followed(bench, bench.behind, jump.behind.strength, number, "behind", progress)
    q, q_other = (objective.offset(each).double().square().sum().item() for each in (state, other))
    hessian = bench.sweep.instruments.hessian.at(state)
    apart = other - state
    # What ∇L_eff changes by from one to the other: of two states in one basin no more than the tolerance left of both.
    left = 2 * sum(gradient_target(bench.tolerance, strength, math.sqrt(each)) for each in (q, q_other))
    alike = (hessian @ apart + 2 * strength * apart).double().norm().item() <= left
    if alike or abs(q - q_other) <= 1e-3 * max(q, q_other):
        raise ConfigurationError(
            f"`at` {strength:g}: the states before and behind the jump have the same q there, {q:.6g}: they are one; give "
            f"strengths nearer to the jump, between {jump.ends[0]:g} and {jump.ends[1]:g}, or another jump."
        )
    loss = objective.loss(state)
    top = None if bench.known is None else saddle(bench.known, strength, q, loss)
    if top is None:
        if bench.known is not None:
            warnings.warn(
                f"What `atlas` knows holds no saddle for the state at λ = {strength:g}, or not its branch (is it of this run?); "
                "its height is that of a path.",
                OrographWarning,
                stacklevel=2,
            )
        progress.say(f"a path at λ = {strength:g}")
        top = path_top(objective, state, other, steps=bench.settings.well.path_steps, seed=bench.settings.sgd.order_seed)
    if not top.height > LOSS_ROUNDING * abs(loss + strength * q):
        raise ConfigurationError(
            f"`at` {strength:g}: there is no height between the states before and behind the jump, {top.height:.3g}: the first "
            f"is not left by chance; give strengths further from λ = {jump.ends[1]:g}."
        )
    inside = top.source == "saddle" and min(q, q_other) < top.order_parameter < max(q, q_other)
    largest = lanczos(hessian, 1, which="LA").eigenvalues[0].item() + 2 * strength
    gradient = objective.value_gradient(state).double().norm().item()
    scalars = {
        "strength": strength,
        "order_parameter": q,
        "train_loss": loss,
        "objective": loss + strength * q,
        "objective_gradient_norm": gradient,
        "objective_lambda_max": largest,
        "other_order_parameter": q_other,
        "other_objective": objective.loss(other) + strength * q_other,
        "crossing": top.order_parameter if inside else (q + q_other) / 2,
        "barrier_source": top.source,
        "height": top.height,
        "top_objective": top.objective,
        "top_order_parameter": top.order_parameter,
    }
    return Result(scalars, {name: each.cpu().numpy() for name, each in ((THETA, state), (OTHER, other))})


def state_of(bench: EscapeBench, well: Finding, run: Path) -> Float[Tensor, " P"]:
    """θ of a state that was committed."""
    array = well.arrays(run, lambda name, _: name == THETA)[THETA]
    return torch.from_numpy(np.array(array)).to(bench.before)


def _followed(
    bench: EscapeBench, start: Float[Tensor, " P"], begin: float, number: int, which: str, progress: WorkProgress
) -> Float[Tensor, " P"]:
    """The critical point of the branch of a state, at the strength."""
    goal, train, chosen = bench.settings.well.at[number], bench.sweep.instruments.train, bench.settings.well
    given: dict[str, Any] = {
        "hessian": bench.sweep.instruments.hessian,
        "tolerance": bench.tolerance,
        "max_products": chosen.polish_products,
    }

    def told(stage: str, count: int) -> None:
        progress.say(f"the state {which} the jump at λ = {goal:g}: {stage}, product {count}")

    first = polish(train.penalised(begin, bench.sweep.anchor), start, on_product=told, **given)
    if not first.converged:
        raise ConfigurationError(
            f"the state {which} the jump, at λ = {begin:g}, is no critical point: ‖∇L_eff‖ is {first.gradient_norm:.3g} after "
            f"`polish_products` {chosen.polish_products}; give more of them, or `dtype` float64."
        )
    if goal == begin:
        return first.theta
    end = advance(bench.at(number), first.theta, begin, on_product=told, **given)
    if end.products >= chosen.polish_products and not (end.kept and end.polished.converged):
        raise ConfigurationError(
            f"`at` {goal:g}: the state {which} the jump was followed from λ = {begin:g} to {end.strength:.6g} with "
            f"`polish_products` {chosen.polish_products}; give more of them, or strengths nearer to {begin:g}."
        )
    if not end.kept:
        # Once more, by finer steps. Points on the way are loose, and a step of more than about a quarter of what is left fails.
        near = end.strength + 2 * (end.beyond - end.strength)
        finer = advance(train.penalised(near, bench.sweep.anchor), end.theta, end.strength, on_product=told, **given)
        last = finer.strength if finer.kept else finer.strength + 4 * (finer.beyond - finer.strength)
        raise ConfigurationError(
            f"`at` {goal:g}: on the way from {begin:g} the branch of the state {which} the jump was lost near λ = "
            f"{finer.strength:.4g}; if it ends there, then between {end.strength:.6g} and {last:.6g}; give strengths nearer to "
            f"{begin:g}."
        )
    return end.theta
