"""Branches through matrices whose eigenpairs are known functions of λ: a crossing, an avoided one, a cluster, a lost one."""

import numpy as np
import pytest

from orograph.ladder.branches import Branches, Pairs, follow, meetings, principal_angles

SIZE = 12


def basis(seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((SIZE, SIZE)))[0]


def pairs_of(matrix: np.ndarray, k: int) -> Pairs:
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = values[::-1][:k], vectors.T[::-1][:k]
    clusters, start = [], 0
    for index in range(1, k + 1):
        if index == k or values[index - 1] - values[index] > 1e-9:
            if index - start > 1:
                clusters.append((start, index))
            start = index
    return Pairs(values, vectors, tuple(clusters), np.zeros(k, dtype=bool))


def tracked(family, strengths: np.ndarray, k: int) -> tuple[Branches, tuple]:
    points = [pairs_of(family(x), k) for x in strengths]
    branches = follow(points.__getitem__, len(points))
    values = branches.values(np.stack([point.values for point in points]))

    def rows(place: int, branch: int) -> np.ndarray:
        pair = int(np.flatnonzero(branches.numbers[place] == branch)[0])
        start, stop = next((c for c in points[place].clusters if c[0] <= pair < c[1]), (pair, pair + 1))
        return points[place].vectors[start:stop]

    return branches, meetings(strengths, values, rows)


def crossing(x: float) -> np.ndarray:
    """Two eigenvalues 5 ± (x − 1) that cross at x = 1 while their directions slowly turn with all others."""
    own = basis()
    angle = 0.1 * x
    turn = np.eye(SIZE)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    own = own @ turn
    return (own * np.array([5 - (x - 1), 5 + (x - 1), 3, *np.linspace(1, 0.1, SIZE - 3)])) @ own.T


def avoided(x: float, half_gap: float = 0.15) -> np.ndarray:
    """The same lines with a coupling: 5 ± √((x − 1)² + half_gap²), whose directions change places."""
    middle = np.diag([0.0, 0.0, 3, *np.linspace(1, 0.1, SIZE - 3)])
    middle[:2, :2] = [[5 - (x - 1), half_gap], [half_gap, 5 + (x - 1)]]
    own = basis()
    return own @ middle @ own.T


@pytest.mark.parametrize("ladder", [np.linspace(0, 2, 20), np.linspace(0, 2, 21)], ids=["between points", "on a point"])
def test_an_exact_crossing_keeps_each_direction(ladder: np.ndarray) -> None:
    branches, met = tracked(crossing, ladder, 4)
    assert branches.count == 4
    first, last = branches.numbers[0], branches.numbers[-1]
    assert first[0] == last[1]
    assert first[1] == last[0]
    assert np.nanmin(branches.overlaps) > 0.99
    (found,) = met
    assert found.kind == "crossing"
    assert found.strength == pytest.approx(1.0, abs=1e-6)
    assert found.value == pytest.approx(5.0, abs=1e-6)
    assert {found.first, found.second} == {0, 1}


def test_an_avoided_crossing_keeps_the_order_and_exchanges_the_directions() -> None:
    branches, met = tracked(avoided, np.linspace(0, 2, 41), 4)
    assert (branches.numbers == np.arange(4)).all()
    (found,) = met
    assert found.kind == "avoided"
    assert found.strength == pytest.approx(1.0, abs=0.051)
    assert found.gap == pytest.approx(0.3, rel=0.05)
    assert found.exchange > 0.5


def test_copies_that_only_rounding_parts_avoid_nothing() -> None:
    """Whose gap is least here and there, in a plane that is one and the same at every point."""
    gaps = 1e-4 * (1 + 4 * np.abs(np.sin(np.arange(21.0))))
    values, plane = 2 + np.stack([gaps, -gaps], axis=1) / 2, basis().T[:2]
    assert meetings(np.linspace(0, 1, 21), values, lambda place, branch: plane)
    assert meetings(np.linspace(0, 1, 21), values, lambda place, branch: plane, resolution=1e-3) == ()


def test_parallel_branches_do_not_meet() -> None:
    own = basis()

    def parallel(x: float) -> np.ndarray:
        return (own * np.array([6 - x, 4 - x, 3 - 0.5 * x, *np.linspace(0.5, 0.1, SIZE - 3)])) @ own.T

    branches, met = tracked(parallel, np.linspace(0, 2, 15), 3)
    assert branches.count == 3
    assert met == ()


def test_a_cluster_is_followed_as_a_subspace() -> None:
    """A threefold eigenvalue whose basis is arbitrary at every point: three branches, and none is lost."""
    own = basis()
    draw = np.random.default_rng(5)

    def point(index: int) -> Pairs:
        turn = np.linalg.qr(draw.standard_normal((3, 3)))[0]
        vectors = np.concatenate([turn @ own.T[:3], own.T[3:4]])
        return Pairs(np.array([2.0, 2, 2, 1]), vectors, ((0, 3),), np.zeros(4, dtype=bool))

    points = [point(index) for index in range(6)]
    branches = follow(points.__getitem__, 6)
    assert branches.count == 4
    assert (np.sort(branches.numbers, axis=1) == np.arange(4)).all()
    np.testing.assert_allclose(branches.overlaps[1:], 1, atol=1e-12)
    np.testing.assert_allclose(branches.angles[1:], 0, atol=1e-6)


def test_a_direction_that_is_gone_ends_and_a_new_one_begins() -> None:
    own = basis().T
    none = np.zeros(2, dtype=bool)
    points = [Pairs(np.array([2.0, 1]), own[[0, 1]], (), none), Pairs(np.array([2.0, 1]), own[[0, 2]], (), none)]
    branches = follow(points.__getitem__, 2)
    assert branches.numbers.tolist() == [[0, 1], [0, 2]]
    assert branches.angles[1] == pytest.approx([0, 90])


def test_pairs_of_noise_belong_to_no_branch() -> None:
    own = basis().T
    point = Pairs(np.array([2.0, 1e-9]), own[:2], (), np.array([False, True]))
    branches = follow(lambda index: point, 3)
    assert branches.numbers.tolist() == [[0, -1]] * 3


def test_principal_angles_are_those_by_which_rows_were_turned() -> None:
    own, turned = basis(), np.array([1e-6, 0.5, 80.0])
    cosines, sines = np.cos(np.radians(turned))[:, None], np.sin(np.radians(turned))[:, None]
    other = cosines * own[:3] + sines * own[3:6]
    mixed = np.random.default_rng(1).standard_normal((3, 3)) @ other  # a span has no basis of its own
    np.testing.assert_allclose(principal_angles(own[:3], mixed), turned, rtol=1e-7)  # a smallest angle of 2e-8 loses eight digits
