"""One function of many vectors at once: by `vmap` where torch can and does it right, else one after the other.

Recurrent layers, padding masks, branches that read the data, tensors that are written in place and older custom functions have no
batching rule, or none that is right. So the first call of a kind is tried on two vectors and a few samples both ways; what raises
or differs there is looped from then on, and gives the same numbers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from orograph.calling import unremarked
from orograph.curvature.determinism import check_model
from orograph.errors import OrographError
from orograph.objective import Objective

Several = Sequence[Any]  # arguments with a leading dimension, or mappings of such
One = Callable[..., tuple[Tensor, ...]]
Trial = Callable[[], tuple[One, One, Several]]


def many(
    objective: Objective,
    name: str,
    one: One,
    several: Several,
    trial: Trial,
    other: One | None = None,
) -> Any:
    """`one` of every entry of `several`, stacked.

    Args:
        objective: whose traces remember how functions of this name are computed.
        name: of the function.
        one: of one entry each; gives tensors.
        several: its arguments, each with a leading dimension over the entries.
        trial: gives `one` and `other` on a few samples, and arguments for two entries.
        other: what is computed in a loop where `one` cannot be mapped; `one` itself when None.
    """
    key = ("mapped", name)
    if key not in objective.traces:
        objective.traces[key] = _agrees(objective, *trial())
    if objective.traces[key]:
        try:
            with unremarked():
                return vmap(one, randomness="error")(*several)
        except (OrographError, torch.OutOfMemoryError):
            raise
        except Exception:  # what the few samples did not meet, such as another branch
            check_model(objective)
            objective.traces[key] = False
    return looped(other or one, several)


def require_still(objective: Objective) -> None:
    """Once for each objective: nothing is drawn, neither in a loop nor where vmap would say so.

    Raises:
        ConfigurationError: the model gives two outputs for one input; names the module.
    """
    if "still" not in objective.traces:
        check_model(objective)
        objective.traces["still"] = True


def looped(one: One, several: Several) -> tuple[Tensor, ...]:
    """The same, entry by entry."""
    rows = [one(*(_entry(argument, index) for argument in several)) for index in range(len(_first(several)))]
    return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))


def _agrees(objective: Objective, mapped: One, single: One, several: Several) -> bool:
    try:
        with unremarked():
            found = vmap(mapped, randomness="error")(*several)
    except (OrographError, torch.OutOfMemoryError):
        raise
    except Exception:  # whatever has no batching rule
        check_model(objective)  # what is random would pass through a loop unseen
        return False
    try:
        expected = looped(single, several)
    except (OrographError, torch.OutOfMemoryError):
        raise
    except Exception:  # no other way to compare with
        return True
    scale = max((each[each.isfinite()].abs().amax().item() for each in expected if each.isfinite().any()), default=0.0)
    return all(_near(a, b, scale) for a, b in zip(found, expected, strict=True))


def _near(found: Tensor, expected: Tensor, scale: float) -> bool:
    """Half of the digits of the largest: what parts a right result from a wrong one, not one rounding from another."""
    if found.shape != expected.shape:
        return False
    tolerance = torch.finfo(found.dtype).eps ** 0.5
    return torch.allclose(found, expected, rtol=tolerance, atol=10 * tolerance * scale, equal_nan=True)


def _first(several: Several) -> Tensor:
    return next(argument for argument in several if isinstance(argument, Tensor))


def _entry(argument: Any, index: int) -> Any:
    return {key: value[index] for key, value in argument.items()} if isinstance(argument, dict) else argument[index]
