"""Data of a linear teacher: Gaussian inputs whitened exactly, and an input–output correlation of given singular values.

The loss ½‖y − f(x)‖² of a linear network depends on its data by XᵀX/N and YᵀX/N alone. With the first one the identity and the
second one of known singular values, all critical points of deep linear networks are known (Saxe, McClelland & Ganguli 2014).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from orograph.brief import brief
from orograph.errors import ConfigurationError

SAMPLES = 100  # where their number is left open
TEST_SHARE = 5  # so many training samples a test sample


@brief
@dataclass(frozen=True)
class LinearTeacher:
    """y = Ax with A = U diag(σ) Vᵀ.

    Attributes:
        singular_values: σ, as many as inputs and outputs.
        outputs: `(m, m)`, U: a column a mode.
        inputs: `(m, m)`, V: a column a mode.
        train: X `(N, m)` with XᵀX/N = 1 and mean 0, and Y = XAᵀ.
        test: `(M, m)` Gaussian inputs as they are drawn, and what the teacher says of them, `(M, m)`.
    """

    singular_values: tuple[float, ...]
    outputs: Float64[Tensor, "m m"]
    inputs: Float64[Tensor, "m m"]
    train: tuple[Float64[Tensor, "N m"], Float64[Tensor, "N m"]]
    test: tuple[Float64[Tensor, "M m"], Float64[Tensor, "M m"]]


def linear_teacher(singular_values: Sequence[float], samples: int = SAMPLES, seed: int = 0) -> LinearTeacher:
    """A teacher, and what it says of samples; all of it follows from the seed.

    Args:
        singular_values: σ of the correlation YᵀX/N, not negative.
        samples: for training; a fifth as many are for testing.
        seed: of inputs and of the singular vectors.

    Returns:
        The teacher with its data, in float64: the closed forms hold to the rounding of it.

    Raises:
        ConfigurationError: no singular value, or too few samples to be white.

    Examples:
        >>> import torch
        >>> from orograph.data import linear_teacher
        >>> x, y = linear_teacher([1.5, 0.9]).train
        >>> [round(each, 12) for each in torch.linalg.svdvals(y.T @ x / len(x)).tolist()]
        [1.5, 0.9]
    """
    modes = len(singular_values)
    if not modes or not all(0 <= each < math.inf for each in singular_values):
        raise ConfigurationError(f"`singular_values` {','.join(map(str, singular_values))} must be numbers ≥ 0, one at least.")
    if samples <= modes:
        raise ConfigurationError(
            f"{samples} training samples cannot be white in {modes} directions around their mean; give a `subset_size` of "
            f"{modes + 1} at least."
        )
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int) -> Tensor:
        return torch.randn(rows, modes, generator=generator, dtype=torch.float64)

    left, right = (_orthonormal(normal(modes)) for _ in range(2))
    map_ = left * torch.tensor(list(singular_values), dtype=torch.float64) @ right.T
    drawn = normal(samples)
    white = math.sqrt(samples) * _orthonormal(drawn - drawn.mean(0))
    other = normal(max(1, samples // TEST_SHARE))
    return LinearTeacher(tuple(singular_values), left, right, (white, white @ map_.T), (other, other @ map_.T))


def _orthonormal(columns: Tensor) -> Tensor:
    """With the same span from the first column on; which of the two signs is that of the column itself."""
    q, r = torch.linalg.qr(columns)
    return q * torch.where(r.diagonal() < 0, -1.0, 1.0)
