"""What every figure is: returned by a function, shown by a notebook, and saved with its fonts in it."""

import inspect
import re
import struct
import zlib
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

import drawing
import made_up_sweep
from orograph import figures
from orograph.figures.motion import moving_stretch
from orograph.figures.sweeps import stretched_from
from orograph.store.dataset import open_run

HELPERS = {"save", "styled"}


def fonts(pdf: bytes) -> dict[str, bool]:
    """Of every font of a PDF, by its kind, whether its file is embedded."""
    text = pdf.decode("latin-1")
    assert "/Subtype /Type1" not in text  # the fourteen that readers are to have
    found = {}
    for each in re.findall(r"<<\s*/Type /FontDescriptor.*?>>", text, re.DOTALL):
        name = re.search(r"/FontName /(\S+)", each)
        assert name is not None
        found[name[1]] = "/FontFile2" in each
    return found


@pytest.mark.parametrize("name", sorted(set(figures.__all__) - HELPERS))
def test_every_figure_is_a_function_that_returns_it(name: str) -> None:
    assert inspect.signature(getattr(figures, name)).return_annotation in (Figure, "Figure")


@pytest.mark.slow
def test_a_pdf_has_its_fonts_however_it_is_saved(tmp_path: Path) -> None:
    with drawing.drawn("as users do"):
        figure = figures.spectrum([3.0, 1.0, -0.5], [0.1, 0.1, 0.1], title="λ and ∇L")
        figures.save(figure, tmp_path / "saved")
        with mpl.rc_context({"pdf.fonttype": 3}):
            figure.savefig(tmp_path / "own.pdf")
    for file in ("saved.pdf", "own.pdf"):
        found = fonts((tmp_path / file).read_bytes())
        assert found
        assert all(found.values()), found
        assert b"/Subtype /Type3" not in (tmp_path / file).read_bytes()


def test_a_notebook_shows_a_figure() -> None:
    figure = figures.spectrum([3.0, 1.0], [0.1, 0.1])
    png = figure._repr_png_()  # type: ignore[attr-defined] - what IPython asks for
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == tuple(np.round(figure.get_size_inches() * figure.dpi).astype(int))
    pixels = zlib.decompress(b"".join(png[at + 8 : at + 8 + struct.unpack(">I", png[at : at + 4])[0]] for at in chunks(png)))
    assert len(set(pixels)) > 2  # not blank


def chunks(png: bytes) -> list[int]:
    """Where the chunks of pixels begin."""
    found, at = [], 8
    while at < len(png):
        if png[at + 4 : at + 8] == b"IDAT":
            found.append(at)
        at += 12 + struct.unpack(">I", png[at : at + 4])[0]
    return found


LADDER = np.linspace(0, 1, 501)


def test_the_shortest_stretch_that_holds_the_motion() -> None:
    step = 1 + 1 / (1 + np.exp(-(LADDER - 0.4) / 0.005))  # 90 % of a logistic step lie within ± ln 19 widths
    found = moving_stretch(LADDER, [step, 5 - step])
    assert found is not None
    half = np.log(19) * 0.005
    assert found == pytest.approx((0.4 - half, 0.4 + half), abs=0.006)
    noise = np.random.default_rng(0).normal(0, 0.01, len(LADDER))
    assert moving_stretch(LADDER, [step + 0.001 * noise]) is not None


@pytest.mark.parametrize(
    "series",
    [
        [LADDER],
        [np.zeros(501)],
        [np.full(501, np.nan)],
        [],
        [np.sin(40 * LADDER)],
        [1.0 * (LADDER > 0.2), 1.0 * (LADDER > 0.8)],  # two places far apart
    ],
)
def test_motion_that_is_spread_out_has_no_stretch(series: list[np.ndarray]) -> None:
    assert moving_stretch(LADDER, series) is None


def test_series_that_begin_fast_and_end_slowly_are_stretched_at_their_beginning() -> None:
    slow = 1 / (1 + LADDER / 0.01)  # 1/4 is left at 0.03, 1/20 at 0.19
    found = moving_stretch(LADDER, [slow, 2 - slow])
    assert found == pytest.approx((0.0, 0.03), abs=0.006)
    assert moving_stretch(LADDER, [1 / (1 + LADDER / 0.05)]) is None  # 1/4 is left at 0.15


def test_short_ladders_are_drawn_whole() -> None:
    assert moving_stretch(np.linspace(0, 1, 11), [1.0 * (np.arange(11) > 5)]) is None


@pytest.mark.slow
@pytest.mark.parametrize(("place", "panels", "scale"), [(0.0, 4, "symlog"), (0.6, 8, "linear")])
def test_a_long_ladder_is_drawn_where_it_moves(tmp_path: Path, place: float, panels: int, scale: str) -> None:
    made_up_sweep.write(tmp_path / "run", 201, k=2)
    ds = open_run(tmp_path / "run").load()
    ladder = ds.strength.values / ds.strength.values.max()
    for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "lambda_first", "gradient_norm"):
        ds[name].values[0, 0] = 1.0 + np.exp(-np.maximum(ladder - place, 0) / 0.01)
    figure = figures.sweep(ds)
    axes = figure.get_axes()
    assert len(axes) == panels
    assert axes[-1].get_xscale() == scale
    assert stretched_from(ds) == (ds.strength.values[1] if scale == "symlog" else None)
    if panels == 8:
        low, high = axes[-1].get_xlim()
        assert high - low < 0.15 * (ds.strength.values[-1] - ds.strength.values[0])
        assert low <= place * ds.strength.values[-1] <= high
    curve = axes[0].get_lines()[0]
    assert curve.get_marker() == "o"
    assert curve.get_markevery() is not None
