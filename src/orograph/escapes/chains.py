"""Chains of stochastic gradient descent from one state, until they cross a value of q = ‖θ − θ_ref‖².

Each step draws its batch anew and with replacement, each chain from a stream of its own: the noise of a step is then independent
of all other noise, as theories of escape have it (batches that go through the data in turn cancel their noise over an epoch).
What a chain draws is a function of seed, chain and step alone. Chains run as one stack; it is rebuilt when half of them are done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.objective import Objective
from orograph.training.gradient import BatchGradient, refuse_stateful
from orograph.training.pieces import samples
from orograph.training.replay import Replay, recorder
from orograph.training.settings import OptimizerSettings
from orograph.training.update import Update, rows

_BLOCK = 64  # steps whose batches are drawn at once
_COMPACT = 0.5  # the stack is rebuilt when at most this share of it goes on, because each size is traced anew

OnBlock = Callable[[int, int], None]  # steps so far, and chains that go on


@brief
@dataclass(frozen=True, eq=False)
class Passages:
    """When each of several chains crossed, and where.

    Attributes:
        steps: of the crossing, or until when the chain was watched, `(C,)`.
        escaped: whether it crossed, `(C,)`.
        diverged: whether its parameters ceased to be finite, `(C,)`.
        thetas: `(C, P)`, where it crossed, or the last state.
    """

    steps: Int[Tensor, " C"]
    escaped: Bool[Tensor, " C"]
    diverged: Bool[Tensor, " C"]
    thetas: Float[Tensor, "C P"]


@checked
def first_passages(
    objective: Objective,
    start: Float[Tensor, " P"],
    *,
    threshold: float,
    rising: bool,
    batch_size: int,
    lr: float,
    steps: int,
    seeds: Sequence[Sequence[int]],
    on_block: OnBlock | None = None,
) -> Passages:
    """Runs SGD on L_eff from one state, a chain a seed, until each has crossed a value of q or its steps are over.

    Args:
        objective: L with its data, λ and θ_ref.
        start: θ where every chain begins, `(P,)`.
        threshold: q that is to be crossed.
        rising: whether q rises on the way.
        batch_size: samples of a step, drawn with replacement.
        lr: learning rate.
        steps: of a chain at most.
        seeds: of each chain, whole numbers; chains with equal ones are the same.
        on_block: called after every 64 steps with their number and the chains that go on.

    Returns:
        The first passages.

    Raises:
        ConfigurationError: the start lies beyond the threshold, a number is not positive, the data do not lie in memory, or the
            network is random or keeps statistics in training.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> given = {"batch_size": 1, "lr": 0.5, "steps": 100, "seeds": [[0], [1]]}
        >>> found = og.escapes.first_passages(objective, objective.theta, threshold=3.0, rising=True, **given)
        >>> found.escaped.tolist()
        [True, True]
    """
    if min(batch_size, steps, len(seeds)) < 1 or not lr > 0:
        raise ConfigurationError(
            f"`batch_size` {batch_size}, `lr` {lr}, `steps` {steps} and the number of seeds must be positive."
        )
    if objective.streamed:
        raise ConfigurationError(
            "chains draw their batches from data in memory, and these are read anew each time; give a subset."
        )
    refuse_stateful(objective)
    first = objective.offset(start).double().square().sum().item()
    if first == threshold or (first > threshold) == rising:
        raise ConfigurationError(f"the start has q = {first:g}, which is not on this side of the `threshold` {threshold:g}.")
    count = len(seeds)
    found = Passages(
        torch.full((count,), steps),
        torch.zeros(count, dtype=torch.bool),
        torch.zeros(count, dtype=torch.bool),
        start.detach().repeat(count, 1),
    )
    stack = _Stack(objective, list(range(count)), found.thetas, batch_size, lr)
    for begin in range(0, steps, _BLOCK):
        length = min(_BLOCK, steps - begin)
        drawn = [_drawn(seeds[chain], begin, length, batch_size, objective.count) for chain in stack.chains]
        batches = torch.stack(drawn, 1).to(start.device)
        for place, indices in enumerate(batches):
            stack.step(indices)
            order = stack.order_parameter()
            gone = stack.going & ~(order < threshold if rising else order > threshold)  # NaN is gone, too
            if gone.any():
                for row in gone.nonzero().flatten().tolist():
                    chain, finite = stack.chains[row], bool(order[row].isfinite())
                    found.steps[chain] = begin + place + 1
                    found.escaped[chain], found.diverged[chain] = finite, not finite
                    found.thetas[chain] = stack.theta[row]
                stack.going &= ~gone
        left = stack.going.nonzero().flatten().tolist()
        if on_block is not None:
            on_block(begin + length, len(left))
        if not left:
            return found
        if len(left) <= _COMPACT * len(stack.chains):
            stack = _Stack(objective, [stack.chains[row] for row in left], stack.theta[left], batch_size, lr)
    for row in stack.going.nonzero().flatten().tolist():
        found.thetas[stack.chains[row]] = stack.theta[row]
    return found


def _drawn(seed: Sequence[int], begin: int, length: int, batch_size: int, count: int) -> Int[Tensor, "S B"]:
    """The batches of a chain in some of its steps."""
    (state,) = np.random.SeedSequence([*seed, begin]).generate_state(1, np.uint64)
    return torch.randint(count, (length, batch_size), generator=torch.Generator().manual_seed(int(state)))


class _Stack:
    """Chains that step together."""

    def __init__(self, objective: Objective, chains: list[int], thetas: Float[Tensor, "M P"], batch_size: int, lr: float) -> None:
        self.chains = chains
        self.going = torch.ones(len(chains), dtype=torch.bool, device=thetas.device)
        self.theta = rows(len(chains), thetas)
        self.theta.copy_(thetas)
        gradient, losses = rows(len(chains), thetas), thetas.new_zeros(len(chains))
        self._anchor = objective.anchor
        into = self.theta, gradient, losses
        gradients = BatchGradient(objective, *into, samples(objective), length=batch_size, shared=False, stacked=True)
        settings = OptimizerSettings(optimizer="SGD", lr=lr)
        models = len(chains)
        update = Update(settings, self.theta, gradient, [objective.strength] * models, [objective.anchor] * models)
        update.prepare([lr] * models)

        def take(indices: Tensor) -> None:
            gradients(indices)
            update()

        self.step = Replay(take, recorder(thetas.device))

    def order_parameter(self) -> Float[Tensor, " M"]:
        """q of every chain."""
        offset = self.theta if self._anchor is None else self.theta - self._anchor
        return torch.linalg.vector_norm(offset, dim=1).square()
