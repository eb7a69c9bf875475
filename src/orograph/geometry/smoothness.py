"""Whether a loss is twice continuously differentiable, and the curvature at a finite radius where it is not.

Autograd's second derivative of ReLU is zero almost everywhere: its Hessian leaves out what the kinks add when many of them are
averaged over samples. A second difference over a finite radius sees them.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from orograph.arguments import checked
from orograph.errors import ConfigurationError
from orograph.geometry.evaluation import Points, losses_at
from orograph.objective import Objective

FINITE_RADIUS = 1e-3  # of ‖θ‖: along an eigenvector small enough for a parabola, and far above the rounding of float32 losses

SMOOTHED = "tanh, sigmoid, gelu or softplus in its place."  # how to be rid of kinks

# Kinks in the value or the slope. ELU, CELU and SELU have a jump in the second derivative, GELU, SiLU, softplus and tanh none.
NONSMOOTH = frozenset(
    {
        *("relu", "leaky_relu", "rrelu", "rrelu_with_noise", "prelu", "_prelu_kernel", "threshold", "hardtanh", "hardswish"),
        *("hardsigmoid", "hardshrink", "softshrink", "elu", "selu", "celu", "abs", "sign", "sgn", "floor", "ceil", "round"),
        *("maximum", "minimum", "max", "min", "amax", "amin", "clamp", "clamp_min", "clamp_max", "topk", "sort"),
        *("max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices", "max_pool3d_with_indices", "mkldnn_max_pool2d"),
        *("adaptive_max_pool2d", "adaptive_max_pool3d", "fractional_max_pool2d", "smooth_l1_loss", "huber_loss"),
    }
)


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func.overloadpacket.__name__.rstrip("_"))
        return func(*args, **(kwargs or {}))


@checked
def nonsmooth_operations(objective: Objective) -> tuple[str, ...]:
    """Names of the operations in model and loss that are not C²; empty means that the Hessian is complete.

    Args:
        objective: gives model, loss and a few samples to trace them on.

    Returns:
        Their names, each once.
    """
    batch = next(objective.batches(2))
    recorder = _Recorder()
    with torch.no_grad(), recorder:
        objective.summed(objective.theta, *batch)
    return tuple(sorted(recorder.seen & NONSMOOTH))


@checked
def is_smooth(objective: Objective) -> bool:
    """Whether the loss is C² in the parameters: no ReLU, no maximum, no absolute value.

    Args:
        objective: gives model, loss and a few samples to trace them on.

    Returns:
        Whether nothing that is not C² was found.
    """
    return not nonsmooth_operations(objective)


def require_smooth(objective: Objective, needs: str, way_out: str) -> None:
    """Refuses to follow a branch of a loss that is not C².

    Args:
        objective: of the branch.
        needs: how the sentence begins, up to what is needed.
        way_out: how it ends, behind the names of the operations.

    Raises:
        ConfigurationError: the sentence, with their names.
    """
    if kinks := nonsmooth_operations(objective):
        raise ConfigurationError(f"{needs} a loss that is twice differentiable; {', '.join(kinks)} {way_out}")


def finite_companions(
    objective: Objective, theta: Float[Tensor, " P"], directions: Mapping[str, Float[Tensor, " P"]], *, shift: float = 0.0
) -> dict[str, float]:
    """The curvature of the loss along unit directions at a small finite radius, which sees kinks that autograd leaves out.

    Args:
        objective: the loss; its penalty plays no part.
        theta: where; nothing is found at θ = 0, which has no length to compare a radius with.
        directions: each `(P,)`, by name.
        shift: what a penalty adds to the curvature in every direction.

    Returns:
        `finite_{name}` for each of them, and `finite_radius`.
    """
    radius = FINITE_RADIUS * theta.double().norm().item()
    if not directions or not radius > 0:
        return {}
    found = finite_curvatures(objective, theta, torch.stack(list(directions.values())), radius).tolist()
    return {f"finite_{name}": value + shift for name, value in zip(directions, found, strict=True)} | {"finite_radius": radius}


@checked
def finite_curvatures(
    objective: Objective, theta: Float[Tensor, " P"], directions: Float[Tensor, "k P"], radius: float
) -> Float[Tensor, " k"]:
    """[L(θ+Rv) + L(θ−Rv) − 2L(θ)]/R² along each unit direction, float64: at small R, vᵀHv with the kinks.

    Args:
        objective: loss and data.
        theta: `(P,)`, the middle.
        directions: `(k, P)`, unit rows.
        radius: R, absolute.

    Returns:
        `(k,)` float64, in the unit of an eigenvalue.
    """
    count = len(directions)
    unit = torch.eye(count, dtype=torch.float64)
    steps = torch.cat([torch.zeros_like(unit[:1]), unit, -unit]) * radius
    centre, plus, minus = losses_at(objective, Points(theta, directions, steps)).split([1, count, count])
    return (plus + minus - 2 * centre) / radius**2
