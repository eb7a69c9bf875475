"""Random perturbations of a parameter vector, in pairs ±u whose even and odd parts separate curvature from gradient.

Each pair has a generator of its own, seeded by (seed, stream, pair), so that perturbations are made when needed and never all
kept.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import ParameterSet
from orograph.spectral.spectrum import Spectrum


@brief
@dataclass(frozen=True)
class SpherePairs(ParameterSet):
    """θ itself, then θ+u₁, θ−u₁, θ+u₂, θ−u₂, …, with u = s∘w and w uniform on the sphere of radius ρ.

    Attributes:
        theta: `(P,)`.
        radius: ρ.
        pairs: how many.
        seed: of all of them.
        stream: which of several independent sets under one seed.
        scale: s, `(P,)`; None is 1 everywhere, so that ‖u‖ = ρ.
    """

    theta: Float[Tensor, " P"]
    radius: float
    pairs: int
    seed: int = 0
    stream: int = 0
    scale: Float[Tensor, " P"] | None = None

    def __post_init__(self) -> None:
        if self.pairs < 1 or not self.radius > 0:
            raise ConfigurationError(f"{self.pairs} pairs at radius {self.radius:g}: both must be positive (is θ zero?).")

    def __len__(self) -> int:
        return 2 * self.pairs + 1

    def __getitem__(self, part: slice) -> Float[Tensor, "m P"]:
        rows, pair, direction = [], -1, self.theta
        for index in range(*part.indices(len(self))):
            if index and pair != (index - 1) // 2:  # both members of a pair share the draw
                pair = (index - 1) // 2
                direction = self._direction(pair)
            rows.append(self.theta if index == 0 else torch.add(self.theta, direction, alpha=1 if index % 2 else -1))
        return torch.stack(rows)

    def perturbation(self, index: int) -> Float[Tensor, " P"]:
        """The difference from θ of entry `index`."""
        if index == 0:
            return torch.zeros_like(self.theta)
        direction = self._direction((index - 1) // 2)
        return direction if index % 2 else -direction

    def _direction(self, pair: int) -> Float[Tensor, " P"]:
        """u of a pair."""
        direction = sphere_direction(self.theta, self.seed, self.stream, pair).mul_(self.radius)
        return direction if self.scale is None else direction.mul_(self.scale)


def seeded(*key: int) -> torch.Generator:
    """A generator on the CPU, so that what is drawn is the same for every device, independent for every key."""
    if min(key) < 0:
        raise ConfigurationError(f"`seed` {min(key)} must be 0 or more.")
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) % 2**63)


def sphere_direction(like: Float[Tensor, " P"], *key: int) -> Float[Tensor, " P"]:
    """A uniform unit vector."""
    vector = torch.randn(len(like), generator=seeded(*key)).to(like)
    return vector / torch.linalg.vector_norm(vector)


def known_rises(pairs: SpherePairs, spectrum: Spectrum | None) -> Float64[Tensor, " pairs"]:
    """What known pairs of the Hessian would add to the even part of each ±u on average, less what they add to this one.

    ½λ(vᵀu)² of an eigenpair is ½λρ²‖s∘v‖²/P in the mean over directions. Adding the difference takes the chance out with which
    few random directions meet the few directions that are curved most; for any loss and any vectors it leaves the mean as it is.
    """
    if spectrum is None:
        return torch.zeros(pairs.pairs, dtype=torch.float64)
    vectors, values = spectrum.eigenvectors.to(pairs.theta), spectrum.eigenvalues.double().cpu()
    stretched = vectors if pairs.scale is None else vectors * pairs.scale
    mean = pairs.radius**2 * stretched.double().square().sum(1).cpu() / len(pairs.theta)
    met = torch.stack([(vectors @ pairs.perturbation(2 * pair + 1)).double().square().cpu() for pair in range(pairs.pairs)])
    return (mean - met) @ values / 2


def even_and_odd(losses: Float[Tensor, " samples"]) -> tuple[Float[Tensor, " pairs"], Float[Tensor, " pairs"]]:
    """Of losses at `SpherePairs`: [L(θ+u) + L(θ−u)]/2 − L(θ) and [L(θ+u) − L(θ−u)]/2 of each pair."""
    centre, plus, minus = losses[0], losses[1::2], losses[2::2]
    return (plus + minus) / 2 - centre, (plus - minus) / 2
