"""Curves between two parameter vectors that are linear in their control points: γ(t) = Σ_k b_k(t) w_k, 0 ≤ t ≤ 1.

Straight line and polygonal chain (hat functions b_k), quadratic Bézier curve (Bernstein polynomials; Garipov et al., 2018).
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.brief import brief
from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import Points

Kind = Literal["chain", "bezier"]
SYMMETRY_BREAKING = 1e-3  # relative to the distance of the ends: on a ridge the gradient has no component that leaves it


@brief
@dataclass(frozen=True)
class Curve:
    """A curve through parameter space.

    Attributes:
        kind: `chain` passes through its control points, `bezier` only through the first and the last.
        controls: `(K, P)`, the ends included.
        knots: `(K,)` float64, where a chain passes through its control points; they rise from 0 to 1.
    """

    kind: Kind
    controls: Float[Tensor, "K P"]
    knots: Float[Tensor, " K"]

    def weights(self, positions: Float[Tensor, " T"]) -> Float[Tensor, "T K"]:
        """b_k(t), float64; each row sums to 1.

        Args:
            positions: `(T,)`, t between 0 and 1.

        Returns:
            `(T, K)`.
        """
        t = positions.double()[:, None]
        if self.kind == "bezier":
            degree = len(self.controls) - 1
            powers = torch.arange(degree + 1, dtype=torch.float64)
            binomials = torch.tensor([float(math.comb(degree, k)) for k in range(degree + 1)], dtype=torch.float64)
            return binomials * t**powers * (1 - t) ** (degree - powers)
        segment = torch.searchsorted(self.knots, t[:, 0].contiguous(), right=True).clamp(1, len(self.knots) - 1)[:, None]
        start, stop = self.knots[segment - 1], self.knots[segment]
        share = (t - start) / (stop - start)
        result = torch.zeros(len(t), len(self.knots), dtype=torch.float64)
        return result.scatter_(1, segment - 1, 1 - share).scatter_(1, segment, share)

    def at(self, positions: Float[Tensor, " T"]) -> Points:
        """γ at many positions, made when evaluated.

        Args:
            positions: `(T,)`, t between 0 and 1.

        Returns:
            T points, to be evaluated by `evaluate` or turned into rows.
        """
        return Points(torch.zeros_like(self.controls[0]), self.controls, self.weights(positions))

    @property
    def length(self) -> float:
        """∫‖γ'(t)‖dt in parameter space: of a chain the sum of its segments, of a Bézier curve by adaptive quadrature."""
        steps = self.controls.double().diff(dim=0)
        if self.kind == "chain":
            return float(torch.linalg.vector_norm(steps, dim=1).sum())
        from scipy.integrate import quad  # half a second, which workers of sweeps do without

        products, degree = (steps @ steps.T).cpu().numpy(), len(steps)

        def speed(t: float) -> float:  # γ' is degree times a Bézier curve through the differences of the controls
            shares = [math.comb(degree - 1, k) * t**k * (1 - t) ** (degree - 1 - k) for k in range(degree)]
            return degree * math.sqrt(max(0.0, float(shares @ products @ shares)))

        return float(quad(speed, 0.0, 1.0)[0])

    def with_controls(self, controls: Float[Tensor, "K P"]) -> "Curve":
        """The same curve through other control points.

        Args:
            controls: `(K, P)`, as many as there are.

        Returns:
            A curve of the same kind and knots.
        """
        return replace(self, controls=controls)


@checked
def line(first: Float[Tensor, " P"], second: Float[Tensor, " P"]) -> Curve:
    """The straight line.

    Args:
        first: γ(0), `(P,)`.
        second: γ(1), `(P,)`.

    Returns:
        The chain of two control points, without bends.

    Examples:
        >>> import torch, orograph as og
        >>> og.line(torch.zeros(3), torch.ones(3)).controls.shape
        torch.Size([2, 3])
    """
    return Curve("chain", torch.stack([first, second]), torch.tensor([0.0, 1.0], dtype=torch.float64))


@checked
def bezier(first: Float[Tensor, " P"], second: Float[Tensor, " P"], *, bends: int = 1) -> Curve:
    """A Bézier curve that is still straight; one bend makes it quadratic.

    Train it with `train_curve` (Garipov et al., 2018).

    Args:
        first: γ(0), `(P,)`.
        second: γ(1), `(P,)`.
        bends: control points between the two.

    Returns:
        The curve, its control points at equal distances on the straight line.

    Examples:
        >>> import torch, orograph as og
        >>> og.bezier(torch.zeros(3), torch.ones(3)).controls[1]
        tensor([0.5000, 0.5000, 0.5000])
    """
    return _bent("bezier", first, second, bends)


@checked
def chain(first: Float[Tensor, " P"], second: Float[Tensor, " P"], *, bends: int = 1) -> Curve:
    """A polygonal chain that is still straight.

    Train it with `train_curve` (Garipov et al., 2018).

    Args:
        first: γ(0), `(P,)`.
        second: γ(1), `(P,)`.
        bends: corners between the two.

    Returns:
        The chain, its corners at equal distances on the straight line.

    Examples:
        >>> import torch, orograph as og
        >>> og.chain(torch.zeros(3), torch.ones(3), bends=3).knots
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000], dtype=torch.float64)
    """
    return _bent("chain", first, second, bends)


def _bent(kind: Kind, first: Float[Tensor, " P"], second: Float[Tensor, " P"], bends: int) -> Curve:
    if bends < 1:
        raise ConfigurationError(f"a curve with {bends} bends is a line; take at least 1, or line().")
    knots = torch.linspace(0, 1, bends + 2, dtype=torch.float64)
    shares = knots[:, None].to(first)
    controls = (1 - shares) * first + shares * second
    return Curve(kind, controls, knots)


@checked
def through(points: Float[Tensor, "K P"]) -> Curve:
    """The chain through given points, its knots at their distances along it.

    Args:
        points: `(K, P)`, at least two, one a row.

    Returns:
        The chain.

    Raises:
        ConfigurationError: fewer than two points, or neighbours that coincide.
    """
    lengths = torch.linalg.vector_norm(points.diff(dim=0), dim=1).double().cpu()
    if len(points) < 2 or not (lengths > 0).all():
        raise ConfigurationError(
            f"a chain needs at least two points, each apart from the next, not {len(points)} of lengths {lengths.tolist()}."
        )
    knots = torch.cat([torch.zeros(1, dtype=torch.float64), lengths.cumsum(0)]) / lengths.sum()
    knots[-1] = 1.0
    return Curve("chain", points, knots)


def displaced(controls: Float[Tensor, "K P"], generator: torch.Generator) -> Float[Tensor, "inner P"]:
    """The inner control points, each moved a little at random."""
    inner = controls[1:-1].clone()
    noise = torch.randn(inner.shape, generator=generator).to(inner)
    distance = torch.linalg.vector_norm(controls[-1] - controls[0])
    return inner + SYMMETRY_BREAKING * distance * noise / torch.linalg.vector_norm(noise, dim=1, keepdim=True)
