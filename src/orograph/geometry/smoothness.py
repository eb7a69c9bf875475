"""Whether a loss is twice continuously differentiable, and the curvature at a finite radius where it is not.

Autograd's second derivative of ReLU is zero almost everywhere: its Hessian leaves out what the kinks add when many of them are
averaged over samples. A second difference over a finite radius sees them.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from orograph.geometry.evaluation import Points, losses_at
from orograph.objective import Objective

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


def is_smooth(objective: Objective) -> bool:
    """Whether the loss is C² in the parameters: no ReLU, no maximum, no absolute value.

    Args:
        objective: gives model, loss and a few samples to trace them on.

    Returns:
        Whether nothing that is not C² was found.
    """
    return not nonsmooth_operations(objective)


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
