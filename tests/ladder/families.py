"""λ-families whose minima are known in closed form, so that their transitions are known before anything is computed.

All are L_eff = L + λ‖θ‖² over θ = (x, w), with an independent smooth part ½a(w − 1)² whose w = a/(a + 2λ) decays whatever x does.

* first order: L = u³ − 2u² + cu in u = ‖x‖². The outer branch u = (4 + √(16 − 12(λ + c)))/6 ends in a fold at λ + c = 4/3, the
  inner one u = 0 loses its stability at λ + c = 0, and both are equally low at λ + c = 1.
* second order: L = u² − bu, u = max(0, (b − λ)/2): a kink at λ = b.
* none: the smooth part alone.
"""

from dataclasses import dataclass

import numpy as np

BATH = 2.0
SHIFT = -0.3  # c: every special strength of the first-order family is that of λ + c, less c
FOLD, MAXWELL, LOSS = 4 / 3 - SHIFT, 1 - SHIFT, -SHIFT
ONSET = 0.83  # b of the second-order family; between two points of any ladder used


@dataclass(frozen=True)
class State:
    """A minimum: ‖x‖², F, q, and λ_min of the Hessian of L_eff."""

    u: float
    energy: float
    order: float
    lowest: float


def smooth(strength: float) -> tuple[float, float]:
    """F and q of the smooth part."""
    w = BATH / (BATH + 2 * strength)
    return BATH / 2 * (w - 1) ** 2 + strength * w**2, w**2


def _state(u: float, energy: float, lowest: float, strength: float) -> State:
    more, order = smooth(strength)
    return State(u, energy + more, u + order, min(lowest, BATH + 2 * strength))


def outer(strength: float) -> State:
    """The outer branch of the first-order family."""
    total = strength + SHIFT
    u = (4 + np.sqrt(16 - 12 * total)) / 6
    # Along x the second derivative of f(x²) is 2f′ + 4uf″ with f′ = 0.
    return _state(u, u**3 - 2 * u**2 + total * u, 4 * u * (6 * u - 4), strength)


def inner(strength: float) -> State:
    """The inner branch of the first-order family."""
    return _state(0.0, 0.0, 2 * (strength + SHIFT), strength)


def first_order(strength: float, before: State | None, *, upward: bool) -> State:
    """Where a patient optimiser ends that starts from a neighbour: on its branch, while there is one."""
    on_outer = upward if before is None else before.u > 0.1
    if on_outer and strength < FOLD:
        return outer(strength)
    return outer(strength) if strength < LOSS else inner(strength)


def second_order(strength: float) -> State:
    u = max(0.0, (ONSET - strength) / 2)
    stiff = 4 * u * 2 if u > 0 else 2 * (strength - ONSET)
    return _state(u, u**2 - ONSET * u + strength * u, stiff, strength)


def walk(strengths: np.ndarray, *, upward: bool) -> list[State]:
    """The first-order family along a ladder, in ascending order of λ whichever way it was gone."""
    states: list[State] = []
    for strength in strengths if upward else strengths[::-1]:
        states.append(first_order(float(strength), states[-1] if states else None, upward=upward))
    return states if upward else states[::-1]


def correlated_noise(count: int, deviation: float, phi: float, seed: int) -> np.ndarray:
    """A first-order autoregression of the given standard deviation."""
    draw = np.random.default_rng(seed)
    values = np.empty(count)
    values[0] = draw.normal()
    for index in range(1, count):
        values[index] = phi * values[index - 1] + np.sqrt(1 - phi**2) * draw.normal()
    return deviation * values
