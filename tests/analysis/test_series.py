"""Which changes a chain is said to have: identities first, in the series' own units, corrected for how many were searched."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from orograph.analysis.chain import Chain
from orograph.analysis.refine import ladder_interval
from orograph.analysis.series import ORDER, Form, changes_of, form_of, in_units, passing
from orograph.ladder.changes import ChangePoint
from orograph.ladder.transitions import judge, zoom
from orograph.store.cells import Cell

LADDER = np.round(np.linspace(0.001, 0.031, 31), 10)
STIFF, HEIGHT, SCALE = 0.03, 12.2, 0.08


def made(rows: list[dict], ladder: np.ndarray = LADDER, planned: np.ndarray | None = None) -> Chain:
    cells = tuple(Cell(0, "up", float(x)) for x in ladder)
    return Chain(0, "up", cells, tuple(rows), frozenset((ladder if planned is None else planned).tolist()))


def changes(chain: Chain, others=(), critical: bool = True):
    holds = [critical] * len(chain.cells)
    return changes_of(chain, others, ["a"], holds, resamples=199, seed=0, rounding=1e-12).found[ORDER]


def well(u: float) -> tuple[float, float, float]:
    """A tilted double well ¼(u − 2)²(u − 0.1)² − 0.4u with its first two derivatives."""
    a, b = u - 2, u - 0.1
    return 0.25 * a**2 * b**2 - 0.4 * u, 0.5 * a * b * (a + b) - 0.4, 0.5 * ((a + b) ** 2 + 2 * a * b)


def upper(strength: float) -> float:
    """The outer minimum of SCALE·V + λu² where there is one (up to its fold at λ = 0.01925), else the inner one."""
    grid = np.linspace(-1, 4, 2001)
    slopes = SCALE * well(grid)[1] + 2 * strength * grid
    places = [
        brentq(lambda u: SCALE * well(u)[1] + 2 * strength * u, *grid[i : i + 2])
        for i in np.flatnonzero(np.diff(np.sign(slopes)))
    ]
    return max(u for u in places if SCALE * well(u)[2] + 2 * strength > 0)


def two_modes(strength: float, weight: float) -> dict[str, float]:
    """½a(y − c)² + weight·SCALE·V(u) + λ(y² + weight·u²) at the minimum that is followed from small λ."""
    y, u = STIFF * HEIGHT / (STIFF + 2 * strength), upper(strength)
    q = y * y + weight * u * u
    energy = STIFF / 2 * (y - HEIGHT) ** 2 + weight * SCALE * well(u)[0] + strength * q
    chi = 4 * y * y / (STIFF + 2 * strength) + 4 * weight * u * u / (SCALE * well(u)[2] + 2 * strength)
    return {"anchor_distance": math.sqrt(q), "objective": energy, "susceptibility": chi, "objective_gradient_norm": 0.0}


@pytest.mark.parametrize("weight", [0.02, 0.1, 0.4, 2.0])
def test_a_certified_fold_is_a_jump_whatever_hides_it(weight: float) -> None:
    found = changes(made([two_modes(x, weight) for x in LADDER.tolist()]))
    assert [(change.kind, change.low < 0.01925 < change.high) for change in found] == [("jump", True)]


@pytest.mark.parametrize("weight", [0.4, 1.0, 4.0])
def test_a_fold_that_only_the_susceptibility_shows_is_judged_first_order(weight: float) -> None:
    """Without energies it may be seen as a kink; points inserted as `refine` does show that q jumps."""
    rows = [{name: value for name, value in two_modes(x, weight).items() if name != "objective"} for x in LADDER.tolist()]
    (change,) = changes(made(rows))
    known = {x: two_modes(x, weight)["anchor_distance"] ** 2 for x in LADDER.tolist()}
    interval = ladder_interval(LADDER, change)
    for kind in ("jump", "kink"):
        while (wanted := zoom(known, LADDER.tolist(), kind, interval, 0.001 / 32).wanted) is not None:
            known[wanted] = two_modes(wanted, weight)["anchor_distance"] ** 2
        judged = judge(known, LADDER.tolist(), kind, interval)
        assert judged.order == "first"
        assert judged.low < 0.019250 <= judged.high + 1e-6  # the fold to five digits


@pytest.mark.parametrize("rate", [0.0, 20.0, 60.0])
def test_a_jump_is_reported_in_units_of_its_series(rate: float) -> None:
    """q falls to 0.6 of itself, on curves that span a decade and on one that does not."""
    q = 40 * np.exp(-rate * LADDER) * np.where(LADDER > 0.0165, 0.6, 1) + 0.01 * (rate == 0) * LADDER
    found = changes(made([{"anchor_distance": float(value) ** 0.5} for value in q]), critical=False)
    (change,) = found
    truth = -0.4 * 40 * math.exp(-rate * 0.0165)
    assert change.jump == pytest.approx(truth, rel=0.05)  # the fit's own share of the steps around


def test_a_signed_series_is_given_back_in_its_units() -> None:
    values = np.sinh(np.linspace(-6, 6, 41)) + 20.0 * (np.arange(41) > 30)
    form = form_of(values)
    assert form.kind == "arsinh"
    before, after = form.of(values)[30:32]
    change = ChangePoint(30.5, 30, 31, "jump", float(after - before), 0.0, 0.005)
    assert in_units(change, form, np.arange(41.0), form.of(values)).jump == pytest.approx(values[31] - values[30], rel=1e-6)
    for value in (-3.0, 0.0, 2.5):
        back, slope = form.back(value)
        assert float(form.of(np.array(back))) == pytest.approx(value)
        assert slope == pytest.approx((form.back(value + 1e-6)[0] - form.back(value - 1e-6)[0]) / 2e-6, rel=1e-6)


def test_a_kink_of_a_logarithm_is_given_back_as_that_of_the_series() -> None:
    places = np.arange(41.0)
    form, logs = Form("log10"), -0.02 * places - 0.05 * np.maximum(0, places - 20.5)
    change = in_units(ChangePoint(20.5, 20, 21, "kink", 0.0, -0.05, 0.005), form, places, logs)
    truth = math.log(10) * 10 ** (-0.02 * 20.5) * -0.05
    assert change.kink == pytest.approx(truth, rel=0.05)  # the middle is taken as the mean of its neighbours


def test_of_twenty_series_those_pass_that_twenty_tests_leave() -> None:
    def at(p_value: float) -> tuple[ChangePoint, ...]:
        return (ChangePoint(1.0, 0.9, 1.1, "jump", 1.0, 0.0, p_value),)

    searched = {"a": at(0.0004), "b": at(0.0006), "c": at(0.005), **{str(index): () for index in range(17)}}
    kept = passing(searched)
    assert [name for name, found in kept.items() if found] == ["a"]
    assert kept["a"][0].adjusted == pytest.approx(20 * 0.0004)
    assert passing({"c": at(0.005)})["c"] != ()


def test_where_identities_decide_no_curve_through_q_is_asked() -> None:
    """A power law so steep that two points hold its bend: critical points of known χ are not searched."""
    x = LADDER - 0.0009
    q, chi = x**-2.0, 2 * x**-3.0
    rows = [
        {
            "anchor_distance": float(a) ** 0.5,
            "objective": -1 / float(t),
            "susceptibility": float(b),
            "objective_gradient_norm": 0.0,
        }
        for a, b, t in zip(q, chi, x, strict=True)
    ]
    found = changes_of(made(rows), (), ["a"], [True] * 31, resamples=199, seed=0).found[ORDER]
    assert all(change.evidence != "search" for change in found)
