"""The order in which a run that has grown is made, against lists written by hand."""

from orograph.store.cells import Cell
from orograph.sweep.history import asked, grouped, origins, planned, stages, with_asked
from orograph.sweep.settings import SweepSettings


def settings(strengths: list[float], seeds: list[int] = [0], direction: str = "up", **anchor: str) -> SweepSettings:  # noqa: B006
    ladder = {"strengths": strengths, "direction": direction}
    return SweepSettings.model_validate({"ladder": ladder, "anchor": {"seeds": seeds, **anchor}, "numerics": {"cohort": 2}})


def up(seed: int, *strengths: float) -> list[Cell]:
    return [Cell(seed, "up", each) for each in strengths]


def down(seed: int, *strengths: float) -> list[Cell]:
    return [Cell(seed, "down", each) for each in strengths]


def test_what_was_asked_for_first_comes_first() -> None:
    one, two = settings([0.1, 0.3]), settings([0.1, 0.2, 0.3, 0.4], [0, 1], "both")
    history = with_asked((), one, two)
    assert history == [asked(one), asked(two)]
    assert with_asked(history, two, two) == history
    assert with_asked((), one, one) == []
    then = stages(two, history)
    assert planned(then)[:4] == [*up(0, 0.1, 0.3), *up(0, 0.2, 0.4)]
    first, second = grouped(then)
    assert first == [up(0, 0.1), up(0, 0.3)]
    assert second[:4] == [up(1, 0.1), [*up(0, 0.2), *up(1, 0.2)], up(1, 0.3), [*up(0, 0.4), *up(1, 0.4)]]
    assert second[4:] == [[*down(0, each), *down(1, each)] for each in (0.4, 0.3, 0.2, 0.1)]
    new = {cell for group in second for cell in group}
    assert origins(then[1], new, lambda cell: True) == {
        Cell(0, "up", 0.2): Cell(0, "up", 0.1),
        Cell(0, "up", 0.4): Cell(0, "up", 0.3),
    }


def test_a_point_that_failed_is_no_origin() -> None:
    whole = settings([0.1, 0.2, 0.3], direction="both")
    new = {*up(0, 0.3), *down(0, 0.3, 0.2, 0.1)}
    failed = Cell(0, "up", 0.2)
    assert origins(whole, new, lambda cell: cell != failed) == {Cell(0, "up", 0.3): Cell(0, "up", 0.1)}
    descent = {*down(0, 0.3, 0.2, 0.1)}
    assert origins(whole, descent, lambda cell: True) == {Cell(0, "down", 0.3): Cell(0, "up", 0.3)}


def test_points_that_begin_afresh_train_in_groups_of_their_own() -> None:
    one, two = settings([0.1, 0.3], start="fresh"), settings([0.1, 0.2, 0.3, 0.4, 0.5], start="fresh")
    then = stages(two, with_asked((), one, two))
    assert grouped(then) == [[up(0, 0.1, 0.3)], [up(0, 0.2, 0.4), up(0, 0.5)]]
    new = {*up(0, 0.2, 0.4, 0.5)}  # which tells how far they are from their neighbours, all the same
    assert origins(two, new, lambda cell: True) == {
        Cell(0, "up", 0.2): Cell(0, "up", 0.1),
        Cell(0, "up", 0.4): Cell(0, "up", 0.3),
    }
