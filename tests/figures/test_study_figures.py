"""The figures of a study, drawn from made-up results whose numbers can be found again in the artists, with holes and without."""

import copy
import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from orograph.figures import study
from orograph.figures.labels import title_of
from orograph.figures.study_looks import looks
from orograph.figures.style import save
from orograph.store.encoding import plain
from orograph.study.relations import relate

PATHS = ("linear", "bezier", "chain", "band", "aligned")


def made_up(widths: tuple[int, ...] = (64, 256), seeds: int = 3, *, tracked: bool = True) -> dict:
    """Results as `landscape_analysis_results.json` holds them."""
    generator = np.random.default_rng(0)
    rows, histories, spectra, curves, instability = [], [], [], [], []
    for width in widths:
        name = f"MLP2-h{width}-AdamW"
        for seed in range(seeds):
            wobble = generator.normal()
            row = {"configuration": name, "seed": seed, "hidden_size": width, "optimizer": "AdamW", "status": "done"}
            row |= {"test_accuracy": 95 + np.log2(width) / 4 + 0.2 * wobble, "test_loss": 0.2 - 0.01 * wobble, "gap": 0.1}
            row |= {"lambda_max": 100 / width * np.exp(0.1 * wobble), "trace": 400 / width + 0.1 * wobble, "trace_error": 0.1}
            row |= {"loss_increase": 1 / width, "loss_increase_error": 1e-3, "flatness_measure": -1 / width - 1e-3 * wobble}
            rows.append(row)
            epochs = np.arange(1, 11)
            history = {"configuration": name, "seed": seed, "epoch": epochs, "train_loss": 2 / epochs, "test_loss": 2.2 / epochs}
            history |= {"train_accuracy": 100 - 50 / epochs, "test_accuracy": 97 - 50 / epochs, "gap": 0.2 / epochs}
            history |= {"gradient_norm": np.exp(-epochs / 3), "gradient_decay": [None] + [-1 / 3] * 9, "parameter_norm": epochs}
            if tracked:
                history["curvature"] = {"epoch": [5, 10], "lambda_max": [3.0, 4.0], "stability": [0.8, 1.1]}
            histories.append(history)
            arrays = {"eigenvalues": 100 / width / np.arange(1, 11), "density_grid": np.linspace(-1, 3, 50)}
            arrays |= {"density_values": np.exp(-(np.linspace(-1, 3, 50) ** 2) * 8), "density_errors": np.full(50, 0.01)}
            spectra.append({"configuration": name, "seed": seed, "arrays": arrays})
        positions = np.linspace(0, 1, 11)
        for first, second in itertools.combinations(range(seeds), 2):
            paths = {}
            for rank, path in enumerate(PATHS):
                hump = positions * (1 - positions) * 64 / width / (rank + 1)
                losses = {
                    "train_loss": 0.01 + hump,
                    "test_loss": 0.2 + hump,
                    "train_accuracy": 99 - hump,
                    "test_accuracy": 96 - hump,
                }
                barriers = {"train_loss": hump.max(), "test_loss": hump.max(), "test_error": hump.max()}
                paths[path] = {"positions": positions, **losses, "barriers": barriers}
            entry = {"configuration": name, "name": f"{first}-{second}", "paths": paths}
            curves.append(entry | {"linear_barrier": paths["linear"]["barriers"]["train_loss"], "status": "done"})
        for epoch in (0, 2, 8):
            paths = {"linear": {"barriers": {"train_loss": 1 / (1 + epoch), "test_error": 50 / (1 + epoch)}}}
            instability.append({"configuration": name, "seed": 0, "epoch": epoch, "paths": paths})
    found = {"metrics": rows, "histories": histories, "spectra": spectra, "curves": curves, "instability": instability}
    found |= {
        "varied": ["hidden_size"] if len(widths) > 1 else [],
        "correlations": relate(rows, [r["configuration"] for r in rows]),
    }
    return plain(found)


def slice_arrays(*, plane: bool = False) -> dict:
    x = np.linspace(-2, 2, 15)
    loss = 0.1 + x[:, None] ** 2 + 3 * x**2
    arrays = {"x": x, "y": x, "train_loss": loss, "test_loss": loss + 0.1, "train_accuracy": 99 - loss, "marks": [[0.0, 0.0]]}
    if plane:
        arrays |= {"marks": [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], "path": np.stack([np.linspace(-1, 1, 9), np.zeros(9)], 1)}
    else:
        arrays |= {"profile_x": x, "profile_train_loss": np.stack([x**2, 3 * x**2]), "profile_test_loss": np.ones((2, 15))}
    return arrays


DRAWN = {
    "training_curves": study.training_curves,
    "spectra": study.spectra,
    "connectivity": study.connectivity,
    "instability": study.instability,
    "correlations": study.correlations,
    "by_setting": study.by_setting,
}


def texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("widths", [(64,), (64, 256)])
def test_every_figure_names_its_axes_and_configurations(name: str, widths) -> None:
    figure = DRAWN[name](made_up(widths), "a title")
    found = texts(figure)
    assert "a title" in found
    for axes in figure.axes:
        place = axes.get_subplotspec()
        if axes.axison and place is not None and place.is_first_row():
            assert axes.get_title(loc="left") or axes.get_title(loc="right")
    if len(widths) > 1 and name != "by_setting":
        assert "MLP2-h64-AdamW" in found
        assert "MLP2-h256-AdamW" in found


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_results_with_holes_are_drawn(name: str) -> None:
    results = made_up()
    results["metrics"][0] |= {"lambda_max": None, "trace": None, "test_accuracy": None}
    results["metrics"].append({"configuration": "MLP2-h64-AdamW", "seed": 9, "hidden_size": 64, "status": "failed"})
    results["histories"][0]["train_loss"] = [1.0, None, None]
    results["histories"][0]["epoch"] = [1, 2, 3]
    results["histories"].append({"configuration": "MLP2-h64-AdamW", "seed": 9})
    results["curves"][0]["paths"].pop("aligned")
    results["curves"].append({"configuration": "MLP2-h64-AdamW", "name": "0-9", "status": "failed"})
    results["spectra"][0]["arrays"] = {}
    results["correlations"] = plain(relate(results["metrics"], [row["configuration"] for row in results["metrics"]]))
    DRAWN[name](results).draw_without_rendering()


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_a_study_that_has_nothing_to_show_yet_gives_a_figure_all_the_same(name: str) -> None:
    DRAWN[name]({}).draw_without_rendering()


def test_training_curves_are_means_over_seeds() -> None:
    results = made_up((64,))
    results["histories"][0]["train_loss"] = [value + 3 for value in results["histories"][0]["train_loss"]]
    loss = study.training_curves(results).axes[0]
    mean = np.mean([history["train_loss"] for history in results["histories"]], axis=0)
    np.testing.assert_allclose(loss.lines[0].get_ydata(), mean)
    assert loss.get_yscale() == "log"


def test_paths_are_means_over_pairs_and_their_barriers_are_dots() -> None:
    results = made_up((64,))
    figure = study.connectivity(results)
    losses = [entry["paths"]["linear"]["train_loss"] for entry in results["curves"]]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), np.mean(losses, axis=0))
    dots = [line.get_xdata() for line in figure.axes[3].lines]
    np.testing.assert_allclose(dots[0], [entry["linear_barrier"] for entry in results["curves"]])
    figure.draw_without_rendering()
    title = figure.axes[3].get_title(loc="right")
    assert title.startswith("Barrier")
    artist = next(each for each in figure.axes[3].findobj(Text) if each.get_text() == title)
    assert artist.get_window_extent().x1 <= figure.bbox.x1  # all of it is on the page


@pytest.mark.slow
def test_the_matrix_of_correlations_prints_signed_numbers_and_marks_small_p_values() -> None:
    results = made_up(tuple(2**k for k in range(4, 11)), seeds=1)
    found = texts(study.correlations(results))
    each = next(
        entry
        for entry in results["correlations"]["table"]
        if (entry["metric"], entry["target"]) == ("lambda_max", "test_accuracy")
    )
    assert f"{each['spearman']['value']:+.2f}".replace("-", "−") in found
    assert "p < 0.05 after Holm" in found
    assert f"[{each['pearson']['low']:.2f}".replace("-", "−") in found


def test_of_few_minima_no_interval_is_drawn() -> None:
    found = texts(study.correlations(made_up((64,))))
    assert "too few minima for p-values" in found
    assert "only values and signs" in found


def test_a_metric_goes_through_its_means_over_a_setting() -> None:
    results = made_up((64, 256, 1024))
    figure = study.by_setting(results, metrics=("lambda_max",))
    line = next(line for line in figure.axes[0].lines if len(line.get_xdata()) == 3 and line.get_linestyle() == "-")
    means = [np.mean([row["lambda_max"] for row in results["metrics"] if row["hidden_size"] == w]) for w in (64, 256, 1024)]
    np.testing.assert_allclose(line.get_ydata(), means)
    assert figure.axes[0].get_xscale() == "log"
    barriers = study.by_setting(results, metrics=("linear_barrier",))
    assert len(barriers.axes[0].lines[0].get_xdata()) == len(results["curves"])


@pytest.mark.slow
@pytest.mark.parametrize("quantity", ["train_loss", "test_loss", "train_accuracy"])
def test_a_slice_is_drawn_as_contours_and_as_a_surface(quantity: str) -> None:
    figure = study.surface(slice_arrays(), "around a minimum", quantity=quantity)
    assert {axes.name for axes in figure.axes} == {"rectilinear", "3d"}
    found = texts(figure)
    assert title_of(quantity) in found
    assert ("Profiles" in found) == quantity.endswith("loss")


def test_three_minima_and_their_path_are_marked_on_their_plane() -> None:
    figure = study.surface(slice_arrays(plane=True), marks=("seed 0", "seed 1", "seed 2"))
    found = texts(figure)
    assert all(f"seed {index}" in found for index in range(3))
    path = figure.axes[0].lines[1]
    np.testing.assert_allclose(path.get_xdata(), np.linspace(-1, 1, 9))


def test_a_flat_slice_is_drawn() -> None:
    arrays = slice_arrays()
    arrays["train_loss"] = np.full((15, 15), 2.0)
    study.surface(arrays).draw_without_rendering()


def test_configurations_are_told_apart_without_colour() -> None:
    found = list(looks(f"c{index}" for index in range(8)).values())
    assert len({(each.line, each.marker) for each in found}) == 8


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes(tmp_path) -> None:
    results = made_up((64,), seeds=2)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        save(study.connectivity(copy.deepcopy(results)), tmp_path / folder / "connectivity")
    for name in ("connectivity.png", "connectivity.pdf"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
