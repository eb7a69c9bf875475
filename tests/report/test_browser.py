"""The report in a real browser: what a reader sees and does, with the console, page errors and every request observed.

Expected numbers are those that `made_up_sweep` made, not what the page's own scripts computed from them.
"""

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from connected import write_connection
from studies import write_study

import made_up_sweep
from orograph.report.report import render
from orograph.store.dataset import open_run
from orograph.store.run import Run

pytestmark = pytest.mark.browser


@dataclass
class Visit:
    """An open page and what went wrong on it."""

    page: Any
    complaints: list[str] = field(default_factory=list)

    def figure(self, title: str) -> Any:
        return self.page.locator("figure", has=self.page.get_by_role("heading", name=title, exact=True))

    def drawn(self, title: str) -> Any:
        plot = self.figure(title).locator(".plot")
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
        return plot

    def trace(self, title: str, number: int = 0) -> list[float]:
        return self.drawn(title).evaluate(f"node => Array.from(node.data[{number}].y)")

    def scroll_through(self) -> None:
        for place in range(0, self.page.evaluate("document.documentElement.scrollHeight") + 1000, 500):
            self.page.evaluate(f"window.scrollTo(0, {place})")
            self.page.wait_for_timeout(60)


Open = Callable[..., Visit]


@cache
def html_of(run: Path) -> str:
    """The page of a run, which no test changes once it is looked at."""
    return render(Run.open(run))


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Open:
    def open_report(run: Path, width: int = 1280, scheme: str = "light") -> Visit:
        file = tmp_path / "report.html"
        file.write_text(html_of(run), encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        found = Visit(page)
        page.on("console", lambda message: found.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on("request", lambda request: found.complaints.append(request.url) if request.url.startswith("http") else None)
        page.goto(file.as_uri())
        page.wait_for_function("document.documentElement.dataset.ready")
        return found

    return open_report


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "long"
    made_up_sweep.write(path, 501)
    return path


def test_the_first_figure_of_501_points_is_drawn_before_anything_is_scrolled_to(visit: Open, long: Path) -> None:
    found = visit(long)
    drawn = found.page.locator(".plot .main-svg").count()
    assert found.figure("Loss").locator(".main-svg").count() > 0
    assert found.page.locator("figure").count() > 8
    assert drawn < 3 * found.page.locator("figure").count()  # a drawn figure has three
    losses = found.trace("Loss", 2)
    assert losses == pytest.approx([made_up_sweep.expected_loss(0.0002 * i) for i in range(501)])


def test_the_first_curves_are_painted_before_plotly_is_run(browser: Any, long: Path, tmp_path: Path) -> None:
    html = html_of(long)
    file = tmp_path / "report.html"
    file.write_text(
        html.replace("loadPlotly();", "String();").replace("loadPlotly);", "String);"), encoding="utf-8"
    )  # as on a machine that is slow without end
    page = browser.new_page()
    page.goto(file.as_uri())
    page.wait_for_function("document.documentElement.dataset.painted")
    curves = page.locator("svg.sketch polyline")
    assert curves.count() == 3
    test = curves.nth(2).get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in test]
    assert len(heights) == 501
    assert heights == sorted(heights, reverse=True)  # the test loss rises with λ, and SVG counts downwards


def test_scrolling_through_a_sweep_draws_everything_without_a_complaint_or_a_request(visit: Open, long: Path) -> None:
    found = visit(long)
    found.scroll_through()
    assert found.page.locator("figure").count() == found.page.locator(".plot:has(.main-svg)").count()
    assert found.complaints == []


def test_a_ladder_that_moves_at_its_beginning_is_stretched_there(
    visit: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up_sweep.write(tmp_path / "run", 101)
    first = float(open_run(tmp_path / "run").strength[1])
    monkeypatch.setattr("orograph.report.sweep.stretched_from", lambda ds: first)
    found = visit(tmp_path / "run")
    plot = found.drawn("Loss")
    assert plot.evaluate("node => node.layout.xaxis.type") == "log"
    assert plot.evaluate("node => node.layout.xaxis.ticktext[0]") == "0"
    places = plot.evaluate("node => Array.from(node.data[0].x)")
    assert 0 < places[0] < first == pytest.approx(places[1])
    found.page.locator("#strength").focus()
    found.page.keyboard.press("End")
    plot.evaluate(f"node => node.emit('plotly_click', {{points: [{{x: {places[0]!r}}}]}})")
    found.page.wait_for_function("document.querySelector('output').textContent.trim() === 'λ = 0'")
    plot.evaluate("node => Plotly.relayout(node, {'xaxis.range[0]': -2, 'xaxis.range[1]': -1.5})")
    assert plot.evaluate("node => node.layout.xaxis.tickmode") == "auto"
    assert found.drawn("Accuracy").evaluate("node => node.layout.xaxis.range") == [-2, -1.5]
    assert found.complaints == []


def test_the_slider_changes_the_spectrum_that_is_shown(visit: Open, long: Path) -> None:
    found = visit(long)
    before = found.trace("Spectrum")
    found.page.locator("#strength").focus()
    found.page.keyboard.press("End")
    found.page.wait_for_function("document.querySelector('output').textContent.includes('0.1')")
    found.page.wait_for_timeout(300)
    shown = found.drawn("Spectrum").evaluate("node => node.data[0].customdata.map(each => each[0])")
    assert shown == pytest.approx(made_up_sweep.eigenvalues(0.1, 30).tolist())
    assert found.trace("Spectrum") != before
    assert found.complaints == []


def test_hovering_one_figure_shows_the_same_strength_in_another(visit: Open, small: Path) -> None:
    found = visit(small)
    found.drawn("Accuracy")
    box = found.drawn("Loss").bounding_box()
    found.page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    found.page.mouse.move(box["x"] + box["width"] / 3 + 3, box["y"] + box["height"] / 2)
    hovered = found.figure("Accuracy").locator(".hoverlayer > *")
    hovered.first.wait_for(state="attached")
    assert found.complaints == []


def test_a_heading_sorts_its_table_and_the_missing_come_last(visit: Open, small: Path) -> None:
    found = visit(small)
    found.page.locator("#tables").scroll_into_view_if_needed()
    rows = found.page.locator("#tables tbody tr")
    rows.first.wait_for()

    def column() -> list[str]:
        return rows.locator("td:nth-child(6)").all_inner_texts()

    heading = found.page.locator("#tables thead th", has_text="test L")
    heading.get_by_role("button").click()
    ascending = [float(text) for text in column()[:-1]]
    assert ascending == sorted(ascending)
    assert column()[-1] == "–"
    heading.get_by_role("button").press("Enter")
    descending = [float(text) for text in column()[:-1]]
    assert descending == ascending[::-1]
    assert column()[-1] == "–"
    assert heading.get_attribute("aria-sort") == "descending"


def test_a_table_is_saved_in_full_precision(visit: Open, small: Path) -> None:
    found = visit(small)
    found.page.locator("#tables").scroll_into_view_if_needed()
    with found.page.expect_download() as download:
        found.page.get_by_role("button", name="download points.csv").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert len(rows) == 18
    wanted = [made_up_sweep.expected_loss(i * 0.0125, way) for way in ("up", "down") for i in range(9)]
    shown = [float(row["test_loss"]) for row in rows if row["test_loss"]]
    assert shown == pytest.approx([value for place, value in enumerate(wanted) if place != 4], rel=1e-14)
    assert rows[4]["status"] == "failed"


def test_a_failed_point_is_said_plainly(visit: Open, small: Path) -> None:
    text = visit(small).page.locator("#overview").inner_text()
    assert "1 point failed" in text
    assert "λ = 0.05" in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_system_and_its_own_switch(visit: Open, small: Path, scheme: str) -> None:
    found = visit(small, scheme=scheme)
    theme = "document.documentElement.dataset.theme"
    assert found.page.evaluate(theme) == scheme
    button = found.page.locator("#theme")
    button.click()
    assert found.page.evaluate(theme) == "light"
    button.press("Enter")
    assert found.page.evaluate(theme) == "dark"
    assert found.drawn("Loss").evaluate("node => node.layout.font.color") == "#e7eaee"


def test_no_button_of_a_figure_sends_anything_anywhere(visit: Open, small: Path) -> None:
    found = visit(small)
    buttons = found.drawn("Loss").evaluate("node => node._fullLayout._modeBar.buttons.flat().map(each => each.name)")
    assert "toImage" in buttons
    assert not [name for name in buttons if "loud" in name]


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(visit: Open, small: Path, width: int) -> None:
    found = visit(small, width=width)
    found.scroll_through()
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_study_is_shown_to_its_end_with_a_surface_that_turns(visit: Open, tmp_path: Path) -> None:
    write_study(tmp_path / "study")
    found = visit(tmp_path / "study", width=360)
    found.scroll_through()
    assert found.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert "seed 1 failed" in found.page.locator("#overview").inner_text()
    surface = found.figure("MLP1-h4-SGD, slice 0")
    assert surface.locator(".plot").evaluate("node => node.data[0].type") == "contour"
    surface.get_by_role("button", name="turn in 3-D").click()
    surface.locator("canvas").first.wait_for()
    assert surface.locator(".plot").evaluate("node => node.data[0].type") == "surface"
    assert found.complaints == []


def test_the_topology_of_a_surface_is_drawn_as_a_tree_and_a_barcode(visit: Open, tmp_path: Path) -> None:
    write_study(tmp_path / "study")
    found = visit(tmp_path / "study", width=360)
    found.scroll_through()
    lines = [each for each in found.trace("Merge tree") if each is not None]
    saddle = (4 / 9) ** 2
    assert sorted(lines)[:2] == pytest.approx([0.1, 0.1])
    assert sorted(lines)[2] == pytest.approx(0.1 + saddle)  # where one ends; the other goes on
    assert found.drawn("Barcode").evaluate("node => Array.from(node.data[0].x)")[:2] == pytest.approx([0.1, 0.1 + 1.08 * saddle])
    planes = found.drawn("SMAD beside others, p = 0.5").evaluate("node => Array.from(node.data.at(-1).x)")
    assert planes == [0.0, 0.1, 0.3]
    assert "1–2 0.1, 1–3 0.2, 2–3 ∞" in found.page.locator("#surfaces").inner_text()
    assert found.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert found.complaints == []


def test_curves_between_two_minima_are_shown_to_the_end(visit: Open, tmp_path: Path) -> None:
    paths = {"linear": (0.0, 3.0, 1.0), "band": (0.0, 0.75, 1.0)}
    write_connection(tmp_path / "run", paths, why="no chain of layers")
    found = visit(tmp_path / "run", width=360)
    found.scroll_through()
    assert found.page.evaluate("document.documentElement.scrollWidth") <= 360
    overview = found.page.locator("#overview").inner_text()
    assert "line after matching: no chain of layers" in overview
    assert "straight line: lost cat at 0.25; found cat at 0.75." in overview
    assert [found.trace("training loss L", number) for number in (0, 1)] == [list(losses) for losses in paths.values()]
    bars = found.drawn("barrier of the training loss")
    assert bars.evaluate("node => Array.from(node.data[0].x)") == [2.5, 0.25]
    chosen = found.figure("test accuracy of each class: straight line")
    chosen.get_by_label("curve").select_option("band")
    assert found.trace("test accuracy of each class: elastic band") == [100.0, 100.0, 100.0]
    assert found.complaints == []


def test_names_from_elsewhere_are_no_links_in_figures(visit: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = '<a href="https://elsewhere">click</a>'
    monkeypatch.setattr(made_up_sweep, "CLASSES", (hostile, "<A HREF='https://elsewhere'>b</A>", "< a href=x>c"))
    made_up_sweep.write(tmp_path / "run", 5)
    found = visit(tmp_path / "run")
    found.scroll_through()
    assert any(hostile in text for text in found.page.locator(".plot").all_text_contents())
    assert found.page.locator(".plot a").count() == 0
    assert found.page.locator("a[href^=https]").count() == 0
    assert found.complaints == []


def test_results_of_a_form_that_nobody_foresaw_are_said_and_the_rest_is_shown(
    visit: Open, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orograph.report.sweep.require", lambda shape, content, path, again: content)
    run = Path(shutil.copytree(small, tmp_path / "run"))
    (run / "analysis.json").write_text(json.dumps({"chains": [], "loops": [], "loop_areas": [None], "commands": {}}))
    found = visit(run)
    assert "The rest cannot be shown" in found.page.locator("main").inner_text()
    assert found.trace("Loss")
    assert any("TypeError" in text for text in found.complaints)


INFLUENCE = [[-0.2, 0.05, 0.01], [0.04, -0.3, 0.02], [0.0, 0.03, None]]  # None: NaN of a class without test samples


def test_influence_by_class_is_a_map_and_what_was_not_measured_is_told(visit: Open, tmp_path: Path) -> None:
    matrix = [[float("nan") if each is None else each for each in row] for row in INFLUENCE]
    more = {"influence": matrix, "influence_residual": [1e-3, 2e-3, 3e-3], "influence_polishing": [0.0, 0.0, 1e-6]}
    path = tmp_path / "run"
    made_up_sweep.write(path, 3, more={**more, "failures": {"kfac": "kfac needs the package curvlinops."}})
    found = visit(path)
    trace = found.drawn("Influence by class").evaluate("node => [node.data[0].x, node.data[0].y, node.data[0].z]")
    assert trace[:2] == [list(made_up_sweep.CLASSES)] * 2
    assert [[None if each is None or each != each else round(each, 6) for each in row] for row in trace[2]] == INFLUENCE
    assert "3 points without the measure kfac: kfac needs the package curvlinops." in found.page.locator("#overview").inner_text()
    assert found.complaints == []


def test_influence_of_a_minimum_of_a_study_is_chosen(visit: Open, tmp_path: Path) -> None:
    matrix = [[-0.2, 0.1], [0.1, -0.4]]

    def change(results: dict) -> None:
        for place, row in enumerate(each for each in results["metrics"] if each["status"] == "done"):
            row["influence"] = [[(1 + place) * each for each in line] for line in matrix]
            row["failures"] = {"llc": f"after {place} steps nothing was there."}

    write_study(tmp_path / "study", classes=("a", "b"), change=change)
    found = visit(tmp_path / "study")
    title = "MLP1-h4-SGD, seed 0"
    assert found.drawn(title).evaluate("node => node.data[0].z") == matrix
    found.figure(title).get_by_role("combobox").select_option("1")
    assert found.drawn("MLP1-h4-SGD, seed 1").evaluate("node => node.data[0].z") == [[-0.4, 0.2], [0.2, -0.8]]
    told = found.page.locator("#overview").inner_text()
    assert "MLP1-h4-SGD, minimum 0, 1: llc was not measured, of the first: after 0 steps nothing was there." in told
    assert found.complaints == []
