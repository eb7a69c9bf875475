"""Whether descent without noise leads from a state to the other side: the check of a crossing.

The path is that of gradient descent over all data with the learning rate of the chains, the same steps without their noise. Where
q has gone half of the way from the threshold to one of the two minima, the side is decided.
"""

from jaxtyping import Float
from torch import Tensor

from orograph.arguments import checked
from orograph.objective import Objective


@checked
def descends_across(
    objective: Objective, theta: Float[Tensor, " P"], *, threshold: float, ends: tuple[float, float], lr: float, steps: int
) -> bool | None:
    """Follows gradient descent on L_eff until q says to which side it leads.

    Args:
        objective: L with its data, λ and θ_ref.
        theta: where it begins, `(P,)`.
        threshold: q between the sides.
        ends: q of the minimum that was left, and of the one on the other side.
        lr: learning rate.
        steps: at most.

    Returns:
        Whether it leads to the other side; None where the steps do not decide.

    Examples:
        >>> import torch, orograph as og
        >>> objective = og.Objective(torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss(), [(torch.eye(4), torch.arange(4) % 2)])
        >>> away = og.escapes.descends_across(objective, 0.4 * torch.ones(10), threshold=2.0, ends=(0.0, 4.0), lr=0.5, steps=400)
        >>> away
        True
    """
    left, right = ((threshold + end) / 2 for end in ends)
    rising = right > left
    here = theta.detach().clone()
    for _ in range(steps):
        q = objective.offset(here).double().square().sum().item()
        if (q >= right) if rising else (q <= right):
            return True
        if (q <= left) if rising else (q >= left):
            return False
        here -= lr * objective.value_gradient(here)
    return None
