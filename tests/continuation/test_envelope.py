"""∫ q dλ against a curve whose integral is a closed form, through its fold and the turn of q."""

import numpy as np
import pytest

from orograph.continuation.envelope import work_again, work_along


@pytest.mark.parametrize("distortion", [0.0, 0.3])
def test_the_work_is_that_of_the_closed_form_however_the_arclength_is_counted(distortion: float) -> None:
    def worst(count: int) -> tuple[float, float]:
        angle = np.linspace(0, 4, count)  # λ = cos, q = 2 + sin: folds at 0 and π, a turn at π/2
        truth = 2 * (np.cos(angle) - 1) - angle / 2 + np.sin(2 * angle) / 4
        s = angle + distortion * np.sin(angle)
        rate = -np.sin(angle) / (1 + distortion * np.cos(angle))
        found, again = (
            work(s, np.cos(angle), 2 + np.sin(angle), *more) for work, more in ((work_along, ()), (work_again, (rate,)))
        )
        return np.abs(found - truth).max(), np.abs(found - again).max()

    (rough, apart), (fine, _) = worst(20), worst(40)
    assert fine < 1e-5
    assert rough / fine > 10  # fourth order
    assert rough < 2 * apart  # the two rules say how good they are
