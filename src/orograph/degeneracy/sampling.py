"""Chains that sample exp(−nβ L_eff(w) − ½γ‖w − θ‖²) around a point θ, as one stack.

Stochastic-gradient Langevin dynamics (Welling & Teh 2011):

    w ← w − (ε/2) M (nβ g(w) + γ(w − θ)) + √ε M^½ ξ,   ξ ~ N(0, I).

- The slope g of a mini-batch is taken less the same batch's at θ, whose mean over all data is known (control variates: Baker et
  al. 2019, arXiv 1706.05439): the noise of the batch goes to zero with w − θ in place of heating the chain, for a second
  gradient a step. So are losses: L(w) − L(θ) on the batch has the noise of the difference alone.
- M is 1 (`sgld`), or 1/√v of the mean squares v of the slopes, scaled to Σ Mv = Σ v, so that steep directions keep their step and
  flat ones get longer ones (`rmsprop`; Li et al. 2016, arXiv 1512.07666, for learning coefficients arXiv 2507.21449). It is found
  while the chain burns in and held afterwards: of a constant M the law is the same whatever M is, of one that moves it is not,
  without a term that is never computed.
- With all data in each step, Metropolis's test takes away what a finite ε does (MALA: Roberts & Tweedie 1996).

Whether a chain is near its law shows in the virial (w − θ)·∇U of the energy U = nβ L_eff + ½γ‖w − θ‖²: its mean is p, the number
of parameters that move, whatever L is (integration by parts). Of a quadratic steps ε make it Σ 1/(1 − εA_i/4), A = nβλ + γ; where
εA > 4 it grows without bounds, and where A < 0 it falls. Losses that are finite yet beyond all bounds are told by that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.curvature.determinism import check_model
from orograph.errors import ConfigurationError, DataError, unknown
from orograph.objective import Objective
from orograph.training.gradient import BatchGradient
from orograph.training.pieces import samples

Sampler = Literal["sgld", "rmsprop"]
OnStep = Callable[[int], None]

_MEMORY = 4  # the mean squares remember this part of the steps that burn in
_DAMPING = 1e-3  # of √v, relative to its mean: what no slope has been seen of is not moved without bounds
_TELL = 50  # steps between calls of `on_step`
_FAR = 10.0  # times p, and 10 more for the chance of few: no chain at its law has such a mean virial, nor one ten times as wide


@brief
@dataclass(frozen=True, eq=False)
class Chains:
    """What C chains saw in T steps after they burnt in.

    Attributes:
        differences: `(C, T)` float64, L_eff(w) − L_eff(θ), on the batch of each step.
        final: `(C, P)`, where each ended.
        distances: `(C,)` float64, ‖w − θ‖ there.
        virials: `(C,)` float64, mean of (w − θ)·∇U; at its law that of each chain is the number of parameters that move.
        acceptance: share of steps that Metropolis's test took; nan without it.
        gradients: evaluated, of one batch for one model each.
    """

    differences: Float64[np.ndarray, "C T"]
    final: Float[Tensor, "C P"]
    distances: Float64[Tensor, " C"]
    virials: Float64[Tensor, " C"]
    acceptance: float
    gradients: int


@checked
def langevin(
    objective: Objective,
    theta: Float[Tensor, " P"],
    *,
    nbeta: float,
    localisation: float,
    step: float,
    chains: int = 4,
    draws: int = 2000,
    burn_in: int = 1000,
    batch_size: int | None = 512,
    sampler: Sampler = "sgld",
    metropolis: bool = False,
    seed: int = 0,
    places: Int[Tensor, " p"] | None = None,
    on_step: OnStep | None = None,
) -> Chains:
    """Samples around a point, all chains from it, of the loss in eval mode: statistics of BatchNorm stand, dropout is off.

    Args:
        objective: L with its data and penalty; L_eff is what is sampled.
        theta: θ, `(P,)`, the centre.
        nbeta: nβ, the inverse temperature, above 0.
        localisation: γ, above 0: how strongly chains are held at θ.
        step: ε.
        chains: C, each with a stream of random numbers of its own.
        draws: T, steps of which losses are kept.
        burn_in: steps before.
        batch_size: samples of a step, drawn with replacement; None, or as many as there are, for all of them.
        sampler: `sgld`, or `rmsprop` with a diagonal M found while burning in.
        metropolis: whether a step may be refused, for the exact law; with all data only.
        seed: of all chains.
        places: `(p,)`, of the entries of θ that move, as `orograph.blockwise.partition` has them; the others stay. All when None.
        on_step: called every 50 steps with their number.

    Returns:
        Differences of losses `(C, T)`, and where the chains are.

    Raises:
        ConfigurationError: an argument is out of range, Metropolis's test is asked for with mini-batches, the data do not lie in
            memory, or the network is random in eval mode.
        DataError: a chain diverged: the step is too large, or L_eff falls away from θ by more than γ holds.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> given = {"nbeta": 10.0, "localisation": 1.0, "step": 0.1, "draws": 20, "burn_in": 5, "batch_size": None}
        >>> og.degeneracy.langevin(objective, objective.theta, **given).differences.shape
        (4, 20)
    """
    for name, number in (("nbeta", nbeta), ("localisation", localisation), ("step", step)):
        if not 0 < number < float("inf"):
            raise ConfigurationError(f"`{name}` {number} must be a positive number.")
    if min(chains, draws) < 1 or burn_in < 0 or (batch_size is not None and batch_size < 1):
        raise ConfigurationError(
            f"`chains` {chains}, `draws` {draws}, `batch_size` {batch_size} must be positive, `burn_in` {burn_in} not below 0."
        )
    if sampler not in ("sgld", "rmsprop"):
        raise unknown("sampler", sampler, ("sgld", "rmsprop"))
    if objective.streamed:
        raise ConfigurationError("chains draw their batches from data in memory, and these are read anew; give a subset.")
    check_model(objective)
    whole = batch_size is None or batch_size >= objective.count
    if metropolis and not whole:
        raise ConfigurationError(
            f"Metropolis's test needs the loss of all {objective.count} samples: give `batch_size` None, or leave it out."
        )
    stack = _Stack(objective, theta, chains, objective.count if whole else int(batch_size or 0), whole, nbeta, localisation, seed)
    differences = np.empty((chains, draws))
    moves = torch.arange(len(theta)) if places is None else places
    if not len(moves) or not 0 <= int(moves.min()) <= int(moves.max()) < len(theta):
        raise ConfigurationError(f"`places` must be one at least, each between 0 and {len(theta) - 1}.")
    moves = moves.to(theta.device)
    scale = torch.zeros_like(theta).index_fill(0, moves, 1.0)
    squares, refused, virials = torch.zeros_like(theta), 0, theta.new_zeros(chains, dtype=torch.float64)
    stack.look(stack.here)
    for number in range(burn_in + draws):
        if number >= burn_in:
            differences[:, number - burn_in] = stack.here.difference.cpu().numpy()
            virials += stack.here.virial / draws
        elif sampler == "rmsprop":
            squares.lerp_(stack.here.force.square().mean(0), max(1 / (number + 1), _MEMORY / burn_in))
            scale = scale.index_copy(0, moves, _preconditioner(squares[moves]))
        taken = stack.move(step, scale, metropolis=metropolis)
        refused += (chains - taken) * (number >= burn_in)
        if number % _TELL == 0:
            if not stack.here.theta.isfinite().all():
                raise DataError(f"a chain diverged within {number + 1} steps of ε = {step:g}: give a smaller `step`.")
            if on_step is not None:
                on_step(number)
    if not np.isfinite(differences).all():
        raise DataError(f"a chain diverged with steps of ε = {step:g}: give a smaller `step`.")
    _require_near(virials, len(moves))
    here = stack.here.theta.clone()
    apart = torch.linalg.vector_norm((here - theta).double(), dim=1).cpu()
    accepted = 1 - refused / (chains * draws) if metropolis else float("nan")
    return Chains(differences, here, apart, virials.cpu(), accepted, stack.gradients)


def _require_near(virials: Float64[Tensor, " C"], count: int) -> None:
    """Refuses chains whose losses are finite but not those of any law near θ."""
    furthest = virials[virials.abs().argmax()].item()
    if not abs(furthest) <= _FAR * (count + 10):
        way = "give a smaller `step`"
        if furthest < 0:
            way = "the loss falls away from θ; give a minimum, or a larger `localisation`, or a smaller `nbeta`"
        raise DataError(f"a chain diverged: the mean of (w − θ)·∇U is {furthest:.3g}, and {count} at its law; {way}.")


def _preconditioner(squares: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
    """M = 1/√v with Σ Mv = Σ v; 1 where no slopes were seen yet."""
    root = squares.sqrt()
    if not bool(squares.sum() > 0):
        return torch.ones_like(squares)
    scale = 1 / (root + _DAMPING * root.mean())
    return scale * (squares.sum() / (scale * squares).sum())


class _State:
    """Where the chains are, and what is known there."""

    def __init__(self, theta: Float[Tensor, "C P"]) -> None:
        self.theta = theta
        self.force = torch.zeros_like(theta)  # slope of the energy nβ L_eff + ½γ‖w − θ‖²
        self.difference = theta.new_zeros(len(theta), dtype=torch.float64)  # of L_eff
        self.energy, self.virial = torch.zeros_like(self.difference), torch.zeros_like(self.difference)


class _Stack:
    """Chains that step together; with mini-batches as many rows more stay at the centre, for the control variates."""

    def __init__(
        self,
        objective: Objective,
        theta: Float[Tensor, " P"],
        chains: int,
        length: int,
        whole: bool,
        nbeta: float,
        localisation: float,
        seed: int,
    ) -> None:
        self._objective, self._centre, self._whole, self._length = objective, theta.detach(), whole, length
        self._nbeta, self._localisation, self._chains = nbeta, localisation, chains
        self._rows = self._centre.repeat(chains if whole else 2 * chains, 1)
        self._gradient, self._losses = torch.zeros_like(self._rows), self._rows.new_zeros(len(self._rows))
        buffers = self._rows, self._gradient, self._losses
        self._evaluate = BatchGradient(objective, *buffers, samples(objective), length=length, shared=whole, stacked=True)
        self._slope = objective.gradient(self._centre)
        self._offset = objective.offset(self._centre)
        self.here, self._next = _State(self._rows[:chains].clone()), _State(self._rows[:chains].clone())
        seeds = np.random.SeedSequence(seed).generate_state(chains + 1, np.uint64)
        self._streams = [torch.Generator(theta.device).manual_seed(int(each)) for each in seeds]
        self.gradients = 0
        self._all = torch.arange(length, device=theta.device)
        self._evaluate(self._all if whole else self._drawn())
        self._at_centre = self._losses[:chains].double().clone()

    def _drawn(self) -> Int[Tensor, "M B"]:
        device, count = self._centre.device, self._objective.count
        each = [torch.randint(count, (self._length,), generator=stream, device=device) for stream in self._streams[:-1]]
        return torch.stack([*each, *each])  # the centre sees the batch of its chain

    def look(self, state: _State) -> None:
        """Evaluates losses and slopes where the state is."""
        chains, strength = self._chains, self._objective.strength
        self._rows[:chains] = state.theta
        self._evaluate(self._all if self._whole else self._drawn())
        self.gradients += len(self._rows)
        moved = state.theta - self._centre
        slope = self._gradient[:chains] if self._whole else self._gradient[:chains] - self._gradient[chains:] + self._slope
        torch.add(slope, moved + self._offset, alpha=2 * strength, out=state.force)
        state.force.mul_(self._nbeta).add_(moved, alpha=self._localisation)
        before = self._at_centre if self._whole else self._losses[chains:].double()
        wide = moved.double()
        square = wide.square().sum(1)
        state.difference = self._losses[:chains].double() - before + strength * (square + 2 * (wide @ self._offset.double()))
        state.energy = self._nbeta * state.difference + self._localisation / 2 * square
        state.virial = (wide * state.force).sum(1)

    def move(self, step: float, scale: Float[Tensor, " P"], *, metropolis: bool) -> int:
        """One step of every chain; how many were taken."""
        here, to = self.here, self._next
        drawn = [torch.randn(len(scale), generator=each, out=torch.empty_like(scale)) for each in self._streams[:-1]]
        noise = torch.stack(drawn) * (scale > 0)
        torch.addcmul(here.theta, here.force, scale, value=-step / 2, out=to.theta)
        to.theta.addcmul_(noise, scale.sqrt(), value=step**0.5)
        self.look(to)
        if not metropolis:
            self.here, self._next = to, here
            return len(noise)
        back = here.theta - to.theta + step / 2 * scale * to.force
        forth = noise.double().square().sum(1) / 2
        backward = (back.double().square() / (2 * step * scale.double()).where(scale > 0, 1.0)).sum(1)
        chance = (here.energy - to.energy + forth - backward).exp()
        tossed = torch.rand(len(noise), generator=self._streams[-1], dtype=torch.float64, device=chance.device)
        taken = tossed < chance  # NaN is refused
        for one, other in ((here.theta, to.theta), (here.force, to.force)):
            torch.where(taken[:, None], other, one, out=one)
        here.difference = torch.where(taken, to.difference, here.difference)
        here.energy, here.virial = torch.where(taken, to.energy, here.energy), torch.where(taken, to.virial, here.virial)
        return int(taken.sum())
