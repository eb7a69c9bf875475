"""Classes along curves, drawn from made-up courses whose numbers can be found again in the artists."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from orograph.figures import class_courses
from orograph.figures.style import save

POSITIONS = [0.0, 0.5, 1.0]


def results(classes: int, quantity: str = "test_class_accuracy") -> dict:
    """Two curves; on the straight line the first class is lost and found."""
    rows = np.full((3, classes), 90.0)
    dip = rows.copy()
    dip[1, 0] = 20.0
    lost, found = [{"class": "c0", "position": 0.29}], [{"class": "c0", "position": 0.71}]
    linear = {"positions": POSITIONS, quantity: dip.tolist(), "lost": lost, "found": found}
    band = {"positions": POSITIONS, quantity: rows.tolist(), "lost": [], "found": []}
    return {"paths": {"band": band, "linear": linear}, "classes": [f"c{number}" for number in range(classes)]}


def courses(figure: Figure, panel: int) -> list[list[float]]:
    lines = figure.axes[panel].lines[1:]  # behind the one at a half
    return [list(line.get_ydata()) for line in lines]


def test_each_panel_has_the_course_of_every_class(tmp_path) -> None:
    figure = class_courses(results(3), "a to b")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Straight line", "Elastic band"]
    assert courses(figure, 0) == [[90.0, 20.0, 90.0], [90.0] * 3, [90.0] * 3]
    assert courses(figure, 1) == [[90.0] * 3] * 3
    assert [text.get_text() for text in figure.legends[0].texts] == ["c0", "c1", "c2"]
    assert figure.axes[0].get_ylabel() == "Test accuracy of each class (%)"
    assert all(path.stat().st_size > 5000 for path in save(figure, tmp_path / "classes"))


@pytest.mark.parametrize("quantity", ["train_class_accuracy", "test_class_accuracy"])
def test_of_many_classes_those_that_change_are_told(quantity: str) -> None:
    figure = class_courses(results(40, quantity))
    assert [text.get_text() for text in figure.legends[0].texts] == ["c0"]
    assert len(courses(figure, 0)) == 40
    assert figure.axes[0].get_ylabel().startswith("Training" if quantity.startswith("train") else "Test")


def test_without_classes_there_is_a_sentence() -> None:
    figure = class_courses({"paths": {"linear": {"positions": POSITIONS}}, "classes": []})
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["no classes"]
